"""The reader of Flink's windows: nothing shown before all is read, and one process that looks after the job."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from landing import NOW, event
from windows import sent

from isotherm.clock import MINUTE_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import EventLog
from isotherm.rollup.engines.flink import stream as module
from isotherm.rollup.engines.flink.progress import Progress, progress
from isotherm.rollup.engines.flink.stream import FlinkStream
from isotherm.rollup.leases import lease
from isotherm.rollup.windows.leader import NAME as LEADER
from isotherm.rollup.windows.minutes import Window
from isotherm.rollup.windows.publish import Publisher, entries, last_beat
from isotherm.rollup.windows.rule import BY_NAME
from isotherm.store.cache_memory import MemoryCache
from isotherm.store.db import open_db


class Job:
    """A job on Flink that always runs."""

    floor = 0

    def __init__(self) -> None:
        self.ensured = 0

    def ensure(self, *, restart: bool = False) -> str:
        self.ensured += 1
        return "job 1 runs"


class Rows:
    """A windows topic of some rows a read; `caught_up` after the last of them."""

    def __init__(self, reads: list[list[Window]], after: Callable[[int], None]) -> None:
        self._reads, self._done, self._after = reads, 0, after

    def ensure(self) -> None: ...
    def begin(self) -> None: ...
    def close(self) -> None: ...
    def lag(self) -> int:
        return 0

    def read(self, _: float) -> list[Window]:
        self._after(self._done)
        self._done += 1
        return self._reads[self._done - 1] if self._done <= len(self._reads) else []

    @property
    def caught_up(self) -> bool:
        return self._done >= len(self._reads)


def row(events: int, kind: str, start: int = NOW) -> Window:
    return Window(("shop", "home", kind), BY_NAME["1h"], start, events, NOW)


@pytest.fixture
def make(tmp_path: Path) -> Any:
    opened: list[Any] = []

    def built(cache: MemoryCache, rows: Rows, job: Any, clock: ManualClock, url: str = "memory://") -> FlinkStream:
        opened.append(open_db(f"sqlite://{tmp_path / 'x.db'}"))
        settings = Settings(data=tmp_path, log="kafka://h:1", stream="flink://h:1", cache=url)
        parts: list[Any] = [settings, job, rows, Publisher(cache, clock), opened[-1], clock]
        return FlinkStream(*parts, lambda: Progress(5, 2 * MINUTE_MS))

    yield built
    for database in opened:
        database.dispose()


def test_a_restarted_reader_overwrites_nothing_until_it_has_read_all(make: Any) -> None:
    clock, stop = ManualClock(NOW), threading.Event()
    cache = MemoryCache(clock)
    before = Publisher(cache, clock)
    before.publish([row(3, "click"), row(4, "scroll")])
    seen: list[int] = []

    def after(done: int) -> None:
        seen.append(sum(entry[2] for entry in entries(cache, "shop", "home", "1h")))
        clock.advance(3_000)
        if done == 4:
            stop.set()

    rows = Rows([[row(3, "click")], [], [row(4, "scroll"), row(2, "tap")]], after)
    make(cache, rows, Job(), clock).run(stop)
    assert seen == [7, 7, 7, 9, 9]
    beat = last_beat(cache)
    assert beat is not None
    assert beat.state == "counting"


def test_windows_before_the_job_s_floor_do_not_show_and_are_told(make: Any) -> None:
    clock, stop = ManualClock(NOW), threading.Event()
    cache, job = MemoryCache(clock), Job()
    job.floor = NOW - MINUTE_MS
    reads = [[row(3, "click"), row(9, "click", NOW - MINUTE_MS - 1)]]
    stream = make(cache, Rows(reads, lambda done: stop.set() if done else None), job, clock)
    stream.run(stop)
    assert entries(cache, "shop", "home", "1h") == [(NOW, "click", 3, NOW)]
    assert stream.status().exact_from == NOW - MINUTE_MS


def test_only_who_leads_looks_after_the_job(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAD_S", 0.01)
    clock, stop, job = ManualClock(NOW), threading.Event(), Job()
    rows = Rows([], lambda _: time.sleep(0.01))
    stream = make(MemoryCache(clock), rows, job, clock, "redis://h:1")
    thread = threading.Thread(target=stream.run, args=(stop,))
    try:
        with lease(stream._database, clock, LEADER):
            thread.start()
            while stream.status().state != "standby":
                time.sleep(0.01)
            stop.wait(0.2)
            assert job.ensured == 0
        while not job.ensured:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert stream.status().last_error is None


@pytest.fixture
def log(tmp_path: Path) -> Any:
    made = MemoryLog("memory://", Settings(data=tmp_path, log="memory://"), ManualClock(NOW))
    yield made
    made.close()


def test_how_far_the_job_is_comes_from_what_it_committed(log: EventLog) -> None:
    log.append([sent("shop", f"b{i}", [event(NOW)], received_at=NOW + i * 1000) for i in range(10)])
    assert progress(log, NOW) == Progress(None, 0)
    (partition,) = log.partitions()
    log.commit("isotherm-windows", partition, 4)
    assert progress(log, NOW + 60_000) == Progress(6, 56_000)
    log.commit("isotherm-windows", partition, 10)
    assert progress(log, NOW + 60_000) == Progress(0, 0)
