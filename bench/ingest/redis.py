"""Redis: XADD of each body to a stream, appendfsync always. Commands are encoded beforehand and sent in pipelines."""

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from bench import machine
from bench.ingest.target import Target
from bench.load.bodies import Body
from bench.processes import free_port, listening, running, wait_for
from isotherm.errors import IsothermError

CONNECTIONS: Final = 16
PIPELINE: Final = 4
"""Commands in flight on a connection: with the connections, as many as wrk keeps in flight."""


@contextmanager
def serve(folder: Path, bodies: list[Body]) -> Iterator[Target]:
    """redis-server with its append-only file in `folder`."""
    port = free_port()
    command = [machine.program("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]
    # A rewrite of the file while we measure would count against Redis.
    command += ["--auto-aof-rewrite-percentage", "0"]
    with running(command, folder / "output.log") as process, ExitStack() as stack:
        wait_for("redis", lambda: listening(port), 20, process)
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        units = [_unit(sockets[n], bodies, start=n * len(bodies) // CONNECTIONS) for n in range(CONNECTIONS)]
        yield Target("Redis XADD, appendfsync always", "fsync", folder, process.pid, units=units)


def _command(body: Body, batch_id: bytes) -> bytes:
    size = len(body.head) + len(batch_id) + len(body.tail)
    start = b"*5\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$4\r\nbody\r\n$%d\r\n" % size
    return b"".join((start, body.head, batch_id, body.tail, b"\r\n"))


def _unit(connection: socket.socket, bodies: list[Body], start: int) -> Callable[[], int]:
    turn = itertools.cycle(bodies[start:] + bodies[:start])
    number = itertools.count()
    prefix = uuid4().hex[:14]

    def send() -> int:
        part = list(itertools.islice(turn, PIPELINE))
        connection.sendall(b"".join([_command(body, b"%b%010d" % (prefix.encode(), next(number))) for body in part]))
        # The answer to XADD is the entry's id: two lines, the first starting with "$".
        answer = b""
        while answer.count(b"\r\n") < 2 * PIPELINE:
            answer += connection.recv(65536)
            if not answer.startswith(b"$"):
                raise IsothermError(f"bench: redis answered {answer!r}")
        return sum(len(body.times) for body in part)

    return send
