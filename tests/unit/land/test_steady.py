"""A clock that leaps ahead removes nothing for a day; one that is right is followed."""

import threading

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from isotherm.land import rounds
from isotherm.land.steady import HELD_MS, LEAP_MS, Seen, SteadyClock, follow, leaps
from isotherm.land.upkeep import Upkeep
from isotherm.store import tables
from isotherm.store.db import reading


def upkeep(world: World) -> Upkeep:
    """That of a process that has just started."""
    failures: list[Exception] = []
    return Upkeep(world.settings, world.log, world.lake, world.manifest, world.clock, failures.append)


def listed(world: World) -> int:
    return len(world.manifest.listed())


def test_raw_events_outlive_a_clock_that_is_years_ahead_for_hours(world: World) -> None:
    world.append(record("shop", "b", [event(NOW)]))
    world.lander().step(force=True)
    stop = threading.Event()
    upkeep(world).once(stop)
    world.clock.advance(1000 * DAY_MS)
    for _ in range(23):
        # Each by a process of its own: what was seen is not forgotten.
        upkeep(world).once(stop)
        world.clock.advance(HOUR_MS)
    assert listed(world) == 1
    assert leaps(rounds.last(world.engine)) == [(NOW, NOW + 1000 * DAY_MS + 22 * HOUR_MS)]
    world.clock.advance(-1000 * DAY_MS)
    upkeep(world).once(stop)
    assert listed(world) == 1
    assert leaps(rounds.last(world.engine)) == []


def test_what_lands_under_a_clock_that_is_years_ahead_is_tiled(world: World) -> None:
    """Rows that are kept only are never tiled, also when the clock is right again."""
    stop = threading.Event()
    upkeep(world).once(stop)
    world.append(record("shop", "b", [event(NOW)]))
    world.clock.advance(1000 * DAY_MS)
    world.lander().step(force=True)
    assert [file.raw_only for file in world.manifest.listed()] == [False]
    upkeep(world).once(stop)
    world.append(record("shop", "c", [event(NOW)]))
    world.lander().step(force=True)
    assert [file.raw_only for file in world.manifest.listed()] == [False, False]


def test_a_clock_that_says_the_same_for_a_day_is_believed(world: World) -> None:
    world.append(record("shop", "b", [event(NOW)]))
    world.lander().step(force=True)
    stop = threading.Event()
    upkeep(world).once(stop)
    world.clock.advance(1000 * DAY_MS)
    upkeep(world).once(stop)
    assert listed(world) == 1
    world.clock.advance(DAY_MS)
    upkeep(world).once(stop)
    assert listed(world) == 0
    with reading(world.engine) as connection:
        assert connection.execute(sa.select(tables.retired.c.rows)).scalars().all() == [1]


def test_somebody_may_vouch_for_the_clock(world: World) -> None:
    steady = SteadyClock(world.engine, world.clock, "land")
    assert steady.now_ms() == NOW
    world.clock.advance(10 * DAY_MS)
    assert steady.now_ms() == NOW
    assert steady.believe() == NOW + 10 * DAY_MS
    assert steady.now_ms() == NOW + 10 * DAY_MS


def test_works_are_held_each_by_itself(world: World) -> None:
    first = SteadyClock(world.engine, world.clock, "land")
    assert first.now_ms() == NOW
    world.clock.advance(10 * DAY_MS)
    second = SteadyClock(world.engine, ManualClock(NOW + 10 * DAY_MS), "tiles")
    assert (first.now_ms(), second.now_ms()) == (NOW, NOW + 10 * DAY_MS)


@given(
    st.lists(st.integers(1, LEAP_MS), max_size=50),
    st.integers(LEAP_MS + 1, 10**12),
    st.lists(st.integers(0, 30 * MINUTE_MS), max_size=40),
)
def test_a_right_clock_is_followed_at_once_and_a_leap_not_before_a_day_of_it(
    steps: list[int], leap: int, after: list[int]
) -> None:
    now, seen = NOW, follow(None, NOW)
    for step in steps:
        now += step
        seen = follow(seen, now)
        assert seen == Seen(now)
    now += leap
    before, leapt_at = seen.by, now
    for step in (0, *after):
        now += step
        seen = follow(seen, now)
        assert seen.by == (now if now - leapt_at >= HELD_MS else before)
        if seen.by == now:
            break


@given(st.lists(st.integers(-(10**11), 10**11), max_size=60))
def test_what_is_removed_by_is_never_ahead_of_the_clock_by_its_own_fault(moves: list[int]) -> None:
    """Whatever the clock does: the moment is one that the clock has said, in this round or in an earlier one, and none
    that it left again within a day by more than a leap."""
    now, seen, said = NOW, follow(None, NOW), {NOW}
    for move in moves:
        now += move
        said.add(now)
        before, seen = seen, follow(seen, now)
        assert seen.by in said
        if seen.by > before.by + LEAP_MS:
            assert before.leapt_at is not None
            assert seen.by - before.leapt_at >= HELD_MS
