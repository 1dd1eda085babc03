"""Dropping old tiles by our own clock; the table's TTL is only a backstop a week later."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine as Database

from isotherm.config import Settings
from isotherm.rollup.buckets import Level
from isotherm.rollup.expiry import kept_from
from isotherm.store.db import writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty

BACKSTOP_DAYS: Final = 7 + 7
"""A week after our own clock would have, counted from the end of the longest parent that keeps a bucket."""


def expire(database: Database, olap: Olap, now_ms: int, settings: Settings) -> int:
    """Drop what has expired at `now_ms`: what was published first, then the maps. Returns the published buckets."""
    dropped = 0
    for level in Level:
        before = kept_from(level, now_ms, settings)
        with writing(database) as connection:
            for table in (buckets, dirty):
                old = sa.delete(table).where(table.c.level == level.value, table.c.start < before)
                count = connection.execute(old).rowcount
                dropped += count if table is buckets else 0
        _drop_maps(olap, level, before)
    return dropped


_PERIOD: Final = "if(level = 'hour', toYYYYMM(bucket_start), toYear(bucket_start))"
"""The second half of the table's partition key: hours are kept by month, days and weeks by year."""


def _drop_maps(olap: Olap, level: Level, before_ms: int) -> None:
    """Whole periods by partition, which costs nothing, and the rest of the oldest period row by row."""
    stored = olap.layout.stored("maps") + olap.layout.on_cluster
    periods = olap.query(
        f"SELECT {_PERIOD} AS period, toUnixTimestamp(max(bucket_start)) AS latest FROM maps"
        " WHERE level = {level:String} AND bucket_start < {before:DateTime} GROUP BY period",
        {"level": level.value, "before": before_ms // 1000},
        "maintain",
    ).to_pylist()
    for period in periods:
        partition = f"('{level.value}', {int(period['period'])})"
        remaining = olap.query(
            f"SELECT count() AS n FROM maps WHERE level = {{level:String}} AND {_PERIOD} = {{period:UInt32}}"
            " AND bucket_start >= {before:DateTime}",
            {"level": level.value, "period": period["period"], "before": before_ms // 1000},
            "maintain",
        ).to_pylist()[0]["n"]
        if not remaining:
            olap.command(f"ALTER TABLE {stored} DROP PARTITION {partition}", profile="maintain")
            continue
        olap.command(
            f"DELETE FROM {stored} WHERE level = {{level:String}} AND {_PERIOD} = {{period:UInt32}}"
            " AND bucket_start < {before:DateTime}",
            {"level": level.value, "period": period["period"], "before": before_ms // 1000},
            "maintain",
        )


def set_backstop(olap: Olap, settings: Settings) -> None:
    """Give the table TTLs that only matter when this program no longer runs; nothing when they are right already."""
    days = {
        Level.HOUR: settings.hourly_retention_days,
        Level.DAY: settings.daily_retention_days,
        Level.WEEK: settings.weekly_retention_days,
    }
    rules = ", ".join(
        f"bucket_start + toIntervalDay({kept + BACKSTOP_DAYS}) WHERE level = '{level.value}'"
        for level, kept in days.items()
    )
    stored = olap.layout.stored("maps")
    made = olap.query(
        "SELECT create_table_query AS q FROM system.tables WHERE name = {name:String} AND database = currentDatabase()",
        {"name": stored},
    )
    if rules not in made.to_pylist()[0]["q"]:
        olap.command(
            f"ALTER TABLE {stored}{olap.layout.on_cluster} MODIFY TTL {rules}"
            " SETTINGS materialize_ttl_after_modify = 0",
            profile="maintain",
        )
