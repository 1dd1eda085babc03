"""The port of a stream engine: what keeps live windows in the cache while events arrive."""

import threading
from collections.abc import Callable
from typing import Final, Literal, Protocol

from msgspec import Struct
from sqlalchemy.engine import Engine as Database

from isotherm.adapters import Adapters, adapter
from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog
from isotherm.store.cache import Cache

State = Literal["starting", "standby", "rebuilding", "counting"]
"""standby: another process counts. rebuilding: the log of the last day is read again, no window is shown yet."""


class StreamStatus(Struct, frozen=True, kw_only=True):
    """A picture of the engine in this process. Times are in ms.

    `lag` is what it has not read, in records; None while that is not known. `windows` are alive now. `exact_from` is
    the start of the first minute that is counted. `lost` are events that were not counted for want of room.
    """

    engine: str
    state: State
    lag: int | None
    windows: int
    counted: int
    lost: int
    exact_from: int
    last_error: str | None
    last_error_at: int | None


class Stream(Protocol):
    """Counts by `isotherm.rollup.windows.rule` and puts living windows into the cache."""

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Errors are logged, shown in `status`, and retried."""
        ...

    def restart(self) -> str:
        """Start anew from what was counted, on request; returns a line that says what was done."""
        ...

    def status(self) -> StreamStatus:
        """From any thread; asks no server."""
        ...

    def close(self) -> None: ...


Opener = Callable[[Settings, EventLog, Cache, Database, Clock], Stream]

ADAPTERS: Final[Adapters] = {
    "builtin": ("isotherm.rollup.windows.builtin:Builtin", ""),
    "flink": ("isotherm.rollup.engines.flink.stream:open_flink", "kafka"),
}


def open_stream(settings: Settings, log: EventLog, cache: Cache, database: Database, clock: Clock) -> Stream:
    """The engine that `settings.stream` names. Raises ConfigError for an unknown one, and for what it needs."""
    opener: Opener = adapter("stream", settings.stream, ADAPTERS)
    return opener(settings, log, cache, database, clock)


def is_shared(settings: Settings) -> bool:
    """Whether other processes see this process's cache."""
    return not settings.url("cache").startswith("memory:")
