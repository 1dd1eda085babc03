"""Any mixture of stores as one deployment: the settings for `isotherm up`, or its roles as processes of their own."""

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from system_helpers import START_SECONDS, STOP_SECONDS, System, alive, environment, fetch, healthy, isotherm, wait_for

from isotherm.cli.processes import free_port

Settings = dict[str, Any]
_databases = itertools.count(1)


def _kafka(kafka: Any) -> Settings:
    name = uuid4().hex
    return {
        "log": f"kafka://{kafka.bootstrap}?topic=events-{name}",
        "windows_topic": f"windows-{name}",
        "kafka_partitions": 4,
        "kafka_replication": 1,
    }


def _s3(server: Any) -> Settings:
    return {
        "lake": f"s3://{server.make_bucket()}/lake?endpoint={server.endpoint}&region={server.region}",
        "s3_access_key_id": server.access_key,
        "s3_secret_access_key": server.secret_key,
    }


def _clickhouse(server: Any) -> Settings:
    return {"olap": server.new_database()}


def _postgres(server: Any) -> Settings:
    return {"db": server.new_database()}


def _redis(server: Any) -> Settings:
    return {"cache": f"{server.url.rstrip('/').removesuffix('/0')}/{next(_databases) % 16}"}


def _spark(cluster: Any) -> Settings:
    os.environ.update({name: value for name, value in cluster.environment().items() if name not in os.environ})
    return {
        "engine": cluster.master,
        "spark_submit": cluster.submit,
        "spark_options": json.dumps({"spark.executor.memory": "1g", "spark.jars": ",".join(cluster.s3_jars)}),
    }


def _flink(cluster: Any) -> Settings:
    return {"stream": f"flink://{cluster.gateway.removeprefix('http://')}"}


SWAPS: Final[dict[str, tuple[str, Callable[[Any], Settings]]]] = {
    "log": ("kafka", _kafka),
    "lake": ("versitygw", _s3),
    "olap": ("clickhouse_server", _clickhouse),
    "db": ("postgres", _postgres),
    "cache": ("redis_server", _redis),
    "engine": ("spark_cluster", _spark),
    "stream": ("flink_cluster", _flink),
}
"""Setting: the fixture of its server at scale, and the settings that use it."""

STORES: Final = ("log", "lake", "olap", "db", "cache")
"""What makes the distributed build; the engines come on top."""


def swapping(*names: str) -> pytest.MarkDecorator:
    """Announces the servers of these settings; see tests/services/README.md."""
    return pytest.mark.services(*(SWAPS[name][0] for name in names))


def settings_for(request: pytest.FixtureRequest, names: Sequence[str]) -> Settings:
    """Settings that put these parts on their servers, in places that nobody has used."""
    chosen: Settings = {}
    for name in names:
        fixture, build = SWAPS[name]
        chosen |= build(request.getfixturevalue(fixture))
    return chosen


class Roles(System):
    """The roles as processes of their own, some of them twice, as a cluster runs them; asked like a `System`.

    `kill` takes the name of a process: collect, land-1, land-2, rollup-1, rollup-2, stream, serve. One that was
    killed is started again by `revive`, as a cluster would.
    """

    COMMANDS: Final = {
        "collect": ("collect",),
        "land-1": ("land",),
        "land-2": ("land",),
        "rollup-1": ("rollup",),
        "rollup-2": ("rollup",),
        "stream": ("stream",),
        "serve": ("serve",),
    }

    def __init__(self, data: Path, **settings: Any) -> None:
        super().__init__(data, **settings)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {"collect": free_port("127.0.0.1"), "serve": free_port("127.0.0.1")}
        self.collect_url = f"http://127.0.0.1:{self._ports['collect']}"
        self.app_url = f"http://127.0.0.1:{self._ports['serve']}"

    @property
    def log_file(self) -> Path:
        return self._said_by("serve")

    def _said_by(self, name: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{name}.stderr")

    def said(self) -> str:
        parts = [(name, self._said_by(name)) for name in self.COMMANDS]
        return "\n".join(
            f"--- {name}\n{path.read_text(errors='replace')[-2000:]}" for name, path in parts if path.exists()
        )

    def errors(self) -> list[str]:
        """Lines that some process logged as an error."""
        return [line for name in self.COMMANDS for line in error_lines(self._said_by(name))]

    def start(self, *extra: str) -> None:
        """Start what does not run; returns when collector and query API are healthy."""
        for name in self.COMMANDS:
            self.revive(name)
        try:
            for url in (self.collect_url, self.app_url):
                wait_for(f"{url} to be healthy", lambda url=url: self._lives() and healthy(url), START_SECONDS)
        except BaseException:
            for name in self.COMMANDS:
                self.kill(name)
            raise

    def revive(self, name: str) -> None:
        """Start this process unless it runs."""
        running = self.processes.get(name)
        if running is not None and running.poll() is None:
            return
        flag = {"collect": "--collect-port", "serve": "--port"}.get(name)
        port = (flag, str(self._ports[name])) if flag else ()
        # A folder of its own each, as on machines of their own: only the stores connect them.
        command = isotherm(*self.COMMANDS[name], *port, "--data", str(self.data / name))
        with self._said_by(name).open("ab") as said:
            self.processes[name] = subprocess.Popen(
                command, env=environment(**self.settings), stdout=said, stderr=said, start_new_session=True
            )

    def _lives(self) -> bool:
        dead = [name for name, process in self.processes.items() if process.poll() not in (None, -signal.SIGKILL)]
        assert not dead, f"{', '.join(dead)} ended:\n{self.said()}"
        return True

    def pid(self, role: str) -> int | None:
        process = self.processes.get(role)
        return process.pid if process is not None and process.poll() is None else None

    def kill(self, role: str) -> bool:
        """SIGKILL to the whole process group; False when it does not run."""
        process = self.processes.get(role)
        if process is None or process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=STOP_SECONDS)
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop all and assert that each ended cleanly."""
        running = {name: process for name, process in self.processes.items() if process.poll() is None}
        for process in running.values():
            process.send_signal(number)
        codes: dict[str, int] = {}
        for name, process in running.items():
            try:
                codes[name] = process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes[name] = process.wait()
        assert not any(codes.values()), f"{codes}\n{self.said()}"
        assert not any(map(alive, [process.pid for process in running.values()]))

    def idle(self) -> bool:
        """Whether everything on the log is landed and nothing waits to be tiled.

        The query API alone does not know the log: what was accepted is taken from the command for people.
        """
        status = fetch(f"{self.app_url}/v1/status")
        if status is None or not status["idle"]:
            return False
        log = self.run_json("status", "--json")["log"]
        return not log["lag"].get("land", sum(log["head"].values()))


def error_lines(path: Path) -> list[str]:
    """Lines of a log file that are errors or tracebacks."""
    if not path.exists():
        return []
    return [
        line
        for line in path.read_text(errors="replace").splitlines()
        if '"level": "error"' in line or "Traceback" in line
    ]
