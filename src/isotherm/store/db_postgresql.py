"""The relational store on a PostgreSQL server."""

from collections.abc import Callable, Generator
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from isotherm.config import without_password
from isotherm.errors import ConfigError

WRITER_LOCK: Final = 0x69736F746865726D
"""Key of the advisory lock that writers hold; such locks are a database's own. The bytes of "isotherm"."""
CONNECT_SECONDS: Final = 5
POOL: Final = {"pool_size": 5, "max_overflow": 15, "pool_timeout": 10, "pool_recycle": 1800, "pool_pre_ping": True}
"""Per process. A connection is tried before it is used: one that a restart has ended is replaced."""
_LIBPQ: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "isotherm",
    "client_encoding": "utf8",
    # A machine that is gone says nothing: notice within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_SESSION: Final = {
    "statement_timeout": "60s",
    "lock_timeout": "40s",
    # Shorter than what others wait for a lock: a writer that hangs loses its transaction before they give up.
    "idle_in_transaction_session_timeout": "20s",
}
QUIET_SECONDS: Final = 75.0
"""A server that says nothing for so long is given up. Longer than its own limits: while it works, those come first.

A migration has no limit there, and none here.
"""

T = TypeVar("T")


class _Connection(psycopg.Connection[Any]):
    """libpq waits for ever for a server that hangs while its machine keeps the connection open; this one does not,
    as long as it is `bounded`."""

    bounded = True

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """`gen`, which psycopg resumes several times a second; nothing that is ready (0) means that nothing came."""
        heard, ready = monotonic(), None
        try:
            while True:
                ready = yield gen.send(ready)
                if ready:
                    heard = monotonic()
                elif self.bounded and monotonic() - heard > QUIET_SECONDS:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server said nothing for {QUIET_SECONDS:g} s")
        except StopIteration as done:
            return done.value


def open_engine(url: str) -> tuple[Engine, Callable[[DatabaseError], ConfigError | None]]:
    """The engine for postgresql://user:password@host:port/database, and what explains its errors at first contact.

    What follows `?` goes to libpq, such as sslmode; it beats our own time-outs. Raises ConfigError for a wrong URL.
    """
    shown = without_password(url)
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(f"db: {shown!r} is not usable; write postgresql://user:password@host:port/database") from None
    if not made.database:
        raise ConfigError(f"db: {shown!r} names no database; write postgresql://user:password@host:port/database")
    engine = sa.create_engine(
        _complete(made),
        isolation_level="READ COMMITTED",
        # Statements that a server remembers by name do not survive a pooler in front of it.
        connect_args={"prepare_threshold": None},
        **POOL,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", partial(_check, shown))
    event.listen(engine, "begin", _one_writer)
    return engine, partial(_explain, shown)


def _complete(url: URL) -> URL:
    """The URL with our driver and our defaults under what it says itself."""
    given = dict(url.query)
    defaults = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    options = " ".join(part for part in (defaults, str(given.pop("options", ""))) if part)
    query = {name: str(value) for name, value in _LIBPQ.items()} | given | {"options": options}
    return url.set(drivername="postgresql+psycopg", query=query)


def _connect(_dialect: Any, _record: Any, args: list[Any], options: dict[str, Any]) -> _Connection:
    return _Connection.connect(*args, **options)


def _check(shown: str, connection: "psycopg.Connection[Any]", _: Any) -> None:
    """Refuse a server that would keep our data less well than the rest of the program assumes."""
    with connection.cursor() as cursor:
        row = cursor.execute("SELECT current_setting('server_encoding'), current_setting('synchronous_commit')")
        encoding, commit = row.fetchone() or ("", "")
    connection.rollback()
    wrong = ""
    if encoding != "UTF8":
        wrong = f"the database's encoding is {encoding}; create one with ENCODING 'UTF8'"
    elif commit == "off":
        wrong = (
            "synchronous_commit is off, a crash of the server could lose what was landed; turn it on, or add "
            "?options=-csynchronous_commit%3Don to `db`"
        )
    if wrong:
        connection.close()
        raise ConfigError(f"{shown}: {wrong}")


def _one_writer(connection: Connection) -> None:
    # A transaction that waited sees what the one before it did: under READ COMMITTED each statement looks anew.
    if not connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))


def _explain(shown: str, error: DatabaseError) -> ConfigError:
    said = " ".join(str(error.orig).split())
    if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
        return ConfigError(
            f"{shown}: the user may not make tables ({said}); let it own the database, or GRANT CREATE, USAGE ON "
            "SCHEMA public TO it"
        )
    return ConfigError(f"{shown}: cannot be used: {said}. Check `db` and that the server runs and lets us in.")
