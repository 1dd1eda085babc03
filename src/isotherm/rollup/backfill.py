"""Tiling a range again: mark it dirty, then run the jobs, hours first. Interrupted, the marks say what is left."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.errors import Problem
from isotherm.land.late import raw_kept_from
from isotherm.rollup import dirty
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.jobs import Jobs, Outcome
from isotherm.rollup.leases import Busy
from isotherm.store.db import next_version, writing
from isotherm.store.olap import OlapDamaged
from isotherm.store.tables import buckets, files


@dataclass(frozen=True, slots=True)
class Progress:
    """One bucket is done for `clients` clients: the `done`-th of `total`.

    `maps` and `rows` are what the job published. `busy`: another job has the bucket in hand and will finish it.
    """

    bucket: Bucket
    clients: int
    done: int
    total: int
    maps: int = 0
    rows: int = 0
    busy: bool = False


def backfill(
    jobs: Jobs, start: int, end: int, client_ids: Sequence[str] | None = None, levels: Iterable[Level] = tuple(Level)
) -> Iterator[Progress]:
    """Tile the hours of [start, end) again and the days and weeks that touch it (ms; edges are moved outwards).

    `client_ids` None means all. Hours whose raw events have expired stay as they are. Raises Problem 422 when the
    range is empty.
    """
    if start >= end:
        raise Problem(422, "the range is empty: it must end after it starts")
    jobs.mender.mend(thorough=False)
    work = _mark(jobs, start, end, client_ids, set(levels))
    for done, (bucket, clients) in enumerate(work, start=1):
        try:
            outcome = _run(jobs, bucket, clients)
            yield Progress(bucket, len(clients), done, len(work), outcome.maps, outcome.rows)
        except Busy:
            yield Progress(bucket, len(clients), done, len(work), busy=True)


def _run(jobs: Jobs, bucket: Bucket, clients: Sequence[str]) -> Outcome:
    """The job; when it meets a damaged part of the tile store, that is set aside first."""
    try:
        return jobs.run(bucket, clients)
    except OlapDamaged:
        if jobs.olap.doubt.is_set():
            jobs.mender.mend(thorough=True)
        return jobs.run(bucket, clients)


def _mark(
    jobs: Jobs, start: int, end: int, client_ids: Sequence[str] | None, levels: set[Level]
) -> list[tuple[Bucket, list[str]]]:
    """Mark all buckets there is something to do for in one transaction; they come back hours first, oldest first."""
    now = jobs.clock.now_ms()
    with writing(jobs.database) as connection:
        version = next_version(connection)
        todo: dict[Bucket, set[str]] = {}
        for client_id, hour in sorted(_hours(connection, start, end, client_ids)):
            for level in levels:
                bucket = Bucket(level, floor(level, hour))
                if _can_run(jobs, bucket, client_id, now):
                    todo.setdefault(bucket, set()).add(client_id)
        order = sorted(todo, key=lambda bucket: (bucket.level.ms, bucket.start))
        for bucket in order:
            dirty.mark(connection, [bucket], sorted(todo[bucket]), version, now)
    return [(bucket, sorted(todo[bucket])) for bucket in order]


def _can_run(jobs: Jobs, bucket: Bucket, client_id: str, now: int) -> bool:
    if bucket.start < kept_from(bucket.level, now, jobs.settings, client_id):
        return False
    child = bucket.level.child
    if child is not None and bucket.start >= kept_from(child, now, jobs.settings, client_id):
        return True
    return bucket.start >= raw_kept_from(now, jobs.settings, client_id)


def _hours(connection: Connection, start: int, end: int, client_ids: Sequence[str] | None) -> set[tuple[str, int]]:
    """(client, hour) that have raw files, or were published: those may have to become empty."""
    first, last = floor(Level.HOUR, start), end
    found: set[tuple[str, int]] = set()
    for table, moment, condition in (
        (files, files.c.hour, (files.c.state == "listed") & sa.not_(files.c.raw_only)),
        (buckets, buckets.c.start, buckets.c.level == Level.HOUR.value),
    ):
        statement = sa.select(table.c.client_id, moment).where(condition, moment >= first, moment < last).distinct()
        found.update((row[0], row[1]) for row in connection.execute(statement))
    return found if client_ids is None else {pair for pair in found if pair[0] in set(client_ids)}
