"""One way through the hour in a process of its own: `python -m bench.verify_worker WAY DATA HOUR_MS`.

WAY is publish (makes the maps), floor, one or all. Prints one JSON line; loading programs and opening stores is not
timed.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from isotherm.clock import HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines.clickhouse import ClickHouseEngine
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.recount import COLUMNS
from isotherm.rollup.verdicts import Tally
from isotherm.rollup.verify import Choice, Verifier
from isotherm.store.db import open_db
from isotherm.store.olap import open_olap


def main(way: str, data: Path, hour: int) -> dict[str, Any]:
    """Go this way once."""
    settings = Settings(data=data)
    database = open_db(settings.url("db"))
    lake = open_lake(settings.url("lake"), settings)
    manifest = Manifest(database, SystemClock())
    files = manifest.listed(start=hour, end=hour + 1, format="parquet")
    if way == "floor":
        paths = [lake.where(file.path) for file in files]
        return _timed(lambda: [pq.read_table(path, columns=list(COLUMNS)) for path in paths])[1]
    olap = open_olap(settings.url("olap"), settings)
    try:
        if way == "publish":
            clients = sorted({file.client_id for file in files})
            job = Jobs(settings, database, olap, manifest, ClickHouseEngine(olap, lake, settings), SystemClock())
            return _timed(lambda: job.run_hours(hour, clients))[1]
        threads = 1 if way == "one" else os.cpu_count() or 1
        verifier = Verifier(database, olap, lake, manifest, SystemClock(), settings, threads)
        tally, facts = _timed(lambda: _verified(verifier, hour))
        named = {finding.value: count for finding, count in tally.findings.items()}
        return facts | named | {"events": tally.read}
    finally:
        olap.close()
        database.dispose()


def _verified(verifier: Verifier, hour: int) -> Tally:
    tally = Tally()
    for step in verifier.run(Choice(start=hour, end=hour + HOUR_MS, levels=(Level.HOUR,))):
        tally.add(step)
    return tally


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    cpu, start = time.process_time(), time.perf_counter()
    found = work()
    facts = {"seconds": round(time.perf_counter() - start, 3), "cpu_seconds": round(time.process_time() - cpu, 3)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found, facts | {"peak_rss_mb": round(peak / 1e6)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
