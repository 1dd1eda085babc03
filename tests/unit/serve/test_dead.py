"""Dead letters of one client through the API: counted, listed without bodies, never another client's."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from litestar.testing import TestClient
from serving import NOW, World

from isotherm.clock import iso
from isotherm.collect.dead import letter, record_of
from isotherm.eventlog.port import EventLog, open_dead_log
from isotherm.land.letters import Wanted, drop, look, one, replayed


@pytest.fixture
def log(world: World) -> Iterator[EventLog]:
    with closing(open_dead_log(world.settings.model_copy(update={"log": "memory://"}), world.clock)) as log:
        shop = [("shop", "bad_time"), ("shop", "bad_time"), ("shop", "no_batch")]
        letters = [
            letter(b"secret %d" % n, reason=reason, stage="collect", time=NOW + n, client_id=client, detail="why")
            for n, (client, reason) in enumerate([*shop, ("bank", "no_batch"), (None, "unreadable")])
        ]
        log.append(list(map(record_of, letters)))
        yield log


@pytest.fixture
def api(world: World, log: EventLog) -> Iterator[TestClient[Any]]:
    with world.client(dead=partial(look, log, world.engine)) as client:
        yield client


def asked(api: TestClient[Any], status: int = 200, **query: Any) -> Any:
    answer = api.get("/v1/dead", params={"client_id": "shop", **query})
    assert answer.status_code == status, answer.text
    assert "secret" not in answer.text
    return answer.json()


def test_a_client_s_letters_are_counted_and_listed(api: TestClient[Any], world: World, log: EventLog) -> None:
    first = look(log, world.engine, Wanted(reason="bad_time"))[0]
    replayed(log, world.engine, first.place, one(log, first.place), NOW, 7)
    found = asked(api)
    assert (found["client_id"], found["total"], found["simulated"]) == ("shop", 3, False)
    assert [(one["reason"], one["state"], one["letters"]) for one in found["counts"]] == [
        ("bad_time", "replayed", 1), ("bad_time", "waiting", 1), ("no_batch", "waiting", 1),
    ]  # fmt: skip
    assert [one["received_at"] for one in found["letters"]] == [iso(NOW + n) for n in (2, 1, 0)]
    assert found["letters"][1] | {"place": "", "received_at": ""} == {
        "place": "", "received_at": "", "stage": "collect", "reason": "bad_time", "state": "replayed",
        "detail": "why", "bytes": 8, "accepted": 7,
    }  # fmt: skip


def test_what_is_asked_for_is_what_comes(api: TestClient[Any]) -> None:
    assert asked(api, reason="bad_time")["total"] == 2
    assert asked(api, stage="land")["total"] == 0
    assert asked(api, state="replayed")["total"] == 0
    limited = asked(api, limit=1)
    assert (limited["total"], len(limited["letters"])) == (3, 1)
    assert [one["reason"] for one in asked(api, client_id="bank")["letters"]] == ["no_batch"]
    assert asked(api, client_id="nobody")["total"] == 0


def test_a_range_of_receipt_bounds_what_comes(api: TestClient[Any]) -> None:
    def received(**query: Any) -> list[str]:
        return [one["received_at"] for one in asked(api, **query)["letters"]]

    assert received(**{"from": NOW + 1}) == [iso(NOW + 2), iso(NOW + 1)]
    assert received(to=iso(NOW + 1)) == [iso(NOW)]
    assert received(**{"from": iso(NOW + 1), "to": NOW + 2}) == [iso(NOW + 1)]
    assert received(**{"from": NOW + 3}) == []


def test_what_waits_is_counted_by_client(api: TestClient[Any], world: World, log: EventLog) -> None:
    first = look(log, world.engine, Wanted("shop", "no_batch"))[0]
    drop(log, world.engine, first.place, NOW)
    answer = api.get("/v1/dead/counts")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in answer.text
    found = answer.json()
    assert found["total"] == 4
    rows = [(one["client_id"], one["stage"], one["reason"], one["letters"], one["oldest"]) for one in found["counts"]]
    assert rows == [
        ("shop", "collect", "bad_time", 2, iso(NOW)),
        (None, "collect", "unreadable", 1, iso(NOW + 4)),
        ("bank", "collect", "no_batch", 1, iso(NOW + 3)),
    ]
    assert not any(one["simulated"] for one in found["counts"])


@pytest.mark.parametrize(
    "query",
    [
        {"reason": "x"},
        {"stage": "x"},
        {"state": "x"},
        {"limit": 501},
        {"client_id": "../x"},
        {"client_id": ""},
        {"from": "x"},
        {"to": "2026-01-01T00:00"},
        {"from": 10**15},
        {"to": NOW, "from": NOW},
    ],
)
def test_wrong_parameters_are_named(api: TestClient[Any], query: dict[str, Any]) -> None:
    assert next(iter(query)) in asked(api, 400, **query)["detail"]


def test_a_process_that_reads_none_says_so(world: World) -> None:
    with world.client() as client:
        asked(client, 501)
        assert client.get("/v1/dead/counts").status_code == 501
