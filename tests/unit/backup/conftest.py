"""Deployments with everything in them, and a place for their backups. All share the one tile store of the process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from backing_up import Deployment, Kept, Maker, deployments, filled

from isotherm.backup.target import Target, open_target
from isotherm.config import Settings
from isotherm.store.olap import Olap


@pytest.fixture
def make(tmp_path: Path, empty_olap: Olap, fresh_db: Path) -> Iterator[Maker]:
    with deployments(tmp_path, empty_olap, fresh_db) as made:
        yield made


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, shared_olap: Olap, fresh_db: Path) -> Kept:
    return filled(tmp_path_factory.mktemp("kept"), shared_olap, fresh_db)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return open_target(f"file://{tmp_path / 'backups'}", Settings(data=tmp_path), make=True)


@pytest.fixture
def full(kept: Kept, make: Maker, tmp_path: Path) -> Deployment:
    """A copy of the deployment that was filled once."""
    return kept.opened(make, tmp_path)
