"""kill -9 at every named step: of the collector, of an append, of landing and of tiling under load; of merging and of
landing a sink's files in processes of their own.

Killed elsewhere: archiving in tests/unit/land/test_archive.py, backup and restore in tests/unit/backup/test_kill.py.
"""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from drilling import account, books_close, loaded, say, settle
from landing import NOW, event, record
from system_helpers import System, wait_for

from isotherm.backup import restore, take
from isotherm.clock import HOUR_MS, ManualClock
from isotherm.collect import steps as collecting
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land import archive, ledger, merge, store
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.rollup import jobs
from isotherm.store.db import open_db

SOURCE = Path(__file__).parent.parent.parent / "src" / "isotherm"
COLLECT = (*(name for name, _ in collecting.STEPS), *collecting.WAITING)
LOG = ("put", "committed", "sealed", "began", "built")
"""Of an append, and of the change to another segment; see killing/sitecustomize.py."""
SCAN = tuple(name for name in store.STEPS if name != "committed")
LIVE = [
    *(f"collect.{name}" for name in COLLECT),
    *(f"log.{name}" for name in LOG),
    *(f"land.{name}" for name in store.STEPS),
    *(f"tile.{name}" for name in jobs.STEPS),
]
EVERY_RUN = ("collect.append", "land.landed")
"""What every test run kills at, with one system; the others are left to `make drills`."""
KILLED = {
    "backup/restore.py": restore.STEPS,
    "backup/take.py": take.STEPS,
    "collect/steps.py": collecting.STEPS,
    "land/archive.py": archive.STEPS,
    "land/lander.py": store.STEPS,
    "land/merge.py": merge.STEPS,
    "land/scan.py": SCAN,
    "land/store.py": store.STEPS,
    "rollup/jobs.py": jobs.STEPS,
}
"""Files that name steps, and those at which some test kills."""


def named_in(tree: ast.AST) -> set[str]:
    """Names that a file gives to its checkpoint."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called.lstrip("_") == "checkpoint" and isinstance(node.args[0], ast.Constant):
                names.add(str(node.args[0].value))
    return names


def files_with_steps() -> Iterator[tuple[str, set[str]]]:
    """Files that list steps or name one, and the names."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        if "STEPS" not in text and "checkpoint" not in text:
            continue
        tree = ast.parse(text)
        lists = any(
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "STEPS"
            for node in ast.walk(tree)
        )
        names = named_in(tree)
        if lists or names:
            yield str(path.relative_to(SOURCE)), names


def test_no_step_has_a_name_at_which_nothing_is_killed() -> None:
    found = dict(files_with_steps())
    assert found.keys() == KILLED.keys()
    for name, steps in found.items():
        assert steps <= set(KILLED[name]), name
    told = found["land/lander.py"] | found["land/store.py"]
    assert told == set(store.STEPS)
    assert (found["land/scan.py"] | found["land/store.py"]) == set(SCAN)
    for name in ("land/merge.py", "rollup/jobs.py", "backup/take.py", "backup/restore.py"):
        assert found[name] == set(KILLED[name]), name


class Struck(NamedTuple):
    """A running system whose processes kill themselves at the step in the file."""

    system: System
    file: Path

    def kill(self, step: str) -> float:
        """Return when a process has come to the step and is gone; gives the moment."""
        struck = self.file.with_name("struck")
        struck.unlink(missing_ok=True)
        new = self.file.with_name("new")
        new.write_text(step)
        new.rename(self.file)
        wait_for(f"a process to come to {step}", struck.exists, 180)
        return time.monotonic()


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    folder = tmp_path_factory.mktemp("steps")
    system = System(folder / "data", log_segment_bytes=4 << 20)
    file = folder / "step"
    paths = os.pathsep.join([str(Path(__file__).parent / "killing"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("DRILL_STEP_FILE", str(file))
        system.start()
    try:
        yield Struck(system, file)
    finally:
        system.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, marks=pytest.mark.xdist_group("steps") if step in EVERY_RUN else pytest.mark.drill)
        for step in LIVE
    ],
)
def test_killed_under_load(struck: Struck, step: str) -> None:
    name = f"killed-at-{step}"
    # A segment of the log is full after 4 MiB: it takes large batches to see one end.
    events = 1_000 if step in ("log.sealed", "log.began", "log.built") else 8
    with loaded(struck.system, name, events=events) as load:
        load.flows()
        since = struck.kill(step)
        load.flows()
        answered = time.monotonic() - since
    settle(struck.system)
    account(name, load, [answered, time.monotonic() - since])
    books_close(struck.system, name)


CHILD = """
import os, signal, sys
from pathlib import Path
from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.land.merge import merge_closed
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.store.db import open_db

work, data, now, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
settings = Settings(data=data).model_copy(update={"scan": (data / "sink").as_uri()} if work == "scan" else {})
clock = ManualClock(now)
lake, manifest = LocalLake.of_url(settings.url("lake"), settings), Manifest(open_db(settings.url("db")), clock)

def die(at):
    if at == step:
        os.kill(os.getpid(), signal.SIGKILL)

if work == "merge":
    merge_closed(settings, lake, manifest, now, checkpoint=die)
else:
    log = open_log(settings, clock)
    Scanner(settings, log, open_source(settings), lake, manifest, clock, die).drain()
"""


def child(work: str, data: Path, now_ms: int, step: str = "") -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
    arguments = [sys.executable, "-c", CHILD, work, str(data), str(now_ms), step]
    return subprocess.run(arguments, env=kept | {"TZ": "UTC"}, check=False, timeout=120).returncode


def rows(settings: Settings, manifest: Manifest) -> list[tuple[str, int]]:
    root = LocalLake.of_url(settings.url("lake"), settings).root
    tables = [
        pq.read_table(root / file.path, columns=["batch_id", "position"]).to_pydict() for file in manifest.listed()
    ]
    return sorted(row for one in tables for row in zip(one["batch_id"], one["position"], strict=True))


@pytest.mark.drill
def test_merging_is_killed_at_every_step(tmp_path: Path) -> None:
    settings, clock = Settings(data=tmp_path), ManualClock(NOW)
    log, engine = open_log(settings, clock), open_db(settings.url("db"))
    manifest, lake = Manifest(engine, clock), LocalLake.of_url(settings.url("lake"), settings)
    lander = Lander(settings, log, lake, manifest, clock)
    for n in range(4):
        log.append([record("a", f"b{n}", [event(NOW + i) for i in range(5)])])
        lander.step(force=True)
    log.close()
    sent = sorted((f"b{n}", i) for n in range(4) for i in range(5))
    for n, step in enumerate((*merge.STEPS, "none")):
        # Who died a moment ago is waited for: each comes later than that.
        code = child("merge", tmp_path, NOW + (n + 2) * HOUR_MS, step)
        assert code == (0 if step == "none" else -signal.SIGKILL), step
        assert rows(settings, manifest) == sent, step
    clock.advance(24 * HOUR_MS)
    manifest.sweep(lake)
    assert [path for path, _ in lake.list()] == [file.path for file in manifest.listed()]
    assert len(manifest.listed()) == 1
    assert ledger.check(ledger.read(engine)) == []
    engine.dispose()
    say("merge-killed", acknowledged=20, landed=20, tiled=0, lost=0, duplicated=0, seconds="-")


@pytest.mark.drill
def test_landing_a_sinks_files_is_killed_at_every_step(tmp_path: Path) -> None:
    settings, clock = Settings(data=tmp_path), ManualClock(NOW)
    sink = tmp_path / "sink"
    sink.mkdir()
    for n in range(len(SCAN) + 1):
        lines = [record("a", f"b{n}-{m}", [event(NOW + i) for i in range(5)]).value for m in range(2)]
        (sink / f"events-0-{n:04}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    for step in SCAN:
        assert child("scan", tmp_path, NOW + HOUR_MS, step) == -signal.SIGKILL, step
    assert child("scan", tmp_path, NOW + HOUR_MS) == 0
    engine = open_db(settings.url("db"))
    found = rows(settings, Manifest(engine, clock))
    sent = sorted((f"b{n}-{m}", i) for n in range(len(SCAN) + 1) for m in range(2) for i in range(5))
    say("scan-killed", acknowledged=len(sent), landed=len(found), tiled=0,
        lost=len(set(sent) - set(found)), duplicated=len(found) - len(set(found)), seconds="-")  # fmt: skip
    assert found == sent
    assert ledger.check(ledger.read(engine)) == []
    engine.dispose()
