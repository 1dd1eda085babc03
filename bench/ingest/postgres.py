"""PostgreSQL: one COPY and commit for each body's rows, fsync on. Rows are typed and can be queried at once."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg

from bench import machine
from bench.ingest.target import Target
from bench.load.bodies import Body
from bench.processes import free_port, running, wait_for

CONNECTIONS: Final = 8
USER: Final = "postgres"
TABLE: Final = """
CREATE TABLE events (client_id text, screen_id text, event_time timestamptz, event_type text,
                     x_norm double precision, y_norm double precision, batch_id text)
"""
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "wal_compression": "on",
    "autovacuum": "off",
}


@contextmanager
def serve(folder: Path, bodies: list[Body]) -> Iterator[Target]:
    """A fresh cluster in `folder`, started as another user when we are root."""
    port = free_port()
    options: dict[str, Any] = {"user": USER, "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    initdb = [machine.program("initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale=C.UTF-8", "--no-instructions"], check=True, capture_output=True, **options)
    command = [machine.program("postgres"), "-D", str(folder / "data"), "-p", str(port)]
    command += ["-c", f"unix_socket_directories={folder}"]
    command += [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    address = f"host=127.0.0.1 port={port} user={USER} dbname=postgres"
    with running(command, folder / "output.log", **options) as process, ExitStack() as stack:
        wait_for("PostgreSQL", lambda: _answers(address), 30, process)
        crew = [stack.enter_context(psycopg.connect(address, autocommit=True)) for _ in range(CONNECTIONS)]
        crew[0].execute(TABLE)
        rows = [_rows(body) for body in bodies]
        units = [_unit(crew[n], rows, start=n * len(rows) // CONNECTIONS) for n in range(CONNECTIONS)]
        yield Target("PostgreSQL, COPY of 200 rows a commit", "queryable", folder, process.pid, units=units)


def _answers(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True


def _rows(body: Body) -> tuple[str, int]:
    """COPY's text form of the rows, with `@id` where the batch id goes, and their number."""
    moments = [datetime.fromtimestamp(t / 1000, UTC).isoformat() for t in body.times]
    parts = [
        f"{body.client_id}\t{body.screen_id}\t{moment}\tmousemove\t{x}\t{y}\t@id\n"
        for moment, x, y in zip(moments, body.x_norm, body.y_norm, strict=True)
    ]
    return "".join(parts), len(parts)


def _unit(connection: "psycopg.Connection[Any]", rows: list[tuple[str, int]], start: int) -> Callable[[], int]:
    turn = itertools.cycle(rows[start:] + rows[:start])
    number = itertools.count()
    prefix = uuid4().hex[:14]

    def send() -> int:
        text, count = next(turn)
        with connection.cursor() as cursor, cursor.copy("COPY events FROM STDIN") as copy:
            copy.write(text.replace("@id", f"{prefix}{next(number):010d}").encode())
        return count

    return send
