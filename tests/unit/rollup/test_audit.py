"""The ledger over the whole way, with the jobs and the tile store of the embedded profile."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from landing import event, record
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.land.books import OF_THE_EVENT
from isotherm.land.lander import Lander
from isotherm.rollup import audit, audit_screens
from isotherm.rollup.audit import Range
from isotherm.rollup.buckets import Level
from isotherm.rollup.leases import Busy
from isotherm.store.db import reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, files, ledger, ledger_hours, ledger_screens, retired

HOUR = NOW - NOW % HOUR_MS


@dataclass
class Line:
    """A log and a lander before the jobs of a world."""

    world: World
    log: MemoryLog
    lander: Lander
    sent: int = 0

    def send(self, client: str, screen: str, ms: int, positions: list[bool]) -> None:
        events = [event(ms, 0.3 if one else None, kind="click" if at % 2 else "mousemove")
                  for at, one in enumerate(positions)]  # fmt: skip
        self.log.append([record(client, f"b{self.sent}", events, screen_id=screen, received_at=NOW)])
        self.sent += 1

    def land(self) -> None:
        self.lander.step(force=True)

    def compared(self, asked: Range = audit.EVERYTHING) -> list[str]:
        found = audit_screens.compare_screens(self.world.database, self.world.olap, asked)
        return [difference.text for one in found for difference in one.differences]


@pytest.fixture
def line(tmp_path: Path, empty_olap: Olap) -> Iterator[Line]:
    with worlds() as make:
        world = make(Settings(data=tmp_path / "w", job_threads=2, log="memory://"), empty_olap, clock=ManualClock(NOW))
        log = MemoryLog("memory://", world.settings, world.clock)
        yield Line(world, log, Lander(world.settings, log, world.lake, world.manifest, world.clock))
        log.close()


@pytest.fixture
def filled(line: Line) -> Line:
    for client in ("a", "b"):
        line.send(client, "home", NOW, [True, True, False])
        line.send(client, "cart", NOW, [True])
        line.send(client, "home", NOW - 3 * HOUR_MS, [True, False])
    line.land()
    return line


def numbers(line: Line, client: str = "a") -> dict[int, tuple[int, int, int, int, str]]:
    with reading(line.world.database) as connection:
        found = audit.event_hours(connection, Range(client))
    return {(one.hour - HOUR) // HOUR_MS: (one.landed, one.tiled, one.no_position, one.pending, one.state)
            for one in found}  # fmt: skip


def test_what_is_landed_is_pending_until_it_is_tiled(filled: Line) -> None:
    assert numbers(filled) == {0: (4, 0, 1, 3, "waiting"), -3: (2, 0, 1, 1, "waiting")}
    filled.world.run(Level.HOUR, HOUR)
    assert numbers(filled) == {0: (4, 3, 1, 0, "tiled"), -3: (2, 0, 1, 1, "waiting")}
    filled.world.run_all()
    filled.send("a", "home", NOW, [True, True])
    filled.land()
    assert numbers(filled) == {0: (6, 3, 1, 2, "waiting"), -3: (2, 1, 1, 0, "tiled")}
    assert audit.audit(filled.world.database) == []
    assert audit.difference(filled.world.database) == 0
    assert filled.compared() == []


def test_what_came_after_its_hour_was_closed_is_late(filled: Line) -> None:
    filled.world.run_all()
    with reading(filled.world.database) as connection:
        found = {one.hour: one.late for one in audit.event_hours(connection, Range("a"))}
    assert found == {HOUR: 0, HOUR - 3 * HOUR_MS: 2}


def test_screens_are_told_apart_and_their_maps_asked_where_something_waits(filled: Line) -> None:
    filled.world.run_all()
    filled.send("a", "home", NOW, [True, True])
    filled.land()

    def of(screen: str) -> dict[str, int]:
        world = filled.world
        found = audit_screens.screen_hours(world.database, world.olap, "a", screen, HOUR, HOUR + HOUR_MS)
        totals = audit_screens.screen_totals(found)
        return {name: totals[name] for name in ("landed", "tiled", "no_position", "pending")}

    assert of("home") == {"landed": 5, "tiled": 2, "no_position": 1, "pending": 2}
    assert of("cart") == {"landed": 1, "tiled": 1, "no_position": 0, "pending": 0}
    assert of("nowhere") == {"landed": 0, "tiled": 0, "no_position": 0, "pending": 0}


TAMPERINGS: dict[str, tuple[str, Callable[[sa.Connection], object]]] = {
    "a row of the ledger": (
        "received 7 is not",
        lambda c: c.execute(
            sa.update(ledger).where(ledger.c.measure == "received", ledger.c.client_id == "a").values(events=7)
        ),
    ),
    "an event hour": (
        "accepted 5 is not landed",
        lambda c: c.execute(
            sa.update(ledger_hours)
            .where(ledger_hours.c.client_id == "a", ledger_hours.c.hour == HOUR)
            .values(accepted=5)
        ),
    ),
    "a file gone from the list": (
        "is not the rows in the lake",
        lambda c: c.execute(
            sa.update(files).where(files.c.client_id == "a", files.c.hour == HOUR).values(state="delisted")
        ),
    ),
    "tiles of fewer rows": (
        "is not the rows behind the tiles",
        lambda c: c.execute(
            sa.update(buckets)
            .where(buckets.c.client_id == "a", buckets.c.start == HOUR, buckets.c.level == "hour")
            .values(rows=3)
        ),
    ),
    "a cell that counts too much": (
        "is not tiled + no_position",
        lambda c: c.execute(
            sa.update(buckets)
            .where(buckets.c.client_id == "a", buckets.c.start == HOUR, buckets.c.level == "hour")
            .values(tiled=4)
        ),
    ),
    "a bucket nobody published": (
        "is not the rows behind the tiles",
        lambda c: c.execute(
            sa.delete(buckets).where(buckets.c.client_id == "a", buckets.c.start == HOUR, buckets.c.level == "hour")
        ),
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_difference_is_one_sentence_that_names_client_and_hour(filled: Line, name: str) -> None:
    filled.world.run_all()
    says, tamper = TAMPERINGS[name]
    with writing(filled.world.database) as connection:
        tamper(connection)
    [found] = audit.audit(filled.world.database)
    assert says in found.text
    assert found.text.startswith("client 'a', ")
    assert found.events >= 1
    assert audit.difference(filled.world.database) == found.events
    assert audit.audit(filled.world.database, Range("b")) == []


def test_a_screen_whose_map_lacks_an_event_is_named(filled: Line) -> None:
    filled.world.run_all()
    with writing(filled.world.database) as connection:
        of_cart = (ledger_screens.c.client_id == "b") & (ledger_screens.c.screen_id == "cart")
        connection.execute(sa.update(ledger_screens).where(of_cart).values(landed=2))
    [text] = filled.compared()
    assert "client 'b'" in text
    assert "screen 'cart': landed 2, 2 with a position, but the maps hold 1 events, 1 in cells" in text
    assert filled.compared(Range("a")) == []


def test_the_ledger_stays_true_when_tiles_and_raw_events_are_retired(filled: Line) -> None:
    filled.world.run_all()
    with writing(filled.world.database) as connection:
        where = (buckets.c.level == "hour") & (buckets.c.start == HOUR)
        for row in connection.execute(sa.select(buckets).where(where)).all():
            gone = {"client_id": row.client_id, "start": HOUR, "bytes": 0, "hash": "", "retired_at": NOW}
            for what, tiled in (("hour", row.tiled), ("raw", 0)):
                connection.execute(sa.insert(retired).values(what=what, rows=row.rows, tiled=tiled, **gone))
        connection.execute(sa.delete(buckets).where(where))
        connection.execute(sa.update(files).where(files.c.hour == HOUR).values(state="delisted"))
    assert audit.audit(filled.world.database) == []
    assert numbers(filled)[0] == (4, 3, 1, 0, "gone")


def test_hours_from_before_the_ledger_of_events_close_as_far_as_they_can(line: Line) -> None:
    """Rows that a former version landed are in the lake and the tiles, and their positions were not counted."""
    rows = [("old", "home", "click", NOW, 0.5, 0.5), ("old", "home", "view", NOW, None, None)]
    line.world.land(rows)
    with writing(line.world.database) as connection:
        zeros = dict.fromkeys(OF_THE_EVENT, 0)
        connection.execute(sa.insert(ledger_hours).values(client_id="old", hour=HOUR, before=2, **zeros))
    assert audit.audit(line.world.database) == []
    line.world.run_all()
    assert audit.audit(line.world.database) == []
    assert numbers(line, "old")[0] == (0, 1, 1, 0, "tiled")
    assert line.compared() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_looks_lost_while_landing_and_tiling_go_on(line: Line, seed: int) -> None:
    """Threads land and tile while the ledger is read again and again; at the end it is what NumPy drew."""
    chance = np.random.default_rng(seed)
    drawn = [chance.integers(0, 2, int(chance.integers(1, 5))).astype(bool).tolist() for _ in range(60)]
    over, alarms, failures = threading.Event(), list[str](), list[BaseException]()

    def send() -> None:
        try:
            for at, positions in enumerate(drawn):
                line.send("ab"[at % 2], f"/{at % 3}", NOW - at % 4 * HOUR_MS, positions)
                line.land()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            over.set()

    def tile() -> None:
        try:
            while not over.is_set():
                for start, clients in line.world.dirty(Level.HOUR).items():
                    try:
                        line.world.jobs.run_hours(start, clients)
                    except Busy:
                        continue
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=one) for one in (send, tile)]
    for thread in threads:
        thread.start()
    looks = 0
    while not over.is_set() or not looks:
        alarms += [one.text for one in audit.audit(line.world.database)]
        alarms += line.compared()
        looks += 1
    for thread in threads:
        thread.join()
    assert failures == []
    assert alarms == []
    line.world.run_all()
    with reading(line.world.database) as connection:
        found = audit.totals(audit.event_hours(connection, audit.EVERYTHING, lake=True))
    positions = np.array([one for batch in drawn for one in batch])
    assert (found["landed"], found["tiled"], found["no_position"], found["pending"]) == (
        len(positions), positions.sum(), (~positions).sum(), 0,
    )  # fmt: skip
    assert line.compared() == []


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_day_of_many_screens_is_compared_in_parts(
    filled: Line, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    filled.world.run_all()
    database, olap = filled.world.database, filled.world.olap
    whole = list(audit_screens.compare_screens(database, olap, Range("a")))
    monkeypatch.setattr(audit_screens, "SCREENS_AT_ONCE", at_once)
    asked: list[Range] = []
    compare = audit_screens._compare
    monkeypatch.setattr(audit_screens, "_compare", lambda *a: (asked.append(a[2]), compare(*a))[1])
    assert list(audit_screens.compare_screens(database, olap, Range("a"))) == whole
    assert sum(one.screens for one in whole) == 3
    assert len(asked) == (1 if at_once == 3 else 2)
    assert all(before.end == after.start for before, after in pairwise(asked))
    olap.command("ALTER TABLE maps DELETE WHERE screen_id = 'home' SETTINGS mutations_sync = 1")
    assert len(filled.compared(Range("a"))) == 2


def test_days_are_compared_one_by_one_within_the_range(filled: Line) -> None:
    filled.send("a", "home", NOW - 2 * DAY_MS, [True])
    filled.land()
    parts = audit_screens.days(filled.world.database, Range("a", NOW - 3 * DAY_MS, HOUR))
    assert [one.client_id for one in parts] == ["a", "a"]
    assert parts[-1].end == HOUR
    assert all(one.start % HOUR_MS == 0 for one in parts if one.start is not None)
