"""The nightly sample: once a night by our clock, by one process, within its time, and told where people look."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from tiling import World

from isotherm import metrics
from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.land import rounds
from isotherm.rollup.leases import lease
from isotherm.rollup.nightly import ROUND, Nightly
from isotherm.rollup.verify import Verifier
from isotherm.store import tables
from isotherm.store.db import writing


def nightly(world: World, **settings: Any) -> Nightly:
    chosen = world.settings.model_copy(update={"verify_sample": 5, "verify_hour": 3} | settings)
    return Nightly(Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, chosen))


def at(world: World, hour: int, minute: int = 0) -> None:
    """Move the clock on to the next such time of day."""
    now = world.clock.now_ms()
    world.clock.advance((hour * HOUR_MS + minute * MINUTE_MS - now) % DAY_MS or DAY_MS)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    made = make_world()
    made.land([(client, "/", "click", made.hour - ago * HOUR_MS, 0.5, 0.5) for client in "ab" for ago in (0, 1, 30)])
    made.run_all()
    return made


def gauge(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_it_runs_once_a_night_and_catches_up(world: World) -> None:
    one, other = nightly(world), nightly(world)
    at(world, 2, 59)
    assert not one.step()  # nothing was published before the last night's hour
    at(world, 3)
    assert one.step()
    assert not one.step()
    assert not other.step()
    at(world, 2, 59)
    assert not other.step()
    at(world, 3)
    assert other.step()
    world.clock.advance(3 * DAY_MS)
    assert one.step()
    assert not other.step()


def test_a_clock_that_was_a_year_ahead_costs_no_year_of_nights(world: World) -> None:
    one = nightly(world)
    at(world, 4)
    world.clock.advance(365 * DAY_MS)
    assert one.step()
    world.clock.advance(-364 * DAY_MS)
    assert one.step()
    assert not one.step()
    at(world, 4)
    assert one.step()


def test_what_it_found_is_told(world: World) -> None:
    read = gauge("isotherm_verify_events_total")
    at(world, 4)
    assert nightly(world, verify_sample=50).step()
    told = rounds.last(world.database)[ROUND]["did"]
    assert (told["same"], told["different"], told["complete"]) == (told["buckets"], 0, True)
    assert told["buckets"] >= 6 + 2
    assert told["events"] == len(world.landed)
    assert gauge("isotherm_verify_buckets", finding="same") == told["same"]
    assert gauge("isotherm_verify_timestamp_seconds") == world.clock.now_ms() / 1000
    assert gauge("isotherm_verify_events_total") == read + told["events"]


def test_a_difference_is_an_error_in_the_log_that_names_the_bucket(world: World) -> None:
    wrong = (tables.buckets.c.client_id == "b") & (tables.buckets.c.level == "hour")
    with writing(world.database) as connection:
        changed = sa.update(tables.buckets).where(wrong, tables.buckets.c.start == world.hour).values(hash="0" * 64)
        connection.execute(changed)
    listed = world.manifest.listed(client_ids=["a"], start=world.hour, end=world.hour + HOUR_MS)
    world.lake.delete(listed[0].path)
    at(world, 3)
    with capture_logs() as logs:
        assert nightly(world, verify_sample=50).step()
    errors = {(entry["client_id"], entry["level"], entry["finding"]) for entry in logs if entry["log_level"] == "error"}
    assert ("b", "hour", "different") in errors
    assert {("a", level, "unreadable") for level in ("hour", "day", "week")} <= errors
    told = rounds.last(world.database)[ROUND]["did"]
    assert (told["different"], told["unreadable"]) == (1, 3)
    assert {entry["client_id"] for entry in told["differences"]} == {"a", "b"}
    # Another process, started later, tells the same.
    metrics.VERIFY_BUCKETS.clear()
    assert not nightly(world).step()
    assert gauge("isotherm_verify_buckets", finding="different") == 1


def test_nought_turns_it_off_and_its_time_and_a_stop_end_it_early(world: World) -> None:
    at(world, 3)
    assert not nightly(world, verify_sample=0).step()
    stop = threading.Event()
    stop.set()
    assert nightly(world, verify_sample=50).step(stop)
    assert rounds.last(world.database)[ROUND]["did"]["complete"] is False
    at(world, 3)
    assert nightly(world, verify_sample=50, verify_minutes=1e-9).step()
    told = rounds.last(world.database)[ROUND]["did"]
    assert (told["complete"], told["buckets"]) == (False, 0)


def test_turned_off_it_is_not_missed(world: World) -> None:
    at(world, 3)
    assert nightly(world, verify_sample=50).step()
    assert gauge("isotherm_verify_timestamp_seconds") > 0
    assert not nightly(world, verify_sample=0).step()
    assert gauge("isotherm_verify_timestamp_seconds") == 0
    assert gauge("isotherm_verify_buckets", finding="same") == 0


def test_one_process_does_it(world: World) -> None:
    at(world, 3)
    with lease(world.database, world.clock, "nightly verification"):
        assert not nightly(world).step()
    assert nightly(world).step()


def test_its_thread_ends_when_it_is_told_to(world: World) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=nightly(world).run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
