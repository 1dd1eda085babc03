"""Backups of a system that runs, by the commands that people use, and deployments made of them."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from system_helpers import System, alive, environment, isotherm, wait_for

from isotherm.cli.drill_folder import PREFIX

EVENTS = 20


def ask(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(isotherm(*arguments), env=environment(), capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout, done.stderr


def batch(number: int) -> dict[str, Any]:
    now = int(time.time() * 1000)
    events = [
        {"event_time": now, "event_type": "mousemove", "x_norm": (number * 37 + i) % 100 / 100, "y_norm": i / EVENTS}
        for i in range(EVENTS)
    ]
    return {"client_id": f"shop{number % 2}", "screen_id": "/", "batch_id": f"b{number}", "events": events}


@pytest.mark.timeout(900)
def test_a_backup_beside_a_running_system_becomes_another_one(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    system.start()
    place, sent = f"file://{tmp_path / 'backups'}", 0
    try:
        for sent in range(1, 11):
            system.post(batch(sent))
        system.wait_idle()
        acknowledged: list[int] = []
        done = threading.Event()

        def go_on() -> None:
            while not done.is_set():
                number = sent + len(acknowledged) + 1
                system.post(batch(number))
                acknowledged.append(number)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            before = len(acknowledged)
            first = json.loads(
                ask("backup", "--data", str(system.data), "--to", place, "--limit-rate", "0", "--json")[1]
            )
            between = len(acknowledged)
            code, said, _ = ask("backup", "--data", str(system.data), "--to", place, "--limit-rate", "0", "--keep", "1")
        finally:
            done.set()
            thread.join()
        assert code == 0
        assert "removed 1 older backups" in said
        assert first["events"] >= sent * EVENTS
        assert before <= between
        held = sent + between
    finally:
        system.stop()
    other = tmp_path / "other"
    code, said, problem = ask("restore", "--from", place, "--data", str(other))
    assert code == 0, problem
    assert "restored backup" in said
    with System(other) as restored:
        restored.wait_idle()
        totals = restored.run_json("ledger", "--json")["totals"]
        assert held * EVENTS <= totals["landed"] <= (sent + len(acknowledged)) * EVENTS
        report = restored.run_json("verify", "--json")
        assert report["different"] == 0
        assert report["same"] > 0
        code, _, problem = ask("restore", "--from", place, "--data", str(other))
        assert code == 1
        assert "already runs" in problem


@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_rehearsal_says_what_was_achieved_and_finds_what_is_wrong(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    system.start()
    place = f"file://{tmp_path / 'backups'}"
    try:
        for number in range(50):
            system.post(batch(number))
        system.wait_idle()
        assert ask("backup", "--data", str(system.data), "--to", place, "--limit-rate", "0")[0] == 0
    finally:
        system.stop()
    code, said, problem = ask("restore", "--from", place, "--drill", "--json")
    assert code == 0, problem
    report = json.loads(said)
    print(said)
    assert report["ledger"]["closes"]
    assert report["verify"]["right"]
    assert report["events"] == 50 * EVENTS
    assert report["rto_seconds"] >= report["restore_seconds"] > 0
    assert report["bytes_per_second"] > 0
    largest = max((tmp_path / "backups" / "objects").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 1
    largest.write_bytes(raw)
    code, _, problem = ask("restore", "--from", place, "--drill")
    assert code == 1
    assert largest.name in problem
    code, _, problem = ask("backup", "--to", place, "--verify")
    assert code == 1
    assert largest.name in problem


def running(folder: Path) -> set[int]:
    """The processes of the deployment that a drill started in this folder, once there are some."""
    for path in folder.glob(f"{PREFIX}*/data/run.json"):
        said = json.loads(path.read_bytes())
        if len(said["pids"]) == 2:
            return {said["pid"], *said["pids"].values()}
    return set()


@pytest.mark.timeout(600)
def test_a_drill_that_is_ended_leaves_nothing_running_and_no_copy_of_the_data(tmp_path: Path) -> None:
    place, folder = f"file://{tmp_path / 'backups'}", tmp_path / "temporary"
    folder.mkdir()
    with System(tmp_path / "data") as system:
        system.post(batch(1))
        system.wait_idle()
        assert ask("backup", "--data", str(system.data), "--to", place, "--limit-rate", "0")[0] == 0
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
        before = set(folder.iterdir())
        drill = subprocess.Popen(
            isotherm("restore", "--from", place, "--drill"), env=environment() | {"TMPDIR": str(folder)}
        )
        try:
            # What a killed drill left goes first.
            wait_for("the drill's folder", lambda known=before: set(folder.iterdir()) - known, 60)
            assert not before & set(folder.iterdir())
            started = wait_for("the drill's processes", lambda: running(folder), 120)
            drill.send_signal(number)
            assert drill.wait(120) == code
        finally:
            drill.kill()
            drill.wait()
        wait_for("its processes to end", lambda left=started: not any(map(alive, left)), 30)
        assert len(list(folder.iterdir())) == (number == signal.SIGKILL)
