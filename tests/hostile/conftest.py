from collections.abc import Iterator
from pathlib import Path

import pytest
from collecting import ROOT, RunningCollector

SHARED = ROOT.parent / "shared" / "data"
RSS_LIMIT = 400 << 20


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """One collector per file; whatever a test does, the same worker must still be there, small, at the end."""
    running = RunningCollector(tmp_path_factory.mktemp("hostile") / "data", body_timeout_s=2.0).start()
    workers = running.workers()
    yield running
    assert running.workers() == workers
    assert running.rss() < RSS_LIMIT
    assert running.stop() == 0
    assert "request failed" not in running.output.read_text()
