"""The scheduler's clock is set back or forward: buckets are tiled all the same, and leases are not held for ever."""

from typing import Any

import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.rollup.buckets import Level
from isotherm.rollup.leases import Busy, lease
from isotherm.rollup.scheduler import Scheduler
from isotherm.store import tables
from isotherm.store.db import writing


@pytest.fixture
def scheduler(world: Any) -> Scheduler:
    jobs = world.jobs
    made = Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)
    made.jobs = jobs
    return made


@pytest.mark.parametrize("jump", [-6 * HOUR_MS, 6 * HOUR_MS, -2 * DAY_MS])
def test_maps_follow_though_the_clock_jumps(world: Any, scheduler: Scheduler, jump: int) -> None:
    row = ("a", "home", "click", world.hour - 9 * HOUR_MS, 0.25, 0.5)
    world.land([row])
    assert scheduler.step() is False
    for _ in range(3):
        world.clock.advance(MINUTE_MS)
        scheduler.step()
    world.land([row])
    world.clock.advance(jump)
    for _ in range(40):
        if not scheduler.step():
            world.clock.advance(MINUTE_MS)
    assert world.dirty(Level.HOUR) == {}
    world.check()


def test_no_mark_is_taken_back_under_a_clock_that_is_years_ahead(world: Any, scheduler: Scheduler) -> None:
    row = ("a", "home", "click", world.hour - 9 * HOUR_MS, 0.25, 0.5)
    world.land([row])
    scheduler.step()
    world.clock.advance(1000 * DAY_MS)
    for _ in range(6):
        scheduler.step()
        world.clock.advance(MINUTE_MS)
    world.clock.advance(-1000 * DAY_MS)
    for _ in range(10):
        if not scheduler.step():
            world.clock.advance(MINUTE_MS)
    assert world.dirty(Level.HOUR) == {}
    world.check()


def test_a_lease_from_before_the_clock_was_set_back_is_over(world: Any) -> None:
    with writing(world.database) as connection:
        expires = world.clock.now_ms() + 10_000
        connection.execute(sa.insert(tables.leases).values(name="x", holder="dead", expires_at=expires))
    with pytest.raises(Busy), lease(world.database, world.clock, "x"):
        pass
    world.clock.advance(-HOUR_MS)
    with lease(world.database, world.clock, "x"), pytest.raises(Busy), lease(world.database, world.clock, "x"):
        pass
