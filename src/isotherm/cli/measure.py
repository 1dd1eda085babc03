"""Measuring now and then what an operator watches, for /metrics and GET /v1/status: never while somebody asks.

Quick things are looked at every ten seconds, those that cost more every five minutes. Each is measured by itself: one
that fails is logged, keeps its last value, and keeps no other from being measured. That its value is old is told: the
time of measuring is that of what was not measured for longest.
"""

import threading
import time
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from isotherm import metrics
from isotherm.clock import DAY_MS, HOUR_MS, SECOND_MS
from isotherm.eventlog.port import EventLog
from isotherm.land import behind, gaps, rounds
from isotherm.rollup.verdicts import Finding
from isotherm.serve import measures
from isotherm.serve.measures import Disk, Held, LedgerCheck, Verified
from isotherm.store.db import reading

if TYPE_CHECKING:
    from isotherm.cli.roles import Parts

QUICK_S: Final = 10.0
SLOW_S: Final = 300.0
LANDING: Final = "land"

_log = structlog.get_logger("isotherm.measure")


class Measures:
    """What one process measures. `run` is its thread; `facts` may be called from any.

    `log` says that this process has the event log open, `tiles` that it has the tile store.
    """

    def __init__(self, parts: "Parts", *, log: bool, tiles: bool) -> None:
        self._parts = parts
        self._has_log = log
        self._has_tiles = tiles
        self._held: dict[str, list[Held]] = {}
        self._disks: list[Disk] = []
        self._ledger: LedgerCheck | None = None
        self._verified: Verified | None = None
        self._began: int | None = None
        self._measured: dict[str, int] = {}
        self._slow_once = False
        self.waits_ms = 0
        """Age of the oldest record that is not landed, at the last look."""
        self._failing: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Measure until `stop` is set."""
        slow_due = 0.0
        while not stop.is_set():
            self._each(self._quick)
            if time.monotonic() >= slow_due:
                self.slow()
                slow_due = time.monotonic() + SLOW_S
            stop.wait(QUICK_S)

    def slow(self) -> None:
        """Measure what costs more, now."""
        self._each(self._slow)
        self._slow_once = True

    def quick(self) -> None:
        """Measure what changes all the time, now."""
        self._each(self._quick)

    def facts(self) -> dict[str, Any]:
        """Members of GET /v1/status; what was not measured yet is None."""
        return {
            "ledger": msgspec.to_builtins(self._ledger),
            "verification": msgspec.to_builtins(self._verified),
            "stores": measures.sums([one for held in self._held.values() for one in held]) if self._held else None,
            "disks": msgspec.to_builtins(self._disks),
            "disk_reserve_bytes": self._parts.settings.disk_reserve_bytes,
            "measured_at": self._oldest() if self._slow_once else None,
            "unmeasured": dict(self._failing),
        }

    def _oldest(self) -> int | None:
        """When that was measured which was not for longest (ms); what never was counts from the first try."""
        if self._began is None:
            return None
        return min(self._measured.get(name, self._began) for name in (*self._quick, *self._slow))

    @cached_property
    def _quick(self) -> dict[str, Callable[[], None]]:
        quick = {"freshness": self._freshness, "disks": self._look_at_disks, "backup": self._look_at_backup}
        quick |= {"gaps": self._look_at_gaps}
        return quick | ({"lag": self._lag} if self._has_log else {})

    @cached_property
    def _slow(self) -> dict[str, Callable[[], None]]:
        parts = self._parts
        settings, engine = parts.settings, parts.engine
        stores: dict[str, Callable[[], Iterable[Held]]] = {
            "lake": partial(measures.lake_bytes, engine, settings.land_formats),
            "database": partial(measures.database_bytes, settings, engine),
        }
        if self._has_log:
            stores |= {"log": self._log_bytes, "dead": self._dead_bytes}
        if self._has_tiles:
            stores["tiles"] = partial(measures.tile_bytes, parts.olap)
        truth: dict[str, Callable[[], None]] = {"ledger": self._check_ledger, "verification": self._look_at_verified}
        return truth | {name: partial(self._hold, name, look) for name, look in stores.items()}

    def _each(self, what: dict[str, Callable[[], None]]) -> None:
        if self._began is None:
            self._began = self._parts.clock.now_ms()
        for name, measure in what.items():
            try:
                measure()
            except Exception as error:  # noqa: BLE001 - logged once; the others are measured, and this one again later
                why = f"{type(error).__name__}: {error}"
                if name not in self._failing:
                    _log.warning("cannot be measured", what=name, error=why)
                self._failing[name] = why.partition("\n")[0]
            else:
                self._measured[name] = self._parts.clock.now_ms()
                self._failing.pop(name, None)
        metrics.MEASURED_AT.set((self._oldest() or 0) / SECOND_MS)

    def _freshness(self) -> None:
        with reading(self._parts.engine) as connection:
            found, lost = measures.behind(connection, self._parts.clock.now_ms()), measures.lost(connection)
        for level, one in found.items():
            metrics.TILES_BEHIND.labels(level).set(one.seconds)
            metrics.LOST_BUCKETS.labels(level).set(lost.buckets.get(level, 0))

    def _look_at_disks(self) -> None:
        settings = self._parts.settings
        self._disks = measures.disks(settings)
        metrics.DISK_RESERVE.set(settings.disk_reserve_bytes)
        for disk in self._disks:
            metrics.DISK_FREE.labels(disk.store).set(disk.free)

    def _look_at_backup(self) -> None:
        made_at, did = rounds.of(self._parts.engine, rounds.BACKUP)
        objects, copied = did.get("objects", 0), did.get("copied_objects", 0)
        for outcome, count in zip(metrics.Counts._fields, (objects, copied, 0, objects - copied), strict=True):
            metrics.BACKUP_OBJECTS.labels(outcome).set(count)
        metrics.BACKUP_AT.set((made_at or 0) / SECOND_MS)
        metrics.BACKUP_MAX_AGE.set(self._parts.settings.backup_max_age_hours * HOUR_MS / SECOND_MS)

    def _look_at_gaps(self) -> None:
        with reading(self._parts.engine) as connection:
            lost = gaps.lost_since(connection, self._parts.clock.now_ms() - DAY_MS)
        metrics.GAP_RECORDS_RECENT.set(lost)

    def _lag(self) -> None:
        parts = self._parts
        if parts.settings.scan:
            self.waits_ms = oldest_of_sink(parts.log, parts.settings.scan_group, parts.clock.now_ms())
        else:
            self.waits_ms = parts.lander.status().oldest_unlanded_ms
        metrics.LAG_SECONDS.labels(LANDING).set(self.waits_ms / SECOND_MS)

    def _check_ledger(self) -> None:
        self._ledger = measures.check_ledger(self._parts.engine, self._parts.clock.now_ms())
        metrics.LEDGER_DIFFERENCE.set(self._ledger.differing)
        metrics.DEAD_EVENTS.set(self._ledger.dead)
        if self._ledger.differing:
            _log.error("the ledger does not close", hours=self._ledger.differing, examples=self._ledger.examples)

    def _look_at_verified(self) -> None:
        self._verified = found = measures.verified(self._parts.engine)
        for finding in Finding:
            metrics.VERIFIED_BUCKETS.labels(finding.value).set(found.findings.get(finding.value, 0))
        metrics.VERIFIED_AT.set((found.last_at or 0) / SECOND_MS)

    def _log_bytes(self) -> list[Held]:
        status = self._parts.log.status()
        metrics.LOG_MAX_BYTES.set(status.max_bytes)
        return [Held("log", "", status.bytes)]

    def _dead_bytes(self) -> list[Held]:
        kept = self._parts.dead_log.status().bytes
        return [Held("dead", "log", kept), *measures.dead_bytes(self._parts.settings)]

    def _hold(self, name: str, look: Callable[[], Iterable[Held]]) -> None:
        self._held[name] = list(look())
        for one in self._held[name]:
            metrics.STORE_BYTES.labels(one.store, one.part).set(one.bytes)


def oldest_of_sink(log: EventLog, group: str, now_ms: int) -> int:
    """Age in ms of the oldest record that the consumer group has not committed; 0 when none waits."""
    picture = log.status()
    committed = picture.consumers.get(group, {})
    following = {p: committed.get(p, picture.tail.get(p, 0)) for p in picture.head}
    oldest = behind.oldest_received(log, behind.reached(following, picture.head))
    return 0 if oldest is None else max(now_ms - oldest, 0)
