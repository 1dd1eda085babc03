"""GET /v1/events over a small lake: by id, by cell, for one client, within bounds; other questions are refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from landing import event, record
from litestar.testing import TestClient

from isotherm.cli.jobs import find_job
from isotherm.cli.roles import Parts
from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.config import Settings

NOW = 1_771_236_000_000  # as `world.clock` has it
RANGE = {"from": iso(NOW - DAY_MS), "to": iso(NOW + HOUR_MS)}


@pytest.fixture
def api(world: Any, tmp_path: Path) -> Iterator[TestClient[Any]]:
    """Two clients sent a batch of the same id: two clicks at one place and a move at another."""
    with Parts(Settings(data=tmp_path / "lake", olap="", log="memory://")) as parts:
        for client in ("shop", "bank"):
            at = NOW - HOUR_MS
            events = [event(at, 0.29, 1.0, "click"), event(at, 0.29, 1.0, "click"), event(at, 0.5, 0.5)]
            parts.log.append([record(client, "one:two", events, screen_id="/cart", received_at=at)])
        parts.lander.drain()
        with world.client(find=find_job(parts)) as client:
            yield client


def test_a_batch_and_one_event_by_either_name(api: Any) -> None:
    body = api.get("/v1/events/one:two", params={"client_id": "shop"}).json()
    assert [e["event_id"] for e in body["events"]] == ["one:two:0", "one:two:1", "one:two:2"]
    assert (body["complete"], body["client_id"]) == (True, "shop")
    assert {e["file"].split("client_id=")[1].split("/")[0] for e in body["events"]} == {"shop"}
    for path, more in (("one:two:1", {}), ("one:two", {"position": 1})):
        (found,) = api.get(f"/v1/events/{path}", params={"client_id": "shop", **more}).json()["events"]
        assert (found["position"], found["cell_x"], found["cell_y"]) == (1, 28, 199)
        assert found["event_time"] == found["received_at"] == iso(NOW - HOUR_MS)


def test_the_events_behind_a_cell(api: Any) -> None:
    asked = {"client_id": "bank", "screen_id": "/cart", **RANGE}
    clicks = api.get("/v1/events", params={**asked, "event_type": "click", "cell_x": 28, "cell_y": 199}).json()
    assert [e["position"] for e in clicks["events"]] == [0, 1]
    assert {e["file"].split("client_id=")[1].split("/")[0] for e in clicks["events"]} == {"bank"}
    some = api.get("/v1/events", params={**asked, "event_type": "click", "limit": 1}).json()
    assert (len(some["events"]), some["complete"]) == (1, False)
    moves = api.get("/v1/events", params=asked).json()
    assert [e["position"] for e in moves["events"]] == [2]
    none = api.get("/v1/events", params={**asked, "cell_x": 0, "cell_y": 0}).json()
    assert (none["events"], none["complete"]) == ([], True)


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/one:two", {}, 400),
        ("/one:two", {"client_id": "nobody"}, 404),
        ("/one:two", {"client_id": "../bank"}, 400),
        ("/one:two:9", {"client_id": "shop"}, 404),
        ("/one:two", {"client_id": "shop", "position": -1}, 400),
        ("/one:two", {"client_id": "shop", "from": iso(0), "to": iso(NOW)}, 400),
        (f"/{'x' * 300}", {"client_id": "shop"}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart"}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart", **RANGE, "cell_x": 3}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart", **RANGE, "cell_x": 100, "cell_y": 0}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart", **RANGE, "event_type": "Click!"}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart", **RANGE, "limit": 0}, 400),
        ("", {"client_id": "shop", "screen_id": "/cart", "from": RANGE["to"], "to": RANGE["from"]}, 400),
    ],
)
def test_what_cannot_be_answered_says_why(api: Any, path: str, params: dict[str, Any], status: int) -> None:
    answer = api.get(f"/v1/events{path}", params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_process_without_a_lake_says_so(world: Any) -> None:
    with world.client() as api:
        assert api.get("/v1/events/a", params={"client_id": "shop"}).status_code == 501
