"""Everything reads the first of `land_formats`: hours of which another format holds more are found, and refused.

A lake in two formats holds the same rows in both, from the moment on when the second was added. So a second one may be
added or dropped, and the first one stays the first.
"""

from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from isotherm.clock import iso
from isotherm.errors import ConfigError
from isotherm.store.tables import files

_NEW_ONE: Final = "`isotherm replay --to-log` fills a new deployment, whatever its formats"


class Unread(Struct, frozen=True):
    """Hours of clients with rows in `other` that are not in `first`, from the hour `since` to the hour `until` (ms).

    `without` hours would be such ones if `other` were the first.
    """

    first: str
    other: str
    hours: int
    since: int
    until: int
    without: int

    def __str__(self) -> str:
        edges = iso(self.since) if self.since == self.until else f"{iso(self.since)} to {iso(self.until)}"
        return f"{self.hours:,} hours of the lake ({edges}) have events in {self.other} that are not in {self.first}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if not self.without:
            return (
                f"name {self.other} first (land_formats = {self.other}, or {self.other},{self.first}); for a lake in "
                f"{self.first} alone, {_NEW_ONE}"
            )
        return (
            f"and with {self.other} first, {self.without:,} hours would lack events: {_NEW_ONE}; run it once with "
            f"land_formats = {self.first} and once with {self.other}"
        )


def unread(connection: Connection, first: str, wanted: sa.ColumnElement[bool] | None = None) -> Unread | None:
    """What is not read of the listed files (of those that are `wanted`); None when nothing is left out."""
    mine = files.c.format == first
    key = (files.c.client_id, files.c.hour, files.c.raw_only)
    by_hour = (
        sa.select(
            files.c.hour,
            sa.func.max(sa.case((mine, ""), else_=files.c.format)).label("other"),
            sa.func.sum(sa.case((mine, files.c.rows), else_=-files.c.rows)).label("more"),
        )
        .where(files.c.state == "listed", sa.true() if wanted is None else wanted)
        .group_by(*key)
        .subquery()
    )
    lacks, hour = by_hour.c.more < 0, by_hour.c.hour
    row = connection.execute(
        sa.select(
            sa.func.max(by_hour.c.other),
            sa.func.count(sa.case((lacks, 1))),
            sa.func.min(sa.case((lacks, hour))),
            sa.func.max(sa.case((lacks, hour))),
            sa.func.count(sa.case((by_hour.c.more > 0, 1))),
        )
    ).one()
    other, hours, *rest = row
    return Unread(first, other, hours, *rest) if hours else None


def refuse_unread(connection: Connection, first: str, wanted: sa.ColumnElement[bool] | None = None) -> None:
    """Raises ConfigError when some of what is wanted is in another format only."""
    if found := unread(connection, first, wanted):
        raise refusal(found)


def refuse_order(connection: Connection, first: str) -> None:
    """Raises ConfigError when another format is the one to read.

    Where neither holds everything, the one that leaves out fewer hours may go on: of those hours no map is made.
    """
    if (found := unread(connection, first)) and found.hours > found.without:
        raise refusal(found)


def refusal(found: Unread) -> ConfigError:
    """What a person is told who wants all of it read."""
    return ConfigError(
        f"land_formats: {found}, and what is read is the first, {found.first}: maps would be made of a part, and "
        f"replayed events would land twice. Do this: {found.advice}"
    )
