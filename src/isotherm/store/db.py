"""The relational store: opening it, its two kinds of transactions, and the migrations.

Writers go one at a time, on SQLite by its own lock and on PostgreSQL by an advisory lock of the database. So of two
versions the one drawn later is committed later, which dirty marks, snapshots and published buckets lean on.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from isotherm.adapters import Adapters, adapter
from isotherm.clock import Clock
from isotherm.config import without_password
from isotherm.errors import ConfigError
from isotherm.store.tables import sequences

MIGRATIONS: Final = Path(__file__).parent / "migrations"
ADAPTERS: Final[Adapters] = {
    "sqlite": ("isotherm.store.db_sqlite:open_engine", ""),
    "postgresql": ("isotherm.store.db_postgresql:open_engine", "postgresql"),
}
_LOCK_NOT_AVAILABLE: Final = "55P03"
_AGAIN_S: Final = 0.3
"""A server that restarts is asked again after this long, once."""
_READ: Final[dict[str, dict[str, Any]]] = {
    "sqlite": {"read_only": True},
    "postgresql": {"read_only": True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_log = structlog.get_logger("isotherm.store")


def open_db(url: str, revision: str = "head") -> Engine:
    """Open the store and bring its schema up to date, or as far as to `revision`.

    `url` is sqlite:///absolute/path or postgresql://user:password@host:port/database. Raises ConfigError when it
    cannot be used: no database, damaged, written by a newer version, out of reach, or without the rights it takes.
    """
    opener: Callable[[str], tuple[Engine, Callable[[DatabaseError], ConfigError | None]]] = adapter("db", url, ADAPTERS)
    engine, explain = opener(url)
    try:
        migrate(engine, revision)
    except DatabaseError as error:
        engine.dispose()
        explained = explain(error)
        if explained is None:
            raise
        raise explained from None
    except CommandError:
        engine.dispose()
        raise ConfigError(
            f"{without_password(url)}: written by a newer version of isotherm; use that version or a newer one"
        ) from None
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A read transaction: one consistent snapshot, never waits for a writer."""
    with _begun(engine, **_READ[engine.dialect.name]) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A write transaction; writers go one at a time. Rolls back when the block raises.

    When the connection is lost while it commits, nobody knows whether it did: OperationalError is raised, and who
    tries again must find out from what is stored, as landings do by their position.
    """
    with _begun(engine) as connection:
        yield connection


@contextmanager
def _begun(engine: Engine, **options: Any) -> Generator[Connection]:
    connection = _connect(engine, options)
    with connection:
        # `_connect` has begun: this takes the transaction over, commits it, or rolls it back.
        transaction = connection.get_transaction()
        assert transaction is not None
        with transaction:
            yield connection


def _connect(engine: Engine, options: dict[str, Any]) -> Connection:
    """A connection whose transaction has begun. Nothing was done yet, so a lost server may be asked again."""
    try:
        return _begin(engine, options)
    except OperationalError as error:
        if engine.dialect.name == "sqlite" or _waited(error):
            raise
        time.sleep(_AGAIN_S)
        return _begin(engine, options)


def _begin(engine: Engine, options: dict[str, Any]) -> Connection:
    connection = engine.connect()
    try:
        connection.execution_options(**options).begin()
    except BaseException:
        connection.close()
        raise
    return connection


def next_version(connection: Connection) -> int:
    """Draw the next version from the one sequence; inside a write transaction."""
    connection.execute(sa.update(sequences).where(sequences.c.name == "version").values(value=sequences.c.value + 1))
    return connection.execute(sa.select(sequences.c.value).where(sequences.c.name == "version")).scalar_one()


def now_ms(connection: Connection, clock: Clock) -> int:
    """The time that all who share the store agree on, in ms: a server's own, else the clock's.

    For what one machine writes and another compares within seconds; SQLite is one machine.
    """
    if connection.dialect.name == "sqlite":
        return clock.now_ms()
    return connection.exec_driver_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").scalar_one()


def total(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """The sum of a column of integers as an integer, 0 without rows; PostgreSQL's own sums are decimals."""
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


def revisions() -> frozenset[str]:
    """The schema's revisions that this version can open: its own and all before it."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions())


@cache
def _head() -> str | None:
    """The newest revision; reading all the scripts takes long enough to be done once."""
    return ScriptDirectory.from_config(_migrations()).get_current_head()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations that are missing up to `revision`, in one transaction; of many processes that start at once
    one does.

    However long that takes: the others wait for it, and say so.
    """
    while True:
        with reading(engine) as connection:
            if _reached(MigrationContext.configure(connection).get_current_revision(), revision):
                return
        try:
            with writing(engine) as connection:
                migrate_within(connection, revision)
        except OperationalError as error:
            if not _waited(error):
                raise
            _log.warning("another process brings the database up to date; this one waits for it")


def migrate_within(connection: Connection, revision: str = "head") -> None:
    """`migrate` in the caller's write transaction."""
    with _without_bounds(connection):
        config = _migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _reached(current: str | None, wanted: str) -> bool:
    """Whether a schema of the revision `current` has all that `wanted` brings."""
    if wanted == "head":
        return current == _head()
    if current is None or current not in revisions():
        return False
    scripts = ScriptDirectory.from_config(_migrations())
    return wanted in {script.revision for script in scripts.iterate_revisions(current, "base")}


@contextmanager
def _without_bounds(connection: Connection) -> Generator[None]:
    """A table may be large by now: neither the server nor this side gives a statement up for its time."""
    if connection.dialect.name == "sqlite":
        yield
        return
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    driver: Any = connection.connection.driver_connection
    driver.bounded = False
    try:
        yield
    finally:
        driver.bounded = True


def _waited(error: OperationalError) -> bool:
    """Whether the pen of the store was with somebody else for all the time that a writer waits for it."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE
