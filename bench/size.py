"""Bytes per event in the lake: the sapimouse recording through the real system, after its hours are merged."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.ingest.isotherm import environment
from bench.processes import wait_for
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.clock import DAY_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.store.db import open_db

RECORDING: Final = Path("../shared/data/mouse/sapimouse.jsonl.gz")
FIRST_DAY_MS: Final = 1_588_291_200_000
"""2020-05-01; the recording covers two days."""
MERGE_SECONDS: Final = 300


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Import the recording, moved to the day before yesterday and the day before that; then weigh the lake."""
    if not RECORDING.is_file():
        raise IsothermError(f"bench: {RECORDING} is absent; `size` needs it (leave `size` out to go on)")
    with up(folder / "data") as system:
        said = _import(system)
        system.wait_idle(300)
        before = _weigh(_files(system))
        wait_for("the hours to be merged", lambda: _merged(_files(system)), MERGE_SECONDS, system.process)
        after = _weigh(_files(system))
    return {
        "events": after["rows"],
        "files": after["files"],
        "bytes_per_event": after["bytes_per_event"],
        "unmerged_files": before["files"],
        "unmerged_bytes_per_event": before["bytes_per_event"],
        "source_bytes_per_event": round(RECORDING.stat().st_size / after["rows"], 2),
        "import": said,
    }


def _import(system: System) -> str:
    days = (SystemClock().now_ms() - FIRST_DAY_MS) // DAY_MS - 3
    command = [sys.executable, "-m", "isotherm", "import", str(RECORDING), "--to", system.collect_url]
    command += ["--shift-days", str(days), "--map", "event_type:move=mousemove", "--map", "event_type:drag=mousemove"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise IsothermError(f"bench: isotherm import failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout.strip()


def _files(system: System) -> list[LakeFile]:
    engine = open_db(f"sqlite://{system.data / 'isotherm.db'}")
    try:
        return Manifest(engine, SystemClock()).listed(format="parquet")
    finally:
        engine.dispose()


def _merged(files: list[LakeFile]) -> bool:
    """One file for each client and hour."""
    return len(files) == len({(f.client_id, f.hour) for f in files})


def _weigh(files: list[LakeFile]) -> dict[str, Any]:
    rows = sum(f.rows for f in files)
    return {
        "files": len(files),
        "rows": rows,
        "bytes_per_event": round(sum(f.bytes for f in files) / max(rows, 1), 2),
    }
