"""What holds for unit tests."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import HealthCheck, settings
from serving import NOW, World

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.store.db import open_db
from isotherm.store.olap import Olap

# A busy machine is no fault of the code: no example fails because it, or drawing it, took long. Every run draws others,
# so fewer than the default's hundred in each are enough.
settings.register_profile("patient", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def fresh_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all migrations and nothing in it, to be copied: that is much faster than to make one."""
    path = tmp_path_factory.mktemp("db") / "fresh.db"
    open_db(f"sqlite://{path}").dispose()
    return path


@pytest.fixture
def make_world(tmp_path: Path, empty_olap: Olap, fresh_db: Path) -> Iterator[Callable[..., World]]:
    engines: list[sa.Engine] = []

    def make(**settings: Any) -> World:
        path = tmp_path / f"{len(engines)}.db"
        shutil.copyfile(fresh_db, path)
        engine = open_db(f"sqlite://{path}")
        engines.append(engine)
        return World(Settings(data=tmp_path, **settings), engine, empty_olap, ManualClock(NOW))

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """For commands that set up logs as their process has them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
