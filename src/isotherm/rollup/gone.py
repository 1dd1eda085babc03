"""What retention took and no job made again, by the table `retired`.

Days alone do not say what is gone: where a retention was made longer, or a wrong clock was believed for a while, what
went before stays gone. Jobs and reads ask here, so that they never take it for empty.
"""

from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.rollup.buckets import Bucket, Level
from isotherm.store.tables import buckets, retired
from isotherm.store.upsert import among


def clients_without_raw(connection: Connection, bucket: Bucket, client_ids: Collection[str]) -> set[str]:
    """Those of the clients of whom raw events of some hour of the bucket went."""
    return _clients(connection, sa.and_(retired.c.what == "raw", _within(bucket.start, bucket.end)), client_ids)


def clients_without_parts(connection: Connection, bucket: Bucket, client_ids: Collection[str]) -> set[str]:
    """Those of the clients of whom some of the next finer tiles of the bucket went."""
    level = bucket.level.child
    if level is None:
        return set()
    return _clients(connection, sa.and_(_tiles(level), _within(bucket.start, bucket.end)), client_ids)


def starts(connection: Connection, client_id: str, level: Level, windows: Iterable[tuple[int, int]]) -> set[int]:
    """Starts of the client's buckets of the level that went, among those in the windows [start, end)."""
    return {
        start
        for window in windows
        for start in connection.execute(
            sa.select(retired.c.start).where(_tiles(level), retired.c.client_id == client_id, _within(*window))
        ).scalars()
    }


def _clients(connection: Connection, went: "sa.ColumnElement[bool]", client_ids: Collection[str]) -> set[str]:
    return {
        client_id
        for of_these in among(connection, retired.c.client_id, client_ids)
        for client_id in connection.execute(sa.select(retired.c.client_id).where(went, of_these).distinct()).scalars()
    }


def _within(start: int, end: int) -> "sa.ColumnElement[bool]":
    return (retired.c.start >= start) & (retired.c.start < end)


def _tiles(level: Level) -> "sa.ColumnElement[bool]":
    """The condition that tiles of the level went, and were not published again since."""
    again = sa.select(sa.literal(1)).select_from(buckets)
    again = again.where(
        buckets.c.level == level.value, buckets.c.start == retired.c.start, buckets.c.client_id == retired.c.client_id
    )
    return sa.and_(retired.c.what == level.value, ~sa.exists(again))
