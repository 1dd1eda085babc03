"""Retention beside a running system: what a look promises is what goes, no more, and everything still adds up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from system_helpers import System, environment, isotherm

BRIEF = {"brief": {"raw": 60, "hourly": 60}}
OLD, NEW, BATCHES = 3, 4, 5
FILL = """
import sys
from pathlib import Path
from landing import event, record
from isotherm.cli.roles import Parts
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.rollup.backfill import backfill

now = SystemClock().now_ms()
old = now - 70 * DAY_MS
with Parts(Settings(data=Path(sys.argv[1]), job_threads=1)) as parts:
    for client in ("brief", "shop"):
        for n in range(int(sys.argv[4])):
            for at, events in ((old - n * HOUR_MS, int(sys.argv[2])), (now, int(sys.argv[3]))):
                rows = [event(at, i / 10, n / 10) for i in range(events)]
                parts.log.append([record(client, f"{at}-{n}", rows, received_at=at)])
    parts.lander.drain()
    for _ in backfill(parts.scheduler.jobs, old - 2 * DAY_MS, now + 1):
        pass
"""


def asked(data: Path, *arguments: str, retention: Any = BRIEF) -> Any:
    command = isotherm(arguments[0], "--data", str(data), *arguments[1:], "--json")
    given = environment(retention=json.dumps(retention))
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_what_a_look_promises_goes_beside_a_running_system_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    fill = [sys.executable, "-c", FILL, str(data), str(OLD), str(NEW), str(BATCHES)]
    subprocess.run(fill, env=environment() | {"PYTHONPATH": paths}, check=True, timeout=300)
    asked(data, "verify", retention={})
    promised = {(one["store"], one["client_id"]): one for one in asked(data, "retention", "--dry-run")["due"]}
    raw = promised["raw", "brief"]
    assert (raw["hours"], raw["rows"]) == (BATCHES, BATCHES * OLD)
    assert {key for key, one in promised.items() if one["hours"]} == {("raw", "brief"), ("hour", "brief")}
    before = asked(data, "ledger", "--check")["totals"]

    with System(data, retention=json.dumps(BRIEF)):
        asked(data, "retention", "--apply")
        last = asked(data, "retention")["last"]
        # The running app may have been quicker than the command: what went is what was promised either way.
        mine = last["raw"]["did"]["clients"]
        assert mine == {"brief": {"hours": BATCHES, "rows": BATCHES * OLD, "bytes": raw["bytes"]}}
        assert last["tiles"]["did"]["hour"]["hours"] == promised["hour", "brief"]["hours"] == BATCHES
        assert not any(one["hours"] for one in asked(data, "retention")["due"])
        totals = asked(data, "ledger", "--check")["totals"]
        assert totals == before
        assert totals["landed"] == 2 * BATCHES * (OLD + NEW)
        verdict = asked(data, "verify")
        print({"acknowledged": totals["received"], "landed": totals["landed"], "verdict": verdict})
        assert verdict["different"] == verdict["unreadable"] == verdict["dirty"] == 0
        assert verdict["frozen"] > 0
        assert verdict["same"] > 0
