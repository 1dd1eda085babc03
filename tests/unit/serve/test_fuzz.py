"""schemathesis over the OpenAPI document: no request makes a 5xx or an answer that is not documented."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from isotherm.cli.jobs import find_job
from isotherm.cli.roles import Parts
from isotherm.config import Settings
from isotherm.serve.app import openapi_document
from isotherm.view.routes import described
from isotherm.view.sdk import load_sdk

ADDED = replace(described(), given={"sdk": load_sdk()})
DOCUMENT = schemathesis.openapi.from_dict(openapi_document(ADDED))
OPERATIONS = [found.ok() for found in DOCUMENT.get_all_operations()]


def job(**_: Any) -> Iterator[dict[str, Any]]:
    yield {"done": 1, "total": 1}


@pytest.fixture(scope="module")
def statuses() -> dict[str, set[str]]:
    paths = openapi_document(ADDED)["paths"]
    return {f"{method} {path}": set(one["responses"]) for path, at in paths.items() for method, one in at.items()}


@pytest.fixture
def api(world: Any, tmp_path: Path) -> Iterator[Any]:
    with Parts(Settings(data=tmp_path / "lake", log="memory://")) as parts:
        jobs = {"backfill": job, "verify": job, "retention": job, "find": find_job(parts), "dead": parts.letters}
        with world.client(ADDED, **jobs) as client:
            yield client


# Not by DOCUMENT.parametrize(): its tests all have one name, and tests of one name run once where workers share them.
@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.label for one in OPERATIONS])
@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_any_request_gets_a_documented_answer(
    operation: Any, data: st.DataObject, api: Any, statuses: dict[str, set[str]]
) -> None:
    case = data.draw(operation.as_strategy())
    sendable = case.as_transport_kwargs(base_url="http://127.0.0.1")
    named = {name: sendable[name] for name in ("params", "json", "headers", "cookies") if sendable.get(name)}
    if sendable.get("data") is not None:
        named["content"] = sendable["data"]
    headers = {str(name): str(value) for name, value in (named.pop("headers", None) or {}).items()}
    sent = {name: value.encode("utf-8", "surrogatepass") for name, value in headers.items()}
    answer = api.request(case.method, sendable["url"], headers=sent, **named)
    assert answer.status_code < 500, answer.text
    documented = statuses.get(f"{case.method.lower()} {case.path}", {"204"} if case.method == "OPTIONS" else {"405"})
    assert str(answer.status_code) in documented, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
