"""The ledger of screens against the tile store: what each screen's maps hold is what was landed for it.

The tile store takes no part in the relational store's transactions. So an hour is compared only when the same version
of its tiles was published, with nothing waiting, before and after its maps were read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import DAY_MS, iso
from isotherm.land.books import COLUMNS, OF_THE_EVENT
from isotherm.rollup.audit import Difference, Range
from isotherm.rollup.buckets import Level, floor
from isotherm.store.db import reading
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty, ledger_hours, ledger_screens

SCREENS_AT_ONCE: Final = 100_000
"""Hours of screens that are compared together: about 100 MB."""
_MAPS: Final = (
    "SELECT screen_id, toInt64(toUnixTimestamp(bucket_start)) * 1000 AS hour, max(version) AS newest,"
    " sum(m.events) AS made, sum(m.tiled) AS in_cells FROM maps AS m FINAL"
    " WHERE client_id = {client_id:String} AND level = 'hour' AND segment = '' AND m.events > 0"
)


Made = tuple[int, int]
"""Events behind maps, and those of them in a cell."""


class Compared(Struct, frozen=True):
    """One client's day, from `start` on: hours and screens that were compared, and where maps and ledger differ."""

    client_id: str
    start: int
    hours: int
    screens: int
    differences: list[Difference]


class ScreenHour(Struct, frozen=True):
    """One hour of a screen: `books.COLUMNS` by name; `waiting` says that the hour is to be tiled again."""

    hour: int
    counts: Mapping[str, int]
    tiled: int
    waiting: bool

    @property
    def pending(self) -> int:
        """Landed events that will be in a cell, and are not yet."""
        counts = self.counts
        return max(counts["landed"] - counts["raw_only"] - counts["no_position"] - self.tiled, 0)


def screen_hours(engine: Engine, olap: Olap, client_id: str, screen_id: str, start: int, end: int) -> list[ScreenHour]:
    """The hours in [start, end) of which the ledger knows something of the screen, oldest first.

    In an hour with nothing waiting everything landed is in the maps, as the sums of the client's hour say. The maps
    themselves are looked at for hours that wait.
    """
    table = ledger_screens.c
    asked = Range(client_id, start, end)
    with reading(engine) as connection:
        rows = connection.execute(
            sa.select(table.hour, *(table[name] for name in COLUMNS))
            .where(table.screen_id == screen_id, *asked.of(table.client_id, table.hour))
            .order_by(table.hour)
        ).all()
        waiting = waiting_hours(connection, asked)
    found: list[tuple[int, dict[str, int]]] = [(row[0], dict(zip(COLUMNS, row[1:], strict=True))) for row in rows]
    tiled = tiled_of(olap, client_id, [screen_id], [hour for hour, _ in found if hour in waiting])
    return [
        ScreenHour(
            hour,
            counts,
            tiled.get((screen_id, hour), 0)
            if hour in waiting
            else counts["landed"] - counts["raw_only"] - counts["no_position"],
            hour in waiting,
        )
        for hour, counts in found
    ]


def waiting_hours(connection: Connection, asked: Range) -> set[int]:
    """Hours of the range that are to be tiled again."""
    marks = sa.select(dirty.c.start).where(
        dirty.c.level == Level.HOUR.value, *asked.of(dirty.c.client_id, dirty.c.start)
    )
    return set(connection.execute(marks).scalars())


