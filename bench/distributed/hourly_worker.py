"""One engine over the hour's files: `python -m bench.distributed.hourly_worker ENGINE HOUR_MS [PID ...]`.

Settings come from the environment. The job runs AGAIN times more in this process, and the medians of these count; what
starts with the first one (Spark's driver) is in its time. CPU seconds are those of this process's tree and of the
trees of the given processes.
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

import pyarrow as pa

from bench.jobs import engines
from bench.jobs.worker import stored
from bench.processes import cpu_seconds
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.jobs import Jobs
from isotherm.store.db import open_db
from isotherm.store.olap import open_olap

AGAIN: Final = 3


def main(name: str, hour: int, pids: Sequence[int]) -> dict[str, Any]:
    """Run one engine several times."""
    settings = Settings()
    database = open_db(settings.url("db"))
    lake = open_lake(settings.url("lake"), settings)
    manifest = Manifest(database, SystemClock())
    files = manifest.listed(start=hour, end=hour + 1, format="parquet")
    if name == "numpy":
        # The first conversion loads pandas, if it is installed: no part of the job.
        pa.chunked_array([[0.0]]).to_numpy()
        counts, facts = _repeated(lambda: engines.by_numpy(io.BytesIO(lake.get(file.path)) for file in files), pids)
        return facts | {"hash": engines.digest(counts)}
    olap = open_olap(settings.url("olap"), settings)
    engine = open_engine(settings, olap, lake)
    try:
        clients = sorted({file.client_id for file in files})
        jobs = Jobs(settings, database, olap, manifest, engine, SystemClock())
        outcome, facts = _repeated(lambda: jobs.run_hours(hour, clients), pids)
        if outcome.tiled != sum(file.rows for file in files):
            raise IsothermError(f"bench: the job counted {outcome.tiled} events")
        return facts | {"hash": engines.digest(stored(olap))}
    finally:
        engine.close()
        olap.close()
        database.dispose()


def _repeated(work: Callable[[], Any], pids: Sequence[int]) -> tuple[Any, dict[str, Any]]:
    found, seconds, cpu = _timed(work, pids)
    again = [_timed(work, pids)[1:] for _ in range(AGAIN)]
    return found, {
        "first_seconds": seconds,
        "first_cpu_seconds": cpu,
        "seconds": median(one[0] for one in again),
        "cpu_seconds": median(one[1] for one in again),
        "again": again,
    }


def _timed(work: Callable[[], Any], pids: Sequence[int]) -> tuple[Any, float, float]:
    def spent() -> float:
        return sum(map(cpu_seconds, (os.getpid(), *pids)))

    cpu, start = spent(), time.perf_counter()
    found = work()
    return found, round(time.perf_counter() - start, 3), round(spent() - cpu, 3)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), list(map(int, sys.argv[3:])))))
