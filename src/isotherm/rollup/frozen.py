"""Buckets that changed and can never be built again: nothing waits for them any more, and the ledger says why.

An hour's events can land while raw events of that age are kept, and its tile job come when they no longer are. What is
then in no map is kept only, like events that come too late for the maps (`land.late`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.rollup import dirty
from isotherm.rollup.audit_screens import Made, made_of
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.damage import is_lost
from isotherm.store.db import next_version, reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, files, ledger_hours, ledger_screens, retired


def freeze(database: Database, olap: Olap, bucket: Bucket, client_ids: Sequence[str]) -> None:
    """Take back marks that no job can ever serve: the bucket stays as it was published."""
    hours = [(client_id, bucket.start) for client_id in client_ids] if bucket.level is Level.HOUR else []
    with reading(database) as connection:
        in_part = [one for one in hours if (row := _untiled(connection, *one)) is not None and row.rows]
    # Read before the transaction: what is published of an hour that cannot be built does not change.
    made = {one: made_of(olap, *one) for one in in_part}
    with writing(database) as connection:
        dirty.clear(connection, bucket, client_ids, next_version(connection))
        for one in hours:
            keep_only(connection, *one, made.get(one, {}))


def keep_only(connection: Connection, client_id: str, hour: int, made: Mapping[str, Made]) -> None:
    """Count what landed for the hour and is in none of its maps as `raw_only`; in the caller's write transaction.

    `made` says what the published maps hold of each screen. An hour whose tiles went by retention stays as it is.
    """
    row = _untiled(connection, client_id, hour)
    if row is None:
        return
    # Of rows that were landed before event hours were counted, nobody knows more than their sum.
    positions = {} if row.before else {"no_position": row.rows - row.tiled}
    of_hour = (ledger_hours.c.client_id == client_id, ledger_hours.c.hour == hour)
    values = {"raw_only": row.landed - row.rows} | positions
    connection.execute(sa.update(ledger_hours).where(*of_hour).values(values))
    if not row.before and not row.lost:
        _keep_screens(connection, client_id, hour, made)
    if not row.rows:
        of_files = (files.c.state == "listed", files.c.client_id == client_id, files.c.hour == hour)
        connection.execute(sa.update(files).where(*of_files).values(raw_only=True))


def _untiled(connection: Connection, client_id: str, hour: int) -> Any:
    """(landed, before, rows, tiled, lost) of the hour and its published tiles; None when all that landed is told of."""
    of, published, gone = ledger_hours.c, buckets.c, retired.c
    with_published = ledger_hours.outerjoin(
        buckets,
        sa.and_(published.client_id == of.client_id, published.level == Level.HOUR.value, published.start == of.hour),
    )
    with_gone = with_published.outerjoin(
        retired, sa.and_(gone.client_id == of.client_id, gone.what == Level.HOUR.value, gone.start == of.hour)
    )
    rows, tiled = sa.func.coalesce(published.rows, 0), sa.func.coalesce(published.tiled, 0)
    landed = of.landed + of.before
    columns = (landed.label("landed"), of.before, rows.label("rows"), tiled.label("tiled"), is_lost().label("lost"))
    statement = sa.select(*columns).select_from(with_gone)
    some_are = landed > rows + of.raw_only
    known = sa.or_(published.version.is_not(None), gone.start.is_(None))
    return connection.execute(
        statement.where(of.client_id == client_id, of.hour == hour, some_are, known)
    ).one_or_none()


def _keep_screens(connection: Connection, client_id: str, hour: int, made: Mapping[str, Made]) -> None:
    of = ledger_screens.c
    here = (of.client_id == client_id, of.hour == hour)
    changes: list[dict[str, Any]] = []
    for screen_id, landed in connection.execute(sa.select(of.screen_id, of.landed).where(*here)).all():
        rows, tiled = made.get(screen_id, (0, 0))
        changes.append({"screen": screen_id, "kept_only": landed - rows, "without": rows - tiled})
    if changes:
        values = {"raw_only": sa.bindparam("kept_only"), "no_position": sa.bindparam("without")}
        one = sa.update(ledger_screens).where(*here, of.screen_id == sa.bindparam("screen")).values(values)
        connection.execute(one, changes)
