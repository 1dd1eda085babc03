"""Reading a request's body: bounded in size, in time, and over all requests together."""

import asyncio
from time import monotonic
from typing import Any, Final

from granian.rsgi import ProtocolClosed, ProtocolError  # pyright: ignore[reportPrivateImportUsage]

from isotherm.collect.decode import too_large
from isotherm.errors import Backpressure, Problem
from isotherm.events import MAX_BODY_BYTES

WHOLE_READ_BYTES: Final = 128 * 1024
"""A body that declares no more is read in one go and counted at once; a larger one as its bytes come in, so that a
sender who declares much and sends little does not take the room of others."""

DISCARD_BYTES: Final = 4 * 1024 * 1024
"""How much of a body that is too large is read and thrown away, so that a sender that sends first and reads later
gets its 413; one that declares more finds its connection closed."""
SWEEP_S: Final = 0.5


class Disconnected(Exception):
    """The sender went away before its body was whole: nothing happens, nobody is left to be answered."""


class Budget:
    """Bytes of bodies held at once by one process, counted from the first byte until the answer."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Raises Backpressure when the process holds as much as it may."""
        if self.used + size > self.limit:
            raise Backpressure("the collector holds as many bodies as it may: come back later", retry_after_s=1.0)
        self.used += size


class Lease:
    """One request's share of the budget."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Take that many bytes more. Raises Backpressure."""
        self._budget.take(size)
        self.size += size

    def release(self) -> None:
        self._budget.used -= self.size
        self.size = 0


class Intake:
    """Reads bodies; a sweeper ends those that take longer than `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: dict[asyncio.Task[Any], float] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sweeper = loop.call_later(min(SWEEP_S, self._timeout_s), self._sweep)

    def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        """Readers stand in the order in which they began: stop at the first that has time left."""
        latest = monotonic() - self._timeout_s
        for task, since in list(self._since.items()):
            if since > latest:
                break
            task.cancel("slow body")
        assert self._loop is not None
        self.start(self._loop)

    async def read(self, proto: Any, declared: str | None, lease: Lease) -> bytes:
        """The body's bytes, at most MAX_BODY_BYTES.

        `declared` is the Content-Length header. Raises Problem 413 (too large; unread when it declares more than
        DISCARD_BYTES) or 400 (too slow), Backpressure, or Disconnected.
        """
        length = _length(declared)
        if length is not None and length > DISCARD_BYTES:
            raise Problem(413, too_large)
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = monotonic()
        try:
            if length is not None and length <= WHOLE_READ_BYTES:
                return await _read_whole(proto, length, lease)
            return await _read_chunks(proto, length, lease)
        except asyncio.CancelledError as error:
            if error.args != ("slow body",):
                raise
            task.uncancel()
            raise Problem(400, f"the body took longer than {self._timeout_s:g} s") from None
        finally:
            del self._since[task]


def _length(declared: str | None) -> int | None:
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
        raise Problem(400, "content-length is no number")
    return int(declared)


async def _read_whole(proto: Any, length: int, lease: Lease) -> bytes:
    lease.grow(length)
    try:
        body: bytes = await proto()
    except (ProtocolClosed, ProtocolError):
        raise Disconnected from None
    if len(body) != length:
        raise Disconnected
    return body


async def _read_chunks(proto: Any, length: int | None, lease: Lease) -> bytes:
    """granian ends a body with one empty chunk, and reports a connection that broke as one more."""
    parts: list[bytes] = []
    size = ends = 0
    async for chunk in proto:
        ends += not chunk
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            lease.grow(len(chunk))
            parts.append(chunk)
        elif size > DISCARD_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise Problem(413, too_large)
    if ends > 1 or (length is not None and size != length):
        raise Disconnected
    return b"".join(parts)
