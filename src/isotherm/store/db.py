"""The relational store: one engine, our pragmas, and the migrations."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError

from isotherm.errors import ConfigError
from isotherm.store.tables import sequences

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS: Final = 30_000


def open_db(url: str) -> Engine:
    """Open the store and bring its schema up to date.

    `url` is sqlite:///absolute/path. Raises ConfigError when the file is not a database, is damaged, or was
    written by a newer version.
    """
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        raise ConfigError(f"db: unknown scheme {parts.scheme!r} in {url!r}; known: sqlite")
    path = Path(parts.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000}
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin_immediate)
    try:
        migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        if isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig):
            raise
        raise ConfigError(
            f"{path}: not a usable database ({error.orig}). Restore it from a backup, or move it away and start "
            "again: the lake's files stay, their list is lost."
        ) from None
    except CommandError:
        engine.dispose()
        raise ConfigError(f"{path}: written by a newer version of isotherm; use that version or a newer one") from None
    return engine


def _prepare_connection(connection: Any, _: Any) -> None:
    # With None, sqlite3 starts no transaction of its own; `_begin_immediate` says when one begins and how.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" under WAL.
    mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A read transaction: one consistent snapshot, never waits for a writer."""
    with engine.connect().execution_options(read_only=True) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A write transaction; writers go one at a time. Rolls back when the block raises."""
    with engine.connect() as connection, connection.begin():
        yield connection


def next_version(connection: Connection) -> int:
    """Draw the next version from the one sequence; inside a write transaction."""
    connection.execute(sa.update(sequences).where(sequences.c.name == "version").values(value=sequences.c.value + 1))
    return connection.execute(sa.select(sequences.c.value).where(sequences.c.name == "version")).scalar_one()


def revisions() -> frozenset[str]:
    """The schema's revisions that this version can open: its own and all before it."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions())


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing."""
    config = _migrations()
    script = ScriptDirectory.from_config(config)
    with engine.connect().execution_options(read_only=True) as connection, connection.begin():
        if MigrationContext.configure(connection).get_current_revision() == script.get_current_head():
            return
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
