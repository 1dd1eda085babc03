"""What keeps the lake and the log in shape beside landing: merging, retention, sweeping."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog
from isotherm.land import known, merge, retention
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
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
    ) -> None:
        self._settings = settings
        self._log = log
        self._lake = lake
        self._manifest = manifest
        self._clock = clock
        self._failed = failed

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
        the first error when all is done.
        """
        now = self._clock.now_ms()
        failures: list[Exception] = []
        for part in (partial(self.expire_raw, now), partial(self.expire_log, now), partial(self.forget_ids, now)):
            try:
                part()
            except Exception as error:  # noqa: BLE001 - raised when the other parts had their turn
                failures.append(error)
        self._merge(stop)
        if failures:
            raise failures[0]

    def _merge(self, stop: threading.Event) -> None:
        def unless_stopped(_: str) -> None:
            if stop.is_set():
                raise _Stopped

        while merge.merge_closed(
            self._settings, self._lake, self._manifest, self._clock.now_ms(), limit=1, checkpoint=unless_stopped
        ):
            unless_stopped("merged")

    def expire_raw(self, now_ms: int) -> None:
        """Take from the lake what is past its time, and what crashes left there."""
        retention.expire_raw(self._settings, self._manifest, now_ms)
        self._manifest.sweep(self._lake)

    def expire_log(self, now_ms: int) -> None:
        """Delete from the log what it may forget."""
        for name in self._log.expire(now_ms):
            _log.info("a part of the log is landed and past its retention", deleted=name)

    def forget_ids(self, now_ms: int) -> int:
        """Drop ids of which no second copy can come any more; returns how many. None where the log itself knows ids.

        Not the clock decides: after a long pause, both copies of a batch may wait on the log to be landed.
        """
        if self._log.knows_ids:
            return 0
        landed = self._manifest.progress(self._log.identity)
        until = now_ms
        for partition, head in self._log.heads(self._log.partitions()).items():
            following, received_until = landed.get(partition, (0, None))
            if head > following:
                until = min(until, received_until or 0)
        with writing(self._manifest.engine) as connection:
            return known.forget(connection, until)
