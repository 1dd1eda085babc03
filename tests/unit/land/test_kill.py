"""A lander that is killed at random moments, on the log and database of the embedded profile."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from landing import event, record

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land import ledger
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

ROUNDS = 8
CHILD = """
import sys
from pathlib import Path
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

settings, clock = Settings(data=Path(sys.argv[1])), SystemClock()
log = open_log(settings, clock)
manifest = Manifest(open_db(settings.url("db")), clock)
lander = Lander(settings, log, open_lake(settings.url("lake"), settings), manifest, clock)
print("ready", flush=True)
while True:
    lander.step(force=True)
"""


@pytest.mark.slow
def test_every_row_lands_once_through_kills(tmp_path: Path) -> None:
    settings, clock = Settings(data=tmp_path), SystemClock()
    log = open_log(settings, clock)
    now, chance, sent = clock.now_ms(), random.Random(7), []
    for round_ in range(ROUNDS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "TZ": "UTC"}
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        until = time.monotonic() + chance.uniform(0.02, 0.3)
        while time.monotonic() < until:
            batch = f"b{len(sent)}"
            log.append([record("ab"[len(sent) % 2], batch, [event(now)] * 3, received_at=now)])
            sent.append(batch)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert round_ or sent
    engine = open_db(settings.url("db"))
    manifest, lake = Manifest(engine, clock), LocalLake.of_url(settings.url("lake"), settings)
    Lander(settings, log, lake, manifest, clock).drain()
    names = ["batch_id", "position"]
    tables = [pq.read_table(lake.root / f.path, columns=names).to_pydict() for f in manifest.listed()]
    rows = sorted(row for t in tables for row in zip(t["batch_id"], t["position"], strict=True))
    assert rows == sorted((batch, i) for batch in sent for i in range(3))
    found = ledger.read(engine)
    assert ledger.check(found) == []
    assert ledger.sums(found)["landed"] == ledger.sums(found)["received"] == 3 * len(sent)
    log.close()
    engine.dispose()
