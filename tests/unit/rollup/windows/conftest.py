"""A log, a cache and a built-in stream over them, with a clock that tests move."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from landing import NOW
from sqlalchemy.engine import Engine
from windows import SIZES, Counts

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import EventLog, Record
from isotherm.rollup.windows.builtin import Builtin
from isotherm.rollup.windows.read import read_windows
from isotherm.store.cache import Cache
from isotherm.store.cache_memory import MemoryCache
from isotherm.store.db import open_db


class KeepsAll(MemoryLog):
    """A log that takes the same batch twice, as Kafka does."""

    @property
    def knows_ids(self) -> bool:
        return False

    def append(self, records: Sequence[Record]) -> Any:
        return super().append([Record(r.key, r.value, r.timestamp) for r in records])


@dataclass
class Deployment:
    """One deployment of the embedded kind; `stream()` is another process of it."""

    settings: Settings
    clock: ManualClock
    log: EventLog
    cache: Cache
    database: Engine

    def stream(self) -> Builtin:
        made = Builtin(self.settings, self.log, self.cache, self.database, self.clock)
        made.begin()
        return made

    def follow(self, stream: Builtin) -> None:
        while stream.step():
            pass
        stream.show()

    def shown(self, records: Sequence[Record]) -> Counts:
        """What a reader sees of the screens of these records."""
        screens = {tuple(record.key.split("|")) for record in records}
        found: Counts = {}
        for client_id, screen_id in screens:
            for size in SIZES:
                for window in read_windows(self.cache, client_id, screen_id, size, self.clock.now_ms()):
                    assert window.end - window.start == SIZES[size]
                    found |= {(client_id, screen_id, kind, size, window.start): n for kind, n in window.counts.items()}
        return found


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    made: list[Deployment] = []

    def make(*, keeps_all: bool = False, cache: Cache | None = None, **settings: Any) -> Deployment:
        built, clock = Settings(data=tmp_path, log="memory://", **settings), ManualClock(NOW)
        log = (KeepsAll if keeps_all else MemoryLog)("memory://", built, clock)
        database = open_db(f"sqlite://{tmp_path / f'{len(made)}.db'}")
        made.append(Deployment(built, clock, log, cache or MemoryCache(clock), database))
        return made[-1]

    yield make
    for one in made:
        one.log.close()
        one.database.dispose()
