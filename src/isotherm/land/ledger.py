"""The ledger: what became of every event, per client and hour of receipt.

received = accepted + rejected + duplicate, and accepted = landed + landing_duplicate + dead. It is written in the
landing transaction only, from the counts of the very records that land, so nothing in it is in flight. A record
that cannot be read at all counts as one event of the client ''.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Engine

from isotherm.clock import HOUR_MS
from isotherm.errors import DROP_REASONS
from isotherm.events import hour_of
from isotherm.land.columns import BatchRef, Tally
from isotherm.land.parts import Mask, Part, int64
from isotherm.store.db import reading
from isotherm.store.tables import ledger as table_of

Key = tuple[str, int, str, str]

MEASURES: Final = {
    "received": "events in the bodies the collector answered with 202",
    "accepted": "events that passed the checks and were appended to the log",
    "rejected": "events refused one by one, by reason",
    "duplicate": "events of batches whose id was known",
    "landed": "rows listed in the lake",
    "landing_duplicate": "rows the lake held already: of imports, and of batches that a log without ids has twice",
    "dead": "events of records that could not be used; their bytes are kept in DATA/dead",
    "no_position": "of the landed rows, those without coordinates: never tiled",
    "sender_dropped": "events the sender says it dropped itself, by its reason; outside the sums",
}
_SENDER_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SENDER_REASONS: Final = 16
_MOST: Final = 10_000_000
"""Cap of one number a sender reports, so that no sender can overflow a sum."""


class LedgerRow(Struct, frozen=True):
    """One number of the ledger. `hour` is the hour of receipt."""

    client_id: str
    hour: int
    measure: str
    reason: str
    events: int


def fold_tallies(counts: "Counter[Key]", tallies: Iterable[Tally]) -> None:
    """Add what the records say about themselves."""
    for tally in tallies:
        own, hour = tally.counts, hour_of(tally.received_at)
        accepted = 1 if own is None else sum(own.accepted.values())
        rejected = {} if own is None else own.rejected
        duplicate = 0 if own is None else own.duplicate
        counts[tally.client_id, hour, "accepted", ""] += accepted
        counts[tally.client_id, hour, "duplicate", ""] += duplicate
        counts[tally.client_id, hour, "received", ""] += accepted + sum(rejected.values()) + duplicate
        for reason, events in rejected.items():
            counts[tally.client_id, hour, "rejected", reason if reason in DROP_REASONS else "other"] += events
        for reason, events in _sender_dropped(tally):
            counts[tally.client_id, hour, "sender_dropped", reason] += events
        if tally.dead:
            counts[tally.client_id, hour, "dead", ""] += accepted


def fold_rows(counts: "Counter[Key]", part: Part, kept: Mask) -> None:
    """Add what becomes of a part's rows: `kept` ones are landed."""
    hours = int64(part.table, "received_at") // HOUR_MS
    nowhere = _null(part.table, "x_norm") | _null(part.table, "y_norm")
    for measure, mask in (("landed", kept), ("landing_duplicate", ~kept), ("no_position", kept & nowhere)):
        found, events = np.unique(hours[mask], return_counts=True)
        for hour, count in zip(found.tolist(), events.tolist(), strict=True):
            counts[part.client_id, hour * HOUR_MS, measure, ""] += count


def fold_duplicates(counts: "Counter[Key]", dropped: Iterable[tuple[BatchRef, int]]) -> None:
    """Add rows of batches that were landed before."""
    for batch, events in dropped:
        counts[batch.client_id, hour_of(batch.received_at), "landing_duplicate", ""] += events


def read(
    engine: Engine, *, client_id: str | None = None, start: int | None = None, end: int | None = None
) -> list[LedgerRow]:
    """The ledger of hours of receipt in [start, end), ordered by hour, client, measure and reason."""
    statement = sa.select(table_of).order_by(
        table_of.c.hour, table_of.c.client_id, table_of.c.measure, table_of.c.reason
    )
    if client_id is not None:
        statement = statement.where(table_of.c.client_id == client_id)
    if start is not None:
        statement = statement.where(table_of.c.hour >= start)
    if end is not None:
        statement = statement.where(table_of.c.hour < end)
    with reading(engine) as connection:
        return [LedgerRow(*row) for row in connection.execute(statement)]


def sums(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """Events per measure, every measure named."""
    totals = dict.fromkeys(MEASURES, 0)
    for row in rows:
        totals[row.measure] = totals.get(row.measure, 0) + row.events
    return totals


def check(rows: Sequence[LedgerRow]) -> list[str]:
    """The differences, one sentence each, per client and hour; empty when the sums hold."""
    groups: dict[tuple[str, int], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault((row.client_id, row.hour), []).append(row)
    return [text for key, group in sorted(groups.items()) for text in _differences(key, sums(group))]


def _differences(key: tuple[str, int], total: dict[str, int]) -> Iterable[str]:
    equations = (
        ("received", ("accepted", "rejected", "duplicate")),
        ("accepted", ("landed", "landing_duplicate", "dead")),
    )
    for whole, parts in equations:
        found = sum(total[name] for name in parts)
        if total[whole] != found:
            client_id, hour = key
            yield f"client {client_id!r}, hour {hour}: {whole} {total[whole]} is not {' + '.join(parts)} = {found}"


def _sender_dropped(tally: Tally) -> Iterable[tuple[str, int]]:
    dropped = {} if tally.counts is None else tally.counts.dropped
    for index, (reason, events) in enumerate(dropped.items()):
        named = index < _SENDER_REASONS and _SENDER_REASON.fullmatch(reason)
        yield reason if named else "other", min(max(events, 0), _MOST)


def _null(table: pa.Table, name: str) -> Mask:
    return table.column(name).combine_chunks().is_null().to_numpy(zero_copy_only=False)
