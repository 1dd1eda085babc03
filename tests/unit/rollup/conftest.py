"""A lake with events we choose, and the jobs of the embedded engine over it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiling import World, worlds

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.store.olap import Olap


@pytest.fixture
def olap(empty_olap: Olap) -> Olap:
    return empty_olap


@pytest.fixture
def make_world(tmp_path: Path, olap: Olap) -> Iterator[Callable[..., World]]:
    with worlds() as make:

        def named(name: str = "w", lake_format: str = "parquet", clock: ManualClock | None = None) -> World:
            return make(Settings(data=tmp_path / name, job_threads=2), olap, lake_format=lake_format, clock=clock)

        yield named


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
