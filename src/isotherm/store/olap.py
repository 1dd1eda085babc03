"""The tile store: ClickHouse, inside the process (chDB) or as a server, behind one small protocol.

Both take the same SQL and the same migrations. Values are bound parameters: `{name:Type}` in the text, `params` by
name. A profile is a named set of limits that a query runs under.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from isotherm.adapters import Adapters, adapter
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.store.olap_layout import Layout
from isotherm.store.olap_migrate import migrate

Profile = Literal["read", "write", "migrate", "maintain"]
Params = Mapping[str, Any]


class OlapGone(OperationalError, IsothermError):
    """The tile store does not answer, or broke off in the middle; nothing is known about a statement it ran."""


class OlapDamaged(DatabaseError, IsothermError):
    """A file could not be read, of the tile store or of what a statement reads: it is damaged, cut short or gone."""


class Olap(Protocol):
    """A tile store; every method may be called from any thread.

    `where` is how a person finds it, without secrets; `layout` is how its tables are named and spread; an `embedded`
    one does nothing, not even by its own clock, while this program does not run. Errors of the store are subclasses of
    clickhouse_connect's Error; Backpressure when the profile's limits are reached, OlapGone when a server does not
    answer, OlapDamaged when a file cannot be read: then `doubt` is set, until somebody has looked and clears it.
    """

    where: str
    layout: Layout
    embedded: bool
    doubt: threading.Event

    def query(self, sql: str, params: Params | None = None, profile: Profile = "read") -> pa.Table:
        """Rows of a SELECT as an Arrow table: all of them, or an error."""
        ...

    def command(self, sql: str, params: Params | None = None, profile: Profile = "write") -> None:
        """Run a statement that returns no rows, INSERT ... SELECT included. On return its effect is durable."""
        ...

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert an Arrow table, columns matched by name. On return the rows are durable and visible."""
        ...

    def ping(self) -> None:
        """Return when the store answers at all; a server's silence is OlapGone within a few seconds."""
        ...

    def close(self) -> None:
        """Wait for running queries and give everything back."""
        ...


Opener = Callable[[str, Settings], Olap]

ADAPTERS: Final[Adapters] = {
    "chdb": ("isotherm.store.olap_chdb:ChdbOlap.open", ""),
    "clickhouse": ("isotherm.store.olap_server:ServerOlap.open", ""),
    "clickhouses": ("isotherm.store.olap_server:ServerOlap.open", ""),
}


def open_olap(url: str, settings: Settings) -> Olap:
    """Open the tile store and bring its schema up to date.

    `url` is chdb:///absolute/folder, or clickhouse://user@host:port/database (clickhouses:// over TLS). Raises
    ConfigError when the URL is wrong, when another process owns the folder, when the server refuses the user, or when
    a newer version of isotherm wrote it; OlapGone when the server does not answer, OlapDamaged when the tables cannot
    be read.
    """
    opener: Opener = adapter("olap", url, ADAPTERS)
    olap = opener(url, settings)
    try:
        _migrate(olap)
    except BaseException:
        olap.close()
        raise
    return olap


def _migrate(olap: Olap) -> None:
    """Migrate; a damaged list of what was applied is begun again, since everything in it may be applied twice."""
    try:
        migrate(olap)
    except OlapDamaged:
        if olap.layout.cluster or olap.layout.replicated:
            raise  # the replicas mend it
        olap.command("TRUNCATE TABLE migrations", profile="migrate")
        migrate(olap)
