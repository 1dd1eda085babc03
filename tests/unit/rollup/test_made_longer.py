"""A retention that was made longer brings nothing back: what went is never taken for empty, by jobs nor by reads."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import Problem
from isotherm.land import retired
from isotherm.land.retention import expire_raw
from isotherm.rollup import dirty
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, cover, floor
from isotherm.rollup.jobs import Expired
from isotherm.rollup.leases import Busy
from isotherm.rollup.read import ReadPlan, plan_read, sum_maps
from isotherm.rollup.retention import expire
from isotherm.rollup.scheduler import Scheduler
from isotherm.store import tables
from isotherm.store.db import next_version, reading, writing
from isotherm.store.olap import Olap

HOUR = NOW - NOW % HOUR_MS
DAY, WEEK = floor(Level.DAY, HOUR), floor(Level.WEEK, HOUR)
Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, olap: Olap) -> Iterator[Make]:
    """Makes worlds on the same data, under other days: `make(raw_retention_days=40)`."""
    clock = ManualClock(NOW)
    with worlds() as worlds_of:
        yield lambda **days: worlds_of(Settings(data=tmp_path / "w", job_threads=2, **days), olap, clock=clock)


def filled(world: World) -> World:
    world.land([("a", "s", "click", HOUR + at, 0.5, 0.5) for at in range(5)])
    world.land([("b", "s", "click", HOUR - HOUR_MS, 0.5, 0.5)])
    world.run_all()
    return world


def counted(world: World, client: str = "a") -> dict[str, int]:
    """What the stored maps hold, by level."""
    of = {level.value: [m for key, m in world.maps(level).items() if key[0] == client] for level in Level}
    return {level: int(sum(m.sum() for m in maps)) for level, maps in of.items()}


def read(world: World, start: int, end: int, client: str = "a") -> tuple[ReadPlan, int]:
    with reading(world.database) as connection:
        plan = plan_read(connection, client, start, end, world.clock.now_ms(), world.settings)
    return plan, int(sum_maps(world.olap, client, "s", "click", "", plan.buckets).sum())


def nearest(refused: Problem) -> tuple[int, int]:
    low, high = (datetime.fromisoformat(refused.extra["nearest"][edge]).timestamp() for edge in ("from", "to"))
    return round(low * 1000), round(high * 1000)


def mark(world: World, *buckets: Bucket, client: str = "a") -> None:
    with writing(world.database) as connection:
        dirty.mark(connection, buckets, [client], next_version(connection), world.clock.now_ms())


def without_raw(make: Make) -> World:
    """The raw events of both clients went after 40 days; then they are to stay for two years."""
    world = filled(make(raw_retention_days=40, hourly_retention_days=400))
    world.clock.advance(50 * DAY_MS)
    assert expire_raw(world.settings, world.manifest, world.clock.now_ms()) == 2
    return make(hourly_retention_days=400)


def without_hours(make: Make) -> World:
    """The hourly tiles of both clients went after 60 days; then they are to stay for 90."""
    world = filled(make(hourly_retention_days=60))
    world.clock.advance(75 * DAY_MS)
    expire(world.database, world.olap, world.clock.now_ms(), world.settings)
    return make()


WHOLE = {"hour": 5, "day": 5, "week": 5}


def test_a_backfill_leaves_hours_as_they_are_whose_raw_events_went(make: Make) -> None:
    world = without_raw(make)
    steps = list(backfill(world.jobs, DAY, DAY + DAY_MS))
    assert {step.bucket.level for step in steps} == {Level.DAY, Level.WEEK}
    assert counted(world) == WHOLE
    assert all(world.dirty(level) == {} for level in Level)
    with pytest.raises(Expired) as expired:
        world.jobs.run_hours(HOUR, ["a"])
    assert expired.value.client_ids == ["a"]


def test_marks_after_damage_empty_no_map_whose_raw_events_went(make: Make) -> None:
    """What the mender does: every bucket of the period is lost, and marked to be made again."""
    world = without_raw(make)
    with writing(world.database) as connection:
        of_hours = tables.buckets.c.level == "hour"
        connection.execute(sa.update(tables.buckets).where(of_hours).values(lost_version=next_version(connection)))
    before = {level: world.published(level) for level in Level}
    for level in Level:
        mark(world, Bucket(level, floor(level, HOUR)))
    scheduler = Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)
    for _ in range(4):
        world.clock.advance(HOUR_MS)
        while scheduler.step():
            pass
    scheduler.jobs.engine.close()
    assert counted(world) == WHOLE
    assert all(world.dirty(level) == {} for level in Level)
    assert {level: world.published(level).keys() for level in Level} == {level: before[level].keys() for level in Level}
    assert world.published(Level.HOUR) == before[Level.HOUR]
    assert world.published(Level.DAY) == before[Level.DAY]


def test_days_whose_hours_went_are_counted_from_the_raw_events(make: Make) -> None:
    world = without_hours(make)
    list(backfill(world.jobs, DAY, DAY + DAY_MS, levels=[Level.DAY, Level.WEEK]))
    assert counted(world) == WHOLE | {"hour": 0}
    assert list(world.published(Level.DAY)["a", DAY].provenance) == ["ranges"]
    assert list(world.published(Level.WEEK)["a", WEEK].provenance) == ["children"]


def test_hours_that_were_built_again_are_parts_of_their_day_again(make: Make) -> None:
    world = without_hours(make)
    for _ in range(2):
        list(backfill(world.jobs, DAY, DAY + DAY_MS, ["a"]))
        assert counted(world) == WHOLE
    assert list(world.published(Level.DAY)["a", DAY].provenance) == ["children"]
    assert read(world, HOUR, HOUR + HOUR_MS)[1] == 5
    with pytest.raises(Problem, match="have expired"):
        read(world, HOUR - HOUR_MS, HOUR, "b")


def test_a_day_whose_hours_and_raw_events_went_stays(make: Make) -> None:
    world = filled(make(raw_retention_days=60, hourly_retention_days=60))
    world.clock.advance(75 * DAY_MS)
    now = world.clock.now_ms()
    expire(world.database, world.olap, now, world.settings)
    expire_raw(world.settings, world.manifest, now)
    world = make()
    assert {step.bucket.level for step in backfill(world.jobs, DAY, DAY + DAY_MS)} == set()
    with pytest.raises(Expired):
        world.jobs.run_rollup(Level.DAY, DAY, ["a"])
    assert counted(world) == WHOLE | {"hour": 0}


def test_what_goes_between_a_job_s_choice_and_its_reading_is_not_built_from(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled(make(raw_retention_days=60, hourly_retention_days=60))
    later = ManualClock(NOW + 75 * DAY_MS).now_ms()
    take, children = world.jobs._read_raw, world.jobs._read_children

    def raw_first(*asked: Any) -> Any:
        expire_raw(world.settings, world.manifest, later)
        return take(*asked)

    def hours_first(*asked: Any) -> Any:
        expire(world.database, world.olap, later, world.settings)
        return children(*asked)

    monkeypatch.setattr(world.jobs, "_read_raw", raw_first)
    monkeypatch.setattr(world.jobs, "_read_children", hours_first)
    for bucket, told in ((Bucket(Level.DAY, DAY), "finer maps"), (Bucket(Level.HOUR, HOUR), "raw events")):
        with pytest.raises(Busy, match=told):
            world.jobs.run(bucket, ["a"])
    assert counted(world) == WHOLE | {"hour": 0}


def test_a_backfill_goes_on_when_raw_events_go_meanwhile(make: Make) -> None:
    world = filled(make(raw_retention_days=60, hourly_retention_days=400))
    steps = backfill(world.jobs, DAY, DAY + DAY_MS)
    done = [next(steps)]
    expire_raw(world.settings, world.manifest, NOW + 75 * DAY_MS)
    done += steps
    assert [(step.bucket.level, step.clients) for step in done] == [
        (Level.HOUR, 1), (Level.HOUR, 0), (Level.DAY, 2), (Level.WEEK, 2),
    ]  # fmt: skip
    assert counted(world) == WHOLE
    assert all(world.dirty(level) == {} for level in Level)


def test_an_hour_that_went_is_refused_with_the_nearest_range(make: Make) -> None:
    world = without_hours(make)
    for start, end in ((HOUR, HOUR + HOUR_MS), (DAY - 2 * DAY_MS, HOUR + HOUR_MS), (HOUR, DAY + 2 * DAY_MS)):
        with pytest.raises(Problem) as refused:
            read(world, start, end)
        assert refused.value.status == 422
        low, high = nearest(refused.value)
        assert (low, high) == (min(start, DAY), max(end, DAY + DAY_MS))
        assert read(world, low, high)[1] == 5
    # Nothing ever was in these hours.
    assert read(world, HOUR + HOUR_MS, HOUR + 2 * HOUR_MS)[1] == 0


def test_a_changed_day_whose_hours_went_answers_as_stale(make: Make) -> None:
    world = without_hours(make)
    for marked in (Level.DAY, Level.WEEK):
        mark(world, Bucket(marked, floor(marked, HOUR)))
    for start, end in ((DAY, DAY + DAY_MS), (WEEK, WEEK + WEEK_MS)):
        plan, events = read(world, start, end)
        assert (plan.buckets, plan.stale, events) == ([Bucket(Level.DAY, DAY)], True, 5)


@pytest.mark.parametrize("level", [Level.DAY, Level.WEEK])
def test_days_and_weeks_that_went_are_refused_too(make: Make, level: Level) -> None:
    days = {"hourly_retention_days": 60, "daily_retention_days": 60}
    world = filled(make(**days, weekly_retention_days=60 if level is Level.WEEK else 400))
    world.clock.advance(80 * DAY_MS)
    expire(world.database, world.olap, world.clock.now_ms(), world.settings)
    world = make()
    with pytest.raises(Problem) as refused:
        read(world, DAY, DAY + DAY_MS)
    low, high = nearest(refused.value)
    if level is Level.DAY:
        assert (low, high) == (WEEK, WEEK + WEEK_MS)
        assert read(world, low, high)[1] == 5
    else:
        assert low == WEEK + WEEK_MS
        assert read(world, low, high)[1] == 0


HOURS = 4 * 7 * 24
GONE = st.tuples(st.sampled_from(list(Level)), st.integers(0, HOURS - 1))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    went=st.lists(GONE, max_size=8), again=st.lists(GONE, max_size=4), edges=st.sets(st.integers(0, HOURS), min_size=2)
)
def test_whatever_went_and_changed_the_nearest_range_is_answered(
    world: World, went: list[tuple[Level, int]], again: list[tuple[Level, int]], edges: set[int]
) -> None:
    first = WEEK - 4 * WEEK_MS

    def starts(chosen: list[tuple[Level, int]]) -> set[Bucket]:
        return {Bucket(level, floor(level, first + hour * HOUR_MS)) for level, hour in chosen}

    with writing(world.database) as connection:
        connection.execute(sa.delete(tables.retired))
        connection.execute(sa.delete(tables.dirty))
        for level, start in starts(went):
            retired.write(connection, level.value, [{"client_id": "a", "start": start, "rows": 1}], NOW)
        dirty.mark(connection, starts(again), ["a"], next_version(connection), NOW)
    start, end = first + min(edges) * HOUR_MS, first + max(edges) * HOUR_MS
    try:
        read(world, start, end)
    except Problem as refused:
        low, high = nearest(refused)
        assert (low, high) != (start, end)
        assert low < high
        read(world, low, high)
        weeks_went = any(level is Level.WEEK for level, _ in went)
        assert weeks_went or (low <= start and high >= end)
    else:
        # A whole week that is clean answers for what it holds.
        alone = {one for one in cover(start, end) if one.level is Level.HOUR}
        assert not alone & starts(went)
