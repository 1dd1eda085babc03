"""Spark on a standalone cluster: the real recordings against the recount and the embedded engine, and its drills."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recount
import sqlalchemy as sa
from landing import flipped
from recount import DATA, MAPPING, Recording
from system_helpers import System, alive, environment, isotherm
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock, SystemClock, iso
from isotherm.config import Settings
from isotherm.land.lake import LocalPlace, open_lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.engines.spark import driver as driver_module
from isotherm.rollup.engines.spark.driver import Driver, OneByOne, SparkFailed, StandingDriver, open_driver
from isotherm.rollup.engines.spark.engine import SparkEngine
from isotherm.rollup.engines.spark.submit import Submission
from isotherm.rollup.jobs import Jobs
from isotherm.store import tables
from isotherm.store.db import open_db, reading
from isotherm.store.olap import Olap
from services.server import wait_until
from services.spark import Spark

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(1800)]

SAPIMOUSE = DATA / "mouse" / "sapimouse.jsonl.gz"
WAIT_S = 300


def spark_settings(cluster: Any, folder: Path, **more: Any) -> Settings:
    given = {"engine": cluster.master, "spark_submit": cluster.submit, "job_threads": 2, "data": folder}
    return Settings(**given | more)


@pytest.fixture
def spark(spark_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The session's cluster, with the environment its spark-submit needs."""
    return ready(spark_cluster, monkeypatch)


@pytest.fixture
def stoppable(spark: Any) -> Iterator[Any]:
    """The session's cluster, whose worker may be stopped for a while."""
    if not isinstance(spark, Spark):
        pytest.skip("a drill stops the worker, and ISOTHERM_TEST_SPARK_URL names one that is not ours")
    yield spark
    spark.worker.resume()


