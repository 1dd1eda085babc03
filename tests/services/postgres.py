"""PostgreSQL as a test server."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
from typing import Any, ClassVar

import psycopg

from services.programs import program
from services.server import Failed, Server

USER = "app"
UNPRIVILEGED = ("postgres", "nobody")


class Databases:
    """Makes databases on a server whose address `url` gives."""

    url: str
    _numbers = itertools.count(1)

    def new_database(self) -> str:
        """URL of a database that is empty and nobody else's; takes some 50 ms."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"create database {name} strategy file_copy".encode())
        base, _, query = self.url.partition("?")
        return f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


class Postgres(Databases, Server):
    """One PostgreSQL on loopback. A kill loses nothing; a power cut would, since it does not wait for the disk."""

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    def __init__(self) -> None:
        super().__init__()
        # It refuses to run as root.
        self.user = _unprivileged() if os.getuid() == 0 else None

    @property
    def url(self) -> str:
        """The database that is always there; tests want `new_database`."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            return
        done = subprocess.run(
            [program("initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
             "--no-sync", "--no-instructions"],
            capture_output=True, text=True, cwd=self.folder, **self._as_user(),
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"initdb failed:\n{done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        settings: dict[str, Any] = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "shared_buffers": "32MB",
            "fsync": "off", "full_page_writes": "off", "max_connections": 200,
        }  # fmt: skip
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return [program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def answers(self) -> bool:
        with psycopg.connect(self.url, connect_timeout=2) as connection:
            row = connection.execute("show data_directory").fetchone()
        return row is not None and row[0] == str((self.folder / "data").resolve())

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster alone: it ends its children itself, in order."""
        (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)


def _unprivileged() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)
