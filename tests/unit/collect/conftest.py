from collections.abc import Iterator

import pytest
from collecting import RunningCollector


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """One collector for all tests that do not break it."""
    running = RunningCollector(tmp_path_factory.mktemp("collector") / "data").start()
    yield running
    assert running.stop() == 0
