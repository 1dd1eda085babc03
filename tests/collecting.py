"""Helpers for tests of the collector: the real program on a free port, the contract's examples, raw sockets."""

import base64
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import brotli
import httpx
from backports import zstd

from isotherm.clock import SystemClock
from isotherm.config import load_settings
from isotherm.eventlog.port import open_log
from isotherm.events import Envelope, decode_envelope

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "contract" / "examples"
DEADLINE_S = 30.0

_START = """
import sys
from isotherm.collect.server import run
from isotherm.config import load_settings
import json
run(load_settings(**json.loads(sys.argv[1])), files=sys.argv[2] or None)
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def until(condition: Any, what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll until the condition gives something true; fail by name at the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {deadline_s} s: {what}")


class RunningCollector:
    """A collector as its own processes, with its log under `data`; `files` names what it hands out beside."""

    def __init__(self, data: Path, files: str = "", **settings: Any) -> None:
        self.data = data
        self.files = files
        self.settings = {"data": str(data), "disk_reserve_bytes": 0, **settings}
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.output = data.with_name(data.name + ".out")
        self._client = httpx.Client(timeout=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "RunningCollector":
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = json.dumps({**self.settings, "collect_port": self.port})
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, arguments, self.files], stdout=output, stderr=output, cwd=ROOT
            )
        until(self.ready, f"the collector is ready; its output: {self.output}")
        return self

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()
        try:
            return httpx.get(f"{self.url}/v1/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [
            int(child) for child in children if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def rss(self) -> int:
        """Resident bytes of the largest worker, at its peak."""
        return max(_peak(pid) for pid in self.workers())

    def kill(self) -> None:
        """kill -9 of the main process and its workers."""
        assert self.process is not None
        for pid in [*self.workers(), self.process.pid]:
            os.kill(pid, 9)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self._client.close()
        self._client = httpx.Client(timeout=30)
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def post(self, body: Any, **options: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | options.pop("headers", {})
        return self._client.post(f"{self.url}/events/batch", content=content, headers=headers, **options)

    def envelopes(self) -> list[Envelope]:
        """Everything on the log. Only while no collector runs."""
        log = open_log(load_settings(**self.settings), SystemClock())
        with closing(log):
            return [decode_envelope(r.value) for p in log.partitions() for r in _records(log, p)]


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def _records(log: Any, partition: int) -> Iterator[Any]:
    offset = 0
    while records := log.read(partition, offset):
        yield from records
        offset = records[-1].offset + 1


def event(**fields: Any) -> dict[str, Any]:
    return {"event_time": now_ms(), "x_norm": 0.25, "y_norm": 0.5, "event_type": "click", **fields}


def batch(events: int | list[Any] = 1, **fields: Any) -> dict[str, Any]:
    listed = [event() for _ in range(events)] if isinstance(events, int) else events
    return {"client_id": "shop", "screen_id": "home", "events": listed, **fields}


_MOMENT = re.compile(r"@(now|iso)([+-]\d\d:\d\d)?([+-]\d+)?")


def moved(text: str, now: int) -> str:
    """The text with the examples' times filled in; a JSON string that is an integer time loses its quotes."""

    def fill(match: re.Match[str]) -> str:
        ms = now + int(match[3] or 0)
        if match[1] == "now":
            return str(ms)
        zone: timezone = UTC
        if match[2]:
            hours, minutes = int(match[2][:3]), int(match[2][4:])
            zone = timezone(timedelta(hours=hours, minutes=minutes))
        return datetime.fromtimestamp(ms / 1000, zone).isoformat()

    text = re.sub(r'"(@now[+-]?\d*)"', lambda match: _MOMENT.sub(fill, match[1]), text)
    return _MOMENT.sub(fill, text)


_PACK = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


@dataclass
class Example:
    """One file of contract/examples, with its times filled in."""

    name: str
    body: bytes
    headers: dict[str, str]
    query: str
    answer: dict[str, Any]

    @classmethod
    def load(cls, path: Path, now: int) -> "Example":
        told = json.loads(path.read_text())
        request = told["request"]
        headers = {"content-type": "application/json"} | request.get("headers", {})
        coding = headers.pop("x-test-compress", headers.get("content-encoding", "identity"))
        if "body" in request:
            body = moved(json.dumps(request["body"]), now).encode()
            body = _PACK.get(coding, bytes)(body)
        elif "body_text" in request:
            body = moved(request["body_text"], now).encode()
        else:
            body = base64.b64decode(request["body_base64"])
        sent = {name: value for name, value in headers.items() if value}
        query = moved(request.get("query", ""), now)
        return cls(path.stem, body, sent, query, told["answer"])
