"""Dirty marks: which buckets changed since they were published.

An hour's mark says when the oldest event was received that its maps lack. What a landing brings while a job works is
not in what that job publishes, and the mark outlives it. So the mark says the same of what landed since the newest job
began: that is what the maps lack once that job has published. It may be said of one job only, the one with the lease.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.rollup.buckets import Bucket, Level
from isotherm.store.tables import dirty
from isotherm.store.upsert import upsert

_CHUNK: Final = 500
"""Values bound in one statement; SQLite allows 32,766 variables."""


def mark(
    connection: Connection, buckets: Iterable[Bucket], client_ids: Sequence[str], version: int, now_ms: int
) -> None:
    """Mark the buckets for these clients with a version drawn in the same write transaction."""
    rows = [
        {
            "level": bucket.level.value,
            "start": bucket.start,
            "client_id": client_id,
            "version": version,
            "marked_at": now_ms,
        }
        for bucket in buckets
        for client_id in client_ids
    ]
    upsert(connection, dirty, rows, update=("version", "marked_at"))


def begin(connection: Connection, bucket: Bucket, client_ids: Sequence[str]) -> None:
    """A job begins: nothing has landed since. In the transaction that draws its version and reads what it works on."""
    for here in _of(bucket, client_ids):
        connection.execute(sa.update(dirty).where(here).values(next_received_at=None))


def clear(connection: Connection, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
    """Remove the marks that are not newer than the version.

    The others were set again since the job of that version began, the newest that did: what their maps lack then is
    what landed since.
    """
    for here in _of(bucket, client_ids):
        connection.execute(sa.delete(dirty).where(here, dirty.c.version <= version))
        connection.execute(sa.update(dirty).where(here).values(oldest_received_at=dirty.c.next_received_at))


def _of(bucket: Bucket, client_ids: Sequence[str]) -> "Iterator[sa.ColumnElement[bool]]":
    """Conditions for the marks of the bucket and these clients; for each a statement, as they may be many."""
    for i in range(0, len(client_ids), _CHUNK):
        yield sa.and_(
            dirty.c.level == bucket.level.value,
            dirty.c.start == bucket.start,
            dirty.c.client_id.in_(client_ids[i : i + _CHUNK]),
        )


def behind(connection: Connection, bucket: Bucket) -> frozenset[str]:
    """Clients of whose week some day is dirty: its sum then lacks what the day lacks.

    Hours that are dirty do not count: what they lack is in no map yet.
    """
    if bucket.level is not Level.WEEK:
        return frozenset()
    days = (dirty.c.level == Level.DAY.value, dirty.c.start >= bucket.start, dirty.c.start < bucket.end)
    return frozenset(connection.execute(sa.select(dirty.c.client_id).where(*days)).scalars())


def clients_of(connection: Connection, bucket: Bucket) -> list[str]:
    """Clients whose bucket is dirty, in order of their id."""
    return list(
        connection.execute(
            sa.select(dirty.c.client_id)
            .where(dirty.c.level == bucket.level.value, dirty.c.start == bucket.start)
            .order_by(dirty.c.client_id)
        ).scalars()
    )
