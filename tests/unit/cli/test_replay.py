"""`isotherm replay`: from the lake of one deployment to the log of another, and its maps, cell by cell."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from landing import event, record

from isotherm.cli import run
from isotherm.cli.roles import Parts
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock, iso
from isotherm.config import Settings
from isotherm.land import ledger
from isotherm.rollup.backfill import backfill

pytestmark = pytest.mark.usefixtures("one_olap")

NOW = SystemClock().now_ms()
START = NOW - NOW % DAY_MS - 2 * DAY_MS
RANGE = ("--from", iso(START), "--to", iso(START + DAY_MS))
ROWS = 3 * 40 * 50


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three clients with 2,000 events each over a day, landed and tiled."""
    rng = np.random.default_rng(5)
    with Parts(Settings(data=tmp_path / "one", job_threads=1)) as parts:
        for client in ("a", "b", "c"):
            for n in range(40):
                times = START + rng.integers(0, DAY_MS, 50)
                places = rng.random((50, 2)).round(2).tolist()
                rows = [
                    event(int(t), x, y, "click" if n % 3 else "mousemove")
                    for t, (x, y) in zip(times, places, strict=True)
                ]
                parts.log.append([record(client, f"b{n}", rows, screen_id=f"s{n % 2}", received_at=START + DAY_MS)])
        land(parts)
    return tmp_path


def land(parts: Parts) -> None:
    parts.lander.drain()
    for _ in backfill(parts.scheduler.jobs, START, START + DAY_MS):
        pass


def maps(data: Path) -> list[dict[str, Any]]:
    with Parts(Settings(data=data)) as parts:
        return parts.olap.query(
            "SELECT client_id, screen_id, event_type, toString(level) AS level, bucket_start, cells, counts"
            " FROM maps FINAL WHERE events > 0 ORDER BY ALL"
        ).to_pylist()


def sums(data: Path) -> dict[str, int]:
    with Parts(Settings(data=data)) as parts:
        found = ledger.read(parts.engine)
        assert ledger.check(found) == []
        return ledger.sums(found)


def land_all(data: Path) -> None:
    """Into a tile store with nothing in it."""
    with Parts(Settings(data=data, job_threads=1)) as parts:
        parts.olap.command("TRUNCATE TABLE maps")
        land(parts)


def started(data: Path) -> str:
    """The log of a deployment that was started and got nothing yet."""
    with Parts(Settings(data=data)) as parts:
        return parts.log.status().url


def replayed(data: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["replay", "--data", str(data / "one"), *RANGE, *more, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_empty_deployment_gets_every_map_cell_by_cell(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, before = started(data / "two"), maps(data / "one")
    planned = replayed(data, capsys, "--dry-run", "--to-log", other)
    assert (planned["events"], planned["clients"]) == (ROWS, ["a", "b", "c"])
    with Parts(Settings(data=data / "two")) as parts:
        assert parts.log.head(0) == 0
    assert replayed(data, capsys, "--to-log", other)["events"] == ROWS
    again = replayed(data, capsys, "--to-log", other)
    assert again["known"] == again["records"]
    land_all(data / "two")
    assert maps(data / "two") == before != []
    assert sums(data / "two") == sums(data / "one")


def test_its_own_deployment_stays_as_it_is(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, total = maps(data / "one"), sums(data / "one")
    assert replayed(data, capsys)["events"] == ROWS
    land_all(data / "one")
    assert maps(data / "one") == before
    assert sums(data / "one")["landing_duplicate"] == ROWS
    assert sums(data / "one")["landed"] == total["landed"] == ROWS


def test_another_first_format_is_refused_and_into_another_deployment_said(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOTHERM_LAND_FORMATS", "jsonl")
    where = ["replay", "--data", str(data / "one"), *RANGE]
    assert run(where) == 1
    assert "name parquet first" in capsys.readouterr().err
    assert run([*where, "--to-log", started(data / "two")]) == 0
    said = capsys.readouterr()
    assert "have events in parquet that are not in jsonl" in " ".join(said.err.split())
    assert "nothing to replay" in said.out


def test_killed_in_the_middle_and_run_again_it_is_exact(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import os, signal, sys\n"
        "from isotherm.land import replay\n"
        "whole, left = replay.Replay._append, [25]\n"
        "def append(self, records):\n"
        "    yield from whole(self, records)\n"
        "    left[0] -= 1\n"
        "    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n"
        "replay.Replay._append = append\n"
        "from isotherm.cli import run\n"
        "run(sys.argv[1:])\n"
    )
    other, before = started(data / "two"), maps(data / "one")
    arguments = ["replay", "--data", str(data / "one"), *RANGE, "--to-log", other]
    child = subprocess.run([sys.executable, "-c", program, *arguments], env={**os.environ, "TZ": "UTC"}, check=False)
    assert child.returncode == -signal.SIGKILL
    land_all(data / "two")
    assert 0 < sums(data / "two")["landed"] < ROWS
    done = replayed(data, capsys, "--to-log", other)
    assert 0 < done["known"] < done["records"]
    land_all(data / "two")
    assert maps(data / "two") == before
    assert sums(data / "two")["landed"] == ROWS


def test_what_makes_no_sense_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["replay", "--data", str(data / "one")]
    for wrong in (
        [],
        ["--from", iso(START)],
        [*RANGE, "--client", "../x"],
        ["--from", iso(START + HOUR_MS), "--to", iso(START)],
    ):
        assert run([*where, *wrong]) == 1
        assert "isotherm: " in capsys.readouterr().err
    assert run([*where, *RANGE, "--to-log", "smtp://x"]) == 1
    for more in ([], ["--dry-run"]):
        assert run([*where, *RANGE, *more, "--to-log", f"lmdb://{data}/tow/log"]) == 1
        assert "there is no log" in capsys.readouterr().err
        assert not (data / "tow").exists()
    assert run([*where, *RANGE, "--client", "nobody"]) == 0
    assert "nothing to replay" in capsys.readouterr().out
