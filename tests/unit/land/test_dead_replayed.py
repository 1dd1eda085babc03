"""Dead letters that are replayed through the door's steps and landed: each event of the sender's body counts once."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from landing import NOW, World, event

from isotherm.cli.dead_replay import request_of
from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.collect.dead import Letter, letter, of_refusal, of_rejections
from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, Rules
from isotherm.errors import Problem
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import Record, open_log
from isotherm.land import lander as lander_module
from isotherm.land import ledger
from isotherm.land.lander import Lander
from isotherm.land.letters import Wanted, look, one
from isotherm.land.upkeep import Upkeep
from isotherm.store.db import reading
from isotherm.store.tables import known_ids

Make = Callable[..., World]
JSON = {"content-type": "application/json"}
BAD = "Not A Type"


@pytest.fixture(params=[True, False], ids=["log knows ids", "log keeps no ids"])
def deployed(make_world: Make, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    if not request.param:
        real = MemoryLog.append

        def append(log: MemoryLog, records: Sequence[Record]) -> Any:
            return real(log, [Record(r.key, r.value, r.timestamp) for r in records])

        monkeypatch.setattr(MemoryLog, "knows_ids", False)
        monkeypatch.setattr(MemoryLog, "append", append)
    return make_world()


def door(world: World, content: bytes, headers: dict[str, str], query: dict[str, str], **rules: Any) -> Request:
    """The request after the collector's steps."""
    request = Request(content, world.clock.now_ms(), headers.get("content-type"), query=urlencode(query))
    walk(world, request, **rules)
    return request


def walk(world: World, request: Request, **rules: Any) -> None:
    given = Rules.of(world.settings, world.log.max_record_bytes)
    for _, step in STEPS:
        step(request, dataclasses.replace(given, **rules))


def records(request: Request) -> list[Record]:
    if request.slices:
        return [one.record for one in request.slices]
    assert request.record is not None
    return [request.record]


def again(kept: Letter, kind: str | None = None) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """What the letter is sent with; with `kind`, bad types of events are this one: a newer version takes them."""
    content, headers, query = request_of(kept)
    return content if kind is None else content.replace(BAD.encode(), kind.encode()), headers, query


def landed(world: World, lander: Lander) -> list[tuple[float, int]]:
    """(x_norm, position) of all that is landed; the ledger closes."""
    lander.drain()
    assert ledger.check(ledger.read(world.engine)) == []
    frame = world.frame()
    return sorted(zip(frame["x_norm"], frame["position"], strict=True)) if len(frame) else []


def dead_records(world: World, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any], bool]) -> list[Letter]:
    """Land what is on the log, failing at batches that `fails` picks. Returns the letters of these."""
    real = lander_module.new_rows

    def broken(decoded: Sequence[Any], *rest: Any, **more: Any) -> Any:
        if any(fails(batch) for d in decoded for batch in d.batches):
            raise TypeError("a fault of ours")
        return real(decoded, *rest, **more)

    with closing(open_log(world.settings, world.clock)) as dead, monkeypatch.context() as patched:
        patched.setattr(lander_module, "new_rows", broken)
        Lander(world.settings, world.log, world.lake, world.manifest, world.clock, dead=dead).drain()
        return [one(dead, entry.place) for entry in look(dead, world.engine, Wanted())]


def body(*events: dict[str, Any], batch_id: str = "B") -> bytes:
    return json.dumps({"client_id": "shop", "screen_id": "home", "batch_id": batch_id, "events": events}).encode()


@pytest.mark.parametrize("healed", [False, True], ids=["rejected again", "taken this time"])
@pytest.mark.parametrize("record_first", [True, False])
def test_a_record_and_the_body_with_its_rejected_event_count_once(
    deployed: World, monkeypatch: pytest.MonkeyPatch, record_first: bool, healed: bool
) -> None:
    world = deployed
    sent = body(event(NOW, 0.1), event(NOW, 0.2, kind=BAD), event(NOW, 0.3), event(NOW, 0.4))
    request = door(world, sent, JSON, {})
    of_door = of_rejections(request)
    assert of_door is not None
    world.log.append(records(request))
    [of_record] = dead_records(world, monkeypatch, lambda batch: batch.batch_id == "B")
    assert (of_record.stage, of_record.reason) == ("land", "lander_error")
    assert request_of(of_record)[2]["positions"] == "0,2-3"

    lander = world.lander()
    order = (of_record, of_door) if record_first else (of_door, of_record)
    found: list[tuple[float, int]] = []
    for _ in range(2):
        for sent_again in order:
            world.log.append(records(door(world, *again(sent_again, "mousemove" if healed else None))))
            found = landed(world, lander)
    assert found == [(0.1, 0), *([(0.2, 1)] if healed else []), (0.3, 2), (0.4, 3)]


