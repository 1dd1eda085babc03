"""Twenty minutes of steady load, in which two weeks go by: memory stays flat, and so does the disk beyond retention.

The clock of the program and of its senders is put forward by six hours again and again, so that everything comes to
its retention several times. ISOTHERM_TEST_SOAK_MINUTES says how long it takes.
"""

import http.client
import json
import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from drilling import books_close, database, say
from system_helpers import System
from watching import Sample, Samples, growth, watched

from isotherm.clock import DAY_MS, HOUR_MS

MINUTES = float(os.environ.get("ISOTHERM_TEST_SOAK_MINUTES", "20"))
DAYS = 14
STEP_MS = 6 * HOUR_MS
KEPT = {
    "late_horizon_days": 1,
    "log_retention_days": 1,
    "hourly_retention_days": 4,
    "raw_retention_days": 4,
    "daily_retention_days": 5,
    "weekly_retention_days": 14,
    "archive_after_days": 2,
    "dead_retention_days": 2,
    "log_segment_bytes": 4 << 20,
    "close_delay_seconds": 1,
}
NAME, SENDERS, EVENTS, PAUSE = "soak", 3, 100, 0.05
SHARE, SLACK = 0.10, 25_000_000
"""How much more the median of the last third may be than that of the middle one."""

pytestmark = [pytest.mark.drill, pytest.mark.timeout(MINUTES * 60 + 1800)]


class Turned:
    """The milliseconds that the program's clock is ahead, in a file that its processes read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ms = 0
        self.turn(0)

    def turn(self, ms: int) -> None:
        new = self.file.with_name("new")
        new.write_text(str(ms))
        new.rename(self.file)
        self.ms = ms

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.ms


class Senders:
    """Batches at a steady pace, each until it gets its 202; `acknowledged` counts events."""

    def __init__(self, system: System, clock: Turned) -> None:
        self.system, self.clock = system, clock
        self.acknowledged = 0
        self.faults: list[str] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), name=f"sender {n}") for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        try:
            self._send_all(number)
        except Exception as error:  # noqa: BLE001 - said by the test, which fails by it
            self.faults.append(repr(error))

    def _send_all(self, number: int) -> None:
        chance, target, count = random.Random(number), urlsplit(self.system.collect_url), 0
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
        try:
            while not self._over.wait(PAUSE):
                body = json.dumps(self._body(f"{number}-{count}", chance))
                connection.request("POST", "/events/batch", body, {"content-type": "application/json"})
                response = connection.getresponse()
                said = json.loads(response.read())
                if response.status != 202 or said["accepted"] != EVENTS:
                    self.faults.append(f"{response.status}: {said}")
                    return
                count += 1
                with self._lock:
                    self.acknowledged += EVENTS
        finally:
            connection.close()

    def _body(self, batch_id: str, chance: random.Random) -> dict[str, object]:
        now = self.clock.now() - chance.choice((0, 0, 0, 0, 7)) * HOUR_MS
        kinds = ("mousemove", "mousemove", "mousemove", "click", "scroll")
        events = [
            {
                "event_time": now - chance.randrange(60_000),
                "event_type": chance.choice(kinds),
                "x_norm": chance.random(),
                "y_norm": chance.random(),
            }
            for _ in range(EVENTS)
        ]
        screen = f"/page/{chance.randrange(20)}"
        return {"client_id": NAME, "screen_id": screen, "batch_id": batch_id, "events": events}

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def turning(data: Path, **settings: object) -> Generator[tuple[System, Turned]]:
    clock = Turned(data.with_name("clock"))
    paths = os.pathsep.join([str(Path(__file__).parent / "turning"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("DRILL_CLOCK_FILE", str(clock.file))
        with System(data, **settings) as system:
            yield system, clock


def soak(system: System, clock: Turned) -> tuple[Samples, int]:
    """Load for so many minutes; gives what was sampled, and the events that were acknowledged."""
    steps = DAYS * DAY_MS // STEP_MS
    senders = Senders(system, clock)
    over = threading.Event()
    try:
        with watched(system) as samples:
            for step in range(1, steps + 1):
                over.wait(MINUTES * 60 / steps)
                clock.turn(step * STEP_MS)
                assert senders.faults == [], senders.faults[:5]
    finally:
        senders.end()
    assert senders.faults == [], senders.faults[:5]
    return samples, senders.acknowledged


def kept_and_gone(data: Path) -> tuple[int, int, int]:
    """Rows that are listed, rows that retention took, and events in cells of published hours, kept or gone."""
    with database(data) as connection:

        def one(query: str) -> int:
            return connection.execute(query).fetchone()[0] or 0

        listed = one("SELECT sum(rows) FROM files WHERE state = 'listed' AND format = 'parquet'")
        gone = one("SELECT sum(rows) FROM retired WHERE what = 'raw'")
        tiled = one("SELECT sum(tiled) FROM buckets WHERE level = 'hour'")
        tiled += one("SELECT sum(tiled) FROM retired WHERE what = 'hour'")
    return listed, gone, tiled


def test_memory_and_disk_stay_flat_while_two_weeks_go_by(tmp_path: Path) -> None:
    with turning(tmp_path / "data", **KEPT) as (system, clock):
        samples, acknowledged = soak(system, clock)
        began = time.monotonic()
        system.wait_idle(1200)
        recovered = time.monotonic() - began
        listed, gone, tiled = kept_and_gone(system.data)
        say(NAME, acknowledged=acknowledged, landed=listed + gone, tiled=tiled, lost=acknowledged - listed - gone,
            duplicated=0, seconds=f"{recovered:.1f}")  # fmt: skip
        names = sorted(set.intersection(*(set(one.sizes) for one in samples.memory)))
        memory = {name: growth(samples.memory, name) for name in names}
        disk = {name: growth(samples.disk, name) for name in samples.disk[-1].sizes}
        for name, found in [*memory.items(), *disk.items()]:
            print(f"{name}: {found}")
        assert {name.split()[0] for name in names} == {"up", "collect", "app"}
        assert listed + gone == acknowledged
        assert tiled == acknowledged
        assert gone > listed > 0
        assert [name for name, found in memory.items() if not found.flat(SHARE, SLACK)] == []
        assert disk["all"].flat(SHARE, SLACK), disk["all"]
        books_close(system)


def test_growth_is_told_from_noise() -> None:
    """The judgement itself, on sizes that are known."""
    chance = random.Random(3)

    def judged(slope: float) -> bool:
        sizes = [500e6 + slope * n + chance.gauss(0, 20e6) + (300e6 if n % 37 == 0 else 0) for n in range(600)]
        return growth([Sample(n, {"app 1": int(size)}) for n, size in enumerate(sizes)], "app 1").flat(SHARE, SLACK)

    assert judged(0)
    assert judged(-200_000)
    assert not judged(500_000)
