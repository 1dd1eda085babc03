"""The built-in stream engine: a consumer of the event log that keeps its counts in memory.

It writes no checkpoint: after a start it reads the log again from BACK_MS ago and counts the same. It commits nothing
either: a log keeps what a consumer has not committed, and live data is not worth keeping anything for. Where the log
does not reach back so far, or records were deleted before they were read, counting begins with the first minute that
is whole.
"""

import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.engine import Engine as Database

from isotherm.clock import HOUR_MS, SECOND_MS, Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Stored
from isotherm.events import received_at
from isotherm.metrics import LAG_RECORDS, LAG_SECONDS, counts
from isotherm.rollup.windows.begin import DISORDER_MS, find_begin
from isotherm.rollup.windows.decode import Groups, Ints, group
from isotherm.rollup.windows.known import Known, KnownIds, KnownPositions, NothingKnown
from isotherm.rollup.windows.leader import Still, as_leader
from isotherm.rollup.windows.minutes import Minutes, merge
from isotherm.rollup.windows.port import State, StreamStatus, is_shared
from isotherm.rollup.windows.publish import Publisher
from isotherm.rollup.windows.rule import IDS_MS, exact_from
from isotherm.store.cache import Cache

CONSUMER: Final = "stream"
_READ_BYTES: Final = 8 << 20
_READ_RECORDS: Final = 2_000
_IDLE_S: Final = 0.25
_PUBLISH_S: Final = 0.5
_LOOK_S: Final = 5.0
_UPKEEP_S: Final = 60.0
_RETRY_S: Final = 1.0
_BACKOFF_S: Final = (0.5, 30.0)

_log = structlog.get_logger("isotherm.stream")


