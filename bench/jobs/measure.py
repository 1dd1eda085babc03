"""The hourly job in turns with its peers, each run in a process of its own; counts must be the same to the event."""

import json
import shutil
import subprocess
import sys
import time
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

ENGINES: Final = {
    "isotherm": "Isotherm: tile job with insert, hashes and publish",
    "numpy": "NumPy bincount, one thread",
    "duckdb": "DuckDB GROUP BY, all cores",
    "polars": "Polars streaming group_by, all cores",
}
FREE_GIB: Final = 5


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """For each number of rows: medians of the rounds per engine."""
    machine.require_free(folder, FREE_GIB)
    return {str(rows): _rows(sizes, folder, rows) for rows in sizes.job_rows}


def _rows(sizes: Sizes, folder: Path, rows: int) -> dict[str, Any]:
    data = folder / f"rows-{rows}"
    hour = hour_of(SystemClock().now_ms()) - HOUR_MS
    start = time.perf_counter()
    size, files = _land(data, hour, rows, sizes.job_file_rows)
    print(f"  {rows} rows written in {time.perf_counter() - start:.1f} s", flush=True)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    for _ in range(sizes.job_rounds):
        for name, runs in found.items():
            # A map that is there already would be replaced: each round starts with an empty tile store.
            shutil.rmtree(data / "olap", ignore_errors=True)
            if rows >= 1_000_000:
                wait_quiet()
            runs.append(_once(name, data, hour))
            print(f"  {name} {runs[-1]}", flush=True)
    hashes = {run["hash"] for runs in found.values() for run in runs}
    if len(hashes) != 1:
        raise IsothermError(f"bench: the engines do not agree: { {name: r[0]['hash'] for name, r in found.items()} }")
    shutil.rmtree(data)
    facts = {"rows": rows, "files": files, "maps": dataset.MAPS, "parquet_bytes_per_row": round(size / rows, 2)}
    return facts | {"engines": {name: _median(ENGINES[name], runs) for name, runs in found.items()}}


def _land(data: Path, hour: int, rows: int, file_rows: int) -> tuple[int, int]:
    settings = Settings(data=data)
    engine = open_db(settings.url("db"))
    try:
        manifest = Manifest(engine, SystemClock())
        files = dataset.fill(open_lake(settings.url("lake"), settings), manifest, hour, rows, file_rows)
    finally:
        engine.dispose()
    return sum(file.bytes for file in files), len(files)


def _once(name: str, data: Path, hour: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.jobs.worker", name, str(data), str(hour)]
    others = Others()
    done = subprocess.run(command, capture_output=True, text=True)
    cores = others.cores()
    if done.returncode:
        raise IsothermError(f"bench: {name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"others_cores": cores}


def _median(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("seconds", "cpu_seconds", "peak_rss_mb")
    found = {key: round(median(run[key] for run in quiet(runs)), 2) for key in figures}
    return {"name": name} | found | {"rounds": [[run["seconds"], run["others_cores"]] for run in runs]}
