"""Deployments with everything in them, and a place for their backups. All share the one tile store of the process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from backing_up import Deployment, Maker, deployments, fill

from isotherm.backup.target import Target, open_target
from isotherm.config import Settings
from isotherm.store.olap import Olap


@pytest.fixture
def make(tmp_path: Path, empty_olap: Olap) -> Iterator[Maker]:
    with deployments(tmp_path, empty_olap) as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return open_target(f"file://{tmp_path / 'backups'}", Settings(data=tmp_path), make=True)


@pytest.fixture
def full(make: Maker) -> Deployment:
    one = make("source")
    fill(one)
    return one
