"""The tile store on a ClickHouse server or cluster, over its HTTP interface.

A server can fail after it said 200: the whole answer is awaited there before any of it is sent, an answer that breaks
off is an error, and so is Arrow without its end mark. Only statements that read are sent again by themselves.
"""

import logging
import math
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver import httputil
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3 import PoolManager, Timeout
from urllib3 import exceptions as http

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.store.olap import OlapGone, Params, Profile
from isotherm.store.olap_layout import Layout
from isotherm.store.olap_profiles import READ_SECONDS, limits, profiles
from isotherm.store.olap_target import Target, read_layout, read_target

CONNECTIONS: Final = 16
CONNECT_SECONDS: Final = 5
PING_SECONDS: Final = 3.0
QUIET_SECONDS: Final[Mapping[Profile, float]] = {
    "read": READ_SECONDS + 15,
    "write": 300,
    "migrate": 300,
    "maintain": 300,
}
"""Without a byte for this long the server counts as gone. While it works it sends headers that tell its progress."""

_END_OF_ARROW: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_REFUSED: Final = frozenset({192, 193, 194, 516})
_DENIED: Final = 497
_FAILED: Final = (b"DB::Exception", b"__exception__")
_ZSTD: Final = {"Accept-Encoding": "zstd, gzip"}
_NEWER: Final = frozenset({"s3_retry_attempts", "s3_request_timeout_ms", "s3_allow_server_credentials_in_user_queries"})
"""Settings that bound or allow something and that older servers do not know; they are left out there."""

_OVER_HTTP: Final[Mapping[str, Any]] = {
    # An insert is in its table when it is answered, not in a buffer.
    "async_insert": 0,
    "wait_for_async_insert": 1,
    "enable_http_compression": 1,
    "http_zlib_compression_level": 1,
}
_ON_CLUSTER: Final[Mapping[str, Any]] = {
    "distributed_foreground_insert": 1,
    # All rows of a client are on one shard, and every subquery of ours is about the same client.
    "distributed_product_mode": "local",
    "optimize_skip_unused_shards": 1,
    "parallel_distributed_insert_select": 0,
    "skip_unavailable_shards": 0,
    "distributed_ddl_output_mode": "throw",
}
_REPLICATED: Final[Mapping[str, Any]] = {
    # A job reads back what it inserted, and a reader what was published: whichever replica answers has it.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "insert_quorum_timeout": 60_000,
    "select_sequential_consistency": 1,
    # Jobs may insert the same rows again; versions decide, not blocks that the server remembers.
    "insert_deduplicate": 0,
    "alter_sync": 2,
    "mutations_sync": 2,
}


def server_settings(layout: Layout) -> dict[str, Any]:
    """ClickHouse settings that every statement to a server of this layout carries, besides its profile's."""
    return {
        **_OVER_HTTP,
        **(_ON_CLUSTER if layout.cluster else {}),
        **(_REPLICATED if layout.replicated else {}),
    }


