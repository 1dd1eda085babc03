"""Dropping old tiles by our own clock; the table's TTL is only a backstop a week later."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.config import Settings
from isotherm.land import retired, rounds
from isotherm.land.effects import retired_hours
from isotherm.land.late import raw_kept_from
from isotherm.land.retired import PAGE, Cut, Removed, cuts
from isotherm.metrics import counts
from isotherm.rollup import dirty as marks
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.expiry import KEPT, kept_from
from isotherm.rollup.frozen import keep_only
from isotherm.store.db import next_version, reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty, ledger_hours
from isotherm.store.upsert import among

BACKSTOP_DAYS: Final = 7 + 7
"""A week after our own clock would have, counted from the end of the longest parent that keeps a bucket."""


def tile_cuts(level: Level, settings: Settings, now_ms: int) -> list[Cut]:
    """Buckets of the level that start before these moments have expired."""
    return list(cuts(settings, KEPT[level], lambda client: kept_from(level, now_ms, settings, client)))


def expire(database: Database, olap: Olap, now_ms: int, settings: Settings) -> int:
    """Drop what has expired at `now_ms`: what was published first, then the maps. Returns the published buckets.

    What was published is told to `retired` in the transaction that drops it.
    """
    reports: dict[str, Any] = {}
    dropped, told = 0, counts("retention_maps")
    for level in Level:
        removed, limits = Removed(), tile_cuts(level, settings, now_ms)
        with told.failing():
            for cut in limits:
                while _expire_page(database, level, cut, now_ms, removed):
                    pass
                _pass_marks_on(database, level, cut, now_ms, settings)
            _drop_maps(olap, level, limits)
        told.add(removed.rows, 0)
        dropped += sum(one["hours"] for one in removed.clients.values())
        if report := removed.report():
            reports[level.value] = report
    rounds.note(database, "tiles", now_ms, reports or None)
    return dropped


def _expire_page(database: Database, level: Level, cut: Cut, now_ms: int, removed: Removed) -> bool:
    """The oldest PAGE published buckets in one transaction. Whether there were any."""
    old = (buckets.c.level == level.value) & (buckets.c.start < cut.before) & cut.of(buckets.c.client_id)
    names = ("client_id", "start", "rows", "tiled", "hash")
    page = sa.select(*(buckets.c[name] for name in names)).where(old)
    page = page.order_by(buckets.c.start, buckets.c.client_id).limit(PAGE)
    with reading(database) as connection:
        if connection.execute(page.limit(1)).first() is None:
            return False
    with writing(database) as connection:
        gone: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in connection.execute(page)]
        if not gone:
            return False
        last = gone[-1]
        within = buckets.c.start < last["start"]
        within |= (buckets.c.start == last["start"]) & (buckets.c.client_id <= last["client_id"])
        connection.execute(sa.delete(buckets).where(old, within))
        retired.write(connection, level.value, gone, now_ms)
    for row in gone:
        removed.add(row["client_id"], row["rows"])
    return True


def _pass_marks_on(database: Database, level: Level, cut: Cut, now_ms: int, settings: Settings) -> None:
    """A bucket that changed and has expired cannot be built again, but what holds it can: that is marked instead."""
    old = (dirty.c.level == level.value) & (dirty.c.start < cut.before) & cut.of(dirty.c.client_id)
    with reading(database) as connection:
        if not connection.execute(sa.select(sa.exists().where(old))).scalar_one():
            return
    with writing(database) as connection:
        version = next_version(connection)
        changed = [(one.client_id, one.start) for one in connection.execute(sa.select(dirty).where(old))]
        connection.execute(sa.delete(dirty).where(old))
        if level is Level.HOUR:
            _settle(connection, set(changed), now_ms, settings)
        if level.parent is not None:
            for client_id, start in changed:
                marks.mark(connection, [Bucket(level.parent, floor(level.parent, start))], [client_id], version, now_ms)


def _settle(connection: Connection, hours: Collection[tuple[str, int]], now_ms: int, settings: Settings) -> None:
    """Say what becomes of hours that waited for their tiles when those expired: no job will make them.

    The day takes their events from the raw ones, so they count as tiles that went; where raw events are past their days
    too, the events are in no map.
    """
    without_raw = retired_hours(connection, hours)
    for client_id, start in hours:
        if start < raw_kept_from(now_ms, settings, client_id) or (client_id, start) in without_raw:
            keep_only(connection, client_id, start, {})
    of = ledger_hours.c
    rows = of.landed + of.before - of.raw_only
    counts = sa.select(of.client_id, of.hour, rows, rows - of.no_position).where(rows > 0)
    names = ("client_id", "start", "rows", "tiled")
    gone: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True))
        for these in among(connection, of.hour, {start for _, start in hours})
        for row in connection.execute(counts.where(these))
        if (row[0], row[1]) in hours
    ]
    retired.write(connection, Level.HOUR.value, gone, now_ms, over=False)


_PERIOD: Final = "if(level = 'hour', toYYYYMM(bucket_start), toYear(bucket_start))"
"""The second half of the table's partition key: hours are kept by month, days and weeks by year."""


