"""Retention of raw, and of what is kept beside it: what is past its days by our own clock goes."""

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land import retired, rounds
from isotherm.land.manifest import Manifest
from isotherm.land.retired import PAGE, Cut, Removed, cuts
from isotherm.metrics import counts
from isotherm.store.db import next_version, reading, total, writing
from isotherm.store.tables import files, ledger, ledger_hours, ledger_screens, verifications
from isotherm.store.tables import retired as retired_table

_LONGER_MS: Final = 8 * DAY_MS
"""What is said of events stays until the last week that holds them is gone."""
_RECORDS: Final = {
    ledger: ledger.c.hour,
    ledger_hours: ledger_hours.c.hour,
    ledger_screens: ledger_screens.c.hour,
    verifications: verifications.c.start,
    retired_table: retired_table.c.start,
}
"""What is said of events, and the moment each row is about."""


def raw_cuts(settings: Settings, now_ms: int) -> Iterator[Cut]:
    """Hours that start before these moments have ended more than their clients' retention ago."""
    return cuts(settings, "raw", lambda client: now_ms - settings.kept_days("raw", client) * DAY_MS - HOUR_MS + 1)


def expire_raw(settings: Settings, manifest: Manifest, now_ms: int) -> int:
    """Delist the files of every hour that ended more than its client's retention ago; the sweeper deletes them.

    Returns the number of files. Tiles stay: the hours are frozen, not dirty. What went is told to `retired`.
    """
    removed, told = Removed(), counts("retention")
    with told.failing():
        for cut in raw_cuts(settings, now_ms):
            old = (files.c.state == "listed") & (files.c.hour < cut.before) & cut.of(files.c.client_id)
            while _any(manifest.engine, files, old) and _expire_page(manifest.engine, old, now_ms, removed):
                pass
    told.add(removed.rows, 0)
    rounds.note(manifest.engine, "raw", now_ms, removed.report())
    return removed.files


def _expire_page(engine: Engine, old: "sa.ColumnElement[bool]", now_ms: int, removed: Removed) -> bool:
    """The oldest PAGE hours in one transaction. Whether there were any."""
    with writing(engine) as connection:
        version = next_version(connection)
        page = _hours(connection, old)
        if not page:
            return False
        last = page[-1]
        within = (files.c.hour < last.hour) | ((files.c.hour == last.hour) & (files.c.client_id <= last.client_id))
        delist = sa.update(files).where(old, within).values(state="delisted", delisted_version=version)
        count = connection.execute(delist).rowcount
        gone = [{"client_id": r.client_id, "start": r.hour, "rows": r.rows, "bytes": r.bytes} for r in page]
        retired.write(connection, "raw", gone, now_ms)
    removed.files += count
    for row in gone:
        removed.add(row["client_id"], row["rows"], row["bytes"])
    return True


def _hours(connection: Connection, old: "sa.ColumnElement[bool]") -> list[Any]:
    """(client_id, hour, rows, bytes); formats hold the same rows, so the rows are those of the format with most."""
    key = (files.c.client_id, files.c.hour)
    by_format = (
        sa.select(*key, total(files.c.rows).label("rows"), total(files.c.bytes).label("bytes"))
        .where(old)
        .group_by(*key, files.c.format)
        .subquery()
    )
    of_both = (by_format.c.client_id, by_format.c.hour)
    largest, size = sa.func.max(by_format.c.rows).label("rows"), total(by_format.c.bytes).label("bytes")
    statement = sa.select(*of_both, largest, size).group_by(*of_both).order_by(by_format.c.hour, by_format.c.client_id)
    return list(connection.execute(statement.limit(PAGE)))


def expire_records(settings: Settings, engine: Engine, now_ms: int) -> dict[str, int]:
    """Drop what was said of events of which nothing is left any more: ledger, verifications, what was retired.

    All that is said of one client's events goes in one transaction, so that the sums close before and after. Returns
    the rows dropped by table.
    """
    dropped: dict[str, int] = {}
    for cut in cuts(settings, None, lambda client: now_ms - settings.longest_days(client) * DAY_MS - _LONGER_MS):
        old = {table: (moment < cut.before) & cut.of(table.c.client_id) for table, moment in _RECORDS.items()}
        if not any(_any(engine, table, condition) for table, condition in old.items()):
            continue
        with writing(engine) as connection:
            for table, condition in old.items():
                if count := connection.execute(sa.delete(table).where(condition)).rowcount:
                    dropped[table.name] = dropped.get(table.name, 0) + count
    rounds.note(engine, "records", now_ms, dropped or None)
    return dropped


def _any(engine: Engine, table: sa.Table, old: "sa.ColumnElement[bool]") -> bool:
    """Whether there is any; the lock for writing is not taken for nothing."""
    with reading(engine) as connection:
        return bool(
            connection.execute(
                sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table).where(old)))
            ).scalar_one()
        )
