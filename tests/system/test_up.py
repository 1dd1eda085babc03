"""`isotherm up` as a stranger meets it: start, stop, kill, twice, ports."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from system_helpers import STOP_SECONDS, System, alive, environment, fetch, healthy, isotherm, wait_for


def an_event(event_type: str = "mousemove") -> dict[str, object]:
    return {"event_time": int(time.time() * 1000), "event_type": event_type, "x_norm": 0.295, "y_norm": 0.5}


def batch(batch_id: str, events: int = 3, screen: str = "home") -> dict[str, object]:
    return {"client_id": "shop", "screen_id": screen, "batch_id": batch_id, "events": [an_event()] * events}


def counted(system: System, screen: str = "home") -> int:
    now = int(time.time() * 1000)
    hour = now - now % 3_600_000
    answer = fetch(
        f"{system.app_url}/v1/heatmap?client_id=shop&screen_id={screen}&from={hour - 3_600_000}&to={hour + 3_600_000}",
        nothing=(404, 503),
    )
    return sum(cell["count"] for cell in answer["cells"]) if answer else -1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_serves_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    system = System(tmp_path / "data")
    system.start()
    try:
        assert system.post(batch("one"))["accepted"] == 3
        system.wait_idle()
        assert counted(system) == 3
    finally:
        system.stop(number)
    assert not (system.data / "run.json").exists()
    said = system.said()
    assert system.app_url in said
    assert system.collect_url in said
    assert "curl" in said
    assert "Traceback" not in said


def test_what_was_acknowledged_just_before_the_stop_is_landed(tmp_path: Path) -> None:
    with System(tmp_path / "data", land_flush_seconds=3600) as system:
        assert system.post(batch("late"))["accepted"] == 3
    assert system.run_json("ledger", "--json")["totals"]["landed"] == 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A started system for tests that leave it as well as it was; each sends to a screen of its own."""
    with System(tmp_path_factory.mktemp("up") / "data") as started:
        yield started


def test_a_second_up_refuses_and_names_the_first(shared: System) -> None:
    system = shared
    done = system.run("up", "--port", "0", "--collect-port", "0")
    assert done.returncode == 1
    assert str(system.pid("up")) in done.stderr
    assert "already runs" in done.stderr
    assert "Traceback" not in done.stderr
    assert healthy(system.app_url)
    assert healthy(system.collect_url)


def test_roles_refuse_beside_up(shared: System) -> None:
    system = shared
    for role in ("collect", "land", "rollup", "serve"):
        done = system.run(role)
        assert done.returncode == 1, role
        assert "already includes" in done.stderr, role


@pytest.mark.parametrize("role", ["collect", "app"])
def test_a_killed_child_is_restarted_and_nothing_is_lost(shared: System, role: str) -> None:
    system, before, after = shared, batch(f"before-{role}", screen=role), batch(f"after-{role}", screen=role)
    assert system.post(before)["accepted"] == 3
    first = system.pid(role)
    assert system.kill(role)
    wait_for("another process", lambda: system.pid(role) not in (None, first), 30)
    for url in (system.collect_url, system.app_url):
        wait_for(f"{url} to be healthy again", lambda url=url: healthy(url), 60)
    assert system.post(before)["duplicate"] == 3
    assert system.post(after)["accepted"] == 3
    wait_for("all six events on the map", lambda: counted(system, role) == 6, 60)


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    system.start()
    family = system.family()
    assert len(family) >= 3
    os.kill(system.pid("up") or 0, signal.SIGKILL)
    assert system.process is not None
    system.process.wait(timeout=STOP_SECONDS)
    wait_for("the children to be gone", lambda: not any(map(alive, family)), 30)
    # The folder is free again, although run.json was left behind.
    assert (system.data / "run.json").exists()
    assert system.run("status").returncode == 1
    system.start()
    system.stop()


def test_an_app_that_hangs_is_killed_and_started_again(shared: System) -> None:
    system = shared
    first = system.pid("app")
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    wait_for("another app", lambda: system.pid("app") not in (None, first), 90)
    wait_for("the app to be healthy again", lambda: healthy(system.app_url), 60)


@pytest.mark.parametrize("flag", ["--port", "--collect-port"])
def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path, flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = "--collect-port" if flag == "--port" else "--port"
        done = subprocess.run(
            isotherm("up", "--data", str(tmp_path / "data"), flag, port, other, "0"),
            env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert port in done.stderr
    assert flag in done.stderr
    assert "starts" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_address_needs_its_guard(tmp_path: Path) -> None:
    for flags, setting in ((("--host", "0.0.0.0"), "token"), (("--collect-host", "0.0.0.0"), "clients")):
        done = subprocess.run(
            isotherm("up", "--data", str(tmp_path / "data"), "--port", "0", "--collect-port", "0", *flags),
            env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert setting in done.stderr


def test_status_log_and_doctor_of_a_running_system(system: System) -> None:
    system.post(batch("one"))
    system.wait_idle()
    status = system.run_json("status", "--json")
    assert status["running"] is True
    assert status["pids"]["up"] == system.pid("up")
    assert status["lake"]["parquet"]["rows"] == 3
    assert system.run_json("log", "--json")["lag"] == {"land": 0}
    findings = system.run_json("doctor", "--json")
    assert not [f for f in findings if f["grade"] == "error"]
    for command in ("status", "log", "ledger", "doctor"):
        done = system.run(command)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip()