class Builtin:
    """A Stream; see `isotherm.rollup.windows.port`."""

    def __init__(self, settings: Settings, log: EventLog, cache: Cache, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._event_log = log
        self._database = database
        self._clock = clock
        self._publisher = Publisher(cache, clock)
        self._minutes = Minutes()
        self._known: Known = NothingKnown()
        self._positions: dict[int, int] = {}
        self._target: dict[int, int] = {}
        self._touched: dict[int, Ints] = {}
        self._state: State = "starting"
        self._lag: int | None = None
        self._reached: dict[int, int] = {}
        self._behind_ms = 0
        self._counted = 0
        self._counts = counts("stream")
        self._due: dict[str, float] = {}
        self._last_error: tuple[str, int] | None = None

    def run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                as_leader(
                    stop,
                    self._database,
                    self._clock,
                    shared=is_shared(self._settings),
                    work=lambda still: self._work(still, stop),
                    standby=self._stand_by,
                )
            except Exception as error:  # noqa: BLE001 - logged and shown; only `stop` ends the stream
                failures = 1 if time.monotonic() - began > _BACKOFF_S[1] else failures + 1
                self._failed(error)
                stop.wait(min(_BACKOFF_S[0] * 2 ** (failures - 1), _BACKOFF_S[1]))

    def restart(self) -> str:
        return "the built-in stream keeps nothing: it counts anew from the log whenever it starts"

    def begin(self) -> None:
        """Forget everything and go back to where counting has to begin."""
        self._minutes = Minutes()
        self._known = self._new_known()
        self._touched = {}
        self._state, self._lag = "rebuilding", None
        self._reached, self._behind_ms = {}, 0
        begin = find_begin(self._event_log, self._clock.now_ms())
        self._positions, self._minutes.floor = dict(begin.positions), begin.floor
        self._target = dict(self._event_log.heads(list(begin.positions)))

    def step(self) -> int:
        """Read some records and count them; show what changed when it is time to. Returns the records read."""
        records = self._event_log.read_some(CONSUMER, self._positions, max_records=_READ_RECORDS, max_bytes=_READ_BYTES)
        self._raise_floor(records)
        groups = group(records, self._known, self._minutes.floor)
        if records:
            merge(self._touched, self._minutes.add(groups))
            for record in {record.partition: record for record in records}.values():
                self._positions[record.partition] = record.offset + 1
                self._reached[record.partition] = received_at(record.value, record.timestamp)
            self._count(groups)
        if self._state == "rebuilding" and self._arrived(bool(records)):
            self._state = "counting"
            self._touched = {}
            self._publisher.set_floor(self._minutes.floor)
            self._publisher.publish(self._minutes.windows(None, self._clock.now_ms()))
        elif self._state == "counting" and self._is_due("publish", _PUBLISH_S):
            self.show()
        self._look(caught_up=not records)
        return len(records)

    def show(self) -> None:
        """Put the windows that changed into the cache."""
        touched, self._touched = self._touched, {}
        self._publisher.set_floor(self._minutes.floor)
        self._publisher.publish(self._minutes.windows(touched, self._clock.now_ms()))

    def status(self) -> StreamStatus:
        error, error_at = self._last_error or (None, None)
        return StreamStatus(
            engine="builtin",
            state=self._state,
            lag=self._lag,
            windows=self._publisher.windows,
            counted=self._counted,
            lost=self._minutes.lost + self._publisher.lost,
            exact_from=self._minutes.floor,
            last_error=error,
            last_error_at=error_at,
        )

    def close(self) -> None:
        """The stores belong to others."""

    def _work(self, still: Still, stop: threading.Event) -> None:
        """Count from the beginning until this process does not lead any more. After an error nothing is trusted."""
        self.begin()
        while still():
            began = time.monotonic()
            try:
                read = self.step()
            except Backpressure as error:
                # The log gave nothing this time; what was counted is still right.
                self._note(error)
                self._beat(str(error))
                stop.wait(_RETRY_S)
                continue
            if self._state == "rebuilding":
                # Half of the time belongs to the collector and the lander, who catch up as well.
                stop.wait(time.monotonic() - began)
            elif not read:
                stop.wait(_IDLE_S)
        self.show()

    def _stand_by(self) -> None:
        self._state, self._lag = "standby", None

    def _new_known(self) -> Known:
        if self._event_log.knows_ids:
            return NothingKnown()
        return KnownPositions() if self._settings.log_timestamp == "event" else KnownIds()

    def _arrived(self, read: bool) -> bool:
        """Whether everything was read that stood on the log at the start."""
        return not read or all(self._positions[p] >= head for p, head in self._target.items())

    def _count(self, groups: Groups) -> None:
        counted = int(groups.counts.sum())
        self._counted += counted
        self._counts.add(groups.events, counted)

    def _look(self, *, caught_up: bool) -> None:
        """What has to be done now and then."""
        if self._is_due("look", _LOOK_S):
            self._follow_partitions()
            heads = self._event_log.heads(list(self._positions))
            self._lag = sum(max(head - self._positions[p], 0) for p, head in heads.items())
            LAG_RECORDS.labels(CONSUMER).set(self._lag)
            self._reckon(heads, self._clock.now_ms())
        if self._is_due("upkeep", _UPKEEP_S):
            now = self._clock.now_ms()
            self._minutes.forget(now)
            if caught_up:
                self._known.forget(now - IDS_MS - HOUR_MS)
            if self._known.forgot:
                self._known.forgot = False
                _log.warning("more batches came in a day than ids can be remembered; late duplicates may count twice")
        self._beat()

    def _beat(self, problem: str | None = None) -> None:
        self._publisher.set_floor(self._minutes.floor)
        self._publisher.beat(
            "builtin", self._state, self._lag, problem, behind_ms=self._behind_ms, lost=self._minutes.lost
        )

    def _raise_floor(self, records: Sequence[Stored]) -> None:
        """Where records are missing between those read and these, count from the first minute after them that is
        whole."""
        expected = dict(self._positions)
        for record in records:
            if record.offset > expected[record.partition]:
                at = received_at(record.value, record.timestamp)
                self._minutes.floor = max(self._minutes.floor, exact_from(at + DISORDER_MS))
                _log.warning("records went before they were counted", partition=record.partition, until=record.offset)
            expected[record.partition] = record.offset + 1

    def _reckon(self, heads: dict[int, int], now: int) -> None:
        """How old the newest is that was read, of the partition that is furthest behind."""
        self._reached |= {p: now for p, head in heads.items() if self._positions[p] >= head}
        self._behind_ms = max(now - min((self._reached.get(p, now) for p in heads), default=now), 0)
        LAG_SECONDS.labels(CONSUMER).set(self._behind_ms / SECOND_MS)

    def _follow_partitions(self) -> None:
        for partition in self._event_log.partitions():
            self._positions.setdefault(partition, 0)

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + seconds
        return True

    def _failed(self, error: Exception) -> None:
        self._note(error)
        self._counts.failed.inc()
        _log.exception("counting live windows failed; it starts anew")

    def _note(self, error: Exception) -> None:
        self._last_error = (f"{type(error).__name__}: {error}", self._clock.now_ms())
