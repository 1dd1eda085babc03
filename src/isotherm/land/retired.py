"""What retention took away is written down where it was listed, in the same transaction.

So the ledger still closes when raw events or tiles are gone, and provenance says since when they are. `Cut` says up
to where something has expired, for clients that share a retention.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from isotherm.config import Kept, Settings
from isotherm.store.tables import retired
from isotherm.store.upsert import upsert

PAGE: Final = 2_000
"""Hours or buckets of one client each that one transaction takes away, so that landings get their turn."""
_NAMED: Final = 50
"""Clients that a report names one by one: those with most rows."""


class Cut(Struct, frozen=True):
    """What is older than `before` (ms) has expired, of one client, or of all but those in `others`."""

    before: int
    client_id: str | None
    others: Sequence[str] = ()

    def of(self, client_id: "sa.ColumnElement[str]") -> "sa.ColumnElement[bool]":
        """The condition on the client."""
        if self.client_id is not None:
            return client_id == self.client_id
        return client_id.not_in(list(self.others)) if self.others else sa.true()


def cuts(settings: Settings, what: Kept | None, before: Callable[[str], int]) -> Iterator[Cut]:
    """One for every client with a retention of its own for this (None: for anything), and one for all the others.

    `before` gives the moment for a client; "" is what holds where nothing else is said.
    """
    own = sorted(client_id for client_id, days in settings.retention.items() if (what in days if what else days))
    yield Cut(before(""), None, own)
    for client_id in own:
        yield Cut(before(client_id), client_id)


class Removed(Struct):
    """Counts what was taken away, by client: hours or buckets, rows, and bytes of files."""

    files: int = 0
    clients: dict[str, dict[str, int]] = {}

    def add(self, client_id: str, rows: int, size: int = 0) -> None:
        one = self.clients.setdefault(client_id, {"hours": 0, "rows": 0, "bytes": 0})
        one["hours"] += 1
        one["rows"] += rows
        one["bytes"] += size

    @property
    def rows(self) -> int:
        return sum(one["rows"] for one in self.clients.values())

    def report(self) -> dict[str, Any] | None:
        """{hours, rows, bytes, clients: {id: the same}}, the largest clients named; None when nothing went."""
        if not self.clients:
            return None
        sums = {name: sum(one[name] for one in self.clients.values()) for name in ("hours", "rows", "bytes")}
        largest = sorted(self.clients.items(), key=lambda item: -item[1]["rows"])[:_NAMED]
        return {**sums, "clients": dict(sorted(largest))}


def write(
    connection: Connection, what: str, rows: Sequence[Mapping[str, Any]], now_ms: int, *, over: bool = True
) -> None:
    """Say that these are gone: each names client_id, start, rows, and bytes, or tiled and hash.

    Of raw events, what came late and goes later is added to what went before; tiles that were built again and go
    again stand in the place of the earlier ones, unless `over` is false.
    """
    full = [{"what": what, "tiled": 0, "bytes": 0, "hash": "", "retired_at": now_ms} | dict(row) for row in rows]
    if what == "raw":
        upsert(connection, retired, full, add=("rows", "bytes"), update=("retired_at",))
    else:
        upsert(connection, retired, full, update=("rows", "tiled", "hash", "retired_at") if over else ())
