"""A deployment on a topic, for tests: settings, records, landers in this process and in others, and what has landed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
from collecting import now_ms, until
from landing import Identity, event, record

from isotherm.clock import SystemClock
from isotherm.config import Settings, load_settings
from isotherm.eventlog.port import EventLog, Record, open_log
from isotherm.land import ledger
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

_LANDER = """
import json, os, signal, sys
from isotherm.clock import SystemClock
from isotherm.config import load_settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

told = json.loads(sys.argv[1])
settings, clock = load_settings(**told["settings"]), SystemClock()

def reached(name):
    print(name, flush=True)
    if name == told["at"]:
        told["at"] = ""
        os.kill(os.getpid(), getattr(signal, told["signal"]))

log = open_log(settings, clock)
manifest = Manifest(open_db(settings.url("db")), clock)
lander = Lander(settings, log, open_lake(settings.url("lake"), settings), manifest, clock, reached)
print("ready", flush=True)
while True:
    lander.step(force=True)
"""


class KafkaWorld:
    """Settings on a new topic with several partitions, and the stores beside it in a folder."""

    def __init__(self, bootstrap: str, data: Path, **settings: Any) -> None:
        topic = settings.pop("topic", f"t-{uuid4().hex}")
        self.told: dict[str, Any] = {
            "data": str(data),
            "log": f"kafka://{bootstrap}?topic={topic}",
            "kafka_partitions": 4,
            "kafka_replication": 1,
            "disk_reserve_bytes": 0,
            **settings,
        }
        self.clock = SystemClock()
        self.settings: Settings = load_settings(**self.told)
        self.engine = open_db(self.settings.url("db"))
        self.manifest = Manifest(self.engine, self.clock)
        self.lake = open_lake(self.settings.url("lake"), self.settings)
        self.now = now_ms()
        self._logs: list[EventLog] = []
        self.log = self.open()

    def open(self) -> EventLog:
        """Another client of the topic."""
        self._logs.append(open_log(self.settings, self.clock))
        return self._logs[-1]

    def lander(self, log: EventLog | None = None, checkpoint: Any = lambda _: None) -> Lander:
        return Lander(self.settings, log or self.log, self.lake, self.manifest, self.clock, checkpoint)

    def record(self, batch: str, events: int = 3, screen: str | None = None, **more: Any) -> Record:
        times = [event(self.now + n) for n in range(events)]
        return record("shop", batch, times, screen_id=screen or f"s-{batch}", received_at=self.now, **more)

    def append(self, names: Sequence[str]) -> None:
        self.log.append([self.record(name) for name in names])

    def landed(self) -> list[Identity]:
        """What the listed files hold, by pyarrow alone."""
        names = ["client_id", "batch_id", "position"]
        tables = [pq.read_table(self.settings.data / "lake" / f.path, columns=names) for f in self.manifest.listed()]
        return sorted(row for t in tables for row in zip(*t.to_pydict().values(), strict=True))

    def sums(self) -> dict[str, int]:
        """The ledger, whose equations hold."""
        rows = ledger.read(self.engine)
        assert ledger.check(rows) == []
        return {name: count for name, count in ledger.sums(rows).items() if count}

    @contextmanager
    def process(self, *, at: str = "", signal: str = "SIGKILL") -> Iterator["subprocess.Popen[str]"]:
        """A lander of its own, which tells its steps line by line and sends itself a signal at one of them."""
        told = json.dumps({"settings": self.told, "at": at, "signal": signal})
        child = subprocess.Popen(
            [sys.executable, "-c", _LANDER, told], stdout=subprocess.PIPE, text=True, env={**os.environ, "TZ": "UTC"}
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()

    def wait_for(self, rows: int, errors: Callable[[], list[BaseException]] = list) -> None:
        """Until so many rows are landed; fails at once by what a lander met meanwhile."""

        def landed() -> bool:
            for error in errors():
                raise error
            return len(self.landed()) >= rows

        until(landed, f"{rows} rows are landed", 120)

    def close(self) -> None:
        for log in self._logs:
            log.close()
        self.engine.dispose()


def rows_of(names: Sequence[str], events: int = 3) -> list[Identity]:
    """What the batches of these names land as."""
    return sorted(("shop", name, n) for name in names for n in range(events))


Make = Callable[..., KafkaWorld]


@contextmanager
def making(bootstrap: str, folder: Path) -> Iterator[Make]:
    """Makes worlds, each on a topic and in a folder of its own, and closes them."""
    made: list[KafkaWorld] = []

    def new(**settings: Any) -> KafkaWorld:
        made.append(KafkaWorld(bootstrap, folder / f"data{len(made)}", **settings))
        return made[-1]

    try:
        yield new
    finally:
        for world in made:
            world.close()
