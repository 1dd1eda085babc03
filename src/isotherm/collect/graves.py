"""Keeping dead letters beside the hot path: a thread of its own, bounded in bytes, that never fails a request."""

import asyncio
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Final, NamedTuple

import structlog

from isotherm.collect.dead import AT_THE_DOOR, Letter, record_of
from isotherm.eventlog.port import EventLog
from isotherm.metrics import DEAD_LETTERS, DEAD_LETTERS_LOST

RATE_BYTES: Final = 4 << 20
"""Letters may come with so many bytes a second for good,"""
BURST_BYTES: Final = 32 << 20
"""and so many at once: a flood of bad bodies must not take the disk from good ones."""
PATIENCE_S: Final = 1.0
"""An answer waits no longer than this for its letter."""
RETRY_S: Final = 10.0
"""After its log could not be opened, it is tried again so much later."""
_OVERHEAD_BYTES: Final = 1_024
_GROUP: Final = 256

_log = structlog.get_logger("isotherm.collect")

# They are shown as 0 from the start: the first increase of a counter that comes into being with it is not seen.
DEAD_LETTERS_LOST.labels("collect")
for _reason in AT_THE_DOOR:
    DEAD_LETTERS.labels("collect", _reason)


class _Waiting(NamedTuple):
    letter: Letter
    future: "asyncio.Future[None]"


class Graves:
    """Letters of one collector process. `put` belongs to the event loop; the log is opened with the first letter."""

    def __init__(self, open_log: Callable[[], EventLog], loop: asyncio.AbstractEventLoop) -> None:
        self._open_log = open_log
        self._loop = loop
        self._room = float(BURST_BYTES)
        self._room_at = monotonic()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._event_log: EventLog | None = None
        self._again = 0.0
        self._thread: Thread | None = None

    async def put(self, letter: Letter) -> None:
        """Return when the letter is on disk or lost, which is counted, or when that takes long; raises nothing."""
        if not self._take(letter.bytes + _OVERHEAD_BYTES):
            DEAD_LETTERS_LOST.labels(letter.stage).inc()
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, name="isotherm-dead-letters", daemon=True)
            self._thread.start()
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Waiting(letter, future))
        await asyncio.wait([future], timeout=PATIENCE_S)

    def close(self) -> None:
        """Keep what waits, then stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        if self._event_log is not None:
            self._event_log.close()

    def _take(self, size: int) -> bool:
        now = monotonic()
        self._room = min(self._room + (now - self._room_at) * RATE_BYTES, BURST_BYTES)
        self._room_at = now
        if self._room < size:
            return False
        self._room -= size
        return True

    def _run(self) -> None:
        going = True
        while going:
            group, going = self._next_group()
            if group:
                self._keep([waiting.letter for waiting in group])
                self._loop.call_soon_threadsafe(_done, group)

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        group: list[_Waiting] = []
        waiting = self._queue.get()
        while waiting is not None:
            group.append(waiting)
            if len(group) == _GROUP:
                return group, True
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _keep(self, letters: Sequence[Letter]) -> None:
        try:
            positions = self._opened().append(list(map(record_of, letters)))
        except Exception as error:  # noqa: BLE001 - a letter that cannot be kept is counted and keeps nobody waiting
            for one in letters:
                DEAD_LETTERS_LOST.labels(one.stage).inc()
            _log.warning("dead letters were lost", letters=len(letters), why=str(error))
            return
        for one, position in zip(letters, positions, strict=True):
            if position is not None:
                DEAD_LETTERS.labels(one.stage, one.reason).inc()

    def _opened(self) -> EventLog:
        if self._event_log is None:
            if monotonic() < self._again:
                raise RuntimeError("the log of dead letters could not be opened a moment ago")
            self._again = monotonic() + RETRY_S
            self._event_log = self._open_log()
        return self._event_log


def _done(group: Sequence[_Waiting]) -> None:
    for waiting in group:
        if not waiting.future.done():
            waiting.future.set_result(None)
