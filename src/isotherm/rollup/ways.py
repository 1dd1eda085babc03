"""What a bucket can be built from, for each client: its finer maps, its raw events, or nothing any more.

Only from the whole: what is made of a part of the events would take the place of a map that holds them all.
"""

from collections.abc import Collection, Sequence
from enum import Enum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.config import Settings
from isotherm.land.late import raw_kept_from
from isotherm.rollup import gone
from isotherm.rollup.buckets import Bucket
from isotherm.rollup.damage import is_lost
from isotherm.rollup.expiry import kept_from
from isotherm.store.tables import buckets


class Way(Enum):
    """What a bucket is built from."""

    CHILDREN = "finer maps"
    RAW = "raw events"
    NONE = "nothing is left"


def ways(
    connection: Connection, bucket: Bucket, client_ids: Sequence[str], now_ms: int, settings: Settings
) -> dict[Way, list[str]]:
    """How the bucket can be built at `now_ms` for each client: retention may be another one for each."""
    child, start = bucket.level.child, bucket.start
    kept: set[str] = set()
    if child is not None:
        kept = {one for one in client_ids if start >= kept_from(child, now_ms, settings, one)}
    summed = kept - lacking(connection, bucket, kept, Way.CHILDREN)
    kept = {one for one in client_ids if one not in summed and start >= raw_kept_from(now_ms, settings, one)}
    counted = kept - lacking(connection, bucket, kept, Way.RAW)
    found: dict[Way, list[str]] = {way: [] for way in Way}
    for client_id in client_ids:
        way = Way.CHILDREN if client_id in summed else Way.RAW if client_id in counted else Way.NONE
        found[way].append(client_id)
    return found


def lacking(connection: Connection, bucket: Bucket, client_ids: Collection[str], way: Way) -> set[str]:
    """Those of the clients of whom a part of what the bucket would be built from is gone, whatever the days say."""
    if not client_ids:
        return set()
    if way is Way.RAW:
        return gone.clients_without_raw(connection, bucket, client_ids)
    return gone.clients_without_parts(connection, bucket, client_ids) | _with_lost_parts(connection, bucket)


def _with_lost_parts(connection: Connection, bucket: Bucket) -> set[str]:
    """Clients of whose finer maps in the bucket some went with a damaged part."""
    if bucket.level.child is None:
        return set()
    columns = buckets.c
    within = (columns.level == bucket.level.child.value, columns.start >= bucket.start, columns.start < bucket.end)
    return set(connection.execute(sa.select(columns.client_id).where(*within, is_lost()).distinct()).scalars())
