"""What retention will take away next, and when: for a look before it happens. Nothing is changed here."""

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land.retention import raw_cuts
from isotherm.land.retired import Cut
from isotherm.land.steady import believed
from isotherm.rollup.buckets import Level, floor
from isotherm.rollup.expiry import KEPT
from isotherm.rollup.retention import tile_cuts
from isotherm.store.db import reading, total
from isotherm.store.tables import buckets, files

RAW: Final = "raw"


class Due(Struct, frozen=True):
    """One client's part of one store: raw, hour, day or week.

    `hours` (of raw) or buckets have expired and go in the next round, with so many `rows` and `bytes` (0 for tiles,
    whose bytes nobody knows one by one). The one that starts at `next_start` goes at `next_at`; None: there is none.
    """

    store: str
    client_id: str
    kept_days: int
    hours: int
    rows: int
    bytes: int
    next_start: int | None
    next_at: int | None


def due(settings: Settings, database: Database, now_ms: int, client_id: str | None = None) -> list[Due]:
    """What has expired and what expires next, ordered by store and client; of one client, or of all (None).

    By the moments that things are removed by, when the host's clock says `now_ms`.
    """
    raw_at, tiles_at = believed(database, now_ms, "land"), believed(database, now_ms, "tiles")
    with reading(database) as connection:
        found = list(_raw(connection, settings, raw_at))
        for level in Level:
            found += _tiles(connection, level, settings, tiles_at)
    order = [RAW, *(level.value for level in Level)]
    chosen = [one for one in found if client_id is None or one.client_id == client_id]
    return sorted(chosen, key=lambda one: (order.index(one.store), one.client_id))


def _raw(connection: Connection, settings: Settings, now_ms: int) -> Iterator[Due]:
    listed = (files.c.state == "listed") & (files.c.format == settings.land_formats[0])
    for cut in raw_cuts(settings, now_ms):
        for row in _rows(connection, cut, files, files.c.hour, listed, files.c.bytes):
            days = settings.kept_days("raw", row.client_id)
            later = row.following
            at = None if later is None else later + HOUR_MS + days * DAY_MS
            yield Due(RAW, row.client_id, days, row.starts, row.rows, row.bytes, later, at)


def _tiles(connection: Connection, level: Level, settings: Settings, now_ms: int) -> Iterator[Due]:
    whole = level.parent or level
    for cut in tile_cuts(level, settings, now_ms):
        of_level = buckets.c.level == level.value
        for row in _rows(connection, cut, buckets, buckets.c.start, of_level, sa.literal(0)):
            days = settings.kept_days(KEPT[level], row.client_id)
            later = row.following
            at = None if later is None else floor(whole, later) + whole.ms + days * DAY_MS
            yield Due(level.value, row.client_id, days, row.starts, row.rows, 0, later, at)


def _rows(
    connection: Connection,
    cut: Cut,
    table: sa.Table,
    start: "sa.ColumnElement[int]",
    wanted: "sa.ColumnElement[bool]",
    size: "sa.ColumnElement[int]",
) -> list[Any]:
    """Per client: starts that are past, their rows and bytes, and the first start that is not."""
    old = start < cut.before

    def of_old(value: "sa.ColumnElement[int]") -> "sa.ColumnElement[int]":
        return total(sa.case((old, value), else_=0))

    statement = sa.select(
        table.c.client_id,
        sa.func.count(sa.distinct(sa.case((old, start)))).label("starts"),
        of_old(table.c.rows).label("rows"),
        of_old(size).label("bytes"),
        sa.func.min(sa.case((~old, start))).label("following"),
    )
    statement = statement.where(wanted, cut.of(table.c.client_id)).group_by(table.c.client_id)
    return list(connection.execute(statement.order_by(table.c.client_id)))