def tiled_of(olap: Olap, client_id: str, screen_ids: Sequence[str], hours: Sequence[int]) -> dict[tuple[str, int], int]:
    """Events in the cells of the maps that are there, by screen and hour."""
    if not screen_ids or not hours:
        return {}
    found = olap.query(
        f"{_MAPS} AND screen_id IN {{screens:Array(String)}} AND bucket_start IN {{hours:Array(DateTime)}}"
        " GROUP BY screen_id, hour",
        {"client_id": client_id, "screens": list(screen_ids), "hours": [hour // 1000 for hour in hours]},
    )
    return {(row["screen_id"], row["hour"]): row["in_cells"] for row in found.to_pylist()}


def made_of(olap: Olap, client_id: str, hour: int) -> dict[str, Made]:
    """What the maps of one hour hold, by screen."""
    found = olap.query(
        f"{_MAPS} AND bucket_start = {{hour:DateTime}} GROUP BY screen_id, hour",
        {"client_id": client_id, "hour": hour // 1000},
    )
    return {row["screen_id"]: (row["made"], row["in_cells"]) for row in found.to_pylist()}


def compare_screens(engine: Engine, olap: Olap, asked: Range) -> Iterator[Compared]:
    """Compare every screen of every hour in the range that is tiled and clean, client by client and day by day.

    Hours that hold rows from before screens were counted are left out.
    """
    for day in days(engine, asked):
        yield _joined(day, [_compare(engine, olap, part) for part in _portions(engine, day)])


def days(engine: Engine, asked: Range) -> list[Range]:
    """The range in parts of one client and day, those of which the ledger knows something."""
    key = (ledger_hours.c.client_id, ledger_hours.c.hour)
    with reading(engine) as connection:
        rows = connection.execute(sa.select(*key).where(key[0] != "", *asked.of(*key)))
        found = sorted({(client_id, floor(Level.DAY, hour)) for client_id, hour in rows})
    return [
        Range(client_id, max(day, asked.start or 0), min(day + DAY_MS, asked.end or day + DAY_MS))
        for client_id, day in found
    ]


def _portions(engine: Engine, day: Range) -> Iterator[Range]:
    """The day in runs of whole hours, of at most SCREENS_AT_ONCE where an hour alone has no more."""
    key = (ledger_screens.c.client_id, ledger_screens.c.hour)
    with reading(engine) as connection:
        counted = connection.execute(
            sa.select(key[1], sa.func.count()).where(*day.of(*key)).group_by(key[1]).order_by(key[1])
        ).all()
    start, screens = day.start, 0
    for hour, count in counted:
        if screens and screens + count > SCREENS_AT_ONCE:
            yield Range(day.client_id, start, hour)
            start, screens = hour, 0
        screens += count
    yield Range(day.client_id, start, day.end)


def _joined(day: Range, parts: Sequence[Compared]) -> Compared:
    return Compared(
        parts[0].client_id,
        day.start or 0,
        sum(one.hours for one in parts),
        sum(one.screens for one in parts),
        [difference for one in parts for difference in one.differences],
    )


def _compare(engine: Engine, olap: Olap, asked: Range) -> Compared:
    client_id = asked.client_id or ""
    books, before = _books(engine, asked)
    assert asked.start is not None
    assert asked.end is not None
    found = olap.query(
        f"{_MAPS} AND bucket_start >= {{start:DateTime}} AND bucket_start < {{end:DateTime}} GROUP BY screen_id, hour",
        {"client_id": client_id, "start": asked.start // 1000, "end": asked.end // 1000},
        "maintain",
    )
    maps: dict[tuple[int, str], Any] = {(row["hour"], row["screen_id"]): row for row in found.to_pylist()}
    again, after = _books(engine, asked)
    steady = {hour for hour, version in before.items() if after.get(hour) == version}
    moved = {row["hour"] for row in maps.values() if row["newest"] > before.get(row["hour"], 0)}
    steady -= moved | {hour for hour in steady if books[hour] != again.get(hour)}
    differences: list[Difference] = []
    screens = 0
    for hour in sorted(steady):
        known = {screen for at, screen in maps if at == hour} | books[hour].keys()
        screens += len(known)
        for screen_id in sorted(known):
            landed, in_cells = books[hour].get(screen_id, (0, 0))
            row = maps.get((hour, screen_id))
            made, tiled = (0, 0) if row is None else (row["made"], row["in_cells"])
            if (landed, in_cells) != (made, tiled):
                differences.append(_difference(client_id, hour, screen_id, (landed, in_cells), (made, tiled)))
    return Compared(client_id, asked.start, len(steady), screens, differences)


def _books(engine: Engine, asked: Range) -> tuple[dict[int, dict[str, tuple[int, int]]], dict[int, int]]:
    """By hour and screen: rows for tiles, and those of them in a cell; and the versions of hours that are clean."""
    table, hours, published = ledger_screens.c, ledger_hours.c, buckets.c
    with reading(engine) as connection:
        waiting = waiting_hours(connection, asked)
        uncounted = sa.select(hours.hour).where(hours.before > 0, *asked.of(hours.client_id, hours.hour))
        left_out = waiting | set(connection.execute(uncounted).scalars())
        clean = {
            start: version
            for start, version in connection.execute(
                sa.select(published.start, published.version).where(
                    published.level == Level.HOUR.value, *asked.of(published.client_id, published.start)
                )
            )
            if start not in left_out
        }
        found: dict[int, dict[str, tuple[int, int]]] = {hour: {} for hour in clean}
        counted = sa.select(table.hour, table.screen_id, table.landed, table.raw_only, table.no_position).where(
            *asked.of(table.client_id, table.hour)
        )
        for hour, screen_id, landed, raw_only, no_position in connection.execute(counted):
            if hour in found and landed > raw_only:
                found[hour][screen_id] = (landed - raw_only, landed - raw_only - no_position)
    return found, clean


def _difference(
    client_id: str, hour: int, screen_id: str, ledger: tuple[int, int], maps: tuple[int, int]
) -> Difference:
    by = max(abs(ledger[0] - maps[0]), abs(ledger[1] - maps[1]))
    text = f"landed {ledger[0]}, {ledger[1]} with a position, but the maps hold {maps[0]} events, {maps[1]} in cells"
    where = f"client {client_id!r}, event hour {iso(hour)}, screen {screen_id!r}"
    return Difference(client_id, hour, "screen", by, f"{where}: {text}")


def screen_totals(hours: Sequence[ScreenHour]) -> dict[str, int]:
    """Sums over a screen's hours."""
    found = {name: sum(one.counts[name] for one in hours) for name in OF_THE_EVENT}
    return found | {"tiled": sum(one.tiled for one in hours), "pending": sum(one.pending for one in hours)}
