"""Worlds: a log, a lake and a database in one folder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from landing import NOW, World

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db


@pytest.fixture
def make_world(tmp_path: Path, fresh_db: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**settings: Any) -> World:
        folder = tmp_path / f"data{len(made)}"
        options = {"data": folder, "log": "memory://", "land_flush_bytes": 1 << 20} | settings
        built, clock = Settings(**options), ManualClock(NOW)
        database = built.data / "isotherm.db"
        if not built.db and not database.exists():
            built.data.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh_db, database)
        engine = open_db(built.url("db"))
        manifest = Manifest(engine, clock, built.land_formats[0])
        world = World(
            built, clock, open_log(built, clock), LocalLake.of_url(built.url("lake"), built), engine, manifest
        )
        made.append(world)
        return world

    yield make
    for world in made:
        world.log.close()
        world.engine.dispose()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
