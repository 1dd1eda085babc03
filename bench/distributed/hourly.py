"""The hourly job with the lake on S3: Spark beside ClickHouse, in process and by HTTP, and NumPy as the floor."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import machine
from bench.distributed.collect import WAIT_SECONDS
from bench.distributed.servers import on_s3, started, variables
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
    "spark": "Spark, standalone, 2 cores; maps into chDB",
    "chdb": "ClickHouse in process (chDB)",
    "front": "ClickHouse by HTTP (the tests' front over chDB)",
    "numpy": "NumPy bincount, one thread, no maps stored",
}
FREE_GIB: Final = 5
FIGURES: Final = ("first_seconds", "first_cpu_seconds", "seconds", "cpu_seconds")


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Each engine in a process of its own, in turns: a first job, and the same job some times again."""
    machine.require_free(folder, FREE_GIB)
    hour = hour_of(SystemClock().now_ms()) - HOUR_MS
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    with started("s3", "clickhouse", "spark") as servers:
        lake = on_s3(servers["s3"])
        size, files = _land(Settings(**lake, db=f"sqlite://{folder / 'isotherm.db'}"), hour, sizes)
        for number in range(sizes.spark_rounds):
            for name, runs in found.items():
                data = folder / f"{name}-{number}"
                settings = lake | {"db": f"sqlite://{folder / 'isotherm.db'}", "data": str(data)}
                runs.append(_once(name, settings, servers, hour, calm=sizes.spark_rows >= 1_000_000))
                print(f"  {name} {runs[-1]}", flush=True)
    hashes = {run["hash"] for runs in found.values() for run in runs}
    if len(hashes) != 1:
        raise IsothermError(f"bench: the engines do not agree: { {name: r[0]['hash'] for name, r in found.items()} }")
    return {
        "rows": sizes.spark_rows,
        "files": files,
        "maps": dataset.MAPS,
        "parquet_bytes_per_row": round(size / sizes.spark_rows, 2),
        "load_average": round(os.getloadavg()[1], 1),
        "engines": {name: _median(ENGINES[name], runs) for name, runs in found.items()},
    }


def _land(settings: Settings, hour: int, sizes: Sizes) -> tuple[int, int]:
    engine = open_db(settings.url("db"))
    try:
        manifest = Manifest(engine, SystemClock())
        lake = open_lake(settings.url("lake"), settings)
        files = dataset.fill(lake, manifest, hour, sizes.spark_rows, min(sizes.job_file_rows, sizes.spark_rows))
    finally:
        engine.dispose()
    return sum(file.bytes for file in files), len(files)


def _once(name: str, settings: dict[str, str], servers: dict[str, Any], hour: int, *, calm: bool) -> dict[str, Any]:
    """What the worker found. CPU seconds are those of its processes and of the engine's servers, S3 left out."""
    known = os.environ
    pids: list[int] = []
    if name == "spark":
        cluster = servers["spark"]
        jars = {"spark.executor.memory": "1g", "spark.jars": ",".join(cluster.s3_jars)}
        settings |= {"engine": cluster.master, "spark_submit": cluster.submit, "spark_options": json.dumps(jars)}
        known, pids = cluster.environment(), [part.pid for part in cluster.parts]
    elif name == "front":
        settings |= {"olap": servers["clickhouse"].new_database()}
        pids = [servers["clickhouse"].pid]
    clean = {variable: value for variable, value in known.items() if not variable.startswith("ISOTHERM_")}
    command = [sys.executable, "-m", "bench.distributed.hourly_worker", name, str(hour), *map(str, pids)]
    watched = [servers["s3"].pid, *pids]
    if calm:
        wait_quiet(*watched, seconds=WAIT_SECONDS)
    others = Others(*watched)
    done = subprocess.run(command, capture_output=True, text=True, env=clean | variables(settings))
    if done.returncode:
        raise IsothermError(f"bench: {name} failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"others_cores": others.cores()}


def _median(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    found = {key: round(median(run[key] for run in quiet(runs)), 2) for key in FIGURES}
    return {"name": name} | found | {"rounds": [[run["again"], run["others_cores"]] for run in runs]}
