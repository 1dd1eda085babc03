"""PostgreSQL: reachable, recent enough, one that takes writes and lets us make tables, and of our schema or empty."""

import secrets
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError, OperationalError

from isotherm.cli.doctor import formats
from isotherm.cli.doctor.findings import Finding, clock
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.store.db import revisions

OLDEST: Final = 13
_RIGHTS: Final = "let the user own the database, or GRANT CREATE, USAGE ON SCHEMA public TO it"


def check(settings: Settings) -> Iterator[Finding]:
    """Connect as the program does, and take back whatever is tried. Raises ConfigError for what it would refuse."""
    from isotherm.store.db_postgresql import open_engine

    engine, explain = open_engine(settings.url("db"))
    try:
        # Read-only as far as our own lock goes: the doctor must not wait behind a writer.
        with engine.connect().execution_options(read_only=True) as connection:
            yield from _facts(connection)
            yield from _schema(connection, settings)
            yield from _rights(connection)
    except OperationalError as error:
        explained = explain(error)
        yield Finding("db", "error", "cannot be reached", str(explained or error.orig))
    finally:
        engine.dispose()


def _facts(connection: Connection) -> Iterator[Finding]:
    ours = SystemClock()
    before = ours.now_ms()
    row: Any = connection.exec_driver_sql(
        "SELECT extract(epoch FROM clock_timestamp()) * 1000, current_setting('server_version_num')::int, "
        "current_setting('server_version'), pg_is_in_recovery(), current_setting('fsync')"
    ).one()
    theirs, number, version, standby, fsync = row
    after = ours.now_ms()
    if number // 10_000 < OLDEST:
        yield Finding("db", "error", f"PostgreSQL {version}", f"use PostgreSQL {OLDEST} or newer")
    elif standby:
        yield Finding("db", "error", "the server is a standby and takes no writes", "name the primary in `db`")
    else:
        yield Finding("db", "ok", f"PostgreSQL {version} answers")
    if fsync == "off":
        yield Finding(
            "db", "warning", "fsync is off: a power cut can lose the list of lake files", "turn fsync on, then restart"
        )
    yield clock("db", float(theirs), before, after)


def _schema(connection: Connection, settings: Settings) -> Iterator[Finding]:
    there = connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NOT NULL").scalar_one()
    if not there:
        yield Finding("db", "ok", "the database is empty; tables are made at the first start")
        return
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if found in revisions():
        yield Finding("db", "ok", f"the schema is of revision {found}")
        yield from formats.examine(connection, settings)
    else:
        yield Finding(
            "db", "error", f"the schema is of another version ({found or 'nothing'})",
            "use the version of isotherm that wrote it, or newer",
        )  # fmt: skip


def _rights(connection: Connection) -> Iterator[Finding]:
    """Make a table, write and read it, all in a transaction that is rolled back."""
    connection.rollback()
    name = f"isotherm_doctor_{secrets.token_hex(6)}"
    try:
        connection.exec_driver_sql(f"CREATE TABLE {name} (n integer)")
        connection.exec_driver_sql(f"INSERT INTO {name} VALUES (1)")
        connection.exec_driver_sql(f"SELECT n FROM {name}").one()
    except OperationalError:
        raise
    except DatabaseError as error:
        said = " ".join(str(error.orig).split())
        yield Finding("db", "error", f"the user may not make tables ({said})", _RIGHTS)
    else:
        yield Finding("db", "ok", "the user may make, write and read tables")
    finally:
        connection.rollback()
