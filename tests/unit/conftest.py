"""chDB opens one folder per process: every unit test shares it, and empties it before use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from serving import NOW, World

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.store.db import open_db
from isotherm.store.olap import Olap, open_olap

# A busy machine is no fault of the code: no example fails because it, or drawing it, took long.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def shared_olap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olap]:
    opened = open_olap(f"chdb://{tmp_path_factory.mktemp('olap') / 'chdb'}", Settings(job_threads=2))
    yield opened
    opened.close()


@pytest.fixture
def empty_olap(shared_olap: Olap) -> Olap:
    """The shared store without maps, and without a TTL that a test's scheduler left: by the host's clock, the events
    of other tests are long expired."""
    shared_olap.command("TRUNCATE TABLE maps")
    made = shared_olap.query("SELECT create_table_query AS q FROM system.tables WHERE name = 'maps'").to_pylist()
    if " TTL " in made[0]["q"]:
        shared_olap.command("ALTER TABLE maps REMOVE TTL")
    return shared_olap


@pytest.fixture
def make_world(tmp_path: Path, empty_olap: Olap) -> Iterator[Callable[..., World]]:
    engines: list[sa.Engine] = []

    def make(**settings: Any) -> World:
        engine = open_db(f"sqlite://{tmp_path / f'{len(engines)}.db'}")
        engines.append(engine)
        return World(Settings(data=tmp_path, **settings), engine, empty_olap, ManualClock(NOW))

    yield make
    for engine in engines:
        engine.dispose()
