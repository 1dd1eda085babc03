"""What a landing checks and writes beside the list of files, all in its one transaction."""

from collections import Counter
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from isotherm.store.tables import arrivals, dirty, files, ledger, positions, retired
from isotherm.store.upsert import among, upsert


class Lost(Exception):
    """Another process was first; rolls the transaction back."""


Counts = Mapping[tuple[str, int, str, str], int]
"""(client_id, hour of receipt, measure, reason) -> events."""


class Compared(Struct, frozen=True):
    """Rows were compared with what the lake held at this version of these clients' hours: (client_id, hour)."""

    version: int
    hours: frozenset[tuple[str, int]]


def move(
    connection: Connection, log: str, partition: int, first: int, following: int, received_until: int | None
) -> None:
    """Take the partition's position from `first` to `following`. Raises Lost when it is not at `first`."""
    key = {"log": log, "partition": partition}
    if first == 0:
        upsert(connection, positions, [key | {"next_offset": 0}], update=())
    here = sa.and_(*(positions.c[name] == value for name, value in key.items()), positions.c.next_offset == first)
    values = {"next_offset": following} | ({} if received_until is None else {"received_until": received_until})
    if connection.execute(sa.update(positions).where(here).values(values)).rowcount != 1:
        raise Lost


def unchanged(connection: Connection, compared: Compared) -> None:
    """Raises Lost when one of the hours got files after it was compared."""
    hours = [hour for _, hour in compared.hours]
    newer = sa.select(files.c.client_id, files.c.hour).where(
        files.c.state == "listed",
        files.c.hour.between(min(hours), max(hours)),
        files.c.listed_version > compared.version,
    )
    if compared.hours & {(client_id, hour) for client_id, hour in connection.execute(newer)}:
        raise Lost


def retired_hours(connection: Connection, hours: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the (client_id, hour) whose raw events are gone by retention: their maps must not be made anew."""
    found: set[tuple[str, int]] = set()
    for condition in among(connection, retired.c.start, sorted({hour for _, hour in hours})):
        statement = sa.select(retired.c.client_id, retired.c.start).where(retired.c.what == "raw", condition)
        found |= {(client_id, start) for client_id, start in connection.execute(statement)}
    return found & set(hours)


def not_retired(connection: Connection, hours: Collection[tuple[str, int]]) -> None:
    """Raises Lost when the raw events of one of the hours were retired after its rows were judged."""
    if retired_hours(connection, hours):
        raise Lost


def fold(connection: Connection, counts: Counts) -> None:
    """Add the counts to the ledger."""
    names = ("client_id", "hour", "measure", "reason")
    rows = [dict(zip(names, key, strict=True)) | {"events": n} for key, n in counts.items() if n]
    upsert(connection, ledger, rows, add=("events",))


def arrive(connection: Connection, counts: Counts, newest: Mapping[str, int]) -> None:
    """Add what the clients in `newest` sent, whose last accepted event was received at that moment (ms)."""
    accepted = Counter[str]()
    for (client_id, _, measure, _), events in counts.items():
        if measure == "accepted":
            accepted[client_id] += events
    rows = [
        {"client_id": client_id, "accepted": accepted[client_id], "last_received_at": at}
        for client_id, at in newest.items()
    ]
    upsert(connection, arrivals, rows, add=("accepted",), greatest=("last_received_at",))


def mark(
    connection: Connection,
    hours: Collection[tuple[str, int]],
    received: Mapping[tuple[str, int], int],
    version: int,
    now_ms: int,
) -> None:
    """Mark these clients' hours dirty; `received` says when the first of the events landed there was received.

    A tile job that works on the hour now has none of them: see `rollup/dirty.py`.
    """
    rows = [
        {"level": "hour", "start": hour, "client_id": client_id, "version": version, "marked_at": now_ms}
        | dict.fromkeys(("oldest_received_at", "next_received_at"), received.get((client_id, hour)))
        for client_id, hour in sorted(hours)
    ]
    upsert(
        connection,
        dirty,
        rows,
        update=("version", "marked_at"),
        least=("oldest_received_at",),
        least_known=("next_received_at",),
    )
