"""What the query API is given by whoever starts it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from litestar.di import NamedDependency
from sqlalchemy.engine import Engine

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.land.letters import Entry, Wanted
from isotherm.rollup.buckets import Level
from isotherm.store.cache import Cache
from isotherm.store.olap import Olap

Progress = Iterator[dict[str, Any]]
"""Steps of a running job, each a JSON object. Closing the iterator stops the job; it may then be run again."""


class Backfill(Protocol):
    """Rebuilds the tiles of [start, end), ms on the hour; None for client or level means all of them."""

    def __call__(self, *, start: int, end: int, client_id: str | None, level: Level | None) -> Progress: ...


class Verify(Protocol):
    """Recounts tiles from the lake and compares; None for a client or an edge means no bound.

    `levels`: None is all of them. `parallel` threads; None: as many as jobs may take. `sample` so many published
    buckets, drawn by `seed`; None: all. With `progress`, steps {"read", "total"} of events come between verdicts.
    """

    def __call__(
        self,
        *,
        start: int | None,
        end: int | None,
        client_id: str | None,
        levels: Sequence[Level] | None,
        parallel: int | None,
        sample: int | None,
        seed: int,
        progress: bool,
    ) -> Progress: ...


class FindEvents(Protocol):
    """Looks raw events of a client up in [start, end), ms: by batch and position, or by screen, type and cell.

    Bounded: see `land.find`. Raises Backpressure while others are looked up, and ValueError beyond the bounds.
    """

    def __call__(
        self,
        *,
        client_id: str,
        start: int,
        end: int,
        limit: int,
        batch: tuple[str, int | None] | None = None,
        place: tuple[str, str, tuple[int, int] | None] | None = None,
    ) -> dict[str, Any]: ...


class FindDead(Protocol):
    """The dead letters that are wanted, the newest first; of a bounded number that is looked at."""

    def __call__(self, wanted: Wanted) -> Sequence[Entry]: ...


class Retain(Protocol):
    """Removes what is past its days now, store by store."""

    def __call__(self) -> Progress: ...


@dataclass(frozen=True)
class Unlanded:
    """Records [first, next) of one partition of a log that were read and not landed, seen for one client.

    `events` of them are the client's accepted ones, received from `oldest` to `newest` (ms; None without any).
    Whatever was on the log at `read_until` (ms) was read; None until its head was reached once.
    """

    log: str
    partition: int
    first: int
    next: int
    read_until: int | None
    events: int = 0
    oldest: int | None = None
    newest: int | None = None


class FindUnlanded(Protocol):
    """What the lander holds of a client, by partition; None while it cannot tell."""

    def __call__(self, client_id: str) -> Sequence[Unlanded] | None: ...


def _not_known(client_id: str) -> Sequence[Unlanded] | None:
    return None


def _no_facts() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Deps:
    """Stores, clock, and what only the process around the API knows.

    `cache` holds the live windows; `answers` keeps maps that were asked for, without it each is read again. Both are
    one cache where it is shared, and apart in memory, where answers would drive windows out. `status` adds members to
    GET /v1/status: facts about the lander, the scheduler and the log; a member `idle` that is False says that something
    is still on its way to the lake. `unlanded` tells what the lander of this process has read and not landed; without
    it, how fresh maps are is told as far as the stores know. `backfill`, `verify` and `retention` run the admin jobs;
    without one, its route answers 501; so it is with `find`, which looks raw events up, and `dead`, which lists dead
    letters. The hooks are called with no argument, before the first and after the last request.
    """

    settings: Settings
    engine: Engine
    olap: Olap
    clock: Clock
    cache: Cache | None = None
    answers: Cache | None = None
    status: Callable[[], dict[str, Any]] = _no_facts
    unlanded: FindUnlanded = _not_known
    backfill: Backfill | None = None
    verify: Verify | None = None
    find: FindEvents | None = None
    dead: FindDead | None = None
    retention: Retain | None = None
    on_startup: Sequence[Callable[[], object]] = ()
    on_shutdown: Sequence[Callable[[], object]] = ()


InDeps = NamedDependency[Deps]
NamedDocument = NamedDependency[dict[str, Any]]
"""The OpenAPI document of the running API."""