# Both would log whole addresses, with the values that a statement carries; our own errors say what happened.
for _name in ("urllib3.connectionpool", "clickhouse_connect.driver"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class ServerOlap:
    """See `isotherm.store.olap.Olap`. One HTTP client per profile, made when it is first needed, over one pool."""

    def __init__(
        self, target: Target, layout: Layout, settings: Settings, quiet_seconds: Mapping[Profile, float] = QUIET_SECONDS
    ) -> None:
        """Connects to nothing yet. Raises ConfigError when the file of certificates is missing."""
        if target.ca_file and not Path(target.ca_file).is_file():
            raise ConfigError(f"olap: {target.ca_file}: no such file of certificates (ca_cert in the URL)")
        self.where = f"ClickHouse at {target.address}, database {target.database}"
        self.layout = layout
        self.embedded = False
        self.doubt = threading.Event()
        self._target = target
        self._settings = {name: profile | server_settings(layout) for name, profile in profiles(settings).items()}
        self._quiet = quiet_seconds
        self._guard = threading.Lock()
        self._clients: dict[Profile, HttpClient] = {}
        options = httputil.get_pool_manager_options(maxsize=CONNECTIONS, **target.pool_arguments())
        self._pool = PoolManager(**options)

    @classmethod
    def open(cls, url: str, settings: Settings) -> "ServerOlap":
        """The Opener of this adapter: log in, and make the database if it is missing.

        Raises ConfigError and OlapGone as `isotherm.store.olap.open_olap` does.
        """
        target = read_target(url, settings)
        olap = cls(target, read_layout(target, settings), settings)
        try:
            olap.make_database()
        except BaseException:
            olap.close()
            raise
        return olap

    def make_database(self) -> None:
        """Make the database. Raises ConfigError when it is missing and this user may not make it."""
        sql = f"CREATE DATABASE IF NOT EXISTS {self._target.database}{self.layout.on_cluster}"
        try:
            with self._asked("migrate"):
                self._client("migrate").command(sql, settings=self._alive("migrate"), use_database=False)
        except DatabaseError as error:
            if error.code != _DENIED:
                raise
            with self._asked("migrate"):
                found = self._client("migrate").raw_query(
                    "SELECT count() FROM system.databases WHERE name = {name:String}",
                    parameters={"name": self._target.database},
                    use_database=False,
                )
            if found.strip() == b"0":
                raise ConfigError(
                    f"olap: the database {self._target.database} does not exist on {self._target.address} and the user "
                    f"{self._target.user} may not make it; make it, or grant CREATE DATABASE"
                ) from None

    def query(self, sql: str, params: Params | None = None, profile: Profile = "read") -> pa.Table:
        with self._asked(profile):
            raw = self._client(profile).raw_query(
                sql,
                parameters=dict(params or {}),
                settings=self._alive(profile),
                fmt="ArrowStream",
                transport_settings=_ZSTD,
            )
        if not raw.endswith(_END_OF_ARROW):
            raise self._broken(raw)
        try:
            return pa.ipc.open_stream(pa.py_buffer(raw)).read_all()
        except pa.ArrowException:
            raise self._broken(raw) from None

    def command(self, sql: str, params: Params | None = None, profile: Profile = "write") -> None:
        with self._asked(profile):
            raw = self._client(profile).raw_query(sql, parameters=dict(params or {}), settings=self._alive(profile))
        if any(mark in raw for mark in _FAILED):
            raise self._broken(raw)

    def insert(self, table: str, rows: pa.Table) -> None:
        with self._asked("write"):
            self._client("write").insert_arrow(table, rows, settings=self._alive("write"))

    def ping(self) -> None:
        """Ask for the server's /ping, which takes no login: quickly, since others ask us whether we are alive."""
        timeout = Timeout(connect=PING_SECONDS, read=PING_SECONDS)
        try:
            answer = self._pool.request("GET", f"{self._target.address}/ping", timeout=timeout, retries=False)
        except http.HTTPError as error:
            raise self._gone(_why(error)) from None
        if answer.status != HTTPStatus.OK:
            raise self._gone(f"answers with HTTP status {answer.status}")

    def close(self) -> None:
        """Close idle connections; one that is in use is closed when its answer has come."""
        with self._guard:
            self._clients.clear()
        self._pool.clear()
        httputil.all_managers.pop(self._pool, None)

    @contextmanager
    def _asked(self, profile: Profile) -> Generator[None]:
        try:
            with limits(profile, self.doubt):
                yield
        except OperationalError as error:
            if error.code is not None or isinstance(error, OlapGone):
                raise
            cause = error.__cause__
            wire = isinstance(cause, http.HTTPError)
            raise self._gone(_why(cause) if wire else f"does not answer as ClickHouse does ({error})") from None

    def _alive(self, profile: Profile) -> dict[str, Any]:
        """The whole answer before the first byte of it, and a sign of life long before the client gives up."""
        return {"wait_end_of_query": 1, "http_headers_progress_interval_ms": round(self._quiet[profile] * 250)}

    def _client(self, profile: Profile) -> HttpClient:
        client = self._clients.get(profile)
        if client is None:
            # Outside the lock: where a server hangs, nobody waits for another's time-out. One that is too many is lost.
            client = self._connect(profile)
            with self._guard:
                client = self._clients.setdefault(profile, client)
        return client

    def _connect(self, profile: Profile) -> HttpClient:
        try:
            client = HttpClient(
                **self._target.client_arguments(),
                database=None,
                connect_timeout=CONNECT_SECONDS,
                send_receive_timeout=math.ceil(self._quiet[profile]),
                autogenerate_session_id=False,
                pool_mgr=self._pool,
                client_name="isotherm",
            )
            for name, value in self._settings[profile].items():
                if name not in _NEWER or name in client.server_settings:
                    client.set_client_setting(name, value)
        except ProgrammingError as error:
            raise ConfigError(
                f"olap: the user {self._target.user} may not change settings on {self._target.address} ({error}); "
                "give it a settings profile without `readonly`"
            ) from None
        except DatabaseError as error:
            if error.code not in _REFUSED:
                raise
            raise ConfigError(
                f"olap: {self._target.address} refuses the user {self._target.user}; check the user in the setting "
                "olap and the password in clickhouse_password"
            ) from None
        client.database = self._target.database
        return client

    def _gone(self, why: str) -> OlapGone:
        return OlapGone(
            f"olap: {self._target.address} {why}; see whether the ClickHouse server runs and whether the setting olap "
            "has its address"
        )

    def _broken(self, raw: bytes) -> OlapGone:
        """The error for an answer that has no proper end; the server may have written into it why."""
        start = max(raw.rfind(b"Code: "), raw.rfind(b"__exception__"))
        said = raw[start:][:500].decode(errors="replace").strip() if start >= 0 else "it was cut"
        return OlapGone(f"olap: the answer of {self._target.address} is not whole ({said}); ask again")


def _why(error: http.HTTPError) -> str:
    """What happened on the wire, in words; never the request itself, which is long and has values in it."""
    cause = error.reason if isinstance(error, http.MaxRetryError) and error.reason is not None else error
    match cause:
        case http.ConnectTimeoutError() | http.NameResolutionError() | http.NewConnectionError():
            return f"cannot be reached ({str(cause).rpartition(': ')[2]})"
        case http.ReadTimeoutError():
            return "takes connections but does not answer"
        case http.SSLError():
            return f"has no TLS that can be trusted ({cause})"
        case _:
            return "broke the connection off"
