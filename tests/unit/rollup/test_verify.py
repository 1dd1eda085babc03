"""Verification finds what we planted, and says nothing against what is right."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import Problem
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level, floor
from isotherm.rollup.verify import Finding, Verdict, Verifier, verify
from isotherm.store import tables
from isotherm.store.db import writing


def check(world: Any, **which: Any) -> list[Verdict]:
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, world.settings)
    return list(verify(verifier, **which))


def fill(world: Any) -> None:
    rng = np.random.default_rng(7)
    for client in ("a", "b"):
        for hours_ago in (0, 1, 30, 24 * 9):
            at = world.hour - hours_ago * HOUR_MS
            x, y = rng.random((2, 2_500))
            world.land([(client, "/", "mousemove", at, float(p), float(q)) for p, q in zip(x, y, strict=True)], 2)
            world.land([(client, "/b", "click", at, 0.29, 1.0), (client, "/b", "view", at, None, None)])
    world.run_all()


def test_what_is_right_is_the_same_at_every_level(world: Any) -> None:
    fill(world)
    verdicts = check(world)
    assert {v.finding for v in verdicts} == {Finding.SAME}
    assert len(verdicts) == sum(len(world.published(level)) for level in Level)
    assert all(v.maps == 3 for v in verdicts)
    only = check(world, client_ids=["b"], start=world.hour, end=world.hour + HOUR_MS)
    assert [(v.client_id, v.bucket.start) for v in only] == [("b", world.hour)]


@pytest.mark.parametrize("level", list(Level))
def test_a_planted_cell_is_named(world: Any, level: Level) -> None:
    fill(world)
    start = floor(level, world.hour - 24 * 9 * HOUR_MS)
    world.olap.command(
        "INSERT INTO maps SELECT * EXCEPT (version, cells, counts), version + 1, cells,"
        " arrayMap((c, i) -> c + (i = 1 + 7 * 100 + 42), counts, arrayEnumerate(counts)) FROM"
        " (SELECT * FROM maps FINAL WHERE client_id = 'b' AND screen_id = '/' AND level = {level:String}"
        " AND bucket_start = {start:DateTime})".replace("INTO maps ", f"INTO maps ({_COLUMNS}) "),
        {"level": level.value, "start": start // 1000},
    )
    wrong = [v for v in check(world) if v.finding is not Finding.SAME]
    assert [(v.bucket, v.client_id) for v in wrong] == [((level, start), "b")]
    found = wrong[0]
    assert (found.finding, found.screen_id, found.event_type) == (Finding.DIFFERENT, "/", "mousemove")
    assert (found.cell_x, found.cell_y) == (42, 7)
    assert found.found == found.expected + 1


_COLUMNS = (
    "client_id, screen_id, event_type, segment, level, bucket_start, grid_w, grid_h, events, tiled, last_event,"
    " version, cells, counts"
)


def test_a_lost_map_a_foreign_map_and_a_wrong_hash_are_found(world: Any) -> None:
    fill(world)
    where = "client_id = 'a' AND level = 'hour' AND bucket_start = {start:DateTime}"
    world.olap.command(f"DELETE FROM maps WHERE screen_id = '/b' AND {where}", {"start": world.hour // 1000})
    with writing(world.database) as connection:
        day = (tables.buckets.c.level == "day") & (tables.buckets.c.client_id == "b")
        newest = sa.select(sa.func.max(tables.buckets.c.start)).where(day).scalar_subquery()
        connection.execute(sa.update(tables.buckets).where(day, tables.buckets.c.start == newest).values(hash="0" * 64))
    wrong = [v for v in check(world) if v.finding is not Finding.SAME]
    assert [(v.client_id, v.bucket.level, v.screen_id, v.found) for v in wrong] == [
        ("a", Level.HOUR, "/b", 0),
        ("b", Level.DAY, None, None),
    ]
    assert "hash" in wrong[1].detail


def test_raw_that_was_never_published_is_found(world: Any) -> None:
    fill(world)
    with writing(world.database) as connection:
        gone = (tables.buckets.c.client_id == "a") & (tables.buckets.c.level == "hour")
        connection.execute(sa.delete(tables.buckets).where(gone, tables.buckets.c.start == world.hour))
    wrong = [v for v in check(world) if v.finding is not Finding.SAME]
    assert [(v.client_id, v.bucket) for v in wrong] == [("a", (Level.HOUR, world.hour))]
    assert "nothing was published" in wrong[0].detail


def test_a_client_that_was_never_published_is_found(world: Any) -> None:
    world.land([("a", "/", "click", world.hour, 0.5, 0.5)])
    with writing(world.database) as connection:
        connection.execute(sa.delete(tables.dirty))
    assert {(v.bucket.level, v.finding) for v in check(world)} == {(level, Finding.DIFFERENT) for level in Level}


def test_a_dirty_bucket_is_said_to_be_dirty_not_wrong(world: Any) -> None:
    fill(world)
    world.land([("a", "/new", "click", world.hour, 0.5, 0.5)])
    findings = {(v.client_id, v.bucket.level, v.bucket.start): v.finding for v in check(world)}
    for level in Level:
        assert findings["a", level, floor(level, world.hour)] is Finding.DIRTY
    assert Finding.DIFFERENT not in findings.values()


def test_tiles_without_raw_are_frozen(world: Any) -> None:
    fill(world)
    world.clock.advance((world.settings.raw_retention_days + 1) * DAY_MS)
    assert {v.finding for v in check(world)} == {Finding.FROZEN}


def test_backfill_repairs_and_tells_its_progress(world: Any) -> None:
    fill(world)
    world.olap.command("TRUNCATE TABLE maps")
    with writing(world.database) as connection:
        connection.execute(sa.delete(tables.buckets))
    steps = list(backfill(world.jobs, world.hour - 24 * 10 * HOUR_MS, world.hour + HOUR_MS))
    assert [(s.done, s.total) for s in steps] == [(i + 1, len(steps)) for i in range(len(steps))]
    assert [s.bucket.level for s in steps] == sorted((s.bucket.level for s in steps), key=lambda level: level.ms)
    assert sum(s.rows for s in steps if s.bucket.level is Level.HOUR) == len(world.landed)
    world.check()
    assert {v.finding for v in check(world)} == {Finding.SAME}
    assert all(world.dirty(level) == {} for level in Level)


def test_backfill_of_one_client_and_level(world: Any) -> None:
    fill(world)
    before = {key: row.version for key, row in world.published(Level.HOUR).items()}
    steps = list(backfill(world.jobs, world.hour, world.hour + HOUR_MS, ["a"], [Level.HOUR]))
    assert [(s.bucket, s.clients, s.maps) for s in steps] == [((Level.HOUR, world.hour), 1, 3)]
    changed = {key for key, row in world.published(Level.HOUR).items() if row.version != before[key]}
    assert changed == {("a", world.hour)}


def test_an_interrupted_backfill_leaves_its_marks(world: Any) -> None:
    fill(world)
    steps = backfill(world.jobs, world.hour - 24 * 10 * HOUR_MS, world.hour + HOUR_MS)
    next(steps)
    steps.close()
    assert len(world.dirty(Level.HOUR)) == 3
    world.run_all()
    world.check()


def test_an_empty_range_is_refused(world: Any) -> None:
    with pytest.raises(Problem):
        next(backfill(world.jobs, world.hour, world.hour))
