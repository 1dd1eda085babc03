"""ClickHouse's HTTP interface, as far as our client uses it, over chDB: a program that tests start as a process.

It is no ClickHouse server: it checks what our side sends and what our side makes of the answers, errors and broken
connections. SQL runs in chDB, so what a statement means is ClickHouse's own doing. A cluster has one shard here, which
is this process: Distributed tables work, and ON CLUSTER is left out of a statement, since every node has run it then.

`PUT /front/faults` takes a JSON list of faults and `GET /front/faults` counts what they hit: see `Fault`.

    python -m services.clickhouse_front PORT FOLDER      with FRONT_USERS={"name": "password"} in the environment
"""

import json
import os
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

from services.clickhouse_wire import (
    TRANSPORT,
    Asked,
    QueryError,
    compress,
    credentials,
    form_fields,
    split_insert,
    status_of,
    uncompressed,
    without_cluster,
)

CLUSTER = "front"
_CONFIG = (
    "<clickhouse><tcp_port>9000</tcp_port><remote_servers><front><shard><internal_replication>true"
    "</internal_replication><replica><host>127.0.0.1</host><port>9000</port></replica></shard></front>"
    "</remote_servers></clickhouse>"
)


@dataclass
class Fault:
    """What goes wrong with statements that contain `match`, after `skip` of them, `times` times.

    `do` is one of: cut (half of the answer, then the connection ends), short (half of the answer, ended properly), late
    (half of the answer and then the text of an exception), drop (the connection ends without an answer), hold (nothing
    happens until the process ends), fail (error `code` with `text`), unavailable (HTTP 503, as a proxy says).
    """

    match: str
    do: str
    skip: int = 0
    times: int = 1
    code: int = 999
    text: str = "a fault of the test"
    hits: int = 0


