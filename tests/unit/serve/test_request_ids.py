"""The app's requests have ids: in the header, in problems, and in the lines of the log; and they are counted."""

from typing import Any

import pytest
import structlog

from isotherm.metrics import REGISTRY


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("isotherm_component_events_total", {"component": "serve", "outcome": outcome}) or 0


def test_the_callers_id_comes_back(api: Any) -> None:
    for path, status in (("/v1/clients", 200), ("/v1/screens", 400), ("/v1/nowhere", 404)):
        answer = api.get(path, headers={"x-request-id": "from-the-proxy.1"})
        assert answer.status_code == status
        assert answer.headers["x-request-id"] == "from-the-proxy.1"
        assert status == 200 or answer.json()["request_id"] == "from-the-proxy.1"


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "-x", 'a"b'])
def test_without_a_good_one_the_app_makes_one(api: Any, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given}
    first, second = (api.get("/v1/screens", headers=headers) for _ in range(2))
    assert first.json()["request_id"] == first.headers["x-request-id"] != given
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_refusals_before_the_router_have_one_too(world: Any) -> None:
    world.settings = world.settings.model_copy(update={"token": "secret"})
    with world.client() as api:
        answer = api.get("/v1/clients", headers={"x-request-id": "r-1"})
    assert (answer.status_code, answer.json()["request_id"]) == (401, "r-1")


def test_lines_of_a_failure_name_the_request(world: Any) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("the disk is gone")

    with (
        world.client(status=broken) as api,
        structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines,
    ):
        answer = api.get("/v1/status", headers={"x-request-id": "r-2"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "r-2")
    assert [line["request_id"] for line in lines] == ["r-2"]
    assert "disk" not in answer.text


def test_answers_are_counted_by_what_became_of_them(world: Any) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("the disk is gone")

    names = ("received", "sent", "dropped", "failed")
    before = {name: counted(name) for name in names}
    with world.client(status=broken) as api:
        for path in ("/v1/clients", "/v1/clients", "/v1/screens", "/v1/status"):
            api.get(path)
    assert {name: counted(name) - before[name] for name in names} == {
        "received": 4, "sent": 2, "dropped": 1, "failed": 1,
    }  # fmt: skip
