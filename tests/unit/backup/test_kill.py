"""Backups and restores that are killed by SIGKILL at every named step, as processes on the embedded stores."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.backup.restore import STEPS as RESTORE_STEPS
from isotherm.backup.take import STEPS
from isotherm.backup.target import open_target
from isotherm.config import Settings

EVENTS = 20
CHILD = """
import os, signal, sys
from pathlib import Path
from landing import event, record
from isotherm.backup.restore import choose
from isotherm.backup.take import take
from isotherm.backup.target import open_target
from isotherm.cli.backup import sources_of
from isotherm.cli.restore import restore
from isotherm.cli.roles import Parts
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level

work, data, place, step = sys.argv[1:5]
settings = Settings(data=Path(data), job_threads=1)
settings.data.mkdir(exist_ok=True)
now = SystemClock().now_ms()

def checkpoint(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)

if work == "fill":
    with Parts(settings) as parts:
        def send(first, last):
            for n in range(first, last):
                parts.log.append([record("ab"[n % 2], f"b{n}", [event(now, n / 50, 0.5)] * 20, received_at=now)])
        send(0, 20)
        parts.lander.drain()
        hour = now - now % HOUR_MS
        for _ in backfill(parts.scheduler.jobs, hour, hour + HOUR_MS, None, tuple(Level)):
            pass
        send(20, 30)
elif work == "take":
    with Parts(settings) as parts:
        take(sources_of(parts), open_target(place, settings, make=True), checkpoint=checkpoint)
else:
    target = open_target(place, settings, make=False)
    restore(target, target.inventory(choose(target)), settings, checkpoint=checkpoint)
"""


def child(work: str, data: Path, place: str, step: str = "") -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
    paths = os.pathsep.join([str(Path(__file__).parent.parent.parent), kept.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-c", CHILD, work, str(data), place, step]
    return subprocess.run(arguments, env=kept | {"PYTHONPATH": paths}, timeout=300).returncode


def said(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "isotherm", *arguments], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout or done.stderr


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_step_was_the_last(tmp_path: Path) -> None:
    data, place = tmp_path / "data", f"file://{tmp_path / 'backups'}"
    target = open_target(place, Settings(data=tmp_path), make=True)
    assert child("fill", data, place) == 0
    killed: list[str] = []
    for step in STEPS:
        before = len(target.inventories())
        assert child("take", data, place, step) == -signal.SIGKILL
        assert len(target.inventories()) == before + (step == "inventory")
        killed.append(step)
    assert tuple(killed) == STEPS
    assert child("take", data, place) == 0
    other = tmp_path / "other"
    for step in RESTORE_STEPS[:-1]:
        assert child("restore", other, place, step) == -signal.SIGKILL
        code, why = said("collect", "--data", str(other))
        assert code == 1
        assert "interrupted" in why
        killed.append(step)
    assert child("restore", other, place, RESTORE_STEPS[-1]) == -signal.SIGKILL
    assert (tuple(killed), killed[-1]) == ((*STEPS, *RESTORE_STEPS[:-1]), RESTORE_STEPS[-2])
    assert said("land", "--data", str(other), "--once")[0] == 0
    code, found = said("ledger", "--data", str(other), "--json")
    assert code == 0, found
    totals = json.loads(found)["totals"]
    print({"acknowledged": 30 * EVENTS, "landed": totals["landed"], "lost": 30 * EVENTS - totals["landed"]})
    assert totals["landed"] == totals["received"] == 30 * EVENTS
    code, found = said("verify", "--data", str(other), "--json")
    assert code == 0, found
