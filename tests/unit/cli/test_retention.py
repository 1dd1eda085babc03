"""`isotherm retention` on a deployment whose clock runs as the host's does."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from landing import event, record

from isotherm.cli import run
from isotherm.cli.roles import Parts
from isotherm.clock import DAY_MS, HOUR_MS, ManualClock, SystemClock, iso
from isotherm.collect.dead import letter, record_of
from isotherm.config import Settings
from isotherm.eventlog.port import open_dead_log
from isotherm.land.aside import folder_of
from isotherm.land.steady import WORKS, SteadyClock
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level

pytestmark = pytest.mark.usefixtures("one_olap", "logs_as_before")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clients with an hour of 70 days ago and one of now, landed and tiled; one keeps raw for 60 days."""
    now = SystemClock().now_ms()
    with Parts(Settings(data=tmp_path, job_threads=1)) as parts:
        for client in ("brief", "shop"):
            for at in (now - 70 * DAY_MS, now):
                parts.log.append([record(client, f"{at}", [event(at)] * 3, received_at=at)])
        parts.lander.drain()
        for _ in backfill(parts.scheduler.jobs, now - 71 * DAY_MS, now + 1):
            pass
    monkeypatch.setenv("ISOTHERM_RETENTION", '{"brief": {"raw": 60, "hourly": 60}}')
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run(["retention", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_look_removes_nothing_and_names_what_comes_next(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        found = {(o["store"], o["client_id"]): o for o in asked(capsys, "--data", str(data), "--dry-run")["due"]}
        assert (found["raw", "brief"]["hours"], found["raw", "brief"]["rows"]) == (1, 3)
        assert found["raw", "brief"]["bytes"] > 0
        assert (found["raw", "shop"]["hours"], found["raw", "shop"]["kept_days"]) == (0, 730)
        assert (found["hour", "shop"]["hours"], found["day", "brief"]["hours"]) == (0, 0)
        start = (SystemClock().now_ms() - 70 * DAY_MS) // HOUR_MS * HOUR_MS
        assert found["raw", "shop"]["next_start"] in (iso(start), iso(start - HOUR_MS))
        assert found["raw", "shop"]["next_at"][:4] in ("2027", "2028", "2029")
    one = asked(capsys, "--data", str(data), "--client", "shop")
    assert {o["client_id"] for o in one["due"]} == {"shop"}
    assert run(["retention", "--data", str(data), "--client", "shopp"]) == 0
    assert "nothing is kept of this client yet" in capsys.readouterr().out


def test_what_is_due_is_removed_on_demand_and_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    removed = asked(capsys, "--data", str(data), "--apply")["removed"]
    assert removed["raw"]["clients"] == {"brief": {"hours": 1, "rows": 3, "bytes": removed["raw"]["bytes"]}}
    assert removed["tiles"] == {
        "hour": {"hours": 1, "rows": 3, "bytes": 0, "clients": {"brief": removed["tiles"]["hour"]["clients"]["brief"]}}
    }
    assert removed["files"] == {"deleted": 1}
    again = asked(capsys, "--data", str(data), "--apply")["removed"]
    assert (again["raw"], again["tiles"], again["files"]) == ({}, {}, {"deleted": 0})
    after = asked(capsys, "--data", str(data))
    assert not any(one["hours"] for one in after["due"])
    assert after["last"]["raw"]["did"] == removed["raw"]
    assert set(after["last"]) <= {"raw", "tiles", "records", "log", "dead", "archive"}
    with Parts(Settings(data=data)) as parts:
        assert sorted(f.client_id for f in parts.manifest.listed()) == ["brief", "shop", "shop"]
        kept = parts.olap.query(
            "SELECT client_id, toString(level) AS level FROM maps FINAL ORDER BY client_id"
        ).to_pylist()
    assert [row["client_id"] for row in kept if row["level"] == Level.HOUR] == ["brief", "shop", "shop"]
    assert [row["client_id"] for row in kept if row["level"] == Level.DAY] == ["brief", "brief", "shop", "shop"]
    assert run(["retention", "--data", str(data)]) == 0
    assert "last removed something at" in capsys.readouterr().out


def test_dead_letters_past_their_days_are_told_and_removed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = SystemClock().now_ms()
    settings = Settings(data=data)
    with closing(open_dead_log(settings, SystemClock())) as log:
        old = letter(b"[1]", reason="no_batch", stage="collect", time=now - 31 * DAY_MS, client_id=None)
        log.append([record_of(old)])
    folder_of(settings).mkdir(exist_ok=True)
    for name, days in (("old.bin", 31), ("young.bin", 29)):
        file = folder_of(settings) / name
        file.write_bytes(b"x" * 10)
        os.utime(file, ((now - days * DAY_MS) / 1000,) * 2)
    looked = asked(capsys, "--data", str(data))["dead"]
    assert (looked["kept_days"], looked["due"]) == (30, {"segments": 0, "files": 1, "bytes": 10})
    assert run(["retention", "--data", str(data)]) == 0
    assert "dead letters: 30 days" in capsys.readouterr().out
    removed = asked(capsys, "--data", str(data), "--apply")["removed"]["dead"]["deleted"]
    assert removed == ["old.bin", f"{0:020d}.lmdb"]
    with closing(open_dead_log(settings, SystemClock())) as log:
        assert log.read(0, 0) == []
    assert [file.name for file in folder_of(settings).iterdir()] == ["young.bin"]
    assert asked(capsys, "--data", str(data))["last"]["dead"]["did"]["deleted"] == removed


@pytest.mark.parametrize("seen", [False, True])
def test_a_clock_that_leapt_is_told_and_what_is_due_goes_by_the_moment_before(
    data: Path, capsys: pytest.CaptureFixture[str], seen: bool
) -> None:
    """Whether a round has seen the leap, or nothing ran since."""
    now = SystemClock().now_ms()
    with Parts(Settings(data=data)) as parts:
        for name in WORKS:
            clock = ManualClock(now - 400 * DAY_MS)
            steady = SteadyClock(parts.engine, clock, name)
            steady.now_ms()
            clock.advance(400 * DAY_MS if seen else 0)
            assert steady.now_ms() == now - 400 * DAY_MS
    found = asked(capsys, "--data", str(data))
    assert not any(one["hours"] for one in found["due"])
    [leap] = found["leaps"]
    assert (leap["before"], leap["after"]) == (iso(now - 400 * DAY_MS), found["now"])
    assert run(["retention", "--data", str(data)]) == 0
    assert "the clock leapt from" in capsys.readouterr().out
    assert asked(capsys, "--data", str(data), "--apply")["removed"]["raw"]["hours"] == 1
    assert asked(capsys, "--data", str(data))["leaps"] == []


def test_what_makes_no_sense_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (("--client", "../x"), ("--apply", "--dry-run"), ("--apply", "--client", "shop")):
        assert run(["retention", "--data", str(data), *wrong]) == 1
        assert "isotherm: " in capsys.readouterr().err
    assert run(["retention", "--data", str(data / "none")]) == 1
