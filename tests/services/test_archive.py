"""A job of a real Spark cluster reads archived hours: the same cells and hashes as before, by its own count."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiling import worlds

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land.archive import archive_old
from isotherm.land.tiers import open_tiers, tier_of
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.engines.spark.engine import SparkEngine
from isotherm.rollup.jobs import Jobs
from isotherm.store.db import next_version, writing
from isotherm.store.olap import Olap

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.drill, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
def test_spark_makes_the_same_maps_of_archived_files(
    spark_cluster: Any, empty_olap: Olap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake_format: str
) -> None:
    for name, value in spark_cluster.environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        data=tmp_path / "data", engine=spark_cluster.master, spark_submit=spark_cluster.submit, job_threads=2,
        archive=f"file://{tmp_path / 'cold'}", late_horizon_days=35,
    )  # fmt: skip
    chance = np.random.default_rng(3)
    with worlds() as make:
        world = make(settings, empty_olap, lake_format=lake_format)
        world.lake = open_tiers(settings)
        embedded = open_engine(settings.model_copy(update={"engine": "clickhouse"}), empty_olap, world.lake)
        world.jobs = Jobs(settings, world.database, empty_olap, world.manifest, embedded, world.clock)
        old = world.hour - 40 * DAY_MS
        for hour in (old, old + HOUR_MS, world.hour - HOUR_MS):
            places = chance.random((60, 2)).tolist()
            world.land([("ab"[n % 2], f"s{n % 3}", "click", hour + n, x, y) for n, (x, y) in enumerate(places)])
        world.run_all()
        before = {level: {key: row.hash for key, row in world.published(level).items()} for level in Level}
        world.clock.advance(2 * HOUR_MS)
        assert archive_old(settings, world.lake, world.manifest, world.clock.now_ms()).hours == 4
        world.manifest.sweep(world.lake)
        tiers = sorted(tier_of(file.path) for file in world.manifest.listed())
        assert tiers == ["archive"] * 4 + ["hot"] * 2
        with closing(open_engine(settings, empty_olap, world.lake)) as spark:
            assert isinstance(spark, SparkEngine)
            world.jobs = Jobs(settings, world.database, empty_olap, world.manifest, spark, world.clock)
            with writing(world.database) as connection:
                version = next_version(connection)
            for client, start in before[Level.HOUR]:
                world.mark(Level.HOUR, start, client, version)
            world.run_all()
        after = {level: {key: row.hash for key, row in world.published(level).items()} for level in Level}
        assert after == before
        assert all(row.version > version for row in world.published(Level.HOUR).values())
        world.check()