def _old(limits: Sequence[Cut]) -> tuple[str, dict[str, Any]]:
    """The condition that a map has expired, and its parameters; clients of their own come after all the others."""
    general, *own = limits
    params: dict[str, Any] = {"before": general.before // 1000}
    if not own:
        return "bucket_start < {before:DateTime}", params
    params |= {"latest": max(cut.before for cut in limits) // 1000, "own": [cut.client_id for cut in own]}
    params["befores"] = [cut.before // 1000 for cut in own]
    limit = "transform(client_id, {own:Array(String)}, {befores:Array(UInt32)}, toUInt32({before:DateTime}))"
    return f"bucket_start < {{latest:DateTime}} AND toUnixTimestamp(bucket_start) < {limit}", params


def _drop_maps(olap: Olap, level: Level, limits: Sequence[Cut]) -> None:
    """Whole periods by partition, which costs nothing, and the rest of the oldest period row by row."""
    stored = olap.layout.stored("maps") + olap.layout.on_cluster
    old, params = _old(limits)
    params["level"] = level.value
    periods = olap.query(
        f"SELECT {_PERIOD} AS period FROM maps WHERE level = {{level:String}} AND {old} GROUP BY period",
        params,
        "maintain",
    ).to_pylist()
    for period in periods:
        partition = f"('{level.value}', {int(period['period'])})"
        here = params | {"period": period["period"]}
        remaining = olap.query(
            f"SELECT count() AS n FROM maps WHERE level = {{level:String}} AND {_PERIOD} = {{period:UInt32}}"
            f" AND NOT ({old})",
            here,
            "maintain",
        ).to_pylist()[0]["n"]
        if not remaining:
            olap.command(f"ALTER TABLE {stored} DROP PARTITION {partition}", profile="maintain")
            continue
        olap.command(
            f"DELETE FROM {stored} WHERE level = {{level:String}} AND {_PERIOD} = {{period:UInt32}} AND {old}",
            here,
            "maintain",
        )


def keep_backstop(olap: Olap, settings: Settings) -> None:
    """Have the table its TTLs, or none in a store that does nothing while this program does not run: there a TTL could
    only do harm, when the host's clock leaps, which our own clock does not follow at once (`land.steady`)."""
    if not olap.embedded:
        set_backstop(olap, settings)
    elif " TTL " in _made(olap):
        olap.command(f"ALTER TABLE {olap.layout.stored('maps')} REMOVE TTL", profile="maintain")


def set_backstop(olap: Olap, settings: Settings) -> None:
    """Give the table TTLs that only matter when this program no longer runs; nothing when they are right already."""
    clients = ("", *settings.retention)
    days = {level: max(settings.kept_days(KEPT[level], client) for client in clients) for level in Level}
    rules = ", ".join(
        f"bucket_start + toIntervalDay({kept + BACKSTOP_DAYS}) WHERE level = '{level.value}'"
        for level, kept in days.items()
    )
    stored = olap.layout.stored("maps")
    if rules not in _made(olap):
        olap.command(
            f"ALTER TABLE {stored}{olap.layout.on_cluster} MODIFY TTL {rules}"
            " SETTINGS materialize_ttl_after_modify = 0",
            profile="maintain",
        )


def _made(olap: Olap) -> str:
    """The statement that would create the table of maps as it is."""
    made = olap.query(
        "SELECT create_table_query AS q FROM system.tables WHERE name = {name:String} AND database = currentDatabase()",
        {"name": olap.layout.stored("maps")},
    )
    return str(made.to_pylist()[0]["q"])
