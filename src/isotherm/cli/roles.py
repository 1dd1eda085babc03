"""Wires the adapters and runs the roles that live in one process: lander, scheduler, live windows, query API."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any, Final

from sqlalchemy.engine import Engine

from isotherm.backup.marks import refuse_unfinished_store
from isotherm.backup.unfinished import refuse_unfinished
from isotherm.cli.measure import Measures
from isotherm.cli.pulse import watched
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, open_dead_log, open_log
from isotherm.land.formats import refuse_order
from isotherm.land.intake import SharedIntake
from isotherm.land.lake import Lake
from isotherm.land.lander import Lander
from isotherm.land.letters import Entry, Wanted, look
from isotherm.land.manifest import Manifest
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.land.tiers import open_tiers
from isotherm.rollup.scheduler import Scheduler
from isotherm.rollup.windows.port import Stream, is_shared, open_stream
from isotherm.store.cache import Cache, open_cache
from isotherm.store.db import open_db, reading
from isotherm.store.olap import Olap, open_olap

STOP_SECONDS: Final = 20.0
LOOKED_AT: Final = 10_000
"""Dead letters that one question looks at, the newest ones."""


class Parts:
    """The stores and roles of one deployment, each opened when it is first used and closed in reverse order."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.measures = Measures(self, log=False, tiles=False)
        self._stack = ExitStack()
        self._looking = threading.Lock()

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def engine(self) -> Engine:
        refuse_unfinished(self.settings.data)
        engine = open_db(self.settings.url("db"))
        self._stack.callback(engine.dispose)
        refuse_unfinished_store(engine)
        return engine

    @cached_property
    def log(self) -> EventLog:
        log = open_log(self.settings, self.clock)
        self._stack.callback(log.close)
        return log

    @cached_property
    def dead_log(self) -> EventLog:
        """The log of dead letters."""
        log = open_dead_log(self.settings, self.clock)
        self._stack.callback(log.close)
        return log

    def letters(self, wanted: Wanted) -> list[Entry]:
        """The dead letters that are wanted, of the newest that are looked at."""
        with self._looking:
            return look(self.dead_log, self.engine, wanted, looked_at=LOOKED_AT)

    @cached_property
    def lake(self) -> Lake:
        return open_tiers(self.settings)

    @cached_property
    def olap(self) -> Olap:
        olap = open_olap(self.settings.url("olap"), self.settings)
        self._stack.callback(olap.close)
        return olap

    @cached_property
    def cache(self) -> Cache:
        cache = open_cache(self.settings, self.clock)
        self._stack.callback(cache.close)
        return cache

    @cached_property
    def answers(self) -> Cache:
        """Where answers are kept: with all else in a shared cache, and in memory with a limit of their own."""
        if is_shared(self.settings):
            return self.cache
        answers = open_cache(self.settings, self.clock)
        self._stack.callback(answers.close)
        return answers

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest(self.engine, self.clock, self.settings.land_formats[0])

    def _in_order(self) -> Manifest:
        """The manifest, for who writes by it. Raises ConfigError when another of `land_formats` has to be the first."""
        with reading(self.engine) as connection:
            refuse_order(connection, self.manifest.default_format)
        return self.manifest

    @cached_property
    def lander(self) -> Lander:
        shared = self.intake if is_shared(self.settings) else None
        manifest = self._in_order()
        return Lander(self.settings, self.log, self.lake, manifest, self.clock, shared=shared, dead=self.dead_log)

    @cached_property
    def intake(self) -> SharedIntake:
        """What all landers read; it says nothing where the cache is not shared."""
        return SharedIntake(self.cache, self.clock)

    @cached_property
    def scanner(self) -> Scanner:
        """What lands instead of the lander where `scan` is set."""
        return Scanner(
            self.settings,
            self.log,
            open_source(self.settings),
            self.lake,
            self._in_order(),
            self.clock,
            dead=self.dead_log,
        )

    @cached_property
    def scheduler(self) -> Scheduler:
        manifest = self._in_order()
        scheduler = Scheduler(self.settings, self.engine, self.olap, self.lake, manifest, self.clock)
        self._stack.callback(scheduler.jobs.engine.close)
        return scheduler

    @cached_property
    def stream(self) -> Stream:
        stream = open_stream(self.settings, self.log, self.cache, self.engine, self.clock)
        self._stack.callback(stream.close)
        return stream


class Workers:
    """Threads of a process. One that ends by an exception takes the process down: half a program helps nobody.

    `failed` is called then, from that thread; the supervisor starts the process again.
    """

    def __init__(self, logger: Any, failed: Callable[[], None]) -> None:
        self.stop = threading.Event()
        self.broken = False
        self._logger = logger
        self._failed = failed
        self._threads: list[threading.Thread] = []

    def start(self, name: str, run: Callable[[threading.Event], None]) -> None:
        """Run `run(stop)` in a thread."""
        thread = threading.Thread(target=partial(self._guarded, name, run), name=name)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, name: str, run: Callable[[threading.Event], None]) -> None:
        try:
            run(self.stop)
        except BaseException:  # a panic inside a library is no Exception, and may leave it unusable in this process
            self._logger.exception("thread failed, the process ends", thread=name)
            self.broken = True
            self._failed()

    def join(self, seconds: float = STOP_SECONDS) -> bool:
        """Tell all threads to stop and wait; False when one does not."""
        self.stop.set()
        for thread in self._threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)


@contextmanager
def stop_signals(stop: Callable[[], None], *, ignore_interrupt: bool) -> Generator[None]:
    """Call `stop` on SIGTERM, and on Ctrl-C unless a supervisor gets it and decides."""

    def ask(number: int, frame: object) -> None:
        stop()

    numbers: Sequence[int] = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_interrupt else ask)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_role(
    settings: Settings, logger: Any, run: Callable[[threading.Event], None], measures: Measures | None = None
) -> int:
    """Run one role in this thread until SIGTERM or Ctrl-C; returns the exit code.

    `measures` are taken beside it where somebody can read them: on a role with a health_port.
    """
    with watched(settings, logger) as stop, _beside(measures if settings.health_port else None):
        logger.info("running", pid=os.getpid(), data=str(settings.data.absolute()))
        with stop_signals(stop.set, ignore_interrupt=False):
            run(stop)
    logger.info("stopped")
    return 0


@contextmanager
def _beside(measures: Measures | None) -> Generator[None]:
    if measures is None:
        yield
        return
    done = threading.Event()  # not the role's: who watches that sees the role alone
    thread = threading.Thread(target=measures.run, args=(done,), name="measures")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(STOP_SECONDS)
