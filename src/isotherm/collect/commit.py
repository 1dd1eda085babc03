"""Group commit: many requests share one fsync.

One thread appends, one group at a time. While it waits for the disk, requests queue up on the event loop; they are
the next group, handed over whole. So a quiet collector answers at once, a busy one amortises, and the two threads
meet once per group: the interpreter's lock makes every meeting dear. Memory is bounded by what the app lets in.
"""

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple

import structlog

from isotherm.collect.known import KnownIds
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Record
from isotherm.metrics import COMMIT_RECORDS, counts

MAX_GROUP: Final = 4_096
_RECEIVED, _SENT, _FAILED, _DROPPED = counts("eventlog")
"""Records given to the log: appended, refused or in doubt, and known before."""

Outcome = bool | BaseException
"""True: stored. False: the batch was known, its duplicate count is stored. An exception: nothing is stored."""


class _Waiting(NamedTuple):
    """`more` says that the next one belongs to the same request, so that both go into one call."""

    record: Record
    known: Callable[[], Record]
    future: "asyncio.Future[Outcome]"
    more: bool = False


class GroupCommit:
    """Appends records to the log from one thread; requests of one event loop wait for it."""

    def __init__(self, log: EventLog, loop: asyncio.AbstractEventLoop, ids: KnownIds | None = None) -> None:
        self._log = log
        self._ids = ids
        self._loop = loop
        self._pending: list[_Waiting] = []
        self._handed = False
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="isotherm-commit", daemon=True)
        self._logger = structlog.get_logger("isotherm.collect")
        self._thread.start()

    async def append(self, record: Record, known: Callable[[], Record]) -> bool:
        """Return once the record is on disk: True when it is new, False when its id is known.

        In the second case the record that `known` makes was appended instead. Raises Backpressure when the log
        cannot take it now.
        """
        return _raised(await self._wait(record, known))

    async def append_all(self, records: Sequence[tuple[Record, Callable[[], Record]]]) -> list[bool]:
        """`append` for the records of one request, which go to the log in one call; one answer each, in order."""
        last = len(records) - 1
        futures = [self._wait(record, known, more=at < last) for at, (record, known) in enumerate(records)]
        return [_raised(await future) for future in futures]

    def _wait(self, record: Record, known: Callable[[], Record], *, more: bool = False) -> "asyncio.Future[Outcome]":
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._pending.append(_Waiting(record, known, future, more))
        if not self._handed:
            # Not at once: what else this turn of the loop brings belongs to the same group.
            self._handed = True
            self._loop.call_soon(self._hand_over)
        return future

    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Append what waits and stop the thread."""
        while group := self._next_group():
            self._queue.put(group)
        self._queue.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Give the thread its next group; on the event loop."""
        group = self._next_group()
        self._handed = bool(group)
        if group:
            self._queue.put(group)

    def _next_group(self) -> list[_Waiting]:
        """Take up to MAX_GROUP of what waits, and the rest of a request that stands across the limit."""
        end = min(MAX_GROUP, len(self._pending))
        while end and self._pending[end - 1].more:
            end += 1
        group, self._pending = self._pending[:end], self._pending[end:]
        return group

    def _done(self, group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        """On the event loop: the next group first, so that the disk does not wait for the answers."""
        self._hand_over()
        for waiting, outcome in zip(group, outcomes, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(outcome)

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            outcomes = self._append_group(group)
            self._loop.call_soon_threadsafe(self._done, group, outcomes)

    def _append_group(self, group: Sequence[_Waiting]) -> list[Outcome]:
        """What becomes of each; where the log keeps no ids, those that the cache knows are not appended again."""
        ids = self._ids
        if ids is None:
            return self._append(group)
        try:
            known = ids.known([waiting.record for waiting in group])
        except Backpressure as error:
            return [error] * len(group)
        except Exception as error:
            # A log that became unfit says so with another error: it is asked again with the next group.
            self._logger.exception("the log cannot be asked", records=len(group))
            return [error] * len(group)
        new = [w for w, again in zip(group, known, strict=True) if not again]
        outcomes = self._append(new) if new else []
        self._remember(ids, [w.record for w, outcome in zip(new, outcomes, strict=True) if outcome is True])
        duplicates = [w for w, again in zip(group, known, strict=True) if again]
        recorded = self._append_known(duplicates) if duplicates else False
        following = iter(outcomes)
        return [recorded if again else next(following) for again in known]

    def _remember(self, ids: KnownIds, records: Sequence[Record]) -> None:
        """What is on the log is answered as stored, whatever becomes of its ids: they only save work."""
        try:
            ids.remember(records)
        except Exception:
            self._logger.exception("ids were not kept", records=len(records))

    def _append(self, group: Sequence[_Waiting]) -> list[Outcome]:
        _RECEIVED.inc(len(group))
        try:
            positions = self._log.append([waiting.record for waiting in group])
        except Backpressure as error:
            _FAILED.inc(len(group))
            return [error] * len(group)
        except Exception as error:
            _FAILED.inc(len(group))
            self._logger.exception("append failed", records=len(group))
            return [error] * len(group)
        COMMIT_RECORDS.observe(len(group))
        duplicates = [w for w, position in zip(group, positions, strict=True) if position is None]
        _SENT.inc(len(group) - len(duplicates))
        if not duplicates:
            return [True] * len(group)
        _DROPPED.inc(len(duplicates))
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


def _raised(outcome: Outcome) -> bool:
    """The answer, or the exception that the outcome is."""
    if isinstance(outcome, bool):
        return outcome
    if isinstance(outcome, Backpressure):
        # One exception may stand for a whole group: each request raises its own.
        raise Backpressure(str(outcome), retry_after_s=outcome.retry_after_s, status=outcome.status)
    raise RuntimeError("the event log failed") from outcome
