"""Old events of a replay whose hours are past their days before their tile job comes: the ledger says what is true."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from landing import event, record
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.events import FLAG_IMPORT, FLAG_REPLAY
from isotherm.land.lander import Lander
from isotherm.land.retention import expire_raw
from isotherm.rollup import audit, audit_screens, marks
from isotherm.rollup.audit import EVERYTHING, Range
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.retention import expire
from isotherm.rollup.scheduler import Scheduler
from isotherm.store.db import reading
from isotherm.store.olap import Olap


@dataclass
class Line:
    """A log and a lander before the jobs of a world."""

    world: World
    log: MemoryLog
    sent: int = 0

    def replay(self, at: int, positions: str = "ppn", screen: str = "home") -> None:
        """Land events of an hour long past, each with a position (p) or with none (n), as a replay brings them."""
        events = [event(at + n, 0.3 if one == "p" else None) for n, one in enumerate(positions)]
        flags = (FLAG_IMPORT, FLAG_REPLAY)
        self.sent += 1
        self.log.append([record("a", f"b{self.sent}", events, screen_id=screen, received_at=at, flags=flags)])
        Lander(self.world.settings, self.log, self.world.lake, self.world.manifest, self.world.clock).drain()

    def hour(self, at: int) -> tuple[int, int, int, int, str]:
        with reading(self.world.database) as connection:
            [one] = audit.event_hours(connection, of_hour(at))
        return one.landed, one.tiled, one.no_position, one.raw_only, one.state

    def screens(self, at: int) -> dict[str, tuple[int, int, int]]:
        asked = of_hour(at)
        found = marks.marks(
            self.world.database, self.world.olap, "a", ["home", "cart"], asked.start or 0, asked.end or 0
        )
        return {name: (one.tiled, one.counts["no_position"], one.counts["raw_only"]) for name, one in found.items()}

    def check(self) -> None:
        """All sums close: of hours, of marks on maps, and of screens against their maps."""
        assert audit.audit(self.world.database) == []
        with reading(self.world.database) as connection:
            assert marks.differences(connection, Range("a")) == []
        compared = audit_screens.compare_screens(self.world.database, self.world.olap, EVERYTHING)
        assert [one.text for day in compared for one in day.differences] == []

    def counted(self) -> dict[str, int]:
        return {level.value: int(sum(m.sum() for m in self.world.maps(level).values())) for level in Level}

    def schedule(self, hours: int = 4, *, upkeep: bool) -> None:
        """Let the scheduler work for some hours; without upkeep, as if its next one were not due yet."""
        world = self.world
        scheduler = Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)
        for _ in range(hours):
            if not upkeep:
                scheduler._upkeep_due = world.clock.now_ms() + DAY_MS
            while scheduler.step():
                pass
            world.clock.advance(HOUR_MS)
        scheduler.jobs.engine.close()
        assert all(world.dirty(level) == {} for level in Level)


def of_hour(at: int) -> Range:
    start = floor(Level.HOUR, at)
    return Range("a", start, start + HOUR_MS)


@pytest.fixture
def make_line(tmp_path: Path, olap: Olap) -> Iterator[Callable[..., Line]]:
    with worlds() as make:

        def made(**days: Any) -> Line:
            settings = Settings(data=tmp_path / "w", job_threads=1, log="memory://", **days)
            world = make(settings, olap, clock=ManualClock(NOW))
            return Line(world, MemoryLog("memory://", settings, world.clock))

        yield made


def test_an_hour_whose_tiles_expire_before_they_are_made_is_told_as_gone_and_stands_in_its_day(
    make_line: Callable[..., Line],
) -> None:
    line = make_line()
    old = NOW - 120 * DAY_MS
    line.replay(old)
    expire(line.world.database, line.world.olap, NOW, line.world.settings)
    assert line.hour(old) == (3, 2, 1, 0, "gone")
    line.check()
    line.schedule(upkeep=True)
    assert line.counted() == {"hour": 0, "day": 2, "week": 2}
    line.check()
    # More of the same hour: the day takes it, and what was said of the hour stays.
    line.replay(old + 60_000, "p")
    line.schedule(upkeep=True)
    assert line.counted() == {"hour": 0, "day": 3, "week": 3}
    line.check()


def test_an_hour_that_was_passed_on_is_no_empty_part_of_its_day_when_hours_are_kept_longer(
    make_line: Callable[..., Line],
) -> None:
    line = make_line()
    old = NOW - 120 * DAY_MS
    line.replay(old)
    line.schedule(upkeep=True)
    longer = make_line(hourly_retention_days=400)
    list(backfill(longer.world.jobs, old, old + HOUR_MS, levels=[Level.DAY, Level.WEEK]))
    assert longer.counted() == {"hour": 0, "day": 2, "week": 2}


def test_what_lands_within_a_day_of_the_end_of_its_raw_events_is_kept_only(make_line: Callable[..., Line]) -> None:
    line = make_line(raw_retention_days=90)
    edge = floor(Level.HOUR, NOW) + HOUR_MS - 90 * DAY_MS
    for at in (edge, edge + DAY_MS - HOUR_MS, edge + DAY_MS):
        line.replay(at)
    assert {file.hour: file.raw_only for file in line.world.manifest.listed()} == {
        edge: True, edge + DAY_MS - HOUR_MS: True, edge + DAY_MS: False,
    }  # fmt: skip
    line.check()


@pytest.mark.parametrize("upkeep", [False, True])
@pytest.mark.parametrize("hourly", [90, 200])
def test_an_hour_that_no_job_reached_in_time_is_kept_only(
    make_line: Callable[..., Line], upkeep: bool, hourly: int
) -> None:
    line = make_line(raw_retention_days=90, hourly_retention_days=hourly)
    old = NOW - 88 * DAY_MS
    line.replay(old)
    line.replay(old, "pn", "cart")
    assert not any(file.raw_only for file in line.world.manifest.listed())
    line.world.clock.advance(4 * DAY_MS)
    line.schedule(upkeep=upkeep)
    assert line.counted() == {"hour": 0, "day": 0, "week": 0}
    assert line.hour(old)[:4] == (5, 0, 0, 5)
    assert line.screens(old) == {"home": (0, 0, 3), "cart": (0, 0, 2)}
    assert all(file.raw_only for file in line.world.manifest.listed())
    line.check()
    assert expire_raw(line.world.settings, line.world.manifest, line.world.clock.now_ms()) == 2
    line.check()


def test_of_an_hour_that_was_tiled_in_part_only_the_rest_is_kept_only(make_line: Callable[..., Line]) -> None:
    line = make_line(raw_retention_days=90, hourly_retention_days=200)
    old = NOW - 88 * DAY_MS
    line.replay(old, "ppn")
    line.world.run_all()
    line.replay(old + 60_000, "pn")
    line.replay(old + 60_000, "ppp", "cart")
    line.world.clock.advance(4 * DAY_MS)
    line.schedule(upkeep=False)
    assert line.counted() == {"hour": 2, "day": 2, "week": 2}
    assert line.hour(old) == (8, 2, 1, 5, "tiled")
    assert line.screens(old) == {"home": (2, 1, 2), "cart": (0, 0, 3)}
    line.check()
    expire_raw(line.world.settings, line.world.manifest, line.world.clock.now_ms())
    line.check()


def test_a_frozen_hour_without_anything_untiled_stays_as_it_is(make_line: Callable[..., Line]) -> None:
    line = make_line(raw_retention_days=90, hourly_retention_days=200)
    old = NOW - 80 * DAY_MS
    line.replay(old)
    line.world.run_all()
    line.world.clock.advance(20 * DAY_MS)
    bucket = Bucket(Level.HOUR, floor(Level.HOUR, old))
    line.world.mark(Level.HOUR, bucket.start, "a", 1)
    line.schedule(upkeep=False)
    assert line.hour(old) == (3, 2, 1, 0, "tiled")
    line.check()
