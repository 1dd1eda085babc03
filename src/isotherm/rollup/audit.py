"""The ledger over the whole way: from what was accepted to what stands in a cell, and where the sums do not close.

By hour of receipt: received = accepted + rejected + duplicate + sampled_out, accepted = landed + landing_duplicate +
dead. By event hour: accepted = landed + landing_duplicate + dead, landed = rows in the lake, and landed = tiled +
no_position + raw_only + pending, where only an hour that waits to be tiled may have anything pending. All of it is
read in one transaction, so landings and tile jobs that go on meanwhile cannot look like a loss.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import iso
from isotherm.land import ledger
from isotherm.land.books import OF_THE_EVENT
from isotherm.rollup.buckets import Level
from isotherm.store.db import reading, total
from isotherm.store.tables import buckets, dirty, files, ledger_hours, retired
from isotherm.store.tables import ledger as ledger_table

State = Literal["tiled", "waiting", "gone"]
"""Of an hour's tiles: as published, to be made again, or dropped by retention."""


class Hour(Struct):
    """One client's event hour. `before` are rows that were landed before event hours were counted.

    `lake` are rows listed in the lake or retired from it, None when not asked for. `made` are the rows behind the
    published tiles, `tiled` those in a cell.
    """

    client_id: str
    hour: int
    accepted: int = 0
    landed: int = 0
    landing_duplicate: int = 0
    dead: int = 0
    no_position: int = 0
    raw_only: int = 0
    late: int = 0
    before: int = 0
    made: int = 0
    tiled: int = 0
    state: State = "tiled"
    lake: int | None = None

    @property
    def pending(self) -> int:
        """Landed events that will be in a cell, and are not yet; what is too many shows as a difference."""
        if self.state != "waiting":
            return 0
        return max(self.landed + self.before - self.raw_only - self.no_position - self.tiled, 0)


class Difference(Struct, frozen=True):
    """Sums that do not close, by `events`: of an hour of receipt, of an event hour, or of one screen in it."""

    client_id: str
    hour: int
    kind: Literal["receipt", "event", "screen"]
    events: int
    text: str


class Range(Struct, frozen=True):
    """Hours in [start, end), ms on the hour, of one client; None stands for all."""

    client_id: str | None = None
    start: int | None = None
    end: int | None = None

    def of(self, client_id: "sa.Column[Any]", hour: "sa.Column[Any]") -> list["sa.ColumnElement[bool]"]:
        """The conditions on a table's columns."""
        found: list[sa.ColumnElement[bool]] = []
        if self.client_id is not None:
            found.append(client_id == self.client_id)
        if self.start is not None:
            found.append(hour >= self.start)
        if self.end is not None:
            found.append(hour < self.end)
        return found


EVERYTHING: Final = Range()


def audit(engine: Engine, asked: Range = EVERYTHING) -> list[Difference]:
    """All differences by hour of receipt and by event hour, in this order, then by client and hour."""
    with reading(engine) as connection:
        return [*receipt_differences(connection, asked), *event_differences(event_hours(connection, asked, lake=True))]


def difference(engine: Engine, *, start: int | None = None, end: int | None = None) -> int:
    """By how many events the sums of these hours do not close, over all clients: 0 when all is well."""
    return sum(one.events for one in audit(engine, Range(None, start, end)))


def clients(connection: Connection, asked: Range) -> list[str]:
    """Whose ledger there is, in order of their ids; '' for records that nobody can read. Hours do not matter."""
    if asked.client_id is not None:
        return [asked.client_id]
    tables = (ledger_table, ledger_hours, buckets, dirty, retired, files)
    each = [sa.select(table.c.client_id).distinct() for table in tables]
    return sorted(connection.execute(sa.union(*each)).scalars())


def receipt_differences(connection: Connection, asked: Range) -> Iterator[Difference]:
    """Where the sums by hour of receipt do not close."""
    rows = ledger.read_in(connection, client_id=asked.client_id, start=asked.start, end=asked.end)
    for client_id, hour, events, text in ledger.differences(ledger.by_hour(rows)):
        yield Difference(client_id, hour, "receipt", events, text)


