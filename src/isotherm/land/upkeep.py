"""What keeps the lake and the log in shape beside landing: merging, retention, sweeping."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from isotherm.clock import HOUR_MS, Clock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog
from isotherm.land import archive, known, merge, retention, rounds, views
from isotherm.land.dead import DeadBin
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
from isotherm.land.steady import SteadyClock
from isotherm.store.db import writing

_PERIOD_S: Final = 30.0

_log = structlog.get_logger("isotherm.land")


class _Stopped(Exception):
    """The program ends: what was begun is left to the sweeper."""


class Upkeep:
    """Runs in a thread of its own, so that landing never waits for a large merge. Several may run, anywhere."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        lake: Lake,
        manifest: Manifest,
        clock: Clock,
        failed: Callable[[Exception], None],
        dead: DeadBin | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._lake = lake
        self._manifest = manifest
        self._clock = clock
        self._failed = failed
        self._dead = dead
        self._stop = threading.Event()
        self._records_at: int | None = None
        self._turn = archive.Turn()
        self._steady = SteadyClock(manifest.engine, clock, "land")

    def run(self, stop: threading.Event) -> None:
        """Work now and every 30 seconds until `stop` is set. Errors go to `failed`; the next round tries again."""
        while not stop.is_set():
            try:
                self.once(stop)
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001 - said by `failed`; only `stop` ends the upkeep
                self._failed(error)
            stop.wait(_PERIOD_S)

    def once(self, stop: threading.Event) -> None:
        """One round: what is past its time goes, then everything that can be merged is.

        Each part is tried, whatever becomes of the others: a log that refuses to delete must not stop merging. Raises
        the first error when all is done, and says the others.
        """
        self._stop = stop
        failures: list[Exception] = []
        for part in self.parts(self._steady.now_ms()):
            self._unless_stopped()
            try:
                part()
            except _Stopped:
                raise
            except Exception as error:  # noqa: BLE001 - raised when the other parts had their turn
                failures.append(error)
        for error in failures[1:]:
            self._failed(error)
        if failures:
            raise failures[0]

    def expire_records(self, now_ms: int) -> None:
        """Drop what was said of events that are gone; once an hour, as it reads whole tables."""
        if self._records_at is not None and 0 <= now_ms - self._records_at < HOUR_MS:
            return
        retention.expire_records(self._settings, self._manifest.engine, now_ms)
        self._records_at = now_ms

    def parts(self, now_ms: int) -> list[Callable[[], object]]:
        """What a round does, in this order; none needs another one to succeed."""
        return [
            partial(retention.expire_raw, self._settings, self._manifest, now_ms),
            partial(self.expire_records, now_ms),
            partial(self._manifest.sweep, self._lake),
            partial(self.expire_log, now_ms),
            partial(self.forget_ids, now_ms),
            partial(self.forget_views, now_ms),
            partial(self.expire_dead, now_ms),
            self._merge,
            self._archive,
        ]

    def _merge(self) -> None:
        now_ms = self._clock.now_ms()
        merge.merge_closed(self._settings, self._lake, self._manifest, now_ms, checkpoint=self._unless_stopped)

    def _archive(self) -> None:
        now_ms = self._clock.now_ms()
        archive.archive_old(
            self._settings, self._lake, self._manifest, now_ms, checkpoint=self._unless_stopped, turn=self._turn
        )

    def _unless_stopped(self, _: str = "") -> None:
        if self._stop.is_set():
            raise _Stopped

    def expire_log(self, now_ms: int) -> None:
        """Delete from the log what it may forget."""
        landed = self._manifest.progress(self._log.identity)
        self._expire_log(now_ms, {partition: done.next_offset for partition, done in landed.items()})

    def _expire_log(self, now_ms: int, landed: Mapping[int, int]) -> None:
        deleted = self._log.expire(now_ms, landed)
        for name in deleted:
            _log.info("a part of the log is landed and past its retention", deleted=name)
        rounds.note(self._manifest.engine, "log", now_ms, {"deleted": deleted} if deleted else None)

    def expire_dead(self, now_ms: int) -> None:
        """Delete dead letters that are past their days."""
        if self._dead is None:
            return
        deleted = self._dead.expire(now_ms)
        for name in deleted:
            _log.info("dead letters are past their retention", deleted=name)
        rounds.note(self._manifest.engine, "dead", now_ms, {"deleted": deleted} if deleted else None)

    def forget_ids(self, now_ms: int) -> int:
        """Drop ids of which no second copy can come any more; returns how many.

        Not the clock decides: after a long pause, both copies of a batch may wait on the log to be landed.
        """
        return self._forget_until(self._landed_until(now_ms))

    def forget_views(self, now_ms: int) -> int:
        """Drop page views of which nothing can come any more; returns how many."""
        return self._in_chunks(views.forget, views.FORGOTTEN_AT_ONCE, self._landed_until(now_ms))

    def _landed_until(self, now_ms: int) -> int:
        """The moment (ms) up to which everything that was received is landed.

        Not later than what came last, by the clock that received it: ours may be hours ahead.
        """
        landed = self._manifest.progress(self._log.identity)
        until = min(now_ms, max((done.received_until or 0 for done in landed.values()), default=now_ms))
        for partition, head in self._log.heads(self._log.partitions()).items():
            following, received_until = landed.get(partition, (0, None))
            if head > following:
                until = min(until, received_until or 0)
        return until

    def _forget_until(self, landed_until_ms: int) -> int:
        return self._in_chunks(known.forget, known.FORGOTTEN_AT_ONCE, landed_until_ms)

    def _in_chunks(self, forget: Callable[[Connection, int], int], most: int, landed_until_ms: int) -> int:
        """In short transactions, so that landings get their turn between them."""
        count, gone = 0, most
        while gone == most:
            self._unless_stopped()
            with writing(self._manifest.engine) as connection:
                gone = forget(connection, landed_until_ms)
            count += gone
        return count
