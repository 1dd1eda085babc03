"""What a landing writes beside the list of files, all in its one transaction: counts, arrivals, dirty marks."""

from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy.engine import Connection

from isotherm.store.tables import arrivals, dirty, ledger
from isotherm.store.upsert import upsert

Counts = Mapping[tuple[str, int, str, str], int]
"""(client_id, hour of receipt, measure, reason) -> events."""


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
    """Mark these clients' hours dirty; `received` says when the first of the events landed there was received."""
    rows = [
        {"level": "hour", "start": hour, "client_id": client_id, "version": version, "marked_at": now_ms}
        | {"oldest_received_at": received.get((client_id, hour))}
        for client_id, hour in sorted(hours)
    ]
    upsert(connection, dirty, rows, update=("version", "marked_at"), least=("oldest_received_at",))
