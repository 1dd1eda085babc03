"""Jobs on demand as steps of plain values, for the admin routes and for commands without a running app."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np

from isotherm.clock import iso
from isotherm.errors import Backpressure
from isotherm.land import rounds
from isotherm.land.dead import DeadBin
from isotherm.land.find import Batch, Event, Place
from isotherm.land.find import find as find_events
from isotherm.land.retention import expire_raw, expire_records
from isotherm.land.steady import WORKS, SteadyClock
from isotherm.land.upkeep import Upkeep
from isotherm.land.waiting import Intake
from isotherm.land.waiting import Unlanded as LanderUnlanded
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.grid import GRID_W, cells_of
from isotherm.rollup.nightly import Nightly
from isotherm.rollup.retention import expire
from isotherm.rollup.verify import Choice, Verdict, Verifier
from isotherm.rollup.windows.port import is_shared
from isotherm.serve.deps import Backfill, FindEvents, FindUnlanded, Retain, Unlanded, Verify

if TYPE_CHECKING:
    from isotherm.cli.roles import Parts

Steps = Iterator[dict[str, Any]]


def backfill_job(parts: "Parts") -> Backfill:
    """A backfill as steps {level, start, clients, done, total, maps, rows, busy}."""

    def job(*, start: int, end: int, client_id: str | None, level: Level | None) -> Steps:
        clients = None if client_id is None else [client_id]
        for step in backfill(parts.scheduler.jobs, start, end, clients, tuple(Level) if level is None else (level,)):
            values: dict[str, Any] = msgspec.to_builtins(step)
            del values["bucket"]
            yield _named(step.bucket) | values

    return job


def verify_job(parts: "Parts") -> Verify:
    """A verification as steps: one verdict each, its bucket by level and start; or how far it is, where asked for."""

    def job(
        *,
        start: int | None = None,
        end: int | None = None,
        client_id: str | None = None,
        levels: Sequence[Level] | None = None,
        parallel: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> Steps:
        clients = None if client_id is None else [client_id]
        choice = Choice(clients, start, end, tuple(Level) if levels is None else tuple(levels), sample, seed)
        for step in verifier(parts, parallel).run(choice):
            if isinstance(step, Verdict):
                yield _verdict(step)
            elif progress:
                yield msgspec.to_builtins(step)

    return job


def nightly(parts: "Parts") -> Nightly:
    """The nightly sample, on one thread: it has the night."""
    return Nightly(verifier(parts, parallel=1))


def verifier(parts: "Parts", parallel: int | None = None) -> Verifier:
    """A verifier over these stores; None: with as many threads as tile jobs may take."""
    threads = parallel or parts.settings.job_threads or os.cpu_count() or 1
    return Verifier(parts.engine, parts.olap, parts.lake, parts.manifest, parts.clock, parts.settings, parallel=threads)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(verdict)
    del values["bucket"]
    return _named(verdict.bucket) | {name: value for name, value in values.items() if value is not None}


def retention_job(parts: "Parts") -> Retain:
    """A round of retention as steps {store, removed}, the second empty when nothing was due.

    Whoever asks for it vouches for the clock.
    """

    def job() -> Steps:
        now, upkeep = max(SteadyClock(parts.engine, parts.clock, name).believe() for name in WORKS), upkeep_of(parts)
        work: tuple[tuple[str, Callable[[], object]], ...] = (
            ("raw", lambda: expire_raw(parts.settings, parts.manifest, now)),
            ("tiles", lambda: expire(parts.engine, parts.olap, now, parts.settings)),
            ("records", lambda: expire_records(parts.settings, parts.engine, now)),
            ("log", lambda: upkeep.expire_log(now)),
            ("dead", lambda: upkeep.expire_dead(now)),
            ("files", lambda: parts.manifest.sweep(parts.lake)),
        )
        for name, run in work:
            found = run()
            if name == "files":
                yield {"store": name, "removed": {"deleted": len(cast("list[str]", found))}}
                continue
            noted = rounds.last(parts.engine).get(name, {})
            yield {"store": name, "removed": noted["did"] if noted and noted["did_at"] == iso(now) else {}}

    return job


def upkeep_of(parts: "Parts") -> Upkeep:
    """The upkeep of lake and log, for one round on demand; nobody else is told of its errors."""
    dead = DeadBin(parts.settings, parts.dead_log)
    return Upkeep(parts.settings, parts.log, parts.lake, parts.manifest, parts.clock, lambda _: None, dead)


def find_job(parts: "Parts") -> FindEvents:
    """Look-ups of raw events, two at a time: each may read for seconds."""
    free = threading.BoundedSemaphore(2)

    def job(
        *,
        client_id: str,
        start: int,
        end: int,
        limit: int,
        batch: tuple[str, int | None] | None = None,
        place: tuple[str, str, tuple[int, int] | None] | None = None,
    ) -> dict[str, Any]:
        if not free.acquire(blocking=False):
            raise Backpressure("others look events up; try again in a while", retry_after_s=2)
        try:
            wanted = _wanted(batch, place, start, end)
            found = find_events(parts.lake, parts.manifest, client_id, wanted, start, end, limit)
        finally:
            free.release()
        values: dict[str, Any] = msgspec.to_builtins(found) | {"events": [_event(event) for event in found.events]}
        return {"client_id": client_id, "from": iso(start), "to": iso(end)} | values

    return job


def _wanted(
    batch: tuple[str, int | None] | None, place: tuple[str, str, tuple[int, int] | None] | None, start: int, end: int
) -> Batch | Place:
    if batch is not None:
        return Batch(*batch)
    screen_id, event_type, cell = place or ("", "", None)
    number = None if cell is None else cell[1] * GRID_W + cell[0]
    return Place(screen_id, event_type, number, cells_of, start, end)


def _event(event: Event) -> dict[str, Any]:
    """One event as look-ups show it."""
    cell: tuple[int | None, int | None] = (None, None)
    if event.x_norm is not None and event.y_norm is not None:
        place = int(cells_of(np.array([event.x_norm]), np.array([event.y_norm]))[0])
        cell = (place % GRID_W, place // GRID_W)
    values = msgspec.structs.asdict(event)
    moments = {name: iso(values.pop(name)) for name in ("event_time", "received_at")}
    named = {"event_id": f"{event.batch_id}:{event.position}", "cell_x": cell[0], "cell_y": cell[1]}
    return values | moments | named


def find_unlanded(parts: "Parts") -> FindUnlanded:
    """What this process's lander has read and not landed."""

    def find(client_id: str) -> list[Unlanded] | None:
        found, log = parts.lander.unlanded(client_id), parts.lander.log_identity
        return None if found is None else [_unlanded(log, one) for one in found]

    return find


