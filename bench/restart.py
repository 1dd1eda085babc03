"""How soon the collector answers again after `kill -9` of everything, with much on the log that has not landed.

A round fills the log, starts `isotherm up`, sends batches until some were acknowledged, and kills the whole process
group. Then the clock runs from the start of the next process. What was acknowledged last is sent again in the end: it
has to be known.
"""

import http.client
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.ingest.isotherm import environment
from bench.load import bodies as load_bodies
from bench.load.bodies import Body
from bench.noise import Others, wait_quiet
from bench.processes import free_port, running, wait_for
from bench.sizes import Sizes
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog, Record, open_log
from isotherm.events import Counts, encode_envelope, hour_of, record_id, record_key
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

GROUP: Final = 64
"""Records that share one commit while the log is filled, as under load."""
ALONE: Final = 1 / 500_000
"""Per byte and round so many records have a commit each, as of few senders: a kill has each commit checked."""
NEWEST_SHARE: Final = 0.2
"""Of the bytes, so much at least lies in the newest file of the log: after a kill it is the one that is read whole."""
MARGIN: Final = 1.15
"""The lander works for some seconds before the kill."""
BEFORE_KILL: Final = 50
"""Batches that are acknowledged before the kill."""
PATIENCE_S: Final = 120


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Seconds from the start of `isotherm up` to the collector's first 202 and its first healthy answer."""
    deployment = _Deployment(Settings(data=folder / "data"), sizes)
    rounds: list[dict[str, float]] = []
    for _ in range(sizes.restart_rounds):
        rounds.append(deployment.round())
        print(f"  {json.dumps(rounds[-1])}", flush=True)
    names = ("accepted_s", "healthy_s", "app_healthy_s")
    return {
        "rounds": len(rounds),
        "waiting_bytes": min(one["waiting_bytes"] for one in rounds),
        "newest_bytes": max(one["newest_bytes"] for one in rounds),
        **{name: round(statistics.median(one[name] for one in rounds), 2) for name in names},
        **{f"worst_{name}": round(max(one[name] for one in rounds), 2) for name in names},
        "each": rounds,
    }


@dataclass(frozen=True)
class _Up:
    """`isotherm up` with default settings; `began` is by the monotonic clock."""

    process: "subprocess.Popen[bytes]"
    began: float
    port: int
    collect_port: int

    def answers(self, port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content; (0, b"") while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def healthy(self, port: int) -> bool:
        return self.answers(port, "GET", "/v1/healthz")[0] == http.client.OK

    def post(self, body: bytes) -> dict[str, Any] | None:
        """What the collector says of a batch that it acknowledged; None of one that it did not."""
        status, content = self.answers(self.collect_port, "POST", "/events/batch", body)
        return json.loads(content) if status == http.client.ACCEPTED else None

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        wait_for(what, ready, PATIENCE_S, self.process, pause=0.005)

    def kill(self) -> None:
        """SIGKILL to every process of the group at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def _up(data: Path) -> Generator[_Up]:
    port, collect_port = free_port(), free_port()
    command = [sys.executable, "-m", "isotherm", "up", "--data", str(data)]
    command += ["--port", str(port), "--collect-port", str(collect_port)]
    log = data.with_name("output.log")
    began = time.monotonic()
    with running(command, log, env=environment()) as process:
        try:
            yield _Up(process, began, port, collect_port)
        except IsothermError as error:
            raise IsothermError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error


class _Deployment:
    """One data folder, filled again before each round."""

    def __init__(self, settings: Settings, sizes: Sizes) -> None:
        self.settings = settings
        self.sizes = sizes
        self.now_ms = SystemClock().now_ms()
        self.bodies = load_bodies.make(sizes.bodies, sizes.events, self.now_ms)
        self.numbers = itertools.count()

    def round(self) -> dict[str, float]:
        with self._log() as log:
            self._fill(log)
        with _up(self.settings.data) as system:
            last = self._killed_under_load(system)
        wait_quiet()
        others = Others()
        with _up(self.settings.data) as system:
            found = self._times(system, last)
            found["others_cores"] = others.cores()
            system.kill()
        with self._log() as log:
            waiting, newest = self._waiting(log)
        return found | {"waiting_bytes": waiting, "newest_bytes": newest}

    def _killed_under_load(self, system: _Up) -> bytes:
        """The batch that was acknowledged last."""
        body = b""
        for _ in range(BEFORE_KILL):
            body = self._body()
            system.wait("a 202", lambda sent=body: system.post(sent) is not None)
        system.kill()
        return body

    def _times(self, system: _Up, last: bytes) -> dict[str, float]:
        """Whether it takes events and whether it is healthy is asked in turns, every few milliseconds."""
        found: dict[str, float] = {}
        body = self._body()

        def note(name: str, *, answered: bool) -> None:
            if answered:
                found.setdefault(name, round(time.monotonic() - system.began, 3))

        def all_answer() -> bool:
            if "accepted_s" not in found:
                note("accepted_s", answered=system.post(body) is not None)
            if "healthy_s" not in found:
                note("healthy_s", answered=system.healthy(system.collect_port))
            if len(found) == 2:
                note("app_healthy_s", answered=system.healthy(system.port))
            return "app_healthy_s" in found

        system.wait("collector and app", all_answer)
        said = system.post(last)
        if said is None or said["duplicate"] != self.sizes.events:
            raise IsothermError(f"bench: what was acknowledged before the kill is not on the log: {said}")
        return found

    @contextmanager
    def _log(self) -> Generator[EventLog]:
        log = open_log(self.settings, SystemClock())
        try:
            yield log
        finally:
            log.close()

    def _fill(self, log: EventLog) -> None:
        """Append what the collector would have, until enough of it waits."""
        size = self.sizes.restart_bytes
        while True:
            waiting, newest = self._waiting(log)
            if waiting >= MARGIN * size and newest >= NEWEST_SHARE * size:
                break
            log.append([self._record(next(self.numbers)) for _ in range(GROUP)])
        for _ in range(round(ALONE * size)):
            log.append([self._record(next(self.numbers))])

    def _waiting(self, log: EventLog) -> tuple[int, int]:
        """Bytes of the log that have not landed, by the share of the records; and bytes of the newest file."""
        engine = open_db(self.settings.url("db"))
        try:
            landed = Manifest(engine, SystemClock()).next_offset(log.identity, 0)
        finally:
            engine.dispose()
        status = log.status()
        records = status.head[0] - status.tail[0]
        share = (status.head[0] - landed) / records if records else 0.0
        return round(status.bytes * share), status.segments[-1].bytes if status.segments else 0

    def _record(self, number: int) -> Record:
        body, batch_id = self.bodies[number % len(self.bodies)], f"filled-{number}"
        value = encode_envelope(
            client_id=body.client_id,
            screen_id=body.screen_id,
            batch_id=batch_id,
            received_at=self.now_ms,
            skew_ms=0,
            flags=(),
            counts=Counts(accepted={str(hour_of(self.now_ms)): self.sizes.events}),
            batch=_text(body, batch_id),
        )
        key = record_key(body.client_id, body.screen_id)
        return Record(key, value, self.now_ms, record_id(body.client_id, batch_id))

    def _body(self) -> bytes:
        number = next(self.numbers)
        return _text(self.bodies[number % len(self.bodies)], f"sent-{number}")


def _text(body: Body, batch_id: str) -> bytes:
    return b"%b%b%b" % (body.head, batch_id.encode(), body.tail)
