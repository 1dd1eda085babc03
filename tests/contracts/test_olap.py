"""What every tile store does, inside the process and over HTTP: values, limits, errors, migrations, exact maps."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.read import list_maps, sum_maps
from isotherm.rollup.retention import expire, set_backstop
from isotherm.store.olap import Olap, Profile, open_olap
from isotherm.store.olap_migrate import migrate

COLUMNS = {
    "client_id": "LowCardinality(String)",
    "screen_id": "String",
    "event_type": "LowCardinality(String)",
    "segment": "String",
    "level": "Enum8('hour' = 1, 'day' = 2, 'week' = 3)",
    "bucket_start": "DateTime('UTC')",
    "version": "UInt64",
    "grid_w": "UInt16",
    "grid_h": "UInt16",
    "cells": "Array(UInt16)",
    "counts": "Array(UInt64)",
    "events": "UInt64",
    "tiled": "UInt64",
    "last_event": "DateTime64(3, 'UTC')",
}
TOO_MUCH = "SELECT groupArray(number) FROM numbers(300000000)"
over_http = pytest.mark.services("clickhouse_server")


@pytest.fixture(params=["chdb", pytest.param("clickhouse", marks=over_http)])
def olap(request: pytest.FixtureRequest) -> Iterator[Olap]:
    if request.param == "chdb":
        yield request.getfixturevalue("empty_olap")
        return
    opened = open_olap(request.getfixturevalue("clickhouse_server").new_database(), Settings(job_threads=2))
    yield opened
    opened.close()


@pytest.fixture
def make_world(tmp_path: Path, olap: Olap) -> Iterator[Callable[..., World]]:
    with worlds() as make:
        yield partial(make, Settings(data=tmp_path, job_threads=2), olap)


@pytest.fixture
def probe(olap: Olap) -> Iterator[str]:
    olap.command("CREATE TABLE probe (a UInt64, b Array(UInt16)) ENGINE = MergeTree ORDER BY a")
    yield "probe"
    olap.command("DROP TABLE probe")


def one(olap: Olap, sql: str, params: dict[str, Any] | None = None) -> Any:
    """The one value that the query gives."""
    return olap.query(sql, params).column(0)[0].as_py()


def test_the_schema_is_the_one_we_expect(olap: Olap) -> None:
    found = olap.query("SELECT name, type FROM system.columns WHERE table = 'maps' AND database = currentDatabase()")
    assert {row["name"]: row["type"] for row in found.to_pylist()} == COLUMNS
    table = olap.query(
        "SELECT engine, partition_key, sorting_key, create_table_query FROM system.tables"
        " WHERE name = 'maps' AND database = currentDatabase()"
    ).to_pylist()[0]
    assert table["engine"] == "ReplacingMergeTree"
    assert table["partition_key"] == "(level, if(level = 'hour', toYYYYMM(bucket_start), toYear(bucket_start)))"
    assert table["sorting_key"] == "client_id, screen_id, event_type, segment, level, bucket_start"
    for wanted in ("CODEC(T64, LZ4)", "index_granularity = 8", "fsync_after_insert = 1", "fsync_part_directory = 1"):
        assert wanted in table["create_table_query"]
    views = olap.query("SELECT name FROM system.tables WHERE engine = 'View' AND database = currentDatabase()")
    assert {"heatmap_hourly", "heatmap_daily", "heatmap_weekly"} <= set(views.column("name").to_pylist())


def test_migrations_run_once_and_those_of_a_newer_version_are_refused(olap: Olap) -> None:
    def recorded() -> list[int]:
        return olap.query("SELECT number FROM migrations ORDER BY number").column("number").to_pylist()

    before = recorded()
    migrate(olap)
    assert recorded() == before
    olap.command("INSERT INTO migrations SELECT 99, 'later', now('UTC')")
    try:
        with pytest.raises(ConfigError, match="newer version"):
            migrate(olap)
    finally:
        olap.command("DELETE FROM migrations WHERE number = 99")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("String", "x' OR 1=1 --"),
        ("String", 'back\\slash "quote"'),
        ("String", "naïve \U0001f600"),
        ("String", "{a:String}"),
        ("String", ""),
        ("String", "tab\tnewline\n"),
        ("Array(String)", ["a'b", "c\\d", "", "e,f]"]),
        ("Array(String)", []),
        ("UInt64", 2**64 - 1),
        ("UInt32", 202602),
        ("Array(UInt64)", [0, 2**64 - 1]),
        ("Float64", 0.29),
    ],
)
def test_values_of_every_type_are_bound_whatever_they_contain(olap: Olap, kind: str, value: Any) -> None:
    assert one(olap, f"SELECT {{a:{kind}}} AS a", {"a": value}) == value


def test_moments_are_bound_as_seconds(olap: Olap) -> None:
    found = olap.query("SELECT toUnixTimestamp({a:DateTime}) AS a, {b:Array(DateTime)}[2] AS b",
                       {"a": NOW // 1000, "b": [0, NOW // 1000]})  # fmt: skip
    assert found.column("a")[0].as_py() == NOW // 1000
    assert one(olap, "SELECT toDateTime64({a:DateTime}, 3, 'UTC')", {"a": NOW // 1000}) == datetime.fromtimestamp(
        NOW // 1000, UTC
    )


def test_long_lists_are_bound_too(olap: Olap) -> None:
    """As many client ids as one job takes, which is more than an address holds."""
    clients = [f"client-{i:056d}" for i in range(500)]
    found = one(olap, "SELECT length({clients:Array(String)}) + length({more:Array(String)})",
                {"clients": clients, "more": clients})  # fmt: skip
    assert found == 1000
    olap.command("SELECT throwIf(length({clients:Array(String)}) != 500)", {"clients": clients})


def test_arrow_types_come_back_as_they_are(olap: Olap) -> None:
    found = olap.query(
        "SELECT toLowCardinality('a') AS text, toUInt16(7) AS small, toUInt64(9) AS big,"
        " [1, 2]::Array(UInt16) AS cells, []::Array(UInt64) AS none,"
        " toDateTime64('2026-02-16 10:00:00.123', 3, 'UTC') AS time, 0.1 AS real"
    )
    types = {field.name: field.type for field in found.schema}
    assert types["small"] == pa.uint16()
    assert types["big"] == pa.uint64()
    assert types["cells"].value_type == pa.uint16()
    assert types["time"] == pa.timestamp("ms", "UTC")
    assert types["real"] == pa.float64()
    row = found.to_pylist()[0]
    assert (row["text"], row["cells"], row["none"], row["real"]) == ("a", [1, 2], [], 0.1)
    assert row["time"] == datetime(2026, 2, 16, 10, 0, 0, 123_000, UTC)


def test_a_result_without_rows_has_its_columns(olap: Olap) -> None:
    found = olap.query("SELECT toUInt64(1) AS a, 'x' AS b WHERE 0")
    assert (found.num_rows, found.column_names) == (0, ["a", "b"])


def test_a_large_result_is_whole(olap: Olap) -> None:
    found = olap.query("SELECT number AS n, repeat('x', 50) AS text FROM numbers(500000)")
    assert np.array_equal(np.sort(found.column("n").to_numpy()), np.arange(500_000))


def test_readers_cannot_write(olap: Olap) -> None:
    with pytest.raises(DatabaseError, match="READONLY"):
        olap.query("INSERT INTO migrations SELECT 7, 'x', now()")
    with pytest.raises(DatabaseError, match="READONLY"):
        olap.command("TRUNCATE TABLE maps", profile="read")


def test_a_reached_limit_is_backpressure_that_says_what_to_do(olap: Olap) -> None:
    with pytest.raises(Backpressure, match=r"memory limit.*job_memory_bytes") as caught:
        olap.query(TOO_MUCH)
    assert caught.value.status == 503
    with pytest.raises(Backpressure, match="time limit"):
        olap.query(
            "SELECT sum(sleepEachRow(0.5)) FROM numbers(20) SETTINGS max_execution_time = 1, max_block_size = 1",
            profile="write",
        )


@pytest.mark.parametrize("profile", ["read", "write"])
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (TOO_MUCH, "limit"),
        ("SELECT throwIf(number = 70000) FROM numbers(80000)", "throwIf"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "Syntax error"),
    ],
)
def test_an_error_says_why_and_leaves_the_next_query_alone(olap: Olap, bad: str, says: str, profile: Profile) -> None:
    sql = f"{bad} SETTINGS max_memory_usage = 100000000" if bad == TOO_MUCH and profile == "write" else bad
    for _ in range(6):
        with pytest.raises((Backpressure, DatabaseError), match=says):
            olap.query(sql, profile=profile)
        assert olap.query("SELECT count() AS n FROM numbers(7)", profile=profile).to_pylist() == [{"n": 7}]


def test_what_was_inserted_is_visible_to_everybody_at_once(olap: Olap, probe: str) -> None:
    rows = pa.table({"b": pa.array([[1, 2], []], pa.list_(pa.uint16())), "a": pa.array([1, 2], pa.uint64())})
    olap.insert(probe, rows)
    for profile in ("read", "write", "maintain"):
        found = olap.query(f"SELECT b, a FROM {probe} ORDER BY a", profile=profile)
        assert found.to_pylist() == rows.to_pylist()
    olap.command(f"INSERT INTO {probe} SELECT a + {{n:UInt64}}, b FROM {probe}", {"n": 10})
    assert one(olap, f"SELECT sum(a) FROM {probe}") == 1 + 2 + 11 + 12


def test_rows_that_do_not_fit_are_refused_whole(olap: Olap, probe: str) -> None:
    with pytest.raises(DatabaseError):
        olap.insert(probe, pa.table({"nowhere": [1]}))
    with pytest.raises(DatabaseError, match="throwIf"):
        olap.command(f"INSERT INTO {probe} SELECT number, [throwIf(number = 900)] FROM numbers(1000)")
    assert one(olap, f"SELECT count() FROM {probe}") == 0


def test_threads_ask_and_insert_side_by_side(olap: Olap, probe: str) -> None:
    def ask(i: int) -> int:
        if i % 5 == 0:
            olap.insert(probe, pa.table({"a": pa.array([i], pa.uint64()), "b": pa.array([[i]], pa.list_(pa.uint16()))}))
        return one(olap, "SELECT {i:UInt64} AS i", {"i": i})

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(60))) == list(range(60))
    assert one(olap, f"SELECT groupArray(a) FROM (SELECT a FROM {probe} ORDER BY a)") == list(range(0, 60, 5))


def test_texts_are_parsed_to_the_nearest_double(olap: Olap) -> None:
    texts = ["0.29", "0.07", "0.1234567890123456789", "5e-324", "2.2250738585072011e-308"]
    found = olap.query(
        "SELECT reinterpretAsUInt64(x) AS bits FROM format(JSONEachRow, 'x Float64', {body:String})",
        {"body": "".join(f'{{"x": {text}}}\n' for text in texts)},
        profile="write",
    )
    assert found.column("bits").to_pylist() == [struct.unpack("<Q", struct.pack("<d", float(t)))[0] for t in texts]


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
def test_maps_of_all_levels_equal_numpy(make_world: Callable[..., World], lake_format: str) -> None:
    """Sparse and dense maps, events without a position, clients side by side, hours that are tiled again."""
    world = make_world(lake_format=lake_format)
    rng = np.random.default_rng(7)

    def rows(count: int) -> list[Any]:
        x, y = rng.random(count) ** 2, rng.random(count)
        names = rng.choice(["shop", "shop-2", "other"], count)
        screens = rng.choice(["/", "/naïve 'q' \\ {x:y}", "a,b"], count, p=[0.9, 0.05, 0.05])
        times = world.hour - rng.choice([0, 1, 9, 30, 150], count, p=[0.6, 0.1, 0.1, 0.1, 0.1]) * HOUR_MS
        return [
            (str(c), str(s), "mousemove" if i % 7 else "click", int(t), None if i % 11 == 0 else float(a), float(b))
            for i, (c, s, t, a, b) in enumerate(zip(names, screens, times, x, y, strict=True))
        ]

    world.land(rows(30_000), files=3)
    world.run_all()
    world.check()
    world.land(rows(500))
    world.run_all()
    world.check()
    assert (
        world.olap.query("SELECT count() AS n FROM maps FINAL WHERE level = 'hour' AND empty(cells)")
        .column("n")[0]
        .as_py()
        > 0
    ), "no dense map was made"


def test_a_read_sees_one_client_only(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.land([("a", "s", "mousemove", world.hour, 0.5, 0.5)] * 3 + [("b", "s", "mousemove", world.hour, 0.5, 0.5)])
    world.run_all()
    bucket = [Bucket(Level.HOUR, world.hour)]
    assert [int(sum_maps(world.olap, c, "s", "mousemove", "", bucket).sum()) for c in ("a", "b", "c")] == [3, 1, 0]
    assert list_maps(world.olap, "a", bucket).to_pylist()[0]["events"] == 3
    assert list_maps(world.olap, "c", bucket).num_rows == 0


def test_maps_that_vanish_are_cleared(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.land([("a", "s", "mousemove", world.hour, 0.5, 0.5), ("b", "s", "click", world.hour, 0.1, 0.2)])
    world.run_all()
    world.delist("a", world.hour)
    world.run_all()
    world.check()


def test_what_has_expired_is_dropped_by_partition_and_by_row(make_world: Callable[..., World]) -> None:
    world = make_world()
    horizon = kept_from(Level.HOUR, NOW, world.settings)
    times = [horizon - 200 * DAY_MS, horizon - HOUR_MS, horizon, world.hour]
    world.land([("a", "s", "mousemove", time, 0.5, 0.5) for time in times])
    for time in times:
        world.jobs.engine.tile(
            Bucket(Level.HOUR, time), [f for f in world.manifest.listed() if f.hour == time], version=1
        )
    expire(world.database, world.olap, NOW, world.settings)
    assert sorted(start for *_, start in world.maps(Level.HOUR)) == [horizon, world.hour]


def test_the_table_s_own_limit_of_age_is_set_once(olap: Olap) -> None:
    def made() -> str:
        return one(
            olap, "SELECT create_table_query FROM system.tables WHERE name = 'maps' AND database = currentDatabase()"
        )

    changes = "SELECT count() FROM system.mutations WHERE table = 'maps' AND database = currentDatabase()"
    try:
        set_backstop(olap, Settings())
        first, before = made(), one(olap, changes)
        assert "toIntervalDay(104) WHERE level = 'hour'" in first
        set_backstop(olap, Settings())
        assert (made(), one(olap, changes)) == (first, before)
    finally:
        olap.command("ALTER TABLE maps REMOVE TTL")
