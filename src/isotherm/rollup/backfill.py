"""Tiling a range again: mark it dirty, then run the jobs, hours first. Interrupted, the marks say what is left."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.errors import Problem
from isotherm.land.steady import believed
from isotherm.rollup import dirty
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.frozen import freeze
from isotherm.rollup.jobs import Expired, Jobs, Outcome
from isotherm.rollup.leases import Busy
from isotherm.rollup.ways import Way, ways
from isotherm.store.db import next_version, reading, writing
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
        except Expired as expired:
            freeze(jobs.database, jobs.olap, bucket, expired.client_ids)
            yield Progress(bucket, len(clients) - len(expired.client_ids), done, len(work))
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
    work = _work(jobs, start, end, client_ids, levels)
    with writing(jobs.database) as connection:
        version, now = next_version(connection), jobs.clock.now_ms()
        for bucket, clients in work.items():
            dirty.mark(connection, [bucket], clients, version, now)
    return list(work.items())


def _work(
    jobs: Jobs, start: int, end: int, client_ids: Sequence[str] | None, levels: set[Level]
) -> dict[Bucket, list[str]]:
    """The buckets that are kept and can be built whole, or once what they hold is built; hours first, oldest first."""
    now = believed(jobs.database, jobs.clock.now_ms(), "tiles")
    found: dict[Bucket, set[str]] = {}
    with reading(jobs.database) as connection:
        for client_id, hour in _hours(connection, start, end, client_ids):
            for level in levels:
                bucket = Bucket(level, floor(level, hour))
                if bucket.start >= kept_from(level, now, jobs.settings, client_id):
                    found.setdefault(bucket, set()).add(client_id)
        work: dict[Bucket, list[str]] = {}
        changed: dict[Bucket, set[str]] = {}
        for bucket in sorted(found, key=lambda bucket: (bucket.level.ms, bucket.start)):
            nothing_left = ways(connection, bucket, sorted(found[bucket]), now, jobs.settings)[Way.NONE]
            clients = found[bucket].difference(nothing_left) | (found[bucket] & changed.get(bucket, set()))
            if not clients:
                continue
            work[bucket] = sorted(clients)
            for above in bucket.ancestors():
                changed.setdefault(above, set()).update(clients)
    return work


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
