"""A scanner that runs: what may be watched of it from outside."""

import gzip
import threading
from pathlib import Path

import pytest
from landing import NOW, LookedAt, World, event, record

from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.metrics import REGISTRY, SCANNED_FILES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "sink"
    root.mkdir()
    return root


def scanner(world: World, root: Path) -> Scanner:
    settings = world.settings.model_copy(update={"scan": root.as_uri()})
    return Scanner(settings, world.log, open_source(settings), world.lake, world.manifest, world.clock)


def test_files_are_measured_without_anybody_asking(world: World, root: Path) -> None:
    line = record("shop", "a", [event(NOW)]).value + b"\n"
    (root / "a.jsonl").write_bytes(line)
    (root / "b.jsonl.gz").write_bytes(gzip.compress(line)[:-4])
    SCANNED_FILES.clear()
    scanner(world, root).step()
    names = ("landed", "due", "unreadable")
    files = {name: REGISTRY.get_sample_value("isotherm_scanned_files", {"state": name}) for name in names}
    assert files == {"landed": 1, "due": 0, "unreadable": 1}


def test_only_the_scanning_thread_looks_at_its_stop(world: World, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody tells by it whether scanning hangs; upkeep, which does not hang, must not hide that."""
    monkeypatch.setattr("isotherm.land.upkeep._PERIOD_S", 0.001)
    rounds = threading.Semaphore(0)
    monkeypatch.setattr("isotherm.land.scan.ScanUpkeep.once", lambda *_: rounds.release())
    stop = LookedAt()
    thread = threading.Thread(target=scanner(world, root).run, args=(stop,), name="scanning", daemon=True)
    thread.start()
    for _ in range(3):
        assert rounds.acquire(timeout=30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert stop.looked == {"scanning"}