@pytest.fixture
def fragile(own_spark: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster whose parts may be killed."""
    return ready(own_spark, monkeypatch)


def ready(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def make_world(tmp_path: Path, empty_olap: Olap) -> Iterator[Callable[..., World]]:
    """Worlds whose engine is Spark on the cluster that is given."""
    with ExitStack() as stack:
        make = stack.enter_context(worlds())

        def by_spark(cluster: Any, **settings: Any) -> World:
            world = make(spark_settings(cluster, tmp_path, **settings), empty_olap)
            stack.callback(world.jobs.engine.close)
            return world

        yield by_spark


def standing(world: World) -> StandingDriver:
    engine = world.jobs.engine
    assert isinstance(engine, SparkEngine)
    assert isinstance(engine.driver, StandingDriver)
    return engine.driver


# The real recordings.


@dataclass
class Landed:
    """The recording in the lake and in the embedded engine's tiles, made by the program, which has ended."""

    data: Path
    recording: Recording

    def published(self, database: Path) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        """What is published in a copy of the manifest: hash, maps, rows, rows in a cell, and from which raw.

        Files of closed hours may be merged between two jobs, so the offsets are compared and not their grouping.
        """
        engine = open_db(f"sqlite://{database}")
        with reading(engine) as connection:
            rows = connection.execute(sa.select(tables.buckets)).all()
        engine.dispose()
        return {
            (row.level, row.client_id, row.start): (
                row.hash, row.maps, row.rows, row.tiled, offsets(row.provenance.get("ranges", [])),
                [(child["start"], child["hash"]) for child in row.provenance.get("children", [])],
            )
            for row in rows
        }  # fmt: skip


def offsets(ranges: list[dict[str, Any]]) -> tuple[set[Any], int, int, int]:
    """The logs, the first and the last offset, and the rows."""
    ends = [(found["first_offset"], found["last_offset"]) for found in ranges] or [(0, 0)]
    logs = {(found["log"], found["partition"]) for found in ranges}
    return logs, min(first for first, _ in ends), max(last for _, last in ends), sum(found["rows"] for found in ranges)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    """Landed once, as Parquet and as JSONL, by a person's commands."""
    shift = recount.days_into_horizon(SAPIMOUSE, 9)
    system = System(tmp_path_factory.mktemp("landed") / "data", land_formats="parquet,jsonl")
    system.start()
    try:
        arguments = ["import", str(SAPIMOUSE), "--to", system.collect_url, "--shift-days", str(shift)]
        arguments += [word for mapping in MAPPING for word in ("--map", mapping)]
        done = subprocess.run(isotherm(*arguments), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        system.wait_idle()
    finally:
        system.stop()
    recording = recount.read(SAPIMOUSE, shift)
    assert len(recording.events) == 1_175_136
    return Landed(system.data, recording)


def copy_to_s3(landed: Landed, gateway: Any) -> tuple[str, dict[str, str]]:
    """The same lake in a bucket; returns its URL and the settings with its keys."""
    url = f"s3://{gateway.make_bucket()}/raw/v1?endpoint={gateway.endpoint}&region={gateway.region}"
    keys = {"s3_access_key_id": gateway.access_key, "s3_secret_access_key": gateway.secret_key}
    source = open_lake(f"file://{landed.data / 'lake'}", Settings())
    target = open_lake(url, Settings(**keys))
    for path, _ in source.list():
        target.put(path, source.get(path))
    return url, keys


@pytest.mark.skipif(not SAPIMOUSE.exists(), reason="shared data is absent")
@pytest.mark.drill
@pytest.mark.parametrize(("where", "lake_format"), [("file", "jsonl"), ("s3", "parquet")])
def test_every_recorded_event_by_way_of_spark(
    spark: Any, versitygw: Any, landed: Landed, empty_olap: Olap, tmp_path: Path, where: str, lake_format: str
) -> None:
    url, keys = f"file://{landed.data / 'lake'}", dict[str, str]()
    if where == "s3":
        url, keys = copy_to_s3(landed, versitygw)
    options = {"spark.jars": ",".join(spark.s3_jars)} if where == "s3" else {}
    settings = spark_settings(spark, tmp_path, **keys | {"spark_options": options})
    lake = open_lake(url, settings)
    copied = tmp_path / "isotherm.db"
    shutil.copy(landed.data / "isotherm.db", copied)
    database = open_db(f"sqlite://{copied}")
    engine = open_engine(settings, empty_olap, lake)
    manifest = Manifest(database, SystemClock(), lake_format)
    jobs = Jobs(settings, database, empty_olap, manifest, engine, SystemClock())
    try:
        first, last = landed.recording.start, landed.recording.end
        steps = list(backfill(jobs, *(int(moment.timestamp() * 1000) for moment in (first, last))))
        assert not [step for step in steps if step.busy]
    finally:
        engine.close()
        database.dispose()
    every_cell_is_exact(empty_olap, landed.recording)
    assert landed.published(copied) == landed.published(landed.data / "isotherm.db")
    assert not [path for path, _ in lake.list() if path.startswith("_jobs")]


def every_cell_is_exact(olap: Olap, recording: Recording) -> None:
    for level in ("hour", "day", "week"):
        expected = recording.maps(level)
        rows = olap.query(
            "SELECT client_id, screen_id, event_type, toDateTime64(bucket_start, 0) AS start, cells, counts FROM maps"
            " FINAL WHERE level = {level:String} AND events > 0",
            {"level": level},
        ).to_pylist()
        assert len(rows) == len(expected)
        for row in rows:
            counts = np.zeros(20_000, np.int64)
            counts[row["cells"] or slice(0, len(row["counts"]))] = row["counts"]
            key = (row["client_id"], row["screen_id"], row["event_type"], row["start"].replace(tzinfo=None))
            assert np.array_equal(counts, expected[key]), (level, key)


def nobody_shows(*secrets: str) -> None:
    """No process of this machine has a secret on its command line, Spark's driver and executors among them."""
    lines = command_lines()
    assert any("CoarseGrainedExecutorBackend" in line for line in lines.values())
    assert any("SparkSubmit" in line for line in lines.values())
    assert not [line for line in lines.values() if any(secret in line for secret in secrets)]


def command_lines() -> dict[int, str]:
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


@pytest.mark.skipif(not SAPIMOUSE.exists(), reason="shared data is absent")
@pytest.mark.drill
def test_a_backfill_by_spark_from_the_command_line(spark: Any, landed: Landed, tmp_path: Path) -> None:
    """All tiles again into an empty tile store, by a command and nothing else; `verify` counts the raw by NumPy."""
    data = tmp_path / "data"
    shutil.copytree(landed.data, data, ignore=lambda _, names: {"olap", "log"} & set(names))
    chosen = environment(land_formats="parquet,jsonl")
    first, last = (f"{moment:%Y-%m-%dT%H:%M}" for moment in (landed.recording.start, landed.recording.end))
    arguments = ["--data", str(data), "--engine", spark.master, "--spark-submit", spark.submit]
    done = subprocess.run(
        isotherm("rollup", *arguments, "--from", first, "--to", last, "--json"),
        env=chosen, capture_output=True, text=True, timeout=1_500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    published = landed.published(data / "isotherm.db")
    assert json.loads(done.stdout) == {"buckets": len({(level, start) for level, _, start in published}), "busy": 0}
    assert published == landed.published(landed.data / "isotherm.db")
    checked = subprocess.run(
        isotherm("verify", "--data", str(data), "--json"), env=chosen, capture_output=True, text=True, timeout=600
    )
    assert checked.returncode == 0, checked.stderr
    verdict = json.loads(checked.stdout)
    assert (verdict["different"], verdict["buckets"]) == (0, len(published))


def test_a_lake_on_s3_is_read_without_showing_its_keys(
    spark: Any, versitygw: Any, empty_olap: Olap, tmp_path: Path
) -> None:
    keys = {"s3_access_key_id": versitygw.access_key, "s3_secret_access_key": versitygw.secret_key}
    url = f"s3://{versitygw.make_bucket()}/raw/v1?endpoint={versitygw.endpoint}&region={versitygw.region}"
    settings = spark_settings(spark, tmp_path, **keys, spark_options={"spark.jars": ",".join(spark.s3_jars)})
    lake = open_lake(url, settings)
    database = open_db(f"sqlite://{tmp_path / 'isotherm.db'}")
    manifest, clock = Manifest(database, ManualClock(NOW)), ManualClock(NOW)
    engine = open_engine(settings, empty_olap, lake)
    jobs = Jobs(settings, database, empty_olap, manifest, engine, clock)
    world = World(settings, database, empty_olap, lake, manifest, clock, jobs)
    rng = np.random.default_rng(6)
    try:
        world.land([("a", f"s{n % 3}", "click", world.hour, *map(float, rng.random(2))) for n in range(6_000)], 2)
        world.run_all()
        world.check()
        nobody_shows(versitygw.secret_key, versitygw.access_key)
        assert not list(lake.list("_jobs"))
    finally:
        engine.close()
        database.dispose()


# Drills.


def one(world: World, x: float = 0.5) -> list[Any]:
    return [("a", "s", "click", world.hour, x, 0.5)]


def held_up(cluster: Any, world: World) -> threading.Thread:
    """A job that Spark has begun and cannot go on with: its workers are stopped. Its error is in `failed`."""
    cluster.worker.cut()

    def work() -> None:
        try:
            world.run(Level.HOUR, world.hour)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failed.append(error)

    failed: list[Exception] = []
    standing(world).sign = {}
    thread = threading.Thread(target=work)
    thread.failed = failed  # type: ignore[attr-defined]
    thread.start()
    wait_until("Spark to have begun", lambda: standing(world).sign.get("jobs"), WAIT_S)
    return thread


def hours(world: World) -> dict[Any, np.ndarray]:
    return world.maps(Level.HOUR)


@pytest.mark.drill
def test_a_killed_driver_leaves_the_old_maps_and_a_bucket_that_is_done_again(
    stoppable: Any, make_world: Callable[..., World]
) -> None:
    world = make_world(stoppable)
    world.land(one(world))
    world.run_all()
    before, published = hours(world), world.published(Level.HOUR)
    world.land(one(world, 0.7))
    job = held_up(stoppable, world)
    driver = standing(world).pid
    assert driver is not None
    os.kill(driver, signal.SIGKILL)
    job.join(WAIT_S)
    assert isinstance(job.failed[0], SparkFailed)  # type: ignore[attr-defined]
    # Its Python may still find out and say so, or be gone as well.
    assert re.search("driver ended|driver cannot go on|driver went away", str(job.failed[0]))  # type: ignore[attr-defined]
    assert hours(world).keys() == before.keys()
    assert all(np.array_equal(hours(world)[key], before[key]) for key in before)
    assert world.published(Level.HOUR) == published
    assert world.dirty(Level.HOUR) == {world.hour: ["a"]}
    stoppable.worker.resume()
    world.run_all()
    world.check()
    assert standing(world).pid != driver


@pytest.mark.drill
def test_killed_executors_are_replaced_and_the_job_goes_on(fragile: Any, make_world: Callable[..., World]) -> None:
    world = make_world(fragile)
    world.land(one(world))
    world.run_all()
    world.land(one(world, 0.7))
    job = held_up(fragile, world)
    fragile.kill_worker()
    fragile.start_worker()
    job.join(WAIT_S)
    assert not job.is_alive()
    assert job.failed == []  # type: ignore[attr-defined]
    world.run_all()
    world.check()


@pytest.mark.drill
def test_a_driver_that_hangs_is_given_up(
    spark: Any, make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(spark, engine="spark+local")
    world.land(one(world))
    world.run_all()
    world.land(one(world, 0.7))
    driver = standing(world).pid
    assert driver is not None
    os.kill(driver, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(driver_module, "SILENCE_S", 6.0)
        with pytest.raises(SparkFailed, match="said nothing for 6 s"):
            world.run(Level.HOUR, world.hour)
    assert not alive(driver)
    assert world.dirty(Level.HOUR)
    world.run_all()
    world.check()


@pytest.mark.drill
def test_a_cluster_without_workers_is_said_to_have_none(
    spark: Any, make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "PATIENCE_S", 5.0)
    world = make_world(spark, spark_options={"spark.executor.memory": "100g"})
    world.land(one(world))
    with pytest.raises(SparkFailed, match=r"no executor of spark://.* took the job within 5 s: check"):
        world.run(Level.HOUR, world.hour)
    assert world.published(Level.HOUR) == {}


@pytest.mark.drill
def test_the_driver_dies_with_its_parent(spark: Any, make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(spark, engine="spark+local")
    rng = np.random.default_rng(1)
    now = SystemClock().now_ms()
    world.land([("a", "s", "click", now - n * HOUR_MS, *map(float, rng.random(2))) for n in range(40)])
    words = ["rollup", "--data", str(tmp_path), "--engine", "spark+local", "--spark-submit", spark.submit]
    words += ["--from", iso(now - 3 * DAY_MS)[:10], "--to", iso(now + DAY_MS)[:10], "--level", "hour"]
    before = command_lines().keys()
    parent = subprocess.Popen(isotherm(*words), env=environment())

    def works() -> bool:
        assert parent.poll() is None, "it ended"
        return any((tmp_path / "lake" / "_jobs").glob("*/maps"))

    try:
        wait_until("a job to run", works, WAIT_S)
        family = [pid for pid, line in command_lines().items() if pid not in before and "/spark/job.py" in line]
        assert len(family) >= 2, "Java and its Python"
    finally:
        parent.kill()
        parent.wait()
    wait_until("Spark to have ended", lambda: not any(map(alive, family)), WAIT_S)


# What Spark reads.


@pytest.fixture(scope="module")
def local_driver(spark_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """One for these tests, which start no cluster. Its person told it to pass over files that are damaged."""
    options = {"spark.sql.files.ignoreCorruptFiles": "true"}
    with pytest.MonkeyPatch.context() as patch:
        ready(spark_cluster, patch)
        chosen = spark_settings(
            spark_cluster, tmp_path_factory.mktemp("driver"), engine="spark+local", spark_options=options
        )
        driver = open_driver(Submission.of(chosen, LocalPlace(chosen.data)))
        yield driver
        driver.close()


@pytest.fixture
def local_world(tmp_path: Path, empty_olap: Olap, local_driver: Driver) -> Iterator[World]:
    with worlds() as make:
        chosen = Settings(data=tmp_path, job_threads=2)
        yield make(chosen, empty_olap, opener=lambda _, olap, lake: SparkEngine(olap, lake, local_driver))


def test_a_file_with_other_rows_than_the_manifest_says_is_not_tiled(local_world: World) -> None:
    world = local_world
    world.land(one(world))
    world.run_all()
    with world.database.begin() as connection:
        connection.execute(sa.update(tables.files).values(rows=2))
    world.mark(Level.HOUR, world.hour, "a", 10**6)
    world.landed.append(world.landed[0])
    with pytest.raises(SparkFailed, match="counted 1 events where there are 2; nothing was stored"):
        world.run(Level.HOUR, world.hour)
    world.landed.pop()
    world.check()


def refuse_damaged(world: World, damaged: Callable[[bytes], bytes], said: str) -> None:
    """A job on a file that was changed so fails with these words and stores nothing; once it is whole, all is made."""
    rng = np.random.default_rng(3)
    world.land([("a", "s", "click", world.hour, *map(float, rng.random(2))) for _ in range(500)])
    (path,) = (world.lake.place.root / path for path, _ in world.lake.list())
    whole = path.read_bytes()
    path.write_bytes(damaged(whole))
    with pytest.raises(SparkFailed, match=said):
        world.run(Level.HOUR, world.hour)
    assert hours(world) == {}
    path.write_bytes(whole)
    world.run_all()
    world.check()


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
def test_a_damaged_file_fails_the_job(local_world: World, lake_format: str) -> None:
    """Also where the person's own options tell Spark to pass over such files."""
    local_world.manifest.default_format = lake_format
    refuse_damaged(local_world, lambda whole: whole[: len(whole) // 2], r"Spark: .*")


def test_a_flipped_bit_fails_the_job(local_world: World) -> None:
    """The page unpacks all the same; only its checksum says that it is another one."""
    refuse_damaged(local_world, lambda whole: flipped(whole, "x_norm"), r"(?i)checksum|CRC")


def test_files_that_are_not_listed_are_not_read(local_world: World) -> None:
    world = local_world
    world.land(one(world))
    (path,) = (path for path, _ in world.lake.list())
    world.lake.put(path.replace("part-", "part-other-"), world.lake.get(path))
    world.run_all()
    world.check()


@pytest.mark.drill
def test_a_spark_submit_per_job_gives_the_same_maps(spark: Any, make_world: Callable[..., World]) -> None:
    """The way of clusters that start the driver themselves."""
    world = make_world(spark)
    world.jobs.engine = SparkEngine(world.olap, world.lake, OneByOne(Submission.of(world.settings, world.lake.place)))
    rng = np.random.default_rng(2)
    world.land([("a", f"s{n % 3}", "click", world.hour, *map(float, rng.random(2))) for n in range(5_000)])
    world.run(Level.HOUR, world.hour)
    world.check(Level.HOUR)
    assert list((world.lake.place.root / "_jobs").iterdir()) == []
    gone = next(iter(world.lake.list()))[0]
    (world.lake.place.root / gone).unlink()
    world.mark(Level.HOUR, world.hour, "a", 10**6)
    with pytest.raises(SparkFailed, match=r"Spark: .*(?i:exist|not.found)"):
        world.run(Level.HOUR, world.hour)


@pytest.mark.drill
def test_a_screen_with_nine_tenths_of_many_events(spark: Any, make_world: Callable[..., World]) -> None:
    world = make_world(spark)
    rng = np.random.default_rng(9)
    size = 400_000
    screens = np.where(rng.random(size) < 0.9, 0, rng.integers(1, 400, size)).tolist()
    # Half of the busy screen's events are in one cell.
    places = np.where(rng.random((size, 1)) < 0.5, 0.123, rng.random((size, 2))).tolist()
    world.land([("a", f"s{s}", "mousemove", world.hour, x, y) for s, (x, y) in zip(screens, places, strict=True)], 4)
    world.run(Level.HOUR, world.hour)
    world.check(Level.HOUR)
    busiest = max(int(counts.max()) for counts in hours(world).values())
    assert busiest > size * 0.4
