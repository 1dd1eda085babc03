"""What a mark on a map says: the sums of a screen over many hours, added up by the database.

The same numbers as of `audit.py` and `audit_screens.py`, for ranges of a year: hours whose sums close at a glance never
leave the database, the others are judged by `audit.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import HOUR_MS
from isotherm.land.books import COLUMNS, OF_THE_EVENT
from isotherm.rollup import audit, audit_screens
from isotherm.rollup.audit import Difference, Range
from isotherm.rollup.buckets import Level
from isotherm.store.db import reading, total
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, ledger_hours, ledger_screens, retired
from isotherm.store.upsert import among

_MOST_RUNS: Final = 50
"""Runs of hours that are judged one by one; of more, all hours of the range are."""


class Mark(Struct, frozen=True):
    """One screen's sums: `books.COLUMNS` by name, and what of the landed events is in a cell, or will be."""

    counts: Mapping[str, int]
    tiled: int = 0
    pending: int = 0

    @property
    def events(self) -> dict[str, int]:
        """By event hour; see `audit_screens.screen_totals`."""
        found = {name: self.counts[name] for name in OF_THE_EVENT}
        return found | {"tiled": self.tiled, "pending": self.pending}


NOTHING: Final = Mark(dict.fromkeys(COLUMNS, 0))


def marks(
    engine: Engine, olap: Olap, client_id: str, screen_ids: Collection[str], start: int, end: int
) -> dict[str, Mark]:
    """The sums of these screens over the hours in [start, end); `NOTHING` for those that the ledger does not know.

    The maps themselves are looked at for hours that wait, as in `audit_screens.screen_hours`.
    """
    asked = Range(client_id, start, end)
    with reading(engine) as connection:
        waiting = audit_screens.waiting_hours(connection, asked)
        sums = _sums(connection, asked, screen_ids)
        due = _due(connection, client_id, screen_ids, waiting)
    tiled = audit_screens.tiled_of(olap, client_id, sorted({one for one, _ in due}), sorted({at for _, at in due}))
    found: dict[str, Mark] = {}
    for screen_id in screen_ids:
        counts = sums.get(screen_id, NOTHING.counts)
        mine = {hour: events for (one, hour), events in due.items() if one == screen_id}
        made = {hour: tiled.get((screen_id, hour), 0) for hour in mine}
        all_of_it = counts["landed"] - counts["raw_only"] - counts["no_position"]
        found[screen_id] = Mark(
            counts,
            tiled=all_of_it - sum(mine.values()) + sum(made.values()),
            pending=sum(max(events - made[hour], 0) for hour, events in mine.items()),
        )
    return found


def _sums(connection: Connection, asked: Range, screen_ids: Collection[str]) -> dict[str, dict[str, int]]:
    table = ledger_screens.c
    wanted = sa.select(table.screen_id, *(total(table[name]) for name in COLUMNS)).where(
        *asked.of(table.client_id, table.hour)
    )
    return {
        row[0]: dict(zip(COLUMNS, row[1:], strict=True))
        for condition in among(connection, table.screen_id, screen_ids)
        for row in connection.execute(wanted.where(condition).group_by(table.screen_id))
    }


def _due(
    connection: Connection, client_id: str, screen_ids: Collection[str], waiting: Collection[int]
) -> dict[tuple[str, int], int]:
    """By screen and hour that waits: landed events that belong in a cell."""
    table = ledger_screens.c
    events = table.landed - table.raw_only - table.no_position
    wanted = sa.select(table.screen_id, table.hour, events).where(table.client_id == client_id)
    return {
        (screen_id, hour): due
        for screens in among(connection, table.screen_id, screen_ids)
        for hours in among(connection, table.hour, waiting)
        for screen_id, hour, due in connection.execute(wanted.where(screens, hours))
    }


def differences(connection: Connection, asked: Range) -> list[Difference]:
    """Where the sums of one client's event hours do not close: `audit.event_differences` without those of the lake."""
    known = sa.func.count(buckets.c.rows), sa.func.count(retired.c.rows)
    *counted, doubtful = connection.execute(_joined(asked, *known, total(sa.case((_doubtful(), 1))))).one()
    if counted != _there(connection, asked):
        # Hours are published or retired of which the ledger does not know.
        return list(audit.event_differences(audit.event_hours(connection, asked)))
    if not doubtful:
        return []
    hours = connection.execute(_joined(asked, ledger_hours.c.hour).where(_doubtful())).scalars()
    return [
        one
        for part in _runs(sorted(hours), asked)
        for one in audit.event_differences(audit.event_hours(connection, part))
    ]


def _there(connection: Connection, asked: Range) -> list[int]:
    """Hours that are published, and that are retired."""
    level = Level.HOUR.value
    published = (buckets.c.level == level, *asked.of(buckets.c.client_id, buckets.c.start))
    gone = (retired.c.what == level, *asked.of(retired.c.client_id, retired.c.start))
    return [
        connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()
        for table, conditions in ((buckets, published), (retired, gone))
    ]


def _joined(asked: Range, *columns: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    """The ledger's event hours of the range, with what is published and what is retired of each."""
    level, of = Level.HOUR.value, ledger_hours.c
    with_published = ledger_hours.outerjoin(
        buckets,
        sa.and_(buckets.c.client_id == of.client_id, buckets.c.level == level, buckets.c.start == of.hour),
    )
    with_retired = with_published.outerjoin(
        retired,
        sa.and_(retired.c.what == level, retired.c.client_id == of.client_id, retired.c.start == of.hour),
    )
    return sa.select(*columns).select_from(with_retired).where(*asked.of(of.client_id, of.hour))


def _doubtful() -> "sa.ColumnElement[bool]":
    """Whether an hour's sums do not close at a glance: those that wait to be tiled, and those with a difference."""
    of, published, gone = ledger_hours.c, buckets.c, retired.c
    landed = of.landed + of.before
    return sa.or_(
        of.accepted != of.landed + of.landing_duplicate + of.dead,
        landed != published.rows + of.raw_only,
        landed != published.tiled + of.no_position + of.raw_only,
        sa.and_(published.rows.is_(None), landed < gone.rows + of.raw_only),
        sa.and_(published.rows.is_(None), gone.rows.is_(None), landed != of.raw_only),
        sa.and_(published.rows.is_(None), gone.rows.is_(None), of.no_position != 0),
    )


def _runs(hours: Sequence[int], asked: Range) -> list[Range]:
    """Ranges of hours that follow each other; the whole range when these are many."""
    if not hours:
        return []
    edges = [0, *(at for at, (one, next_) in enumerate(pairwise(hours), 1) if next_ - one != HOUR_MS), len(hours)]
    if len(edges) > _MOST_RUNS + 1:
        return [asked]
    return [Range(asked.client_id, hours[first], hours[last - 1] + HOUR_MS) for first, last in pairwise(edges)]
