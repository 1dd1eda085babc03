"""The scheduler: looks which buckets changed, and runs the job that is due most.

Everything it knows is in the database (dirty marks, published buckets, leases), so it catches up after downtime,
re-opens for late events, and may run in several processes. In memory it keeps only when a bucket was last done
and what that cost: a bucket that keeps changing waits a multiple of its cost, so that tiling never takes over.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.clock import HOUR_MS, MINUTE_MS, SECOND_MS, Clock, iso
from isotherm.config import Settings
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
from isotherm.land.steady import SteadyClock
from isotherm.metrics import DIRTY_BUCKETS, TILES_FAILING, Counts, counts
from isotherm.rollup import dirty as marks
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.frozen import freeze
from isotherm.rollup.jobs import Expired, Jobs, Outcome
from isotherm.rollup.leases import Busy
from isotherm.rollup.retention import expire, keep_backstop
from isotherm.store.db import reading, total
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty

COST_FACTOR: Final = {Level.HOUR: 10, Level.DAY: 20, Level.WEEK: 20}
"""A bucket rests this many times what its next job will cost: tiling one hour takes at most a tenth of the time."""
OPEN_ROLLUP_MS: Final = 5 * MINUTE_MS
"""Least rest of a day or week that still runs; its hours answer reads meanwhile."""
IMPATIENCE_MS: Final = 30 * SECOND_MS
"""A past hour is tiled when nothing landed for a moment, or at the latest this long after the mark."""
UPKEEP_MS: Final = 10 * MINUTE_MS
MAX_BACKOFF_MS: Final = 5 * MINUTE_MS
BUSY_FAILURES: Final = 2
"""A bucket that another job has is looked at again as after so many failures at most: 4 s."""
IDLE_S: Final = 0.25
_COMPONENTS: Final = {Level.HOUR: "rollup", Level.DAY: "days", Level.WEEK: "weeks"}

_log = structlog.get_logger("isotherm.rollup")


@dataclass(slots=True)
class _Past:
    """What happened to a bucket last: when its job ended, what it cost and for how much, failures in a row.

    A bucket that another job has counts as a failure for the pause, and is not `failed`.
    """

    ended_at: int
    cost_ms: int = 0
    failures: int = 0
    failed: bool = False
    maps: int = 0
    rows: int = 0

    def expected_ms(self, entry: "_Dirty") -> float:
        """What a job for those who wait now will cost, by their share of the maps and rows of the last one."""
        shares = [waiting / done for waiting, done in ((entry.maps, self.maps), (entry.rows, self.rows)) if done]
        return self.cost_ms * min(1.0, max(shares, default=1.0))


@dataclass(frozen=True, slots=True)
class _Dirty:
    """A dirty bucket: clients waiting, when the newest mark was set or renewed, and what is published of them."""

    bucket: Bucket
    clients: int
    marked_at: int
    maps: int = 0
    rows: int = 0


@dataclass(slots=True)
class Status:
    """What the scheduler did and what waits. Times are ms; `tiled_until` is where the first dirty bucket starts."""

    dirty: dict[str, int] = field(default_factory=dict[str, int])
    tiled_until: dict[str, int] = field(default_factory=dict[str, int])
    last_job: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    jobs: int = 0
    failures: int = 0
    last_error: str | None = None
    last_error_at: int | None = None


class Scheduler:
    """Keeps all tiles fresh. One thread runs it; `status` may be called from any."""

    def __init__(
        self, settings: Settings, engine: Database, olap: Olap, lake: Lake, manifest: Manifest, clock: Clock
    ) -> None:
        self.settings = settings
        self.database = engine
        self.olap = olap
        self.clock = clock
        self.jobs = Jobs(settings, engine, olap, manifest, open_engine(settings, olap, lake), clock)
        self._past: dict[Bucket, _Past] = {}
        self._first_seen: dict[Bucket, int] = {}
        self._counts: dict[Level, Counts] = {level: counts(name) for level, name in _COMPONENTS.items()}
        self._upkeep_due = self._last_step = 0
        self._steady = SteadyClock(engine, clock, "tiles")
        self._status = Status()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; the job in hand is finished. Errors are logged, shown in `status`, retried."""
        while not stop.is_set():
            try:
                worked = self.step()
            except Exception as error:  # noqa: BLE001 - logged, counted and shown; only `stop` ends the scheduler
                worked = False
                self._failed("the scheduler's own step", error)
            if not worked:
                stop.wait(IDLE_S)

    def step(self) -> bool:
        """Run the job that is due most, or the upkeep. False when nothing is due now."""
        now = self.clock.now_ms()
        self._notice_clock(now)
        if self.jobs.mender.wanted:
            self.jobs.mender.mend(thorough=True)
        if now >= self._upkeep_due:
            self._upkeep_due = now + UPKEEP_MS
            self.jobs.mender.mend(thorough=False)
            keep_backstop(self.olap, self.settings)
            expire(self.database, self.olap, self._steady.now_ms(), self.settings)
        with reading(self.database) as connection:
            waiting = _dirty_buckets(connection)
        self._remember(waiting, now)
        due = self._due(waiting, now)
        if due is None:
            return False
        with reading(self.database) as connection:
            clients = marks.clients_of(connection, due.bucket)
        self._run(due.bucket, clients)
        return True

    def _notice_clock(self, now: int) -> None:
        """Where the clock was set back, moments that were noted by it say nothing: nothing waits for them again."""
        if now < self._last_step:
            self._past.clear()
            self._first_seen.clear()
            self._upkeep_due = now
        self._last_step = now

    def status(self) -> dict[str, Any]:
        """`Status` as plain values, with what waits read afresh."""
        with reading(self.database) as connection:
            waiting = _dirty_buckets(connection)
        now = self.clock.now_ms()
        for level in Level:
            starts = [entry.bucket.start for entry in waiting if entry.bucket.level is level]
            self._status.dirty[level.value] = len(starts)
            self._status.tiled_until[level.value] = min(starts, default=floor(level, now))
        return asdict(self._status)

    def _due(self, waiting: Sequence[_Dirty], now: int) -> _Dirty | None:
        """The first of the buckets that are due: hours before days before weeks, the newest hour first."""
        blocked = {above for entry in waiting for above in entry.bucket.ancestors()}
        ready = [entry for entry in waiting if self._ready(entry, entry.bucket in blocked, now)]
        return min(ready, key=lambda entry: (entry.bucket.level.ms, -entry.bucket.start), default=None)

    def _ready(self, entry: _Dirty, blocked: bool, now: int) -> bool:
        """Whether the bucket may run now; `blocked` says that a finer bucket inside it is dirty."""
        bucket = entry.bucket
        past = self._past.get(bucket)
        least = self.settings.retile_min_seconds * SECOND_MS
        if past is not None and now < past.ended_at + self._rest(entry, past, now):
            return False
        if bucket.level is Level.HOUR:
            quiet = now - entry.marked_at >= least or entry.marked_at - now > MINUTE_MS
            return bucket.end > now or quiet or now - self._first_seen.get(bucket, now) >= IMPATIENCE_MS
        # What still runs is summed from what there is; what is past waits for all its parts.
        return not blocked or bucket.start <= now < bucket.end

    def _rest(self, entry: _Dirty, past: _Past, now: int) -> float:
        """How long the bucket must be left alone after its last job, in ms."""
        bucket = entry.bucket
        if past.failures:
            return min(MAX_BACKOFF_MS, SECOND_MS * 2.0**past.failures)
        least = self.settings.retile_min_seconds * SECOND_MS
        if bucket.level is not Level.HOUR and bucket.end > now:
            least = max(least, OPEN_ROLLUP_MS)
        return max(least, COST_FACTOR[bucket.level] * past.expected_ms(entry))

    def _run(self, bucket: Bucket, clients: Sequence[str]) -> None:
        past = self._past.setdefault(bucket, _Past(0))
        past.failed = False
        began = time.monotonic()
        try:
            outcome = self.jobs.run(bucket, clients)
        except Busy as busy:
            # The lease of a job that was killed runs out soon, and nobody tells.
            past.failures = min(past.failures + 1, BUSY_FAILURES)
            _log.debug("another job has the bucket", level=bucket.level.value, start=iso(bucket.start), why=str(busy))
        except Expired as expired:
            self._freeze(bucket, expired.client_ids, expired)
        except Exception as error:  # noqa: BLE001 - one bucket's failure must not keep the others waiting
            past.failures += 1
            past.failed = True
            self._failed(f"{bucket.level} {iso(bucket.start)}", error, bucket.level)
        else:
            past.failures = 0
            past.maps, past.rows = outcome.maps, outcome.rows
            self._succeeded(outcome)
        past.cost_ms = round((time.monotonic() - began) * 1000)
        past.ended_at = self.clock.now_ms()
        self._first_seen.pop(bucket, None)

    def _succeeded(self, outcome: Outcome) -> None:
        self._status.jobs += 1
        self._counts[outcome.bucket.level].add(outcome.rows, outcome.tiled)
        self._status.last_job[outcome.bucket.level.value] = {
            "start": outcome.bucket.start,
            "ended_at": self.clock.now_ms(),
            "clients": len(outcome.clients),
            "maps": outcome.maps,
            "rows": outcome.rows,
            "tiled": outcome.tiled,
            "cost_ms": outcome.cost_ms,
        }
        _log.debug(
            "published",
            level=outcome.bucket.level.value,
            start=iso(outcome.bucket.start),
            clients=len(outcome.clients),
            maps=outcome.maps,
            rows=outcome.rows,
            ms=outcome.cost_ms,
        )

    def _freeze(self, bucket: Bucket, clients: Sequence[str], why: Expired) -> None:
        _log.warning(
            "bucket is frozen", level=bucket.level.value, start=iso(bucket.start), clients=len(clients), why=str(why)
        )
        freeze(self.database, self.olap, bucket, clients)

    def _failed(self, what: str, error: Exception, level: Level = Level.HOUR) -> None:
        self._status.failures += 1
        self._counts[level].failed.inc()
        self._status.last_error = f"{what}: {type(error).__name__}: {error}"
        self._status.last_error_at = self.clock.now_ms()
        _log.exception("tiling failed; it is tried again", what=what)

    def _remember(self, waiting: Sequence[_Dirty], now: int) -> None:
        """Note since when each bucket waits, and forget buckets that are done and long rested."""
        for level in Level:
            DIRTY_BUCKETS.labels(level.value).set(sum(entry.bucket.level is level for entry in waiting))
            failing = sum(past.failed for bucket, past in self._past.items() if bucket.level is level)
            TILES_FAILING.labels(level.value).set(failing)
        for entry in waiting:
            self._first_seen.setdefault(entry.bucket, now)
        alive = {entry.bucket for entry in waiting}
        for bucket in [b for b, past in self._past.items() if b not in alive and now - past.ended_at > HOUR_MS]:
            del self._past[bucket]
        for bucket in self._first_seen.keys() - alive:
            self._first_seen.pop(bucket, None)


def _dirty_buckets(connection: Connection) -> list[_Dirty]:
    same = (
        (buckets.c.level == dirty.c.level)
        & (buckets.c.start == dirty.c.start)
        & (buckets.c.client_id == dirty.c.client_id)
    )
    rows = connection.execute(
        sa.select(
            dirty.c.level,
            dirty.c.start,
            sa.func.count(),
            sa.func.max(dirty.c.marked_at),
            total(buckets.c.maps),
            total(buckets.c.rows),
        )
        .select_from(dirty.outerjoin(buckets, same))
        .group_by(dirty.c.level, dirty.c.start)
    )
    return [_Dirty(Bucket(Level(level), start), *facts) for level, start, *facts in rows]