def event_hours(connection: Connection, asked: Range, *, lake: bool = False) -> list[Hour]:
    """The event hours of the range, ordered by client and hour; with `lake` also what the lake lists of each."""
    found: dict[tuple[str, int], Hour] = {}

    def at(client_id: str, hour: int) -> Hour:
        key = (client_id, hour)
        if key not in found:
            found[key] = Hour(client_id, hour)
        return found[key]

    # In the order of the fields of `Hour`.
    columns = [ledger_hours.c[name] for name in ("client_id", "hour", *OF_THE_EVENT, "before")]
    own = sa.select(*columns).where(*asked.of(ledger_hours.c.client_id, ledger_hours.c.hour))
    counted: Sequence[Any] = connection.execute(own).all()
    for row in counted:
        found[row[0], row[1]] = Hour(*row)
    for client_id, hour, made, tiled in connection.execute(_retired(asked, Level.HOUR.value)).all():
        one = at(client_id, hour)
        one.state, one.made, one.tiled = "gone", made, tiled
    for client_id, hour, made, tiled in connection.execute(_published(asked)).all():
        one = at(client_id, hour)
        one.state, one.made, one.tiled = "tiled", made, tiled
    for client_id, hour in connection.execute(_marked(asked)):
        at(client_id, hour).state = "waiting"
    if lake:
        for (client_id, hour), rows in _lake(connection, asked).items():
            at(client_id, hour).lake = rows
        for one in found.values():
            one.lake = one.lake or 0
    for one in found.values():
        if one.before and one.state == "tiled":
            # Of those rows nobody counted the positions: the tiles say how many had none.
            one.no_position = max(one.made - one.tiled, one.no_position)
    return [found[key] for key in sorted(found)]


def _published(asked: Range) -> "sa.Select[Any, Any, Any, Any]":
    table = buckets.c
    of_range = asked.of(table.client_id, table.start)
    return sa.select(table.client_id, table.start, table.rows, table.tiled).where(
        table.level == Level.HOUR.value, *of_range
    )


def _retired(asked: Range, what: str) -> "sa.Select[Any, Any, Any, Any]":
    table = retired.c
    of_range = asked.of(table.client_id, table.start)
    return sa.select(table.client_id, table.start, table.rows, table.tiled).where(table.what == what, *of_range)


def _marked(asked: Range) -> "sa.Select[Any, Any]":
    of_range = asked.of(dirty.c.client_id, dirty.c.start)
    return sa.select(dirty.c.client_id, dirty.c.start).where(dirty.c.level == Level.HOUR.value, *of_range)


def _lake(connection: Connection, asked: Range) -> dict[tuple[str, int], int]:
    """Rows per client and hour, listed or retired; a lake of two formats holds each row in both."""
    key = (files.c.client_id, files.c.hour)
    of_range = asked.of(*key)
    listed = sa.select(*key, total(files.c.rows)).where(files.c.state == "listed", *of_range)
    most: dict[tuple[str, int], int] = {}
    for client_id, hour, rows in connection.execute(listed.group_by(*key, files.c.format)):
        most[client_id, hour] = max(most.get((client_id, hour), 0), rows)
    for client_id, hour, rows, _ in connection.execute(_retired(asked, "raw")):
        most[client_id, hour] = most.get((client_id, hour), 0) + rows
    return most


def event_differences(hours: Iterable[Hour]) -> Iterator[Difference]:
    """Where the sums of these hours do not close."""
    for one in hours:
        for text, left, right in _unequal(one):
            where = f"client {one.client_id!r}, event hour {iso(one.hour)}"
            yield Difference(one.client_id, one.hour, "event", abs(left - right), f"{where}: {text}")


def _unequal(one: Hour) -> Iterator[tuple[str, int, int]]:
    """(what is not equal, left, right)."""
    fates = one.landed + one.landing_duplicate + one.dead
    if one.accepted != fates:
        yield f"accepted {one.accepted} is not landed + landing_duplicate + dead = {fates}", one.accepted, fates
    landed = one.landed + one.before
    if one.lake is not None and landed != one.lake:
        yield f"landed {landed} is not the rows in the lake or retired from it = {one.lake}", landed, one.lake
    yield from _untiled(one, landed)


def _untiled(one: Hour, landed: int) -> Iterator[tuple[str, int, int]]:
    if one.state == "waiting":
        known = one.tiled + one.no_position + one.raw_only
        if not one.before and landed < known:
            yield f"landed {landed} is less than tiled + no_position + raw_only = {known}", landed, known
        return
    behind = one.made + one.raw_only
    if landed != behind and not (one.state == "gone" and landed > behind):
        # Tiles that retention dropped may have been behind: then what holds them, a day or a week, was made anew.
        yield (
            f"landed {landed} is not the rows behind the tiles + raw_only = {behind}, and nothing waits",
            landed,
            behind,
        )
    elif not one.before and one.state == "tiled":
        whole = one.tiled + one.no_position + one.raw_only
        if landed != whole:
            text = f"landed {landed} is not tiled + no_position + raw_only = {whole}, and nothing waits"
            yield text, landed, whole


def totals(hours: Sequence[Hour]) -> dict[str, int]:
    """Sums over event hours, with what was landed before they were counted among the landed ones."""
    names = (*OF_THE_EVENT, "tiled", "pending")
    found = {name: sum(getattr(one, name) for one in hours) for name in names}
    found["landed"] += sum(one.before for one in hours)
    return found
