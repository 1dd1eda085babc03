"""A lake with events we choose, and the jobs of the embedded engine over it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tiling import NOW, World

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.engines.clickhouse import ClickHouseEngine
from isotherm.rollup.jobs import Jobs
from isotherm.store.db import open_db
from isotherm.store.olap import Olap


@pytest.fixture
def olap(empty_olap: Olap) -> Olap:
    return empty_olap


@pytest.fixture
def make_world(tmp_path: Path, olap: Olap) -> Iterator[Callable[..., World]]:
    engines: list[sa.Engine] = []

    def make(name: str = "w", lake_format: str = "parquet", clock: ManualClock | None = None) -> World:
        folder = tmp_path / name
        settings = Settings(data=folder, job_threads=2)
        database = open_db(f"sqlite://{folder / 'isotherm.db'}")
        engines.append(database)
        clock = clock or ManualClock(NOW)
        lake = open_lake(f"file://{folder / 'lake'}", settings)
        manifest = Manifest(database, clock, lake_format)
        engine = ClickHouseEngine(olap, lake, settings)
        jobs = Jobs(settings, database, olap, manifest, engine, clock)
        return World(settings, database, olap, lake, manifest, clock, jobs)

    yield make
    for database in engines:
        database.dispose()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
