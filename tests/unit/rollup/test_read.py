"""Which buckets answer a range, and what their sum is."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import Problem
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.read import ReadPlan, list_maps, plan_read, sum_maps
from isotherm.store.db import next_version, reading, writing


def plan(world: Any, start: int, end: int, client: str = "a") -> ReadPlan:
    with reading(world.database) as connection:
        return plan_read(connection, client, start, end, world.clock.now_ms(), world.settings)


def mark(world: Any, level: Level, start: int) -> None:
    with writing(world.database) as connection:
        version = next_version(connection)
    world.mark(level, start, "a", version)


def test_the_fewest_largest_published_buckets_answer(world: Any) -> None:
    monday = floor(Level.WEEK, world.hour) - 2 * WEEK_MS
    times = [monday + h * HOUR_MS for h in (0, 5, 30, 24 * 7, 24 * 7 + 1, 24 * 15 + 3)]
    world.land([("a", "s", "click", t, 0.5, 0.5) for t in times])
    world.run_all()
    found = plan(world, monday, monday + 24 * 16 * HOUR_MS)
    assert found == ReadPlan(
        [
            Bucket(Level.WEEK, monday),
            Bucket(Level.WEEK, monday + WEEK_MS),
            Bucket(Level.DAY, monday + 15 * DAY_MS),
        ],
        stale=False,
        pending_from=None,
    )
    assert plan(world, monday + HOUR_MS, monday + 31 * HOUR_MS).buckets == [
        Bucket(Level.HOUR, times[1]),
        Bucket(Level.HOUR, times[2]),
    ]
    assert plan(world, monday, monday + WEEK_MS, "other").buckets == []


def test_a_dirty_bucket_is_answered_by_its_children(world: Any) -> None:
    week = floor(Level.WEEK, world.hour) - WEEK_MS
    world.land([("a", "s", "click", week + h * HOUR_MS, 0.5, 0.5) for h in (0, 1, 50)])
    world.run_all()
    late = week + 2 * HOUR_MS
    world.land([("a", "s", "click", late, 0.5, 0.5)])
    found = plan(world, week, week + WEEK_MS)
    assert (found.buckets, found.pending_from) == ([Bucket(Level.WEEK, week)], late)
    world.run(Level.HOUR, late)
    found = plan(world, week, week + WEEK_MS)
    hours = [Bucket(Level.HOUR, week + h * HOUR_MS) for h in (0, 1, 2)]
    assert (found.buckets, found.pending_from) == ([*hours, Bucket(Level.DAY, week + 2 * DAY_MS)], None)
    world.run(Level.DAY, late)
    days = [Bucket(Level.DAY, week), Bucket(Level.DAY, week + 2 * DAY_MS)]
    assert plan(world, week, week + WEEK_MS).buckets == days


def test_a_dirty_bucket_without_children_is_used_and_called_stale(world: Any) -> None:
    week = floor(Level.WEEK, world.hour)
    world.land([("a", "s", "click", week, 0.5, 0.5)])
    world.run_all()
    world.clock.advance(150 * DAY_MS)
    mark(world, Level.DAY, week)
    assert plan(world, week, week + DAY_MS) == ReadPlan([Bucket(Level.DAY, week)], stale=True, pending_from=None)


@pytest.mark.parametrize(
    ("age", "start", "end", "nearest"),
    [
        (120, 5, 24, (0, 24)),
        (120, 0, 5, (0, 24)),
        (120, 5, 30, (0, 48)),
        (800, 24, 48, (0, 24 * 7)),
        (800, 25, 24 * 8, (0, 24 * 14)),
    ],
)
def test_a_range_that_needs_expired_tiles_names_the_nearest(
    world: Any, age: int, start: int, end: int, nearest: tuple[int, int]
) -> None:
    from isotherm.clock import iso

    week = floor(Level.WEEK, world.clock.now_ms() - age * DAY_MS)
    with pytest.raises(Problem) as caught:
        plan(world, week + start * HOUR_MS, week + end * HOUR_MS)
    assert caught.value.status == 422
    bounds = {"from": iso(week + nearest[0] * HOUR_MS), "to": iso(week + nearest[1] * HOUR_MS)}
    assert caught.value.extra["nearest"] == bounds
    plan(world, week + nearest[0] * HOUR_MS, week + nearest[1] * HOUR_MS)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(start=st.integers(-24 * 3_000, 30), length=st.integers(1, 24 * 3_000))
def test_the_nearest_range_is_always_answered(world: Any, start: int, length: int) -> None:
    first = world.hour + start * HOUR_MS
    try:
        plan(world, first, first + length * HOUR_MS)
    except Problem as problem:
        from datetime import datetime

        low, high = (
            int(datetime.fromisoformat(problem.extra["nearest"][k]).timestamp() * 1000) for k in ("from", "to")
        )
        assert low < high
        plan(world, low, high)
        weeks_from = kept_from(Level.WEEK, world.clock.now_ms(), world.settings)
        if first >= weeks_from:
            assert low <= first
            assert high >= first + length * HOUR_MS


@pytest.mark.parametrize(("start", "end"), [(1, HOUR_MS), (0, HOUR_MS - 1), (HOUR_MS, HOUR_MS), (HOUR_MS, 0)])
def test_edges_off_the_hour_are_refused(world: Any, start: int, end: int) -> None:
    with pytest.raises(Problem) as caught:
        plan(world, world.hour + start, world.hour + end)
    assert caught.value.status == 400


def test_sums_over_dense_sparse_and_empty_maps(world: Any) -> None:
    rng = np.random.default_rng(11)
    expected = np.zeros(20_000, np.uint64)
    for hours_ago, n in ((0, 5_000), (1, 100), (2, 4_000), (3, 1)):
        x, y = rng.random((2, n))
        rows = [
            ("a", "s", "mousemove", world.hour - hours_ago * HOUR_MS, float(p), float(q))
            for p, q in zip(x, y, strict=True)
        ]
        world.land([*rows, ("a", "s", "view", rows[0][3], None, None), ("b", "s", "mousemove", rows[0][3], 0.1, 0.1)])
        cells = np.minimum(np.floor(y * 200), 199) * 100 + np.minimum(np.floor(x * 100), 99)
        expected += np.bincount(cells.astype(int), minlength=20_000).astype(np.uint64)
    world.run_all()
    hours = [Bucket(Level.HOUR, world.hour - i * HOUR_MS) for i in range(4)]
    assert np.array_equal(sum_maps(world.olap, "a", "s", "mousemove", "", hours), expected)
    assert np.array_equal(sum_maps(world.olap, "a", "s", ["mousemove", "view"], "", hours), expected)
    day = [Bucket(Level.DAY, start) for start in sorted({floor(Level.DAY, hour.start) for hour in hours})]
    assert np.array_equal(sum_maps(world.olap, "a", "s", "mousemove", "", day), expected)
    for nothing in (("a", "s", "view"), ("a", "none", "mousemove"), ("c", "s", "mousemove")):
        assert not sum_maps(world.olap, *nothing, "", hours).any()
    assert not sum_maps(world.olap, "a", "s", "mousemove", "", []).any()


def test_maps_are_listed_with_events_that_have_no_position(world: Any) -> None:
    world.land([("a", "s", "view", world.hour + 5, None, None), ("a", "s", "click", world.hour + 7, 0.1, 0.1)] * 2)
    world.land([("b", "s", "click", world.hour, 0.1, 0.1)])
    world.run_all()
    listed = list_maps(world.olap, "a", [Bucket(Level.HOUR, world.hour)]).to_pylist()
    assert [(row["screen_id"], row["event_type"], row["events"], row["tiled"]) for row in listed] == [
        ("s", "click", 2, 2),
        ("s", "view", 2, 0),
    ]
    assert int(listed[0]["last_event"].timestamp() * 1000) == world.hour + 7


def test_the_documents_tables_are_views_over_the_maps(world: Any) -> None:
    x = (np.arange(20_000) % 100 + 0.5) / 100
    y = (np.arange(20_000) // 100 + 0.5) / 200
    dense = [("a", "s", "mousemove", world.hour, float(p), float(q)) for p, q in zip(x, y, strict=True)]
    world.land([*dense, ("a", "s", "mousemove", world.hour, 1.0, 1.0), ("a", "s", "click", world.hour, 0.1, 0.1)])
    world.land([("a", "t", "mousemove", world.hour, 0.29, 0.5)])
    world.run_all()
    for name, level in (("hourly", Level.HOUR), ("daily", Level.DAY), ("weekly", Level.WEEK)):
        rows = world.olap.query(f"SELECT * FROM heatmap_{name} ORDER BY screen_id, cell_y, cell_x").to_pylist()
        assert len(rows) == 20_001
        assert rows[-1] == {
            "client_id": "a",
            "screen_id": "t",
            "bucket_start": floor(level, world.hour) // 1000,
            "cell_x": 28,
            "cell_y": 100,
            "count": 1,
        }
        assert [rows[i]["count"] for i in (0, 19_998, 19_999)] == [1, 1, 2]
        assert [rows[i][c] for i in (0, 12_345) for c in ("cell_x", "cell_y")] == [0, 0, 45, 123]
