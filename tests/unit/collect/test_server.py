"""Where the collector may listen, and how its processes live and die."""

import os
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from collecting import RunningCollector, batch, until

from isotherm.collect.server import check_address, run
from isotherm.config import Settings
from isotherm.errors import ConfigError


def test_other_addresses_need_declared_clients() -> None:
    with pytest.raises(ConfigError, match="clients"):
        run(Settings(collect_host="0.0.0.0"))
    check_address(Settings(collect_host="0.0.0.0", clients=["shop"]))
    check_address(Settings(collect_host="::1"))


def test_a_taken_port_is_named() -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)):
            run(Settings(collect_port=port))


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.system
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data").start()
    workers = running.workers()
    assert running.process is not None
    running.process.kill()
    running.process.wait()
    until(lambda: all(map(gone, workers)), "the workers are gone")


@pytest.mark.system
def test_a_dead_worker_is_replaced_and_sigterm_drains(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data", collect_workers=2).start()
    first = running.workers()
    assert len(first) == 2
    os.kill(first[0], 9)
    until(lambda: len(set(running.workers()) - {first[0]}) == 2, "a new worker")
    until(running.ready, "the collector answers again")
    assert running.post(batch(2, batch_id="b")).json()["accepted"] == 2
    running.stop()
    assert sum(len(e.batch.events) for e in running.envelopes() if e.batch) == 2


@pytest.mark.system
def test_declared_clients_only(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data", clients=["blog"]).start()
    assert running.post(batch(1)).status_code == 422
    assert running.post(batch(1, client_id="blog")).status_code == 202
    assert httpx.get(running.url + "/v1/healthz").json() == {"status": "ready"}
    assert running.stop() == 0