def test_one_hour_of_a_batch_that_was_split_is_not_taken_for_another(
    deployed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = deployed
    sent = body(event(NOW, 0.3), event(NOW - HOUR_MS, 0.1), event(NOW, 0.4), event(NOW - HOUR_MS, 0.2))
    world.log.append(records(door(world, sent, JSON, {}, time_is_event=True)))
    [of_hour] = dead_records(world, monkeypatch, lambda batch: batch.positions == [0, 2])
    lander = world.lander()
    assert landed(world, lander) == [(0.1, 1), (0.2, 3)]
    for _ in range(2):
        world.log.append(records(door(world, *again(of_hour), time_is_event=True)))
        assert landed(world, lander) == [(0.1, 1), (0.2, 3), (0.3, 0), (0.4, 2)]


def test_a_record_whose_replay_is_cut_into_hours_keeps_its_places(
    deployed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = deployed
    sent = body(event(NOW, 0.1, kind=BAD), event(NOW, 0.2), event(NOW - HOUR_MS, 0.3), event(NOW, 0.4))
    world.log.append(records(door(world, sent, JSON, {})))
    [of_record] = dead_records(world, monkeypatch, lambda batch: batch.batch_id == "B")
    lander = world.lander()
    for by_hour in (True, False):
        world.log.append(records(door(world, *again(of_record), time_is_event=by_hour)))
        assert landed(world, lander) == [(0.2, 1), (0.3, 2), (0.4, 3)]


def test_a_replay_of_which_the_door_rejects_more_keeps_the_places_of_the_others(world: World) -> None:
    given = {"source": "replay", "batch_id": "B", "positions": "1,4-5"}
    sent = body(event(NOW, 0.1), event(NOW, 0.2, kind=BAD), event(NOW, 0.3))
    request = door(world, sent, JSON, given)
    assert [rejection.index for rejection in request.rejections] == [1]
    world.log.append(records(request))
    assert landed(world, world.lander()) == [(0.1, 1), (0.3, 5)]
    # The letter of the record is still there, and knows the places, which the body does not.
    assert of_rejections(request) is None


@pytest.mark.parametrize("text", ["0", "0-2", "0,0", "x", "-1", "", "0-999999999999", "1,5000"])
def test_places_that_do_not_fit_are_refused(world: World, text: str) -> None:
    with pytest.raises(Problem, match="positions") as refused:
        door(world, body(event(NOW), event(NOW)), JSON, {"source": "replay", "positions": text})
    assert (refused.value.status, refused.value.extra["field"]) == (422, "positions")


def test_nobody_but_a_replay_says_places(world: World) -> None:
    for source in ("browser", "import"):
        request = door(world, body(event(NOW, 0.5)), JSON, {"source": source, "positions": "9"})
        world.log.append(records(request))
        assert landed(world, world.lander()) == [(0.5, 0)]


def test_a_replay_that_is_refused_as_a_whole_makes_no_second_letter(world: World) -> None:
    for source, letters in (("browser", 1), ("replay", 0)):
        request = Request(b"[1]", NOW, query=f"source={source}")
        with pytest.raises(Problem) as refused:
            walk(world, request)
        assert (of_refusal(request, refused.value, frozenset()) is not None) == bool(letters)


def known(world: World) -> int:
    with reading(world.engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(known_ids)).scalar_one()


def refused(content: bytes) -> Letter:
    """The letter about a body that an earlier version refused as a whole."""
    return letter(content, reason="no_batch", stage="collect", time=NOW, client_id="shop", headers=JSON)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_sender_that_comes_again_after_the_replay_of_its_batch_adds_nothing(deployed: World, at_once: bool) -> None:
    world, lander = deployed, deployed.lander()
    sent = body(event(NOW, 0.1), event(NOW - HOUR_MS, 0.2))
    world.log.append(records(door(world, *again(refused(sent)))))
    if not at_once:
        assert landed(world, lander) == [(0.1, 0), (0.2, 1)]
    for _ in range(2):
        world.log.append(records(door(world, sent, JSON, {})))
        assert landed(world, lander) == [(0.1, 0), (0.2, 1)]
    assert ledger.sums(ledger.read(world.engine))["landing_duplicate"] >= 2


def test_a_sender_that_comes_again_adds_what_the_replay_lacked(deployed: World) -> None:
    world, lander = deployed, deployed.lander()
    sent = body(event(NOW, 0.1), event(NOW, 0.2, kind=BAD), event(NOW, 0.3))
    world.log.append(records(door(world, *again(refused(sent)))))
    assert landed(world, lander) == [(0.1, 0), (0.3, 2)]
    world.log.append(records(door(world, sent.replace(BAD.encode(), b"mousemove"), JSON, {})))
    assert landed(world, lander) == [(0.1, 0), (0.2, 1), (0.3, 2)]


def test_ids_of_what_was_sent_again_are_kept_for_a_day_and_cost_others_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lander = world.lander()
    upkeep = Upkeep(world.settings, world.log, world.lake, world.manifest, world.clock, lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr("isotherm.land.known.ids_of", None)
        for source in ("browser", "import"):
            sent = body(event(NOW, 0.5), batch_id=source)
            world.log.append(records(door(world, sent, JSON, {"source": source})))
            landed(world, lander)
    assert known(world) == 0
    world.log.append(records(door(world, *again(refused(body(event(NOW, 0.1)))))))
    world.log.append(records(door(world, body(event(NOW, 0.6), batch_id="other"), JSON, {})))
    landed(world, lander)
    assert known(world) == 1
    for days, left in ((1, 1), (2, 0)):
        world.clock.advance(DAY_MS)
        world.log.append(records(door(world, body(event(NOW, 0.7), batch_id=f"day {days}"), JSON, {})))
        landed(world, lander)
        upkeep.forget_ids(world.clock.now_ms())
        assert known(world) == left
