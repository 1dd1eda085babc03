"""The tile store's client: profiles, bound values, limits, ownership, migrations."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.rollup.retention import set_backstop
from isotherm.store.olap import Olap, Profile, open_olap
from isotherm.store.olap_chdb import HANDLES
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


def test_the_migrated_schema_is_the_one_we_expect(shared_olap: Olap) -> None:
    found = shared_olap.query("SELECT name, type FROM system.columns WHERE table = 'maps' AND database = 'default'")
    assert {row["name"]: row["type"] for row in found.to_pylist()} == COLUMNS
    table = shared_olap.query(
        "SELECT engine, partition_key, sorting_key, create_table_query FROM system.tables WHERE name = 'maps'"
    ).to_pylist()[0]
    assert table["engine"] == "ReplacingMergeTree"
    assert table["partition_key"] == ("(level, if(level = 'hour', toYYYYMM(bucket_start), toYear(bucket_start)))")
    assert table["sorting_key"] == "client_id, screen_id, event_type, segment, level, bucket_start"
    for wanted in ("CODEC(T64, LZ4)", "index_granularity = 8", "fsync_after_insert = 1", "fsync_part_directory = 1"):
        assert wanted in table["create_table_query"]
    views = shared_olap.query("SELECT name FROM system.tables WHERE engine = 'View' AND database = 'default'")
    assert {"heatmap_hourly", "heatmap_daily", "heatmap_weekly"} <= set(views.column("name").to_pylist())


def test_migrations_run_once_and_a_newer_one_is_refused(shared_olap: Olap) -> None:
    def recorded() -> list[int]:
        return shared_olap.query("SELECT number FROM migrations ORDER BY number").column("number").to_pylist()

    before = recorded()
    migrate(shared_olap)
    assert recorded() == before
    shared_olap.command("INSERT INTO migrations SELECT 99, 'later', now('UTC')")
    try:
        with pytest.raises(ConfigError, match="newer version"):
            migrate(shared_olap)
    finally:
        shared_olap.command("DELETE FROM migrations WHERE number = 99")


def test_values_are_bound_whatever_they_contain(shared_olap: Olap) -> None:
    for text in ("x' OR 1=1 --", 'back\\slash "quote"', "naïve \U0001f600", "{a:String}", "", "tab\tnewline\n"):
        found = shared_olap.query("SELECT {a:String} AS a, {b:Array(String)} AS b", {"a": text, "b": [text, text]})
        assert found.to_pylist() == [{"a": text, "b": [text, text]}]


def test_an_empty_result_has_its_columns(shared_olap: Olap) -> None:
    found = shared_olap.query("SELECT toUInt64(1) AS a, 'x' AS b WHERE 0")
    assert (found.num_rows, found.column_names) == (0, ["a", "b"])


def test_the_read_profile_cannot_write(shared_olap: Olap) -> None:
    with pytest.raises(Exception, match="READONLY"):
        shared_olap.query("INSERT INTO migrations SELECT 7, 'x', now()")
    with pytest.raises(Exception, match="READONLY"):
        shared_olap.command("SET max_memory_usage = 0", profile="read")


def test_a_limit_is_backpressure_and_says_what_to_do(shared_olap: Olap) -> None:
    with pytest.raises(Backpressure, match=r"memory limit.*job_memory_bytes") as caught:
        shared_olap.query("SELECT groupArray(number) FROM numbers(300000000)")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    "bad", ["SELECT groupArray(number) FROM numbers(300000000)", "SELECT throwIf(number = 70000) FROM numbers(80000)"]
)
@pytest.mark.parametrize("profile", ["read", "write"])
def test_the_query_after_an_error_gets_its_answer(shared_olap: Olap, bad: str, profile: Profile) -> None:
    sql = bad if profile == "read" else f"{bad} SETTINGS max_memory_usage = 100000000"
    for _ in range(2 * HANDLES[profile]):
        with pytest.raises((Backpressure, DatabaseError)):
            shared_olap.query(sql, profile=profile)
        assert shared_olap.query("SELECT count() AS n FROM numbers(7)", profile=profile).to_pylist() == [{"n": 7}]


def test_inserted_tables_come_back(shared_olap: Olap) -> None:
    shared_olap.command("CREATE TABLE probe (a UInt64, b Array(UInt16)) ENGINE = MergeTree ORDER BY a")
    try:
        rows = pa.table({"a": pa.array([1, 2], pa.uint64()), "b": pa.array([[1, 2], []], pa.list_(pa.uint16()))})
        shared_olap.insert("probe", rows)
        assert shared_olap.query("SELECT a, b FROM probe ORDER BY a").to_pylist() == rows.to_pylist()
    finally:
        shared_olap.command("DROP TABLE probe")


def test_many_threads_share_the_handles(shared_olap: Olap) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda i: shared_olap.query(f"SELECT {i} AS i").column("i")[0].as_py(), range(100))
        assert list(answers) == list(range(100))


def test_text_is_parsed_to_the_nearest_double(shared_olap: Olap) -> None:
    texts = ["0.29", "0.07", "0.1234567890123456789", "5e-324", "2.2250738585072011e-308"]
    found = shared_olap.query(
        "SELECT reinterpretAsUInt64(x) AS bits FROM format(JSONEachRow, 'x Float64', {body:String})",
        {"body": "".join(f'{{"x": {text}}}\n' for text in texts)},
        profile="write",
    )
    assert found.column("bits").to_pylist() == [_bits(float(text)) for text in texts]


def _bits(value: float) -> int:
    import struct

    return struct.unpack("<Q", struct.pack("<d", value))[0]


def test_another_process_is_told_that_isotherm_runs_already(shared_olap: Olap) -> None:
    program = (
        "import sys\nfrom isotherm.config import Settings\nfrom isotherm.store.olap import open_olap\n"
        "open_olap(sys.argv[1], Settings())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"chdb://{shared_olap.where}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "ConfigError" in done.stderr
    assert "isotherm runs on this data folder" in done.stderr


def test_a_second_folder_in_one_process_is_refused(shared_olap: Olap, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another chDB folder"):
        open_olap(f"chdb://{tmp_path / 'other'}", Settings())


@pytest.mark.parametrize("url", ["duckdb:///x", "chdb:relative"])
def test_urls_that_cannot_be_opened(url: str) -> None:
    with pytest.raises(ConfigError, match="olap"):
        open_olap(url, Settings())


def test_the_backstop_is_set_once(shared_olap: Olap) -> None:
    def made() -> str:
        return shared_olap.query("SELECT create_table_query AS q FROM system.tables WHERE name = 'maps'").to_pylist()[
            0
        ]["q"]

    try:
        set_backstop(shared_olap, Settings())
        first = made()
        assert "toIntervalDay(104) WHERE level = 'hour'" in first
        parts = "SELECT count() AS n FROM system.mutations WHERE table = 'maps'"
        before = shared_olap.query(parts)
        set_backstop(shared_olap, Settings())
        assert made() == first
        assert shared_olap.query(parts).equals(before)
    finally:
        shared_olap.command("ALTER TABLE maps REMOVE TTL")
