"""The scheduler, driven step by step with a clock that moves only when told to."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from isotherm.errors import IsothermError
from isotherm.rollup.buckets import Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.leases import LEASE_MS, lease
from isotherm.rollup.scheduler import Scheduler
from isotherm.store import tables
from isotherm.store.db import next_version, writing


def scheduler_of(world: Any) -> Scheduler:
    return Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)


def one(world: Any, at: int, client: str = "a") -> list[Any]:
    return [(client, "/", "mousemove", at, 0.5, 0.5)]


def settle(world: Any, scheduler: Scheduler, hours: float = 1) -> None:
    """Step through the given time, minute by minute."""
    for _ in range(int(hours * 60)):
        while scheduler.step():
            pass
        world.clock.advance(MINUTE_MS)


def runs(scheduler: Scheduler) -> int:
    return scheduler.status()["jobs"]


def test_the_current_hour_is_tiled_at_once_and_then_rests(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour))
    assert scheduler.step()
    assert scheduler.status()["last_job"]["hour"]["rows"] == 1
    while scheduler.step():
        pass
    done = runs(scheduler)
    world.land(one(world, world.hour + 1))
    assert not scheduler.step()
    world.clock.advance(int(world.settings.retile_min_seconds * SECOND_MS) + 4 * 60 * SECOND_MS)
    assert scheduler.step()
    assert runs(scheduler) == done + 1
    world.check(Level.HOUR)


def test_the_rest_grows_with_what_the_last_job_cost(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour))
    scheduler.step()
    bucket = next(b for b in scheduler._past if b.level is Level.HOUR)
    scheduler._past[bucket].cost_ms = 10_000
    world.land(one(world, world.hour))
    while scheduler.step():
        pass
    done = runs(scheduler)
    world.clock.advance(99_000)
    assert not scheduler.step()
    world.clock.advance(1_001)
    assert scheduler.step()
    assert runs(scheduler) == done + 1


def test_who_is_a_small_part_of_a_bucket_waits_for_a_small_part_of_its_cost(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour) + [("b", f"/{n}", "mousemove", world.hour, 0.5, 0.5) for n in range(9)])
    scheduler.step()
    bucket = next(b for b in scheduler._past if b.level is Level.HOUR)
    scheduler._past[bucket].cost_ms = 10_000
    world.land(one(world, world.hour, "a"))
    while scheduler.step():
        pass
    done = runs(scheduler)
    world.clock.advance(9_000)
    assert not scheduler.step()
    world.clock.advance(1_001)
    assert scheduler.step()
    assert runs(scheduler) == done + 1
    assert scheduler.status()["last_job"]["hour"]["clients"] == 1
    world.check(Level.HOUR)


def test_who_is_most_of_a_bucket_waits_for_most_of_its_cost(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour) + [("b", f"/{n}", "mousemove", world.hour, 0.5, 0.5) for n in range(9)])
    scheduler.step()
    bucket = next(b for b in scheduler._past if b.level is Level.HOUR)
    scheduler._past[bucket].cost_ms = 10_000
    world.land(one(world, world.hour, "b"))
    while scheduler.step():
        pass
    done = runs(scheduler)
    world.clock.advance(89_000)
    assert not scheduler.step()
    world.clock.advance(1_001)
    assert scheduler.step()
    assert runs(scheduler) == done + 1


def test_a_past_hour_waits_until_nothing_more_lands(world: Any) -> None:
    scheduler = scheduler_of(world)
    late = world.hour - 50 * HOUR_MS
    world.land(one(world, late))
    assert not scheduler.step()
    for _ in range(100):
        world.clock.advance(1_000)
        world.land(one(world, late))
        if scheduler.step():
            break
    else:
        pytest.fail("an hour that never rests was never tiled")
    settle(world, scheduler)
    world.check()


def test_catches_up_after_downtime_and_follows_late_events(world: Any) -> None:
    for hours_ago in (0, 1, 5, 30, 24 * 8, 24 * 8 + 1):
        world.land(one(world, world.hour - hours_ago * HOUR_MS))
        world.land(one(world, world.hour - hours_ago * HOUR_MS, "b"))
    scheduler = scheduler_of(world)
    settle(world, scheduler)
    world.check()
    assert scheduler.status()["dirty"] == {"hour": 0, "day": 0, "week": 0}
    world.land(one(world, world.hour - 24 * 8 * HOUR_MS))
    assert scheduler.status()["tiled_until"]["hour"] == world.hour - 24 * 8 * HOUR_MS
    settle(world, scheduler)
    world.check()


def test_a_past_day_waits_for_its_hours(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = scheduler_of(world)
    order: list[str] = []
    run = scheduler.jobs.run
    monkeypatch.setattr(scheduler.jobs, "run", lambda b, c: (order.append(b.level.value), run(b, c))[1])
    for hours_ago in range(48, 52):
        world.land(one(world, world.hour - hours_ago * HOUR_MS))
    settle(world, scheduler)
    assert order == sorted(order, key=["hour", "day", "week"].index)
    world.check()


def test_one_failing_bucket_is_seen_and_does_not_stop_the_others(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = scheduler_of(world)
    run = scheduler.jobs.run

    def failing(bucket: Any, clients: Any) -> Any:
        if bucket.start == world.hour:
            raise IsothermError("disk on fire")
        return run(bucket, clients)

    monkeypatch.setattr(scheduler.jobs, "run", failing)
    world.land(one(world, world.hour))
    world.land(one(world, world.hour - 30 * HOUR_MS))
    settle(world, scheduler, 0.2)
    status = scheduler.status()
    assert "disk on fire" in status["last_error"]
    assert 1 < status["failures"] < 10
    assert ("a", world.hour - 30 * HOUR_MS) in world.published(Level.HOUR)
    monkeypatch.undo()
    settle(world, scheduler)
    world.check()


def test_two_schedulers_share_the_work(make_world: Callable[..., Any], world: Any) -> None:
    first, second = scheduler_of(world), scheduler_of(world)
    for hours_ago in range(6):
        world.land(one(world, world.hour - hours_ago * HOUR_MS))
    for _ in range(90):
        first.step()
        second.step()
        world.clock.advance(MINUTE_MS)
    world.check()
    assert runs(first)
    assert runs(second)


def test_a_bucket_in_other_hands_is_left_alone(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour))
    with lease(world.database, world.clock, f"tiles hour {world.hour}"):
        scheduler.step()
        assert world.published(Level.HOUR) == {}
        assert scheduler.status()["failures"] == 0
    settle(world, scheduler)
    world.check()


def test_a_bucket_whose_job_was_killed_is_done_soon_after_its_lease_is_over(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour))
    with writing(world.database) as connection:
        expires = world.clock.now_ms() + LEASE_MS
        name = f"tiles hour {world.hour}"
        connection.execute(sa.insert(tables.leases).values(name=name, holder="killed", expires_at=expires))
    for _ in range(LEASE_MS // SECOND_MS - 1):
        assert not scheduler.status()["jobs"]
        scheduler.step()
        world.clock.advance(SECOND_MS)
    for _ in range(5):
        world.clock.advance(SECOND_MS)
        scheduler.step()
    assert world.published(Level.HOUR) != {}


def test_retention_by_our_own_clock(world: Any) -> None:
    scheduler = scheduler_of(world)
    ages = (0, 24 * 20, 24 * 40, 24 * 70)
    for hours_ago in ages:
        world.land(one(world, world.hour - hours_ago * HOUR_MS))
    world.run_all()
    for days in (45, 90, 800, 2_000):
        # A day goes by before a leap of the clock is believed.
        for forward in (days - 1, 1):
            world.clock.advance(forward * DAY_MS)
            while scheduler.step():
                pass
        for level in Level:
            before = kept_from(level, world.clock.now_ms(), world.settings)
            kept = {floor(level, world.hour - h * HOUR_MS) for h in ages} - {
                floor(level, world.hour - h * HOUR_MS) for h in ages if floor(level, world.hour - h * HOUR_MS) < before
            }
            assert {start for *_, start in world.maps(level)} == kept
            assert {start for _, start in world.published(level)} == kept
    assert kept == set()


def test_a_mark_no_job_can_serve_is_taken_back(world: Any) -> None:
    scheduler = scheduler_of(world)
    world.land(one(world, world.hour))
    world.run_all()
    before = world.published(Level.WEEK)
    world.clock.advance(750 * DAY_MS)
    with writing(world.database) as connection:
        version = next_version(connection)
    world.mark(Level.WEEK, floor(Level.WEEK, world.hour), "a", version)
    while scheduler.step():
        pass
    assert world.dirty(Level.WEEK) == {}
    assert world.published(Level.WEEK) == before


def test_the_thread_stops_when_told_and_survives_errors(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = scheduler_of(world)
    stop = threading.Event()
    calls = threading.Event()
    step = scheduler.step

    def flaky() -> bool:
        if not calls.is_set():
            calls.set()
            raise RuntimeError("once")
        return step()

    monkeypatch.setattr(scheduler, "step", flaky)
    world.land(one(world, world.hour))
    thread = threading.Thread(target=scheduler.run, args=(stop,))
    thread.start()
    try:
        pause = threading.Event()
        for _ in range(2_000):
            if ("a", world.hour) in world.published(Level.HOUR):
                break
            pause.wait(0.01)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert "once" in scheduler.status()["last_error"]
    world.check(Level.HOUR)
