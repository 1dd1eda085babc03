"""Which clients there are, when they have data, and how fresh it is: questions to the relational store."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.config import Settings
from isotherm.errors import Problem
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.serve.queries import sql
from isotherm.store.olap import Olap
from isotherm.store.tables import backgrounds, buckets, dirty, ledger, screen_shapes

_CLIENT_TABLES: Final = (buckets, dirty, ledger)


def require_client(connection: Connection, client_id: str) -> None:
    """Raises Problem 404 when nothing was ever received for the client."""
    for table in _CLIENT_TABLES:
        found = sa.select(sa.literal(1)).select_from(table).where(table.c.client_id == client_id).limit(1)
        if connection.execute(found).first():
            return
    raise Problem(404, f"unknown client {client_id!r}; GET /v1/clients lists those that sent events")


def require_screen(olap: Olap, client_id: str, screen_id: str) -> None:
    """Raises Problem 404 when the client has no tiles of the screen."""
    if not olap.query(sql("screen_exists"), {"client_id": client_id, "screen_id": screen_id}).num_rows:
        raise Problem(
            404,
            f"unknown screen {screen_id!r} of client {client_id!r}; GET /v1/screens lists the client's screens, "
            "which show up once their events are tiled",
        )


def client_page(connection: Connection, after: str, limit: int) -> list[str]:
    """Ids of up to `limit` clients behind `after`, in order."""
    names = [sa.select(table.c.client_id).where(table.c.client_id > after).distinct() for table in _CLIENT_TABLES]
    together = sa.union(*names).subquery()
    query = sa.select(together.c.client_id).order_by(together.c.client_id).limit(limit)
    return list(connection.execute(query).scalars())


def shapes(connection: Connection, client_id: str, screen_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """How large these screens are, by device: {device, w, h, source, events} in CSS pixels, most events first."""
    table = screen_shapes.c
    query = (
        sa.select(table.screen_id, table.device, table.w, table.h, table.source, table.events)
        .where(table.client_id == client_id, table.screen_id.in_(screen_ids))
        .order_by(table.events.desc(), table.device)
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(query).mappings():
        one = dict(row)
        found.setdefault(one.pop("screen_id"), []).append(one)
    return found


def pictures(connection: Connection, client_id: str, screen_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The backgrounds of these screens that have one: {w, h, version}, in pixels of the image."""
    table = backgrounds.c
    query = sa.select(table.screen_id, table.w, table.h, table.version).where(
        table.client_id == client_id, table.screen_id.in_(screen_ids)
    )
    return {screen_id: {"w": w, "h": h, "version": version} for screen_id, w, h, version in connection.execute(query)}


def data_span(connection: Connection, client_id: str, now_ms: int, settings: Settings) -> tuple[int, int] | None:
    """Whole weeks from the client's first kept bucket to its last, as ms; None without any."""
    edges = sa.select(sa.func.min(buckets.c.start), sa.func.max(buckets.c.start)).where(
        buckets.c.client_id == client_id
    )
    first, last = connection.execute(edges).one()
    if first is None:
        return None
    start = max(floor(Level.WEEK, first), kept_from(Level.WEEK, now_ms, settings, client_id))
    end = floor(Level.WEEK, last) + WEEK_MS
    return (start, end) if start < end else None


Version = tuple[str, int, int, str]
"""Level, start (ms), version and hash of a published bucket."""


def versions(connection: Connection, client_id: str, used: Sequence[Bucket]) -> list[Version]:
    """The published ones of these buckets: together they identify what the tiles hold, also of another store."""
    found: list[Version] = []
    for level in Level:
        starts = [bucket.start for bucket in used if bucket.level is level]
        if starts:
            query = sa.select(buckets.c.start, buckets.c.version, buckets.c.hash).where(
                buckets.c.client_id == client_id, buckets.c.level == level.value, buckets.c.start.in_(starts)
            )
            found += [(level.value, *row) for row in connection.execute(query.order_by("start"))]
    return found


def pending_hours(connection: Connection, client_id: str, start: int, end: int) -> int:
    """Hours in [start, end) whose landed events are not all tiled."""
    query = sa.select(sa.func.count()).where(
        dirty.c.level == Level.HOUR.value, dirty.c.client_id == client_id, dirty.c.start >= start, dirty.c.start < end
    )
    return connection.execute(query).scalar_one()


def changed(connection: Connection, client_id: str, level: Level, start: int, end: int) -> Collection[int]:
    """Starts of the level's buckets in [start, end) that are dirty."""
    query = sa.select(dirty.c.start).where(
        dirty.c.level == level.value, dirty.c.client_id == client_id, dirty.c.start >= start, dirty.c.start < end
    )
    return set(connection.execute(query).scalars())
