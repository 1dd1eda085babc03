"""The benchmarks run from start to end with tiny sizes; what they measure then means nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RECORDING = ROOT / "../shared/data/mouse/sapimouse.jsonl.gz"
PROGRAMS = ("wrk", "nginx", "redis-server", "postgres")

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(600)]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True)


def quick(name: str, results: Path) -> dict[str, Any]:
    done = bench(name, "--quick", "--results", str(results))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(results.read_text())[name]


def on_servers(name: str, results: Path) -> dict[str, Any]:
    """`quick` of a measurement that starts servers itself; skipped where they were not fetched."""
    done = bench(name, "--quick", "--results", str(results))
    if "make services" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(results.read_text())[name]


def missing() -> list[str]:
    sys.path.insert(0, str(ROOT))
    try:
        from bench.machine import program
        from isotherm.errors import IsothermError
    finally:
        sys.path.remove(str(ROOT))
    absent: list[str] = []
    for name in PROGRAMS:
        try:
            program(name)
        except IsothermError:
            absent.append(name)
    return absent


ABSENT = missing()
needs_programs = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")


def test_an_unknown_measurement_is_refused_and_the_known_ones_are_named() -> None:
    done = bench("ingst")
    assert done.returncode == 2
    assert "unknown: ingst" in done.stderr
    assert "end_to_end" in done.stderr


@needs_programs
@pytest.mark.drill
def test_ingest_beside_the_peers(tmp_path: Path) -> None:
    found = quick("ingest", tmp_path / "results.json")
    targets = found["targets"]
    assert set(targets) == {"isotherm", "nginx_proxy", "nginx_mirror", "redis", "postgres"}
    assert {t["durability"] for t in targets.values()} == {"page cache", "fsync", "queryable"}
    for target in targets.values():
        assert target["events_per_second"] > 0
        assert target["disk_bytes_per_event"] > 0
        assert target["refused"] == target["broken"] == 0


@pytest.mark.drill
def test_all_engines_count_the_same(tmp_path: Path) -> None:
    found = quick("jobs", tmp_path / "results.json")
    assert set(found["40000"]["engines"]) == {"isotherm", "numpy", "duckdb", "polars"}
    assert found["60000"]["files"] == 3


@pytest.mark.drill
def test_verify_finds_what_was_published_beside_reading_alone(tmp_path: Path) -> None:
    found = quick("verify", tmp_path / "results.json")
    assert set(found["ways"]) == {"floor", "one", "all"}
    assert all(way["events_per_second"] > 0 for way in found["ways"].values())


@needs_programs
@pytest.mark.drill
def test_end_to_end_counts_every_event(tmp_path: Path) -> None:
    found = quick("end_to_end", tmp_path / "results.json")
    assert found["flood"]["events"] > 0
    assert found["steps"][0]["asked_events_per_second"] == 20_000


@pytest.mark.drill
def test_queries_answer(tmp_path: Path) -> None:
    ranges = quick("query", tmp_path / "results.json")["ranges"]
    assert {"hour json", "day json", "week json", "year json", "year arrow"} <= ranges.keys()
    assert all(r["answer_kb"] > 0 for r in ranges.values())


@needs_programs
@pytest.mark.drill
def test_memory_is_seen(tmp_path: Path) -> None:
    found = quick("memory", tmp_path / "results.json")
    assert found["processes"] >= 3
    assert 0 < found["idle_mb"] <= found["loaded_mb"]


@pytest.mark.drill
def test_a_killed_deployment_answers_again(tmp_path: Path) -> None:
    found = quick("restart", tmp_path / "results.json")
    assert found["waiting_bytes"] > 0
    assert 0 < found["accepted_s"] <= found["worst_accepted_s"]
    assert 0 < found["healthy_s"] <= found["app_healthy_s"]


@pytest.mark.drill
def test_what_the_ledger_costs_is_measured(tmp_path: Path) -> None:
    found = quick("ledger", tmp_path / "results.json")
    assert found["events"] == 200 * found["records"]
    assert min(found["with_cpu_s_per_million"], found["without_cpu_s_per_million"], found["inside_percent"]) > 0
    low, high = found["added_percent_quartiles"]
    assert low <= found["added_percent"] <= high


@needs_programs
@pytest.mark.drill
def test_a_backup_beside_a_load_and_its_restore_are_timed(tmp_path: Path) -> None:
    found = quick("backup", tmp_path / "results.json")
    assert 0 < found["with"]["p50_ms"] <= found["with"]["p99_ms"]
    assert found["with"]["backup_mb_per_second"] > 0
    assert len(found["p99_ratios"]) == found["pairs"] == 1
    assert found["restore"]["bytes"] > 20_000_000
    assert min(found["restore"]["bytes_per_second"], found["restore"]["floor_bytes_per_second"]) > 0


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
@pytest.mark.drill
def test_the_sdk_is_weighed_and_timed(tmp_path: Path) -> None:
    found = quick("sdk", tmp_path / "results.json")
    assert 1000 < found["gzip_bytes"] <= 6000
    assert found["with"]["events"] > 0
    assert found["without"]["events"] == 0
    assert found["with"]["main_thread_ms"] > 0


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
@pytest.mark.drill
def test_a_map_is_waited_for(tmp_path: Path) -> None:
    found = quick("first_paint", tmp_path / "results.json")
    for visits in (found["empty_cache"], found["filled_cache"]):
        assert 0 < visits["heat_best_ms"] <= visits["heat_median_ms"] <= visits["heat_worst_ms"]
    assert found["filled_cache"]["bytes"] < found["empty_cache"]["bytes"]


@pytest.mark.skipif(not RECORDING.is_file(), reason="shared data is absent")
@pytest.mark.drill
def test_the_recording_is_weighed(tmp_path: Path) -> None:
    found = quick("size", tmp_path / "results.json")
    assert found["events"] > 1_000_000
    assert 0 < found["bytes_per_event"] <= found["unmerged_bytes_per_event"]


@needs_programs
@pytest.mark.services("kafka")
@pytest.mark.drill
def test_collector_to_kafka_beside_librdkafka(tmp_path: Path) -> None:
    found = on_servers("collect_kafka", tmp_path / "results.json")
    for one in (found["floor"], found["isotherm"]):
        assert one["events_per_second"] > 0
        assert one["broker_cpu_s_per_million"] > 0
    assert found["isotherm"]["p50_ms"] > 0
    assert len(found["ratios"]) == 1


@needs_programs
@pytest.mark.services("kafka", "versitygw", "postgres")
@pytest.mark.drill
def test_bench_landing_to_s3_lands_every_event(tmp_path: Path) -> None:
    found = on_servers("land_s3", tmp_path / "results.json")
    assert found["events"] == 300 * 200
    assert found["files"] > 0
    assert found["isotherm"]["per_core"] > 0
    assert found["floor"]["cpu_s_per_million"] > 0


@pytest.mark.drill
@pytest.mark.services("versitygw", "clickhouse_server", "spark_cluster")
def test_spark_and_clickhouse_count_the_same(tmp_path: Path) -> None:
    engines = on_servers("jobs_spark", tmp_path / "results.json")["engines"]
    assert set(engines) == {"spark", "chdb", "front", "numpy"}
    assert all(one["seconds"] > 0 and one["first_seconds"] > 0 for one in engines.values())


@needs_programs
@pytest.mark.drill
@pytest.mark.services("kafka", "redis_server", "flink_cluster")
def test_live_windows_are_waited_for(tmp_path: Path) -> None:
    found = on_servers("windows", tmp_path / "results.json")
    for engine in found["engines"].values():
        assert 0 < engine["floor_p50_ms"] <= engine["p50_ms"] <= engine["p95_ms"]
        assert engine["events"] > 0
