"""chDB opens one folder per process: every unit test shares it, and empties it before use."""

from collections.abc import Iterator

import pytest

from isotherm.config import Settings
from isotherm.store.olap import Olap, open_olap


@pytest.fixture(scope="session")
def shared_olap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olap]:
    opened = open_olap(f"chdb://{tmp_path_factory.mktemp('olap') / 'chdb'}", Settings(job_threads=2))
    yield opened
    opened.close()
