"""The supervisor: keeps two child processes running, restarts what dies or hangs, stops them in order.

A child is a role (`collect`, `app`) of this program, told by its own health address whether it works. It is
killed with SIGKILL when three probes in a row get no answer: a crash inside chDB can hang instead of exit.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from isotherm.errors import IsothermError

PROBE_SECONDS: Final = 5.0
PROBES: Final = 3
START_SECONDS: Final = 90.0
HEAD_START_SECONDS: Final = 3.0
"""So long at most a role waits for those before it to be healthy: starting at once they slow each other down, and who
sends waits for the collector alone."""
STOP_SECONDS: Final = 30.0
FIRST_DEATHS: Final = 5
"""A child that was killed before it ever worked is tried so often; one that ends by itself has said why it cannot."""
LONGEST_WAIT: Final = 5.0
FORGET_SECONDS: Final = 60.0


@dataclass
class Role:
    """A child: its name, the arguments after `python -m isotherm`, and the URL that says it is healthy."""

    name: str
    arguments: Sequence[str]
    health: str
    process: asyncio.subprocess.Process | None = None
    healthy: asyncio.Event = field(default_factory=asyncio.Event)
    ever_healthy: bool = False
    deaths: deque[float] = field(default_factory=deque)


async def answers(url: str, seconds: float) -> int | None:
    """HTTP status of GET `url`; None when there is no answer in time."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                head = f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
                writer.write(head.encode())
                line = await reader.readline()
            finally:
                writer.close()
        return int(line.split()[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


class Supervisor:
    """Runs `roles` until told to stop; `changed` is called with the processes' ids whenever one was started.

    `environment` is what the children see. Raises IsothermError when a child ends before it ever worked.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        environment: dict[str, str],
        logger: Any,
        changed: Callable[[dict[str, int]], None],
        *,
        probe_seconds: float = PROBE_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.roles = roles
        self.environment = environment
        self.logger = logger
        self.changed = changed
        self.probe_seconds = probe_seconds
        self.start_seconds = start_seconds
        self.stopping = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Start everything, call `ready` when all roles are healthy, return when everything has stopped in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, signal.Signals(number).name)
        keepers = {
            role.name: asyncio.create_task(self._keep(role, self.roles[:place]), name=role.name)
            for place, role in enumerate(self.roles)
        }
        try:
            if await self._until_ready(keepers):
                ready()
            await self._first(*keepers.values(), self.stopping.wait())
            for task in keepers.values():
                if task.done():
                    task.result()
        finally:
            self.stopping.set()
            for role in self.roles:
                await self._stop(role, keepers[role.name])

    def _ask_to_stop(self, name: str) -> None:
        if not self.stopping.is_set():
            self.logger.info("stopping", signal=name)
        self.stopping.set()

    async def _until_ready(self, keepers: dict[str, "asyncio.Task[None]"]) -> bool:
        """Wait for every role's first healthy answer; False when there is something else to do."""
        return await self._healthy(self.roles, *keepers.values()) and not self.stopping.is_set()

    async def _healthy(self, roles: Sequence[Role], *others: Awaitable[Any]) -> bool:
        """Wait until all of the roles are healthy, one of the others is done, or everything stops. Whether they are."""
        ready = asyncio.gather(*(role.healthy.wait() for role in roles))
        await self._first(ready, self.stopping.wait(), *others)
        done = ready.done()
        ready.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ready
        return done

    @staticmethod
    async def _first(*things: Awaitable[Any]) -> None:
        """Return when one of the things is done; those that were only waited for are cancelled."""
        tasks = [asyncio.ensure_future(thing) for thing in things]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task, thing in zip(tasks, things, strict=True):
            if task is not thing:
                task.cancel()

    async def _keep(self, role: Role, first: Sequence[Role]) -> None:
        """Start the role again and again until the supervisor stops; those before it have a head start."""
        if first:
            await self._healthy(first, asyncio.sleep(HEAD_START_SECONDS))
        while not self.stopping.is_set():
            process = await self._start(role)
            watch = asyncio.create_task(self._probe(role, process))
            code = await process.wait()
            watch.cancel()
            was_healthy = role.healthy.is_set()
            role.healthy.clear()
            if self.stopping.is_set():
                return
            if not role.ever_healthy and (code >= 0 or len(role.deaths) >= FIRST_DEATHS):
                raise IsothermError(f"{role.name} could not start ({_how(code)}); what it said above tells why")
            wait = self._wait_before_restart(role, was_healthy=was_healthy)
            self.logger.warning("restarting", child=role.name, was=_how(code), wait_seconds=round(wait, 2))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), wait)

    async def _start(self, role: Role) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "isotherm", *role.arguments, "--parent", str(os.getpid())),
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        role.process = process
        self.changed({r.name: r.process.pid for r in self.roles if r.process is not None})
        self.logger.debug("started", child=role.name, pid=process.pid)
        return process

    def _wait_before_restart(self, role: Role, *, was_healthy: bool) -> float:
        """Seconds: short after a sudden death, longer when it keeps dying, longest when it does not come up."""
        now = time.monotonic()
        role.deaths.append(now)
        while role.deaths[0] < now - FORGET_SECONDS:
            role.deaths.popleft()
        often = len(role.deaths) - 1
        return min(LONGEST_WAIT, 0.05 * often if was_healthy else 0.2 * 2**often)

    async def _probe(self, role: Role, process: asyncio.subprocess.Process) -> None:
        """Mark the role healthy at its first good answer, and kill it when it stops answering."""
        deadline = time.monotonic() + self.start_seconds
        while await answers(role.health, self.probe_seconds) != HTTPStatus.OK:
            if time.monotonic() > deadline:
                self.logger.error("not healthy after its start, killing it", child=role.name, pid=process.pid)
                _kill(process)
                return
            await asyncio.sleep(0.1)
        role.ever_healthy = True
        role.healthy.set()
        missed = 0
        while missed < PROBES:
            await asyncio.sleep(self.probe_seconds)
            status = await answers(role.health, self.probe_seconds)
            missed = 0 if self._alive(role, status) else missed + 1
        if self.stopping.is_set():
            return
        self.logger.error("does not answer, killing it", child=role.name, pid=process.pid, probes=PROBES)
        _kill(process)

    def _alive(self, role: Role, status: int | None) -> bool:
        """Any answer is a sign of life; 503 says that the process waits for something outside, e.g. disk space."""
        if status != HTTPStatus.OK and not self.stopping.is_set():
            self.logger.warning("probe failed", child=role.name, status=status or "no answer")
        return status is not None

    async def _stop(self, role: Role, keeper: "asyncio.Task[None]") -> None:
        """SIGTERM, time to drain, then SIGKILL."""
        process = role.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=STOP_SECONDS)
            if process.returncode is None:
                self.logger.error("did not stop in time, killing it", child=role.name, seconds=STOP_SECONDS)
                _kill(process)
                await process.wait()
            if code := process.returncode:
                self.logger.warning("stopped badly", child=role.name, was=_how(code))
        await asyncio.wait([keeper])


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _how(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
