"""The ClickHouse engine against a recount in plain Python."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import flipped

from isotherm.clock import HOUR_MS
from isotherm.errors import IsothermError
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines import clickhouse, stored
from isotherm.rollup.grid import cells_of

EDGES = sorted(
    {
        neighbour
        for k in range(201)
        for edge in (k / 100, 0.01 * k, k / 200, 0.005 * k, 0.29)
        for neighbour in (edge, math.nextafter(edge, 0), math.nextafter(edge, 1))
        if 0 <= neighbour <= 1
    }
    | {0.0, 5e-324, 2.2250738585072014e-308, 1.0}
)


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
def test_every_cell_edge_falls_where_the_formula_says(make_world: Callable[..., Any], lake_format: str) -> None:
    world = make_world(lake_format=lake_format)
    rows = [("a", "s", "mousemove", world.hour + i, x, EDGES[-1 - i]) for i, x in enumerate(EDGES)]
    rows += [("a", "s", "click", world.hour + i, EDGES[-1 - i], y) for i, y in enumerate(EDGES)]
    world.land(rows)
    world.run_all()
    world.check()
    by_numpy = np.bincount(cells_of(np.array(EDGES), np.array(EDGES[::-1])), minlength=20_000)
    assert np.array_equal(world.maps(Level.HOUR)["a", "s", "mousemove", world.hour], by_numpy)


numbers = st.one_of(st.sampled_from(EDGES), st.floats(0, 1), st.none())
events = st.tuples(
    st.sampled_from(["a", "b.c-d_e"]),
    st.sampled_from(["/", "/naïve 'quote' \\ {x:y}", "s,t"]),
    st.sampled_from(["mousemove", "click", "page.view"]),
    st.integers(0, 3 * 24).map(lambda hours: hours * HOUR_MS),
    numbers,
    numbers,
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(events, min_size=1, max_size=300),
    files=st.integers(1, 4),
    lake_format=st.sampled_from(["parquet", "jsonl"]),
)
def test_any_events_in_any_split_give_the_recounted_maps(
    make_world: Callable[..., Any], rows: list[Any], files: int, lake_format: str
) -> None:
    world = make_world(name=f"w{id(rows)}", lake_format=lake_format)
    world.olap.command("TRUNCATE TABLE maps")
    world.land([(c, s, k, world.hour - ago, x, y) for c, s, k, ago, x, y in rows], files)
    world.run_all()
    world.check()


def busy(world: Any, rng: np.random.Generator, events: int, screens: int, **fixed: Any) -> list[Any]:
    """Random events, squeezed to few cells for every second screen."""
    rows = []
    for _ in range(events):
        screen = int(rng.integers(screens))
        x, y = rng.random(2) * (1 if screen % 2 == 0 else 0.05)
        rows.append(("a", f"s{screen}", "mousemove", world.hour + int(rng.integers(HOUR_MS)), float(x), float(y)))
    return rows


def test_dense_and_sparse_maps_side_by_side(world: Any) -> None:
    rng = np.random.default_rng(1)
    world.land([*busy(world, rng, 12000, 2), ("a", "few", "click", world.hour, 0.5, 0.5)])
    world.land([("a", "none", "view", world.hour + 5, None, None), ("a", "half", "view", world.hour, 0.5, None)])
    world.run(Level.HOUR, world.hour)
    world.check(Level.HOUR)
    forms = world.olap.query(
        "SELECT screen_id, length(cells) AS cells, length(counts) AS counts, events FROM maps"
    ).to_pylist()
    by_screen = {row["screen_id"]: row for row in forms}
    assert (by_screen["s0"]["cells"], by_screen["s0"]["counts"]) == (0, 20_000)
    assert 0 < by_screen["s1"]["cells"] == by_screen["s1"]["counts"] < 2_000
    assert by_screen["none"] == {"screen_id": "none", "cells": 0, "counts": 0, "events": 1}


def test_too_many_maps_for_the_dense_way_are_tiled_the_mixed_way(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    world.land(busy(world, rng, 9_000, 3) + [("a", f"p{i}", "click", world.hour, 0.1, i / 300) for i in range(300)])
    monkeypatch.setattr(clickhouse, "DENSE_MAPS", 1)
    monkeypatch.setattr(clickhouse, "ROWS_PER_SPARSE_QUERY", 100)
    world.jobs.engine._dense_memory = 30_000_000
    world.run_all()
    world.check()


def test_the_dense_way_is_given_up_at_its_memory_limit(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    mixed = clickhouse.ClickHouseEngine._tile_mixed
    monkeypatch.setattr(clickhouse.ClickHouseEngine, "_tile_mixed", lambda *a: (called.append(True), mixed(*a)))
    monkeypatch.setattr(clickhouse, "COUNTED_ROWS", 0)
    world.land([("a", f"p{i}", "click", world.hour + i, 0.1, (i % 50) / 50) for i in range(4_000)])
    world.jobs.engine._dense_memory = 100_000_000
    world.run(Level.HOUR, world.hour)
    assert called
    world.check(Level.HOUR)


def test_many_maps_of_few_events_are_not_tried_the_dense_way(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse, "DENSE_MAPS", 100)
    monkeypatch.setattr(clickhouse, "_dense_of_client", lambda _: pytest.fail("tried the dense way"))
    rng = np.random.default_rng(5)
    world.land(busy(world, rng, 3_000, 1) + [("a", f"p{i}", "click", world.hour, 0.1, 0.5) for i in range(300)])
    world.run(Level.HOUR, world.hour)
    world.check(Level.HOUR)


def test_days_mix_sparse_and_dense_hours(world: Any) -> None:
    rng = np.random.default_rng(3)
    day = world.hour - world.hour % (24 * HOUR_MS)
    for hour, events in ((0, 3_000), (1, 10), (2, 5_000), (3, 1_500), (4, 1_500)):
        at = day + hour * HOUR_MS
        for screen in ("mixed", f"only-{hour}"):
            x, y = rng.random((2, events))
            world.land([("a", screen, "mousemove", at, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    # Two sparse hours whose sum is a dense map.
    for hour in (3, 4):
        x, y = rng.random((2, 1_500))
        world.land(
            [("a", "grows", "mousemove", day + hour * HOUR_MS, float(a), float(b)) for a, b in zip(x, y, strict=True)]
        )
    world.run_all()
    world.check()
    form = world.olap.query("SELECT length(cells) AS n FROM maps FINAL WHERE screen_id = 'grows' AND level = 'day'")
    assert form.to_pylist() == [{"n": 0}]


class Meanwhile:
    """A tile store to which another job inserts just before the statement with this text."""

    def __init__(self, olap: Any, text: str, insert: str) -> None:
        self._olap, self._text, self._insert = olap, text, insert

    def __getattr__(self, name: str) -> Any:
        return getattr(self._olap, name)

    def command(self, sql: str, *more: Any, **options: Any) -> None:
        if self._text in sql and self._insert:
            insert, self._insert = self._insert, ""
            self._olap.command(insert)
        self._olap.command(sql, *more, **options)


def test_a_map_that_grows_between_two_queries_of_a_roll_up_is_not_taken_for_gone(world: Any) -> None:
    day = world.hour - world.hour % (24 * HOUR_MS)
    world.land([("a", screen, "click", day, 0.5, 0.5) for screen in ("grows", "stays")])
    world.run(Level.HOUR, day)
    world.run(Level.DAY, day)
    grown = (
        f"INSERT INTO maps ({stored.COLUMNS}) SELECT client_id, screen_id, event_type, segment, level, bucket_start,"
        " version + 1000, grid_w, grid_h, [], arrayResize([]::Array(UInt64), 20000, 1), 20000, 20000, last_event"
        " FROM maps FINAL WHERE screen_id = 'grows' AND level = 'hour'"
    )
    world.jobs.engine._olap = Meanwhile(world.olap, "AS sparse, sparse.1", grown)
    world.jobs.run_rollup(Level.DAY, day, ["a"])
    sums = {screen: int(counts.sum()) for (_, screen, _, _), counts in world.maps(Level.DAY).items()}
    assert sums == {"grows": 20_000, "stays": 1}
    assert world.published(Level.DAY)["a", day].rows == 20_001


def test_no_map_is_split_when_the_files_take_several_queries(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse, "FILES_PER_QUERY", 2)
    rows = [(c, "s", "click", world.hour, i / 10, 0.5) for c in "abc" for i in range(10)]
    world.land(rows, files=3)
    world.run_all()
    world.check()


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("own", [1, 400, 2_100])
def test_large_clients_and_types_are_counted_on_their_own(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, lake_format: str, own: int
) -> None:
    monkeypatch.setattr(clickhouse, "ROWS_FOR_OWN_QUERY", own)
    world = make_world(lake_format=lake_format)
    rng = np.random.default_rng(4)
    rows = [
        ("c" if i % 7 else "d", f"s{i % 3}", "click" if i % 5 == 0 else "mousemove", world.hour + i, float(x), float(y))
        for i, (x, y) in enumerate(rng.random((5_000, 2)))
    ]
    world.land([*rows, ("c", "s0", "view", world.hour, None, None), ("e", "s0", "click", world.hour, 1.0, 0.0)], 2)
    world.run_all()
    world.check()
    newest = {key: max(r[3] for r in world.landed if r[:3] == key) for key in {r[:3] for r in world.landed}}
    stored = world.olap.query(
        "SELECT client_id, screen_id, event_type, toUnixTimestamp64Milli(last_event) AS t FROM maps FINAL"
        " WHERE level = 'week'"
    ).to_pylist()
    assert {(r["client_id"], r["screen_id"], r["event_type"]): r["t"] for r in stored} == newest


@pytest.mark.parametrize("harm", ["a value", "a column's name"])
def test_a_damaged_lake_file_is_named_and_no_map_is_made_of_it(world: Any, harm: str) -> None:
    """A flipped bit of a value unpacks as another value, and a column of another name reads as nulls."""
    rng = np.random.default_rng(3)
    world.land([("a", "s", "click", world.hour, *map(float, rng.random(2))) for _ in range(500)])
    (path,) = (world.lake.place.root / path for path, _ in world.lake.list())
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, "x_norm") if harm == "a value" else whole.replace(b"x_norm", b"x_nor~"))
    with pytest.raises(IsothermError, match=r"the lake file cannot be read.*Restore it from a backup") as refused:
        world.run(Level.HOUR, world.hour)
    assert str(refused.value).startswith(str(path))
    assert world.maps(Level.HOUR) == {}
    path.write_bytes(whole)
    world.run_all()
    world.check()
