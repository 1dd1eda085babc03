"""Verification: a published hour recounted and compared, beside pyarrow that only reads the same columns."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import machine
from bench.jobs import dataset
from bench.noise import Others, quiet, wait_quiet
from bench.sizes import Sizes
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.events import hour_of
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

FREE_GIB: Final = 3
WAYS: Final = {
    "floor": "pyarrow reads the same columns, all cores",
    "one": "isotherm verify, one thread",
    "all": "isotherm verify, a thread per core",
}


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Land and publish an hour, then read or verify it in turns, each in a process of its own."""
    machine.require_free(folder, FREE_GIB)
    data, rows = folder / "data", sizes.verify_rows
    hour = hour_of(SystemClock().now_ms()) - HOUR_MS
    settings = Settings(data=data)
    engine = open_db(settings.url("db"))
    try:
        lake = open_lake(settings.url("lake"), settings)
        files = dataset.fill(lake, Manifest(engine, SystemClock()), hour, rows, sizes.job_file_rows)
    finally:
        engine.dispose()
    _once("publish", data, hour)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for _ in range(sizes.job_rounds):
        for name, runs in found.items():
            if rows >= 1_000_000:
                wait_quiet()
            runs.append(_once(name, data, hour))
            print(f"  {name} {runs[-1]}", flush=True)
    if any(one["same"] != dataset.CLIENTS or one["events"] != rows for name in ("one", "all") for one in found[name]):
        raise IsothermError("bench: verify did not find every bucket the same")
    facts = {"rows": rows, "files": len(files), "maps": dataset.MAPS}
    return facts | {"ways": {name: _median(WAYS[name], rows, runs) for name, runs in found.items()}}


def _once(name: str, data: Path, hour: int) -> dict[str, Any]:
    others = Others()
    command = [sys.executable, "-m", "bench.verify_worker", name, str(data), str(hour)]
    done = subprocess.run(command, capture_output=True, text=True)
    cores = others.cores()
    if done.returncode:
        raise IsothermError(f"bench: {name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"others_cores": cores}


def _median(name: str, rows: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("seconds", "cpu_seconds", "peak_rss_mb")
    found = {key: round(median(run[key] for run in quiet(runs)), 3) for key in figures}
    rates = {
        "events_per_second": round(rows / found["seconds"]),
        "cpu_s_per_million": found["cpu_seconds"] / rows * 1e6,
    }
    return {"name": name} | found | rates | {"rounds": [[run["seconds"], run["others_cores"]] for run in runs]}
