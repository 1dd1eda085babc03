"""Two of everything by mistake: each is refused by name, or both work and everything counts once.

Two landers and schedulers on servers: tests/services/test_drills.py.
"""

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from drilling import account, books_close, loaded, settle
from system_helpers import System, environment, healthy, isotherm, role, wait_for

from isotherm.cli.processes import free_port

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]


def test_a_second_up_and_roles_beside_it_are_refused_by_name(tmp_path: Path) -> None:
    with System(tmp_path / "data") as system:
        with loaded(system, "two-ups") as load:
            load.flows()
            for arguments, words in (
                (("up", "--port", "0", "--collect-port", "0"), f"already runs on {system.data}"),
                *(((name,), "already includes") for name in ("collect", "land", "rollup", "serve")),
            ):
                refused = system.run(*arguments)
                assert refused.returncode == 1, arguments
                assert words in refused.stderr
                assert str(system.pid("up")) in refused.stderr
                assert "Traceback" not in refused.stderr
            load.flows()
        account("two-ups", load, [settle(system)])
        books_close(system)
        assert load.answers.keys() == {"202"}


def test_two_collectors_and_two_landers_on_one_folder(tmp_path: Path) -> None:
    data, ports = tmp_path / "data", (free_port("127.0.0.1"), free_port("127.0.0.1"))
    system = System(data)
    loads = []
    with ExitStack() as running:
        for number, port in enumerate(ports):
            running.enter_context(role(data, "collect", "--collect-port", str(port), number=number))
            running.enter_context(role(data, "land", number=number))
            wait_for("the collector", lambda port=port: healthy(f"http://127.0.0.1:{port}"), 60)
        third = system.run("collect", "--collect-port", str(ports[0]))
        assert third.returncode == 1
        assert f"port {ports[0]} on 127.0.0.1 is in use" in third.stderr
        for number, port in enumerate(ports):
            sending = System(data)
            sending.collect_url = f"http://127.0.0.1:{port}"
            loads.append(running.enter_context(loaded(sending, f"two-{number}")))
        for load in loads:
            load.flows(100)
    with system:
        settled = settle(system)
        for load in loads:
            account(f"two-collectors-two-landers-{load.client_id[-1]}", load, [settled])
        books_close(system)


def test_a_second_scheduler_is_refused_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with System(data) as system, loaded(system, "two-schedulers") as load:
        load.flows()
    with role(data, "rollup", number=1) as said:
        wait_for("the first to run", lambda: "running" in said.read_text(), 60)
        second = system.run("rollup")
        assert second.returncode == 1
        assert str(data / "olap") in second.stderr
        assert "Traceback" not in second.stderr
    with system:
        account("two-schedulers", load, [settle(system)])
        books_close(system)


def test_two_backups_at_once_to_one_place(tmp_path: Path) -> None:
    """Both may work; whatever they left, the next one is whole."""
    place = f"file://{tmp_path / 'backups'}"
    with System(tmp_path / "data") as system:
        with loaded(system, "two-backups") as load:
            load.flows(100)
            arguments = isotherm("backup", "--data", str(system.data), "--to", place, "--json")
            both = [
                subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                for _ in range(2)
            ]
            said = [one.communicate(timeout=300) for one in both]
            assert any(one.returncode == 0 for one in both), said
            assert all(one.returncode in (0, 1) for one in both), said
            assert not any(b"Traceback" in error for _, error in said), said
        account("two-backups", load, [settle(system)])
        books_close(system)
        checked = system.run("backup", "--to", place, "--verify")
        assert checked.returncode == 0, checked.stderr + checked.stdout
        last = system.run("backup", "--to", place, "--json")
        assert last.returncode == 0, last.stderr
        assert json.loads(last.stdout)["events"] == load.events * len(load.acknowledged)
    began = time.monotonic()
    other = System(tmp_path / "other")
    done = other.run("restore", "--from", place)
    assert done.returncode == 0, done.stderr
    with other:
        settle(other)
        load.system = other
        account("two-backups-restored", load, [time.monotonic() - began])
        books_close(other)
