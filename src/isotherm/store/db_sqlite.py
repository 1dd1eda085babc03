"""The relational store as one SQLite file."""

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError

from isotherm.errors import ConfigError

BUSY_TIMEOUT_MS: Final = 30_000


def open_engine(url: str) -> tuple[Engine, Callable[[DatabaseError], ConfigError | None]]:
    """The engine for sqlite:///absolute/path, and what explains its errors at the first contact."""
    path = Path(urlsplit(url).path)
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000}
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin_immediate)
    return engine, partial(_explain, path)


def _prepare_connection(connection: Any, _: Any) -> None:
    # With None, sqlite3 starts no transaction of its own; `_begin_immediate` says when one begins and how.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" under WAL.
    mode = "DEFERRED" if connection.get_execution_options().get("read_only") else "IMMEDIATE"
    connection.exec_driver_sql(f"BEGIN {mode}")


def _explain(path: Path, error: DatabaseError) -> ConfigError | None:
    if isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig):
        return None
    if not os.access(path.parent, os.W_OK):
        read_only = os.statvfs(path.parent).f_flag & os.ST_RDONLY
        why = "its disk is mounted read-only: see what the system says of it" if read_only else "this user may not"
        return ConfigError(
            f"{path}: nothing can be written there, {why}; the database itself may be whole ({error.orig})"
        )
    return ConfigError(
        f"{path}: not a usable database ({error.orig}). Restore it from a backup, or move it away and start "
        "again: the lake's files stay, their list is lost."
    )
