"""Every example of contract/ against the running collector, and against the schemas."""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from collecting import EXAMPLES, ROOT, Example, RunningCollector, now_ms

from isotherm.clock import DAY_MS
from isotherm.collect.decode import json_text
from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, Rules
from isotherm.errors import DropReason
from isotherm.events import decode_envelope

FILES = sorted(EXAMPLES.glob("*/*.json"))
RULES = Rules(frozenset(), 30 * DAY_MS, 1 << 24)


def schema(name: str) -> Any:
    return jsonschema_rs.validator_for(json.loads((ROOT / "contract" / f"{name}.schema.json").read_text()))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def same_errors(given: list[dict[str, Any]], told: list[dict[str, Any]]) -> None:
    assert [{k: e[k] for k in ("index", "field", "reason")} for e in given] == told


@pytest.mark.system
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_collector_answers_as_the_example_says(path: Path, collector: RunningCollector) -> None:
    example = Example.load(path, now_ms())
    with_query = f"{collector.url}/events/batch?{example.query}"
    headers = list(example.headers.items())
    reply = _send(with_query, example.body, headers)
    answer = reply.json()
    assert reply.status_code == example.answer["status"], answer
    if reply.status_code == 202:
        assert schema("answer").is_valid(answer)
        assert {k: answer[k] for k in ("accepted", "rejected", "duplicate")} == {
            k: example.answer[k] for k in ("accepted", "rejected", "duplicate")
        }
        same_errors(answer["errors"], example.answer["errors"])
    else:
        assert reply.headers["content-type"] == "application/problem+json"
        assert schema("problem").is_valid(answer)
        assert answer.get("field") == example.answer.get("field")


def _send(url: str, body: bytes, headers: list[tuple[str, str]]) -> httpx.Response:
    return httpx.post(url, content=body, headers=headers, timeout=30)


def kept_by_schema(body: Any) -> bool:
    return bool(schema("batch").is_valid(body))


@pytest.mark.parametrize("path", sorted((EXAMPLES / "good").glob("*.json")), ids=name_of)
def test_good_bodies_satisfy_the_schema(path: Path) -> None:
    example = Example.load(path, now_ms())
    coding = example.headers.get("content-encoding")
    assert kept_by_schema(json.loads(json_text(example.body, coding)))


BEYOND_SCHEMA = {
    # What JSON Schema cannot say: bytes, the clock, nesting, transport, and how a number is spelled.
    "screen_id_long",
    "screen_id_surrogate",
    "lone_surrogate",
    "attrs_deep",
    "unknown_field_deep",
    "unknown_batch_field_deep",
    "too_old",
    "too_old_rfc3339",
    "too_far_ahead",
    "skew_makes_too_old",
    "attrs_overflow",
    "x_px_overflow",
    "sent_at_query",
    "source_unknown",
    "coding_unknown",
    "coding_twice",
    "media_type",
    "charset_latin1",
}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "bad").glob("*.json")), ids=name_of)
def test_bad_bodies_break_the_schema(path: Path) -> None:
    example = Example.load(path, now_ms())
    if example.answer["status"] not in (202, 422) or example.name in BEYOND_SCHEMA:
        return
    assert not kept_by_schema(json.loads(example.body))


@pytest.mark.parametrize("path", sorted((EXAMPLES / "good").glob("*.json")), ids=name_of)
def test_good_bodies_stand_on_the_log_in_the_strict_form(path: Path) -> None:
    now = now_ms()
    example = Example.load(path, now)
    headers = example.headers
    request = Request(example.body, now, headers.get("content-type"), headers.get("content-encoding"), example.query)
    for _, step in STEPS:
        step(request, RULES)
    assert request.record is not None
    envelope = decode_envelope(request.record.value)
    assert sum(envelope.counts.accepted.values()) == example.answer["accepted"]
    assert (len(envelope.batch.events) if envelope.batch else 0) == example.answer["accepted"]


def test_each_drop_reason_has_an_example() -> None:
    told = {e["reason"] for path in FILES for e in json.loads(path.read_text())["answer"].get("errors", [])}
    assert told == {reason.value for reason in DropReason}


def test_reasons_in_schema_and_readme_are_the_enum() -> None:
    answer = json.loads((ROOT / "contract" / "answer.schema.json").read_text())
    listed = answer["properties"]["errors"]["items"]["properties"]["reason"]["enum"]
    assert listed == [reason.value for reason in DropReason]
    readme = (ROOT / "contract" / "README.md").read_text()
    assert all(f"| `{reason.value}` |" in readme for reason in DropReason)
