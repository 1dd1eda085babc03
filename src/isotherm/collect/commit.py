"""Group commit: many requests share one fsync.

One thread appends. While it waits for the disk, requests queue up; the next group is whatever waits then, so a
quiet collector answers at once and a busy one amortises. Memory is bounded by what the app lets in.
"""

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

import structlog

from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Record
from isotherm.metrics import COMMIT_RECORDS

MAX_GROUP: Final = 4_096

Outcome = bool | BaseException
"""True: stored. False: the batch was known, its duplicate count is stored. An exception: nothing is stored."""


class _Waiting(NamedTuple):
    record: Record
    known: Callable[[], Record]
    future: "asyncio.Future[Outcome]"


class GroupCommit:
    """Appends records to the log from one thread; requests of one event loop wait for it."""

    def __init__(self, log: EventLog, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="isotherm-commit", daemon=True)
        self._logger = structlog.get_logger("isotherm.collect")
        self._thread.start()

    async def append(self, record: Record, known: Callable[[], Record]) -> bool:
        """Return once the record is on disk: True when it is new, False when its id is known.

        In the second case the record that `known` makes was appended instead. Raises Backpressure when the log
        cannot take it now.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._queue.put(_Waiting(record, known, future))
        outcome = await future
        if isinstance(outcome, bool):
            return outcome
        if isinstance(outcome, Backpressure):
            # One exception may stand for a whole group: each request raises its own.
            raise Backpressure(str(outcome), retry_after_s=outcome.retry_after_s, status=outcome.status)
        raise RuntimeError("the event log failed") from outcome

    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Append what waits and stop the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            outcomes = self._append_group(group)
            self._loop.call_soon_threadsafe(_resolve, [waiting.future for waiting in group], outcomes)

    def _next_group(self) -> list[_Waiting]:
        """All that waits now, at least one; empty when it is time to stop."""
        group: list[_Waiting] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == MAX_GROUP or self._queue.empty():
                return group
            item = self._queue.get_nowait()
        if group:
            self._queue.put(None)
        return group

    def _append_group(self, group: Sequence[_Waiting]) -> list[Outcome]:
        try:
            positions = self._log.append([waiting.record for waiting in group])
        except Backpressure as error:
            return [error] * len(group)
        except Exception as error:
            self._logger.exception("append failed", records=len(group))
            return [error] * len(group)
        COMMIT_RECORDS.observe(len(group))
        if None not in positions:
            return [True] * len(group)
        duplicates = [w for w, position in zip(group, positions, strict=True) if position is None]
        recorded = self._append_known(duplicates)
        return [recorded if position is None else True for position in positions]

    def _append_known(self, duplicates: Sequence[_Waiting]) -> Outcome:
        try:
            self._log.append([waiting.known() for waiting in duplicates])
        except Backpressure as error:
            return error
        except Exception as error:
            self._logger.exception("append failed", records=len(duplicates))
            return error
        return False


def _resolve(futures: Sequence["asyncio.Future[Outcome]"], outcomes: Sequence[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if not future.done():
            future.set_result(outcome)
