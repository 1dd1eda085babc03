"""The tile store: ClickHouse inside the process (chDB), behind the client that also speaks to a server.

One process owns a data folder. Calls are thread-safe: each handle runs one query at a time, so a small pool
of handles per profile is kept, and a profile is a named set of limits that every handle of it carries.
"""

import fcntl
import os
import queue
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, ProgrammingError

from isotherm.config import GIB, Settings
from isotherm.errors import Backpressure, ConfigError

Profile = Literal["read", "write", "migrate", "maintain"]
Params = Mapping[str, Any]

MIGRATIONS: Final = Path(__file__).parent / "olap_migrations"
HANDLES: Final[dict[Profile, int]] = {"read": 4, "write": 2, "migrate": 1, "maintain": 1}
_TIMEOUT_EXCEEDED: Final = 159
_MEMORY_LIMIT_EXCEEDED: Final = 241


def open_olap(url: str, settings: Settings) -> "Olap":
    """Open the tile store and bring its schema up to date.

    `url` is chdb:///absolute/folder. Raises ConfigError when the scheme is unknown, when another process owns
    the folder, when the folder cannot be read, or when a newer version of isotherm wrote it.
    """
    parts = urlsplit(url)
    if parts.scheme != "chdb":
        raise ConfigError(f"olap: unknown scheme {parts.scheme!r} in {url!r}; known: chdb")
    folder = Path(unquote(parts.path))
    if not folder.is_absolute():
        raise ConfigError(f"olap: {url!r} needs an absolute folder, as in chdb:///var/lib/isotherm/olap")
    olap = Olap(folder, settings)
    try:
        migrate(olap)
    except BaseException:
        olap.close()
        raise
    return olap


class Olap:
    """Handles to one chDB folder. SQL values are bound parameters: `{name:Type}` in the text, `params` by name."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Lock and open the folder; raises ConfigError, see `open_olap`."""
        self.folder = folder
        self._settings = _profiles(settings)
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

    def query(self, sql: str, params: Params | None = None, profile: Profile = "read") -> pa.Table:
        """Rows of a SELECT as an Arrow table. Raises Backpressure when the profile's limits are reached."""
        with self._client(profile) as client, _limits(profile):
            raw = client.raw_query(sql, parameters=dict(params or {}), fmt="ArrowStream")
        return pa.ipc.open_stream(pa.py_buffer(raw)).read_all()

    def command(self, sql: str, params: Params | None = None, profile: Profile = "write") -> None:
        """Run a statement that returns no rows, INSERT ... SELECT included. Raises as `query` does."""
        with self._client(profile) as client, _limits(profile):
            client.command(sql, parameters=dict(params or {}))

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert an Arrow table, columns matched by name. On return the rows are on disk."""
        with self._client("write") as client, _limits("write"):
            client.insert_arrow(table, rows)

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
            client = get_client(interface="chdb", path=str(self.folder), settings=self._settings[profile])
        except ProgrammingError as error:
            if "already initialized with path" in str(error):
                raise ConfigError(
                    f"olap: {self.folder} cannot be opened, this process already has another chDB folder open"
                ) from None
            raise ConfigError(
                f"olap: {self.folder} cannot be opened ({error}). If the folder is damaged, move it away and start "
                "again: `isotherm rollup --from --to` rebuilds the tiles from the lake."
            ) from None
        with self._guard:
            self._clients.append(client)
        return client


def migrate(olap: Olap) -> None:
    """Apply the numbered files of `olap_migrations` that are not recorded yet, in order."""
    olap.command(
        "CREATE TABLE IF NOT EXISTS migrations (number UInt32, name String, applied_at DateTime('UTC'))"
        " ENGINE = MergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
        profile="migrate",
    )
    done = set(olap.query("SELECT number FROM migrations", profile="migrate").column("number").to_pylist())
    files = {int(path.name.split("_")[0]): path for path in sorted(MIGRATIONS.glob("*.sql"))}
    if unknown := done - files.keys():
        raise ConfigError(
            f"olap: {olap.folder} was written by a newer version of isotherm (migration {max(unknown)}); "
            "use that version or a newer one"
        )
    for number, path in files.items():
        if number in done:
            continue
        # Every statement can be run again: after a crash between it and the record it is.
        for statement in path.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                olap.command(statement, profile="migrate")
        olap.command(
            "INSERT INTO migrations SELECT {number:UInt32}, {name:String}, now('UTC')",
            {"number": number, "name": path.name},
            profile="migrate",
        )


def _profiles(settings: Settings) -> dict[Profile, dict[str, Any]]:
    threads = settings.job_threads or os.cpu_count() or 1
    common: dict[str, Any] = {
        # Without it text is parsed to a double that may be one unit in the last place off: another cell.
        "precise_float_parsing": 1,
        # Off, because `client_id=...` in a lake path is a column of the file already.
        "use_hive_partitioning": 0,
        # A map's key fixes its partition, so FINAL need not look across partitions.
        "do_not_merge_across_partitions_select_final": 1,
        "output_format_arrow_string_as_string": 1,
        "output_format_arrow_compression_method": "none",
        # An hour can have thousands of small files, all named in one query.
        "max_query_size": 64 << 20,
        "glob_expansion_max_elements": 1_000_000,
        "max_threads": threads,
        "max_memory_usage": settings.job_memory_bytes,
    }
    # `readonly` comes last: once it is set, no setting can be changed any more.
    read = {"max_execution_time": 30, "max_memory_usage": min(GIB, settings.job_memory_bytes), "readonly": 1}
    return {
        "read": common | read,
        "write": common | {"max_execution_time": 3600},
        "migrate": common | {"max_execution_time": 3600},
        "maintain": common | {"max_execution_time": 3600, "max_threads": 1},
    }


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


@contextmanager
def _limits(profile: Profile) -> Generator[None]:
    try:
        yield
    except DatabaseError as error:
        if error.code not in (_TIMEOUT_EXCEEDED, _MEMORY_LIMIT_EXCEEDED):
            raise
        what = "time" if error.code == _TIMEOUT_EXCEEDED else "memory"
        raise Backpressure(
            f"a query of the profile {profile!r} reached its {what} limit; ask for less at once, or raise "
            f"job_memory_bytes ({error})",
            retry_after_s=5.0,
        ) from None
