"""What goes and what is merged beside landing, and what stays when one part of it fails."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import IsothermError
from isotherm.land import known, merge, retention
from isotherm.land.retention import expire_raw
from isotherm.land.scan_upkeep import ScanUpkeep
from isotherm.land.scan_watch import SinkStatus, Watch
from isotherm.land.upkeep import Upkeep
from isotherm.store.db import reading, writing
from isotherm.store.tables import known_ids


class Rounds:
    """Upkeep of a world, and what it said of errors that it did not raise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said: list[str] = []
        self.stop = threading.Event()
        self.upkeep = Upkeep(
            world.settings,
            world.log,
            world.lake,
            world.manifest,
            world.clock,
            lambda error: self.said.append(str(error)),
        )

    def once(self) -> None:
        self.upkeep.once(self.stop)


@pytest.fixture
def rounds(world: World) -> Rounds:
    return Rounds(world)


def batches(world: World, count: int, client_id: str = "shop") -> None:
    """As many files of one hour."""
    lander = world.lander()
    for n in range(count):
        world.append(record(client_id, f"b{n}", [event(NOW + n)]))
        lander.step(force=True)


def know(world: World, count: int) -> None:
    rows = [{"id": n.to_bytes(16, "big"), "received_at": NOW + n, "positions": None} for n in range(count)]
    with writing(world.engine) as connection:
        connection.execute(known_ids.insert(), rows)


def ids(world: World) -> list[int]:
    """The numbers of the batches whose ids are known."""
    with reading(world.engine) as connection:
        return sorted(at - NOW for at in connection.execute(sa.select(known_ids.c.received_at)).scalars())


def failing(text: str) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise IsothermError(text)

    return fail


def test_what_others_committed_stays_on_the_log_until_it_is_landed(rounds: Rounds) -> None:
    world = rounds.world
    world.append(*[record("shop", f"b{n}", [event(NOW)]) for n in range(4)])
    world.log.commit("stream", 0, 4)
    world.clock.advance(30 * DAY_MS)
    rounds.once()
    assert world.log.status().tail == {0: 0}
    world.lander().drain()
    assert len(world.identities()) == 4
    rounds.once()
    assert world.log.status().tail == {0: 4}


def test_each_part_has_its_turn_whatever_becomes_of_the_others(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = rounds.world
    batches(world, 3)
    world.clock.advance(2 * HOUR_MS)
    monkeypatch.setattr(retention, "expire_raw", failing("first"))
    monkeypatch.setattr(world.log, "expire", failing("second"))
    with pytest.raises(IsothermError, match="first"):
        rounds.once()
    assert rounds.said == ["second"]
    assert len(world.manifest.listed()) == 1


def test_upkeep_goes_on_when_a_sink_cannot_be_looked_at(world: World) -> None:
    know(world, 3)

    class Broken(Watch):
        def look(self) -> SinkStatus:
            raise IsothermError("nobody knows this group")

    watch = Broken(world.log, "connect-raw", world.clock)
    upkeep = ScanUpkeep(world.settings, world.log, world.lake, world.manifest, world.clock, lambda _: None, watch)
    world.clock.advance(3 * DAY_MS)
    with pytest.raises(IsothermError, match="nobody knows this group"):
        upkeep.once(threading.Event())
    assert ids(world) == []


def test_ids_are_forgotten_a_few_at_a_time_the_oldest_first(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = rounds.world
    know(world, 8)
    left: list[list[int]] = []

    @contextmanager
    def watched(engine: sa.Engine) -> Iterator[sa.Connection]:
        with writing(engine) as connection:
            yield connection
        left.append(ids(world))

    monkeypatch.setattr("isotherm.land.upkeep.writing", watched)
    monkeypatch.setattr(known, "FORGOTTEN_AT_ONCE", 3)
    assert rounds.upkeep._forget_until(NOW + 7 + known.KEPT_MS) == 7
    assert left == [[3, 4, 5, 6, 7], [6, 7], [7]]


def test_forgetting_ends_when_the_program_does(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = rounds.world
    know(world, 8)

    def forget(connection: sa.Connection, until: int) -> int:
        rounds.stop.set()
        return at_once(connection, until)

    at_once = known.forget
    monkeypatch.setattr(known, "forget", forget)
    monkeypatch.setattr(known, "FORGOTTEN_AT_ONCE", 3)
    monkeypatch.setattr(type(world.log), "knows_ids", False)
    world.clock.advance(3 * DAY_MS)
    rounds.upkeep.run(rounds.stop)
    assert ids(world) == [3, 4, 5, 6, 7]
    assert rounds.said == []


def test_a_round_looks_at_each_hour_once(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one cannot be merged, and the hours after it can."""
    world = rounds.world
    for client_id in "abc":
        batches(world, 2, client_id)
    for file in world.manifest.listed(client_ids=["a"]):
        (world.lake.root / file.path).write_bytes(b"damaged")
    asked: list[str] = []

    def watched(lake: Any, manifest: Any, client_id: str, *more: Any, **named: Any) -> int:
        asked.append(client_id)
        return merge_hour(lake, manifest, client_id, *more, **named)

    merge_hour = merge.merge_hour
    monkeypatch.setattr(merge, "merge_hour", watched)
    world.clock.advance(2 * HOUR_MS)
    with pytest.raises(IsothermError):
        rounds.once()
    assert asked == ["a", "b", "c"]
    assert [(f.client_id, f.rows) for f in world.manifest.listed()] == [("a", 1), ("a", 1), ("b", 2), ("c", 2)]


def test_an_object_that_cannot_be_deleted_keeps_no_other(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = rounds.world
    batches(world, 4)
    stuck = sorted(world.objects())[1]
    assert expire_raw(world.settings, world.manifest, NOW + (world.settings.raw_retention_days + 1) * DAY_MS) == 4
    delete = world.lake.delete

    def refusing(path: str) -> None:
        if path == stuck:
            raise PermissionError(f"{path}: locked")
        delete(path)

    with monkeypatch.context() as changed:
        changed.setattr(world.lake, "delete", refusing)
        with pytest.raises(PermissionError, match="locked"):
            world.manifest.sweep(world.lake)
    assert world.objects() == {stuck}
    assert world.manifest.sweep(world.lake) == [stuck]
    assert world.objects() == set()


def test_a_lake_that_takes_long_to_refuse_is_not_asked_for_all(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    world = rounds.world
    batches(world, 4)
    assert expire_raw(world.settings, world.manifest, NOW + (world.settings.raw_retention_days + 1) * DAY_MS) == 4
    asked: list[str] = []

    def refuse(path: str) -> None:
        asked.append(path)
        raise PermissionError(f"{path}: locked")

    monkeypatch.setattr("isotherm.land.manifest._PATIENCE_S", 0.0)
    monkeypatch.setattr(world.lake, "delete", refuse)
    with pytest.raises(PermissionError, match="locked"):
        world.manifest.sweep(world.lake)
    assert len(asked) == 1
    monkeypatch.undo()
    assert len(world.manifest.sweep(world.lake)) == 4
    assert world.objects() == set()
