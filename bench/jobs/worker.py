"""One engine over the hour's files in a process of its own: `python -m bench.jobs.worker ENGINE DATA HOUR_MS`.

Prints one JSON line: seconds and CPU seconds of the job alone (programs are loaded, stores are open), the process's
peak resident memory, and a hash of the counts, which are read after the clock has stopped.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.jobs import engines
from bench.jobs.engines import Counts
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.engines.clickhouse import ClickHouseEngine
from isotherm.rollup.grid import CELLS
from isotherm.rollup.jobs import Jobs
from isotherm.store.db import open_db
from isotherm.store.olap import Olap, open_olap


def main(engine: str, data: Path, hour: int) -> dict[str, Any]:
    """Run one engine once."""
    settings = Settings(data=data)
    database = open_db(settings.url("db"))
    lake = open_lake(settings.url("lake"), settings)
    manifest = Manifest(database, SystemClock())
    files = manifest.listed(start=hour, end=hour + 1, format="parquet")
    paths = [lake.where(file.path) for file in files]
    if engine != "isotherm":
        __import__(engine)
        # The first conversion loads pandas, if it is installed: no part of the job.
        pa.chunked_array([[0.0]]).to_numpy()
        peer = {"numpy": engines.by_numpy, "duckdb": engines.by_duckdb, "polars": engines.by_polars}[engine]
        found, facts = _timed(lambda: peer(paths))
        counts: Counts = engines.dense(found) if isinstance(found, pa.Table) else found
        return facts | {"hash": engines.digest(counts)}
    olap = open_olap(settings.url("olap"), settings)
    try:
        clients = sorted({file.client_id for file in files})
        job = Jobs(settings, database, olap, manifest, ClickHouseEngine(olap, lake, settings), SystemClock())
        outcome, facts = _timed(lambda: job.run_hours(hour, clients))
        if outcome.tiled != sum(file.rows for file in files):
            raise IsothermError(f"bench: the job counted {outcome.tiled} events")
        return facts | {"hash": engines.digest(stored(olap))}
    finally:
        olap.close()


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    cpu, start = time.process_time(), time.perf_counter()
    found = work()
    facts = {"seconds": round(time.perf_counter() - start, 3), "cpu_seconds": round(time.process_time() - cpu, 3)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found, facts | {"peak_rss_mb": round(peak / 1e6)}


def stored(olap: Olap) -> Counts:
    """The published maps as counts of every cell."""
    rows = olap.query("SELECT client_id, screen_id, event_type, cells, counts FROM maps FINAL", profile="write")
    keys = zip(*(rows.column(name).to_pylist() for name in engines.KEYS), strict=True)
    cells, counts = rows.column("cells").to_pylist(), rows.column("counts").to_pylist()
    found: Counts = {}
    for key, at, values in zip(keys, cells, counts, strict=True):
        full = np.zeros(CELLS, np.int64)
        full[at or slice(None)] = values
        found[key] = full
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
