"""What every engine asks the table of maps: the finer maps of a bucket, and the zero rows of maps that vanished."""

from collections.abc import Sequence
from typing import Any, Final

from isotherm.rollup.buckets import Bucket
from isotherm.store.olap import Olap

COLUMNS: Final = (
    "client_id, screen_id, event_type, segment, level, bucket_start, version, grid_w, grid_h, "
    "cells, counts, events, tiled, last_event"
)
CHILDREN: Final = (
    "client_id IN {clients:Array(String)} AND level = {child:String}"
    " AND bucket_start >= {start:DateTime} AND bucket_start < {until:DateTime} AND events > 0"
)
"""The finer maps that make up a bucket's; its parameters are `children_of`."""
OF_VERSION: Final = (
    "client_id IN {clients:Array(String)} AND level = {level:String} AND bucket_start = {start:DateTime}"
    " AND version = {version:UInt64}"
)
"""What a job has inserted for some clients; its parameters are `children_of` and those of `insert_head`."""


def insert_head(bucket: Bucket, version: int) -> tuple[str, dict[str, Any]]:
    """`INSERT INTO maps (...) ` for a SELECT to follow, and the parameters level, start and version."""
    return f"INSERT INTO maps ({COLUMNS}) ", {
        "level": bucket.level.value,
        "start": bucket.start // 1000,
        "version": version,
    }


def children_of(bucket: Bucket, client_ids: Sequence[str]) -> dict[str, Any]:
    """The parameters of CHILDREN. Raises ValueError for an hour."""
    level = bucket.level.child
    if level is None:
        raise ValueError("an hour has no children to sum")
    return {
        "clients": list(client_ids),
        "child": level.value,
        "start": bucket.start // 1000,
        "until": bucket.end // 1000,
    }


def clear_vanished(olap: Olap, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
    """Insert an all-zero map for every map of these clients that an older version has and this one has not."""
    head, params = insert_head(bucket, version)
    olap.command(
        head + "SELECT client_id, screen_id, event_type, segment, level, bucket_start, {version:UInt64},"
        " grid_w, grid_h, []::Array(UInt16), []::Array(UInt64), 0, 0, last_event FROM maps FINAL"
        " WHERE client_id IN {clients:Array(String)} AND level = {level:String}"
        " AND bucket_start = {start:DateTime} AND version < {version:UInt64} AND events > 0",
        params | {"clients": list(client_ids)},
    )
