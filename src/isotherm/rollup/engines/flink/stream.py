"""Flink as the stream engine: keeps its job running, and puts what the job writes into the cache."""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.engine import Engine as Database

from isotherm.clock import SECOND_MS, Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure, IsothermError
from isotherm.eventlog.port import EventLog
from isotherm.metrics import LAG_RECORDS, LAG_SECONDS, counts
from isotherm.rollup.engines.flink.gateway import FlinkError, Session
from isotherm.rollup.engines.flink.job import FlinkJob
from isotherm.rollup.engines.flink.progress import UNKNOWN, Progress, progress
from isotherm.rollup.engines.flink.sql import job_of
from isotherm.rollup.engines.flink.topic import Topic
from isotherm.rollup.leases import Busy, lease
from isotherm.rollup.windows.begin import find_begin
from isotherm.rollup.windows.leader import Still, as_leader
from isotherm.rollup.windows.port import State, StreamStatus, is_shared
from isotherm.rollup.windows.publish import Publisher
from isotherm.store.cache import Cache

CONSUMER: Final = "stream"
JOB_LEASE: Final = "stream job"
JOB_LEASE_MS: Final = 60_000
_READ_S: Final = 0.25
_LOOK_S: Final = 15.0
_END_S: Final = 10.0
_LEAD_S: Final = 0.5
_BACKOFF_S: Final = (0.5, 30.0)

_log = structlog.get_logger("isotherm.stream")


def open_flink(settings: Settings, log: EventLog, cache: Cache, database: Database, clock: Clock) -> "FlinkStream":
    """Raises ConfigError for settings that Flink cannot work with; asks no server."""
    job = job_of(settings)
    Session(settings.stream)
    return FlinkStream(
        settings,
        FlinkJob(settings.stream, job, lambda: find_begin(log, clock.now_ms()), clock),
        Topic(settings, clock),
        Publisher(cache, clock),
        database,
        clock,
        lambda: progress(log, clock.now_ms()),
    )


class FlinkStream:
    """A Stream; see `isotherm.rollup.windows.port`. Only the process that leads looks after the job: two versions of
    the program would replace each other's without end."""

    def __init__(
        self,
        settings: Settings,
        job: FlinkJob,
        topic: Topic,
        publisher: Publisher,
        database: Database,
        clock: Clock,
        job_progress: Callable[[], Progress] = lambda: UNKNOWN,
    ) -> None:
        self._settings = settings
        self._job = job
        self._topic = topic
        self._publisher = publisher
        self._database = database
        self._clock = clock
        self._state: State = "starting"
        self._lag: int | None = None
        self._job_progress = job_progress
        self._progress = UNKNOWN
        self._counts = counts("stream")
        self._leading = threading.Event()
        self._said = ""
        self._problem: str | None = None
        self._problem_at: int | None = None
        self._watcher: threading.Thread | None = None
        self._done = threading.Event()

    def run(self, stop: threading.Event) -> None:
        self._watcher = threading.Thread(target=self._watch, name="flink job", daemon=True)
        self._watcher.start()
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                as_leader(
                    stop,
                    self._database,
                    self._clock,
                    shared=is_shared(self._settings),
                    work=self._work,
                    standby=self._stand_by,
                )
            except Exception as error:  # noqa: BLE001 - logged and shown; only `stop` ends the stream
                failures = 1 if time.monotonic() - began > _BACKOFF_S[1] else failures + 1
                self._failed("reading live windows failed; it starts anew", error)
                stop.wait(min(_BACKOFF_S[0] * 2 ** (failures - 1), _BACKOFF_S[1]))
        self._done.set()
        self._watcher.join(_END_S)
        self._topic.close()

    def restart(self) -> str:
        self._topic.ensure()
        with lease(self._database, self._clock, JOB_LEASE, JOB_LEASE_MS):
            return self._job.ensure(restart=True)

    def ensure(self) -> str:
        """Have the topic and the job; returns a line that says what was done. Busy when another process is at it."""
        self._topic.ensure()
        with lease(self._database, self._clock, JOB_LEASE, JOB_LEASE_MS):
            return self._job.ensure()

    def status(self) -> StreamStatus:
        return StreamStatus(
            engine="flink",
            state=self._state,
            lag=self._lag,
            windows=self._publisher.windows,
            counted=0,
            lost=self._publisher.lost,
            exact_from=self._job.floor,
            last_error=self._problem,
            last_error_at=self._problem_at,
        )

    def close(self) -> None:
        self._done.set()
        self._topic.close()

    def _work(self, still: Still) -> None:
        """Look after the job and read what it writes, until this process does not lead any more."""
        self._state = "rebuilding"
        self._leading.set()
        try:
            self._read(still)
        finally:
            self._leading.clear()

    def _read(self, still: Still) -> None:
        """Read the topic from where living windows may stand. Until all is read that stood there, nothing is shown:
        a screen's value is written whole, over one that may have more."""
        self._topic.ensure()
        self._topic.begin()
        look_due = 0.0
        while still():
            windows = self._topic.read(_READ_S)
            now = self._clock.now_ms()
            self._publisher.set_floor(self._job.floor)
            alive = [one for one in windows if one.newest + one.size.ttl_ms > now]
            self._publisher.take(alive)
            self._counts.add(len(windows), len(alive))
            if self._state == "rebuilding" and self._topic.caught_up:
                self._state = "counting"
            if self._state == "counting":
                self._publisher.publish()
            if time.monotonic() >= look_due:
                look_due = time.monotonic() + _LOOK_S / 3
                self._lag = self._topic.lag() + (self._progress.lag or 0)
                LAG_RECORDS.labels(CONSUMER).set(self._lag)
                LAG_SECONDS.labels(CONSUMER).set(self._progress.behind_ms / SECOND_MS)
            behind_ms = self._progress.behind_ms
            self._publisher.beat("flink", self._state, self._lag, self._problem, behind_ms=behind_ms)

    def _stand_by(self) -> None:
        self._state, self._lag = "standby", None

    def _watch(self) -> None:
        """Keep the job running while this process leads, beside the reading: what Flink is asked may take a minute."""
        while not self._done.is_set():
            if not self._leading.wait(_LEAD_S):
                continue
            try:
                self._progress = self._job_progress()
                self._say(self.ensure())
            except Busy:
                self._problem = None
            except (FlinkError, Backpressure) as error:
                self._failed("the job on Flink is not as it should be", error)
            except Exception as error:  # noqa: BLE001 - logged and shown; only the end of `run` ends the watch
                self._failed("the job on Flink could not be looked after", error)
            self._done.wait(_LOOK_S)

    def _say(self, done: str) -> None:
        self._problem = None
        if done != self._said:
            _log.info("flink", done=done)
            self._said = done

    def _failed(self, what: str, error: Exception) -> None:
        said = str(error) if isinstance(error, IsothermError) else f"{type(error).__name__}: {error}"
        self._problem, self._problem_at = said, self._clock.now_ms()
        self._counts.failed.inc()
        _log.error(what, reason=said)
