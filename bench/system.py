"""`isotherm up` on a folder of its own, and what the measurements ask it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from bench.ingest.isotherm import environment
from bench.processes import free_port, private_bytes, running, wait_for
from isotherm.clock import DAY_MS
from isotherm.errors import IsothermError
from isotherm.events import hour_of

START_SECONDS: Final = 120


@dataclass(frozen=True)
class System:
    """A running installation: its folder, its supervisor's process, its two ports."""

    data: Path
    process: "subprocess.Popen[bytes]"
    port: int
    collect_port: int

    @property
    def collect_url(self) -> str:
        return f"http://127.0.0.1:{self.collect_port}"

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of the query API; raises IsothermError unless it is 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", f"{path}?{urlencode(query or {})}")
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise IsothermError(f"bench: {path} answered {response.status}: {content[:300]!r}")
        return json.loads(content)

    def healthy(self) -> bool:
        """Whether app and collector answer that they are ready."""
        for port in (self.port, self.collect_port):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/v1/healthz")
                if connection.getresponse().status == http.client.OK:
                    continue
            return False
        return True

    def status(self) -> dict[str, Any]:
        """GET /v1/status."""
        return self.get("/v1/status")

    def rows(self) -> int:
        """Rows listed in the lake's manifest."""
        lake = self.status()["lake"]
        return int(lake["parquet"]["rows"]) if "parquet" in lake else 0

    def wait_idle(self, seconds: float) -> None:
        """Until nothing is on its way to the lake and no bucket waits to be tiled."""
        wait_for("everything to be landed and tiled", lambda: bool(self.status()["idle"]), seconds, self.process)

    def ledger(self) -> dict[str, int]:
        """The ledger's totals by measure. Raises IsothermError when its sums do not close."""
        command = [sys.executable, "-m", "isotherm", "ledger", "--data", str(self.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        if done.returncode:
            raise IsothermError(f"bench: isotherm ledger failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        return json.loads(done.stdout)["totals"]

    def counted(self, now_ms: int) -> int:
        """Events in the cells of all mouse-move maps of the days around `now_ms`, summed over clients and screens."""
        span = {"from": hour_of(now_ms) - DAY_MS, "to": hour_of(now_ms) + DAY_MS}
        total = 0
        for client in self.get("/v1/clients", {"limit": 100})["clients"]:
            name = {"client_id": client["client_id"]}
            for screen in self.get("/v1/screens", name | {"limit": 100})["screens"]:
                found = self.get("/v1/heatmap", name | span | {"screen_id": screen["screen_id"]})
                total += sum(cell["count"] for cell in found["cells"])
        return total

    def memory_mb(self) -> float:
        """PSS without file pages of all its processes, in MB (10^6 bytes)."""
        return private_bytes(self.process.pid) / 1e6


@contextmanager
def up(data: Path, **settings: str) -> Iterator[System]:
    """`isotherm up` with default settings but these, ready when the block starts and stopped when it ends."""
    port, collect_port = free_port(), free_port()
    command = [sys.executable, "-m", "isotherm", "up", "--data", str(data)]
    command += ["--port", str(port), "--collect-port", str(collect_port)]
    log = data.parent / f"{data.name}-output.log"
    given = {f"ISOTHERM_{name.upper()}": value for name, value in settings.items()}
    with running(command, log, env=environment() | given) as process:
        system = System(data, process, port, collect_port)
        try:
            wait_for("isotherm up", system.healthy, START_SECONDS, process)
            yield system
        except IsothermError as error:
            raise IsothermError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
