"""Publishing: hashes, provenance, versions, vanished maps, tenants, interruption."""

import hashlib
import threading
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import ConfigError
from isotherm.rollup import jobs as jobs_module
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.jobs import Expired
from isotherm.rollup.leases import Busy, lease
from isotherm.rollup.read import plan_read, sum_maps
from isotherm.rollup.verify import Verifier, verify
from isotherm.store import tables
from isotherm.store.db import next_version, reading, writing


def some(world: Any, client: str = "a", hours_ago: int = 0, n: int = 50, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    at = world.hour - hours_ago * HOUR_MS
    return [(client, f"/{i % 3}", "mousemove", at + i, float(rng.random()), float(rng.random())) for i in range(n)]


def test_bucket_hash_follows_the_recipe(world: Any) -> None:
    world.land([*some(world), ("a", "/view", "view", world.hour, None, None)])
    world.run_all()
    for level in Level:
        lines = []
        for (_, screen, kind, _), counts in world.maps(level).items():
            if counts.any():
                digest = hashlib.sha256(b"".join(int(n).to_bytes(8, "little") for n in counts)).hexdigest()
                lines.append(f"{screen}\t{kind}\t\t{digest}\n".encode())
        row = world.published(level)["a", floor(level, world.hour)]
        assert row.hash == hashlib.sha256(b"".join(sorted(lines))).hexdigest()
        assert (row.maps, row.rows, row.tiled) == (4, 51, 50)


def test_hours_name_their_raw_and_rollups_their_children(world: Any) -> None:
    version = world.land(some(world), files=2)
    world.run_all()
    hour = world.published(Level.HOUR)["a", world.hour]
    assert hour.manifest_version >= version
    assert sum(r["rows"] for r in hour.provenance["ranges"]) == 50
    files = world.manifest.listed(client_ids=["a"])
    assert {r["row_hash"] for r in hour.provenance["ranges"]} == {f.row_hash for f in files}
    day = world.published(Level.DAY)["a", floor(Level.DAY, world.hour)]
    assert day.provenance == {"children": [{"start": world.hour, "version": hour.version, "hash": hour.hash}]}


def test_a_rerun_changes_no_hash_and_leaves_nothing_dirty(world: Any) -> None:
    world.land(some(world))
    world.run_all()
    assert all(world.dirty(level) == {} for level in Level)
    before = {level: {key: row.hash for key, row in world.published(level).items()} for level in Level}
    world.jobs.run_hours(world.hour, ["a"])
    assert world.dirty(Level.DAY) == {floor(Level.DAY, world.hour): ["a"]}
    world.run_all()
    assert before == {level: {key: row.hash for key, row in world.published(level).items()} for level in Level}
    world.check()


def test_a_late_event_reopens_hour_day_and_week(world: Any) -> None:
    world.land(some(world, hours_ago=24 * 9))
    world.run_all()
    world.land([("a", "/late", "click", world.hour - 24 * 9 * HOUR_MS + 7, 0.29, 0.29)])
    assert list(world.dirty(Level.HOUR)) == [world.hour - 24 * 9 * HOUR_MS]
    world.run_all()
    world.check()
    assert all(world.dirty(level) == {} for level in Level)


def test_a_week_that_was_summed_while_a_day_is_behind_stays_marked(world: Any) -> None:
    row = ("a", "s", "click", world.hour, 0.5, 0.5)
    world.land([row])
    world.run_all()
    world.land([row])
    world.run(Level.HOUR, world.hour)
    for finer, events in ((Level.WEEK, 1), (Level.DAY, 2), (Level.WEEK, 2)):
        # Whatever was summed last, a reader of the week sees both.
        assert list(world.dirty(Level.WEEK)) == [floor(Level.WEEK, world.hour)]
        world.run(finer, world.hour)
        assert world.published(finer)["a", floor(finer, world.hour)].rows == events
        week = floor(Level.WEEK, world.hour)
        with reading(world.database) as connection:
            plan = plan_read(connection, "a", week, week + WEEK_MS, world.clock.now_ms(), world.settings)
        assert sum_maps(world.olap, "a", "s", "click", "", plan.buckets).sum() == 2
    assert world.dirty(Level.WEEK) == {}
    world.check()


def test_weeks_start_on_monday(world: Any) -> None:
    monday = floor(Level.WEEK, world.hour)
    world.land([("a", "s", "click", at, 0.5, 0.5) for at in (monday - 1, monday, monday + 7 * DAY_MS - 1)])
    world.run_all()
    world.check()
    assert {start for _, start in world.published(Level.WEEK)} == {monday - 7 * DAY_MS, monday}


def test_a_map_that_vanished_becomes_all_zero(world: Any) -> None:
    world.land(some(world))
    world.land(some(world, client="b"))
    world.run_all()
    world.delist("a", world.hour)
    world.run_all()
    world.check()
    zero = world.olap.query("SELECT cells, counts, events, tiled FROM maps FINAL WHERE client_id = 'a'").to_pylist()
    assert zero == [{"cells": [], "counts": [], "events": 0, "tiled": 0}] * 9
    row = world.published(Level.WEEK)["a", floor(Level.WEEK, world.hour)]
    assert (row.maps, row.hash) == (0, hashlib.sha256(b"").hexdigest())


def test_one_client_never_touches_anothers_maps(world: Any) -> None:
    world.land(some(world, "a"))
    world.land(some(world, "A"))
    world.run_all()
    rows = "SELECT * EXCEPT last_event FROM maps FINAL WHERE client_id = 'A' ORDER BY screen_id, level"
    before = world.olap.query(rows)
    world.land(some(world, "a", seed=5))
    world.run_all()
    assert world.olap.query(rows).equals(before)
    world.check()


def test_a_slow_job_of_an_older_version_never_wins(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land(some(world))
    raced: list[bool] = []
    measure = jobs_module.measure

    def overtaken(*args: Any) -> Any:
        facts = measure(*args)
        if not raced:
            raced.append(True)
            # Another job starts and ends before this one publishes; its lease has run out meanwhile.
            with writing(world.database) as connection:
                connection.execute(sa.delete(tables.leases))
            world.delist("a", world.hour)
            world.land([("a", "/new", "click", world.hour, 0.1, 0.1)])
            world.run(Level.HOUR, world.hour)
        return facts

    monkeypatch.setattr(jobs_module, "measure", overtaken)
    with pytest.raises(Busy):
        world.run(Level.HOUR, world.hour)
    newer = world.published(Level.HOUR)["a", world.hour]
    assert (newer.maps, newer.rows) == (1, 1)
    assert world.maps(Level.HOUR)["a", "/new", "click", world.hour].sum() == 1


def test_a_stale_publication_keeps_the_newer_and_marks_the_bucket_again(world: Any) -> None:
    from isotherm.rollup.publish import Publication, measure, publish

    bucket = Bucket(Level.HOUR, world.hour)
    world.land(some(world))
    with writing(world.database) as connection:
        old = next_version(connection)
        snapshot = world.manifest.take(connection, start=world.hour, end=world.hour + HOUR_MS)
    world.delist("a", world.hour)
    world.land([("a", "/new", "click", world.hour, 0.1, 0.1)])
    world.run(Level.HOUR, world.hour)
    newer = world.published(Level.HOUR)["a", world.hour]
    world.jobs.engine.tile(bucket, snapshot.files, old)
    facts = measure(world.olap, bucket, ["a"], old)
    with writing(world.database) as connection:
        job = Publication(bucket, old, snapshot.version, facts, {"a": {}}, 1)
        assert publish(connection, job, world.clock.now_ms()) == []
    assert world.published(Level.HOUR)["a", world.hour] == newer
    assert world.dirty(Level.HOUR) == {world.hour: ["a"]}
    world.run_all()
    world.check()


def test_a_mark_set_while_the_job_ran_stays(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land(some(world))
    tile = world.jobs.engine.tile
    monkeypatch.setattr(
        world.jobs.engine, "tile", lambda *a: (tile(*a), world.land([("a", "/n", "click", world.hour, 0.5, 0.5)]))
    )
    world.run(Level.HOUR, world.hour)
    assert world.dirty(Level.HOUR) == {world.hour: ["a"]}
    monkeypatch.undo()
    world.run_all()
    world.check()


@pytest.mark.parametrize("step", ["clear_vanished", "roll_up", "tile"])
def test_an_interrupted_job_leaves_the_bucket_dirty_and_is_done_again(
    world: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world.land(some(world))
    world.run_all()
    world.land(some(world, seed=3))
    done = getattr(world.jobs.engine, step)

    def crash(*args: Any) -> None:
        done(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(world.jobs.engine, step, crash)
    with pytest.raises(KeyboardInterrupt):
        world.run_all()
    assert any(world.dirty(level) for level in Level)
    with reading(world.database) as connection:
        assert connection.execute(sa.select(tables.snapshots)).all() == []
        assert connection.execute(sa.select(tables.leases)).all() == []
    monkeypatch.undo()
    world.run_all()
    world.check()


def test_never_the_same_bucket_twice_at_once(world: Any) -> None:
    world.land(some(world))
    with lease(world.database, world.clock, f"tiles hour {world.hour}"), pytest.raises(Busy):
        world.jobs.run_hours(world.hour, ["a"])
    assert world.published(Level.HOUR) == {}
    world.jobs.run_hours(world.hour, ["a"])
    assert len(world.published(Level.HOUR)) == 1


def test_a_crashed_holders_lease_runs_out(world: Any) -> None:
    with writing(world.database) as connection:
        expires = world.clock.now_ms() + 1_000
        connection.execute(sa.insert(tables.leases).values(name="x", holder="dead", expires_at=expires))
    with pytest.raises(Busy), lease(world.database, world.clock, "x"):
        pass
    world.clock.advance(1_000)
    with lease(world.database, world.clock, "x") as mine, reading(world.database) as connection:
        assert mine.held(connection)


def test_a_lease_is_renewed_while_it_is_held(world: Any) -> None:
    with lease(world.database, world.clock, "x", lease_ms=30):
        for _ in range(5):
            world.clock.advance(20)
            renewed = world.clock.now_ms() + 30
            deadline = threading.Event()
            for _ in range(500):
                with reading(world.database) as connection:
                    expires = connection.execute(sa.select(tables.leases.c.expires_at)).scalar_one()
                if expires >= renewed:
                    break
                deadline.wait(0.01)
            assert expires >= renewed


def test_an_hour_whose_raw_has_expired_is_frozen(world: Any) -> None:
    world.land(some(world))
    world.run_all()
    world.clock.advance((world.settings.raw_retention_days + 1) * DAY_MS)
    with pytest.raises(Expired, match="raw_retention_days"):
        world.jobs.run_hours(world.hour, ["a"])
    world.check(Level.HOUR)


def test_a_day_whose_hours_have_expired_is_built_from_raw(world: Any) -> None:
    world.land(some(world) + some(world, hours_ago=1, seed=4))
    world.clock.advance(100 * DAY_MS)
    day = floor(Level.DAY, world.hour)
    assert world.hour < kept_from(Level.HOUR, world.clock.now_ms(), world.settings)
    world.jobs.run_rollup(Level.DAY, day, ["a"])
    world.jobs.run_rollup(Level.WEEK, floor(Level.WEEK, day), ["a"])
    assert world.maps(Level.HOUR) == {}
    world.check(Level.DAY, Level.WEEK)
    world.clock.advance(1000 * DAY_MS)
    with pytest.raises(Expired):
        world.jobs.run_rollup(Level.DAY, day, ["a"])


def test_a_map_is_not_made_of_the_part_of_an_hour_that_another_first_format_holds(world: Any) -> None:
    """One late event lands in JSON lines after the others were landed in Parquet: the map stays as it was."""
    world.land([("a", "/", "click", world.hour, 0.3, 0.3)] * 100)
    world.run_all()
    world.manifest.default_format = "jsonl"
    world.land([("a", "/", "click", world.hour, 0.3, 0.3)])
    with pytest.raises(ConfigError, match="land_formats: 1 hours"):
        world.run(Level.HOUR, world.hour)
    (counts,) = world.maps(Level.HOUR).values()
    assert counts.sum() == 100
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, world.settings)
    with pytest.raises(ConfigError, match="land_formats: 1 hours"):
        list(verify(verifier))