def _unlanded(log: str, one: LanderUnlanded) -> Unlanded:
    here = Unlanded(log, one.partition, one.first, one.next, one.read_until)
    return here if one.arrived is None else replace(here, **msgspec.structs.asdict(one.arrived))


def _named(bucket: Bucket) -> dict[str, Any]:
    return {"level": bucket.level.value, "start": iso(bucket.start)}


def _lander_facts(parts: "Parts") -> dict[str, Any]:
    lander = parts.lander.status()
    return {
        "idle": lander.lag == 0,
        "lander": msgspec.to_builtins(lander),
        "intake": msgspec.to_builtins(_intake(parts) or parts.lander.intake()),
    }


def _intake(parts: "Parts") -> Intake | None:
    """What all landers read, where they count together."""
    return parts.intake.look() if is_shared(parts.settings) else None


def serving_facts(parts: "Parts") -> dict[str, Any]:
    """What a process without lander and scheduler can say of those that have them, for GET /v1/status."""
    return {"intake": msgspec.to_builtins(_intake(parts))}


def _scanner_facts(parts: "Parts") -> dict[str, Any]:
    """The scanner in the lander's place: what the sink has not read counts as lag, files that wait are on their way."""
    scanner = parts.scanner.status()
    lag = scanner.sink.lag if scanner.sink is not None else 0
    quiet = scanner.sink is not None and scanner.last_scan_at is not None and not scanner.due
    return {
        "idle": quiet and not lag,
        "lander": msgspec.to_builtins(scanner) | {"lag": lag, "oldest_unlanded_ms": 0},
        "intake": None,
    }


def status_facts(parts: "Parts") -> dict[str, Any]:
    """What only this process knows, for GET /v1/status: lander, scheduler, stream, log."""
    landing = _scanner_facts(parts) if parts.settings.scan else _lander_facts(parts)
    log = parts.log.status()
    return landing | {
        "scheduler": parts.scheduler.status(),
        "stream": msgspec.to_builtins(parts.stream.status()),
        "log": {
            "bytes": log.bytes,
            "max_bytes": log.max_bytes,
            "head": {str(partition): head for partition, head in log.head.items()},
            "segments": len(log.segments),
            "set_aside": log.set_aside,
        },
    }
