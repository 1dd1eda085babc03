"""The ledger: what became of every event, per client and hour of receipt.

received = accepted + rejected + duplicate + sampled out, and accepted = landed + landing_duplicate + dead. It is
written in the landing transaction only, from the counts of the very records that land (see `books.py`), so nothing in
it is in flight. A record that cannot be read at all counts as one event of the client ''.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import iso
from isotherm.store.db import reading
from isotherm.store.tables import ledger as table_of

MEASURES: Final = {
    "sent": "events of page views up to the highest number that came; what a view sent after that is not known",
    "sequenced": "of these, the ones that came; the others were lost on the way, or are still to come",
    "received": "events in the bodies the collector answered with 202",
    "accepted": "events that passed the checks and were appended to the log",
    "rejected": "events refused one by one, by reason",
    "duplicate": "events of batches whose id was known",
    "sampled_out": "events left out on purpose: none, as nothing here samples",
    "landed": "rows listed in the lake",
    "landing_duplicate": "rows the lake held already: of imports and replays, and of batches that the log has twice",
    "dead": "events of records that could not be used and were not replayed; these are dead letters",
    "no_position": "of the landed rows, those without coordinates: never tiled",
    "raw_only": "of the landed rows, those too late for the maps: kept, never tiled, and in no other measure of these",
    "sender_dropped": "events the sender says it dropped itself, by its reason; outside the sums",
}
EQUATIONS: Final = (
    ("received", ("accepted", "rejected", "duplicate", "sampled_out")),
    ("accepted", ("landed", "landing_duplicate", "dead")),
)


class LedgerRow(Struct, frozen=True):
    """One number of the ledger. `hour` is the hour of receipt."""

    client_id: str
    hour: int
    measure: str
    reason: str
    events: int


def read(
    engine: Engine, *, client_id: str | None = None, start: int | None = None, end: int | None = None
) -> list[LedgerRow]:
    """The ledger of hours of receipt in [start, end), ordered by hour, client, measure and reason."""
    with reading(engine) as connection:
        return read_in(connection, client_id=client_id, start=start, end=end)


def read_in(
    connection: Connection, *, client_id: str | None = None, start: int | None = None, end: int | None = None
) -> list[LedgerRow]:
    """`read` in the caller's transaction."""
    columns = table_of.c
    statement = sa.select(columns.client_id, columns.hour, columns.measure, columns.reason, columns.events)
    if client_id is not None:
        statement = statement.where(columns.client_id == client_id)
    if start is not None:
        statement = statement.where(columns.hour >= start)
    if end is not None:
        statement = statement.where(columns.hour < end)
    ordered = statement.order_by(columns.hour, columns.client_id, columns.measure, columns.reason)
    return [LedgerRow(*row) for row in connection.execute(ordered).all()]


def sums(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """Events per measure, every measure named."""
    totals = dict.fromkeys(MEASURES, 0)
    for row in rows:
        totals[row.measure] = totals.get(row.measure, 0) + row.events
    return totals


def by_hour(rows: Iterable[LedgerRow]) -> dict[tuple[str, int], dict[str, int]]:
    """Events per measure of each client and hour of receipt, ordered by hour and client."""
    groups: dict[tuple[str, int], dict[str, int]] = {}
    for row in rows:
        totals = groups.setdefault((row.client_id, row.hour), dict.fromkeys(MEASURES, 0))
        totals[row.measure] = totals.get(row.measure, 0) + row.events
    return dict(sorted(groups.items(), key=lambda item: item[0][::-1]))


def reasons(rows: Iterable[LedgerRow], measure: str) -> dict[str, int]:
    """Events of a measure by reason, most first."""
    found: dict[str, int] = {}
    for row in rows:
        if row.measure == measure:
            found[row.reason] = found.get(row.reason, 0) + row.events
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def check(rows: Sequence[LedgerRow]) -> list[str]:
    """The differences, one sentence each, per client and hour; empty when the sums hold."""
    return [text for _, _, _, text in differences(by_hour(rows))]


def differences(groups: dict[tuple[str, int], dict[str, int]]) -> Iterable[tuple[str, int, int, str]]:
    """Where the sums do not hold: client, hour of receipt, by how many events, and the sentence that says so."""
    for client_id, hour in sorted(groups):
        total = groups[client_id, hour]
        for whole, parts in EQUATIONS:
            found = sum(total[name] for name in parts)
            if total[whole] != found:
                text = f"{whole} {total[whole]} is not {' + '.join(parts)} = {found}"
                by = abs(total[whole] - found)
                yield client_id, hour, by, f"client {client_id!r}, hour of receipt {iso(hour)}: {text}"
