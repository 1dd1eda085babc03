"""A dead record whose replay the door took whole is dead no longer: its events are counted by the replay's receipt.

So they leave `dead`, and the receipt that they died of: each event is received and accepted once, the sums close as
before, and a map that holds all that was replayed is complete again.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.collect.dead import Letter
from isotherm.eventlog.port import Stored
from isotherm.events import Counts
from isotherm.land import effects
from isotherm.land.books import COLUMNS, Books, ScreenKey, write_screens
from isotherm.land.columns import dead_letter
from isotherm.store.tables import ledger, ledger_screens

_DEAD: Final = COLUMNS.index("dead")


def take_back(connection: Connection, letter: Letter) -> bool:
    """Take the letter's events out of the ledger, once per letter: the caller sees to that.

    False, and nothing changes, when they do not count as dead there: the letter is none of landing's, its landing never
    came to its end, or these hours of the ledger are gone by retention.
    """
    if letter.stage == "collect":
        return False
    books = Books()
    books.add_tallies(
        msgspec.structs.replace(tally, counts=tally.counts and Counts(accepted=tally.counts.accepted))
        for tally in dead_letter(Stored(0, 0, letter.time, letter.content), bare=letter.client_id is None).tallies
    )
    if not (_all_dead(connection, books.counts) and _all_dead_of_screens(connection, books.screens)):
        return False
    effects.fold(connection, {key: -events for key, events in books.counts.items()})
    write_screens(connection, {key: [-events for events in row] for key, row in books.screens.items()})
    return True


def _all_dead(connection: Connection, counts: effects.Counts) -> bool:
    """Whether so many events count as dead, by hour of receipt."""
    return all(
        events <= (connection.execute(sa.select(ledger.c.events).where(*_is(ledger, key))).scalar_one_or_none() or 0)
        for key, events in counts.items()
        if key[2] == "dead"
    )


def _all_dead_of_screens(connection: Connection, screens: Mapping[ScreenKey, list[int]]) -> bool:
    """Whether so many events count as dead, by screen and event hour."""
    of_row = sa.select(ledger_screens.c.dead)
    return all(
        row[_DEAD] <= (connection.execute(of_row.where(*_is(ledger_screens, key))).scalar_one_or_none() or 0)
        for key, row in screens.items()
    )


def _is(table: sa.Table, key: tuple[str | int, ...]) -> list["sa.ColumnElement[bool]"]:
    return [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]
