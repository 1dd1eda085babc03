"""The tile store inside the process: chDB, which is ClickHouse as a library.

One process owns a data folder. Calls are thread-safe: each handle runs one query at a time, so a small pool
of handles per profile is kept, and every handle carries its profile's settings.
"""

import fcntl
import queue
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ProgrammingError

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.store.olap import Params, Profile
from isotherm.store.olap_layout import Layout
from isotherm.store.olap_profiles import limits, profiles

HANDLES: Final[dict[Profile, int]] = {"read": 4, "write": 2, "migrate": 1, "maintain": 1}
_SMALL: Final = {
    # Footers of raw files, 33 kB each: those of an hour that is tiled again and again. The default is 512 MB.
    "parquet_metadata_cache_size": 16 << 20,
    # What it knows of parts that were merged away stays until 100 MB are full.
    "query_condition_cache_size": 0,
}
"""Sizes of caches that are made for servers: here their memory would be the app's, and would grow for days."""


class ChdbOlap:
    """Handles to one chDB folder. SQL values are bound parameters: `{name:Type}` in the text, `params` by name."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Lock and open the folder; raises ConfigError, see `open`."""
        self.folder = folder
        self.where = str(folder)
        self.layout = Layout()
        self.embedded = True
        self.doubt = threading.Event()
        self._settings = profiles(settings)
        self._lock_file = _lock(folder)
        self._guard = threading.Lock()
        self._clients: list[Client] = []
        self._idle: dict[Profile, queue.LifoQueue[Client | None]] = {}
        for profile, size in HANDLES.items():
            slots: queue.LifoQueue[Client | None] = queue.LifoQueue()
            for _ in range(size):
                slots.put(None)
            self._idle[profile] = slots
        try:
            with self._client("migrate"):
                pass
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, url: str, settings: Settings) -> "ChdbOlap":
        """The Opener of this adapter. Raises ConfigError as `isotherm.store.olap.open_olap` does."""
        folder = Path(unquote(urlsplit(url).path))
        if not folder.is_absolute():
            raise ConfigError(f"olap: {url!r} needs an absolute folder, as in chdb:///var/lib/isotherm/olap")
        return cls(folder, settings)

    def query(self, sql: str, params: Params | None = None, profile: Profile = "read") -> pa.Table:
        """Rows of a SELECT as an Arrow table. Raises Backpressure when the profile's limits are reached."""
        with self._client(profile) as client, limits(profile, self.doubt):
            raw = client.raw_query(sql, parameters=dict(params or {}), fmt="ArrowStream")
        return pa.ipc.open_stream(pa.py_buffer(raw)).read_all()

    def command(self, sql: str, params: Params | None = None, profile: Profile = "write") -> None:
        """Run a statement that returns no rows, INSERT ... SELECT included. Raises as `query` does."""
        with self._client(profile) as client, limits(profile, self.doubt):
            client.command(sql, parameters=dict(params or {}))

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert an Arrow table, columns matched by name. On return the rows are on disk."""
        with self._client("write") as client, limits("write", self.doubt):
            client.insert_arrow(table, rows)

    def ping(self) -> None:
        """A query: a crash inside chDB can hang instead of exit, and then this does not return."""
        self.query("SELECT 1")

    def close(self) -> None:
        """Wait for running queries and give the folder back."""
        with self._guard:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._lock_file.close()

    @contextmanager
    def _client(self, profile: Profile) -> Generator[Client]:
        slots = self._idle[profile]
        client = slots.get()
        try:
            if client is None:
                client = self._open(profile)
            yield client
        except BaseException:
            # After an error inside a query, the next one on the same handle comes back empty without an error
            # (chDB 26.9): never use that handle again.
            broken, client = client, None
            self._discard(broken)
            raise
        finally:
            slots.put(client)

    def _discard(self, client: Client | None) -> None:
        if client is None:
            return
        with self._guard:
            known = client in self._clients
            if known:
                self._clients.remove(client)
        if known:
            client.close()

    def _open(self, profile: Profile) -> Client:
        try:
            client = get_client(
                interface="chdb", path=str(self.folder), chdb_options=dict(_SMALL), settings=self._settings[profile]
            )
        except ProgrammingError as error:
            if "already initialized with path" in str(error):
                raise ConfigError(
                    f"olap: {self.folder} cannot be opened, this process already has another chDB folder open"
                ) from None
            raise ConfigError(
                f"olap: {self.folder} cannot be opened ({error}). If the folder is damaged, move it away and start "
                "again: the maps are made again from the lake by themselves."
            ) from None
        with self._guard:
            self._clients.append(client)
        return client


def _lock(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder.parent / f"{folder.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            f"olap: {folder} is open already: isotherm runs on this data folder, and only one process may own its "
            "tiles. Use the running app (`isotherm status`, or --to with its address), or stop it first."
        ) from None
    return file