@dataclass
class Session:
    """One chDB handle; sessions keep it from query to query."""

    handle: Any
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """chDB in one folder. Each query has a handle of its own, so that settings and errors stay with it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.xml"
        config.write_text(_CONFIG)
        self.address = f"{folder / 'store'}?config-file={config}"
        self.keeper = chdb.connect(self.address)
        rows = str(self.keeper.query("SELECT name FROM system.settings", "TabSeparated")).split()
        self.known = frozenset(rows)
        self.sessions: dict[str, Session] = {}

    def run(self, asked: Asked) -> Any:
        """The result of chDB; QueryError with its message."""
        if unknown := [name for name in asked.settings if name not in self.known and name not in TRANSPORT]:
            raise QueryError(
                115, f"Setting {unknown[0]} is neither a builtin setting nor started with the prefix 'SQL_'"
            )
        if not asked.session:
            handle = chdb.connect(self.address)
            try:
                return self._on(handle, asked)
            finally:
                handle.close()
        session = self.sessions.setdefault(asked.session, Session(chdb.connect(self.address)))
        if not session.lock.acquire(blocking=False):
            raise QueryError(373, f"Session {asked.session} is locked by a concurrent client")
        try:
            return self._on(session.handle, asked)
        finally:
            session.lock.release()

    def _on(self, handle: Any, asked: Asked) -> Any:
        try:
            if asked.database:
                handle.query(f"USE `{asked.database}`")
            # Once `readonly` is set nothing else can be.
            for name in sorted(asked.settings, key=lambda name: (name == "readonly", name)):
                if name not in TRANSPORT:
                    value = asked.settings[name].replace("\\", "\\\\").replace("'", "\\'")
                    handle.query(f"SET {name} = '{value}'")
            if asked.data is None:
                return handle.query(without_cluster(asked.sql), asked.format, params=asked.params)
            with tempfile.NamedTemporaryFile(prefix="front-insert-") as file:
                file.write(asked.data)
                file.flush()
                return handle.query(f"{asked.sql} FROM INFILE '{file.name}' FORMAT {asked.format}", "TabSeparated")
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            raise QueryError.of(str(error)) from None


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20
    disable_nagle_algorithm = True
    server: "Front"  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the log is for what goes wrong."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/front/faults":
            self._plain(200, json.dumps([fault.__dict__ for fault in self.server.faults]).encode())
        elif path == "/ping" or "query=" not in self.path:
            self._plain(200, b"Ok.\n")
        else:
            self._query()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.server.faults = [Fault(**entry) for entry in json.loads(self._body())]
        self._plain(200, b"")

    def do_POST(self) -> None:
        self._query()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _query(self) -> None:
        query_id = str(uuid.uuid4())
        try:
            asked = self._asked()
        except QueryError as error:
            self._error(error, query_id)
            return
        fault = self.server.fault(asked.sql)
        match fault.do if fault else "":
            case "hold":
                time.sleep(3600)
            case "drop":
                self.close_connection = True
                return
            case "unavailable":
                self._plain(503, b"upstream is down")
            case "fail":
                assert fault is not None
                self._error(QueryError(fault.code, fault.text), query_id)
            case _:
                self._answer(asked, query_id, fault)

    def _asked(self) -> Asked:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = uncompressed(self._body(), self.headers.get("Content-Encoding", ""))
        user, password = credentials(self.headers, given)
        if self.server.users.get(user) != password:
            raise QueryError(
                516, f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            )
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            fields = form_fields(self.headers["Content-Type"], body)
            body = fields.pop("query", "").encode()
            given |= fields
        text = given.pop("query", "").encode()
        sql, form, data = split_insert(text + (b"\n" if text and body else b"") + body)
        settings = {name: value for name, value in given.items() if not name.startswith("param_")}
        if self.command == "GET":
            settings["readonly"] = "1"
        return Asked(
            sql,
            form or settings.pop("default_format", self.headers.get("X-ClickHouse-Format", "TabSeparated")),
            data,
            settings.pop("database", self.headers.get("X-ClickHouse-Database", "")),
            settings.pop("session_id", ""),
            settings,
            {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")},
        )

    def _answer(self, asked: Asked, query_id: str, fault: Fault | None) -> None:
        done = threading.Event()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(self.server.engine.run(asked))
            except QueryError as error:
                outcome.append(error)
            done.set()

        threading.Thread(target=work, daemon=True).start()
        started = self._progress(asked, done)
        result = outcome[0]
        if isinstance(result, QueryError):
            self._error(result, query_id, started=started)
            return
        body = result.bytes()
        headers = {
            "Content-Type": "application/octet-stream",
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Server-Display-Name": "front",
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Summary": json.dumps(
                {
                    "read_rows": str(result.rows_read()),
                    "read_bytes": str(result.bytes_read()),
                    "written_rows": "0",
                    "result_rows": "0",
                    "elapsed_ns": str(int(result.elapsed() * 1e9)),
                }
            ),
        }
        if asked.settings.get("enable_http_compression") == "1":
            body, encoding = compress(body, self.headers.get("Accept-Encoding", ""))
            headers |= {"Content-Encoding": encoding} if encoding else {}
        self._chunked(headers, body, fault, started=started)

    def _progress(self, asked: Asked, done: threading.Event) -> bool:
        """As ClickHouse does: while the query runs, the status line and one header after another are sent."""
        if asked.settings.get("send_progress_in_http_headers") != "1":
            done.wait()
            return False
        interval = int(asked.settings.get("http_headers_progress_interval_ms", "100")) / 1000
        started = False
        while not done.wait(interval):
            if not started:
                self.send_response_only(200)
                started = True
            self.send_header("X-ClickHouse-Progress", json.dumps({"read_rows": "0", "read_bytes": "0"}))
            self.wfile.write(b"".join(self._headers_buffer))  # type: ignore[attr-defined]
            self._headers_buffer = []
            self.wfile.flush()
        return started

    def _chunked(self, headers: dict[str, str], body: bytes, fault: Fault | None, *, started: bool) -> None:
        if not started:
            self.send_response_only(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        kind = fault.do if fault else ""
        if kind in ("cut", "short", "late"):
            body = body[: len(body) // 2]
        if kind == "late":
            body += b"Code: 395. DB::Exception: broken in the middle (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)\n"
        if self.command != "HEAD" and body:
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        if kind == "cut":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _error(self, error: QueryError, query_id: str, *, started: bool = False) -> None:
        body = f"Code: {error.code}. DB::Exception: {error} (version 26.9.2.1)\n".encode()
        if not started:
            self.send_response_only(status_of(error.code))
        self.send_header("X-ClickHouse-Exception-Code", str(error.code))
        self.send_header("X-ClickHouse-Query-Id", query_id)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _plain(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


class Front(ThreadingHTTPServer):
    """The listener."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, folder: Path, users: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine = Engine(folder)
        self.users = users
        self.faults: list[Fault] = []
        self._guard = threading.Lock()

    def fault(self, sql: str) -> Fault | None:
        """The fault that this statement meets, counted."""
        with self._guard:
            for fault in self.faults:
                if fault.match in sql:
                    if fault.skip:
                        fault.skip -= 1
                    elif fault.times:
                        fault.times -= 1
                        fault.hits += 1
                        return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own business; anything else is a traceback in the log."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    Front(int(sys.argv[1]), Path(sys.argv[2]), json.loads(os.environ["FRONT_USERS"])).serve_forever()
