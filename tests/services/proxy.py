"""A proxy before an S3 server that makes trouble: slow, cut, refusing, truncating, or losing answers."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self
from urllib.parse import urlsplit


class Fault(Enum):
    """What happens to one request."""

    SLOW = auto()
    """The request's body travels on at 1 kB/s, to its end, also when the client has given up."""
    CUT_REQUEST = auto()
    """Half of the body arrives, then both connections close."""
    CUT_RESPONSE = auto()
    """The client gets half of the answer."""
    LOSE_ANSWER = auto()
    """The server does its work, and the client gets nothing."""


@dataclass(frozen=True)
class Answer:
    """The proxy answers itself, as S3 would."""

    status: int
    code: str

    def __bytes__(self) -> bytes:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>made up</Message></Error>".encode()
        head = f"HTTP/1.1 {self.status} Made Up\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body


class Proxy:
    """Listens on a free port; every connection carries one request. `meddle(method, path)` chooses its fault."""

    def __init__(self, endpoint: str) -> None:
        there = urlsplit(endpoint)
        self._server = (there.hostname or "127.0.0.1", there.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.meddle: Callable[[str, str], Fault | Answer | None] = lambda method, path: None
        self._busy: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._listen, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.settle()

    def settle(self) -> None:
        """Wait until every request that is under way has arrived or failed."""
        for thread in list(self._busy):
            thread.join()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="proxied")
            self._busy.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head, _, body = _until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
            if not head:
                return
            lines = head.split(b"\r\n")
            method, path, _ = lines[0].decode().split(" ")
            sizes = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
            while len(body) < sum(sizes):
                body += _received(client)
            kept = [line for line in lines if not line.lower().startswith((b"connection:", b"expect:"))]
            head = b"\r\n".join([*kept, b"Connection: close"]) + b"\r\n\r\n"
            self._pass_on(client, head, body, self.meddle(method, path))

    def _pass_on(self, client: socket.socket, head: bytes, body: bytes, fault: Fault | Answer | None) -> None:
        if isinstance(fault, Answer):
            client.sendall(bytes(fault))
            return
        with socket.create_connection(self._server) as server:
            server.sendall(head)
            if fault is Fault.CUT_REQUEST:
                server.sendall(body[: len(body) // 2])
                return
            for start in range(0, len(body), 250) if fault is Fault.SLOW else ():
                server.sendall(body[start : start + 250])
                time.sleep(0.25)
            if fault is not Fault.SLOW:
                server.sendall(body)
            answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
            if fault is not Fault.LOSE_ANSWER:
                client.sendall(answer[: len(answer) // 2] if fault is Fault.CUT_RESPONSE else answer)


def _until(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        if not (more := client.recv(1 << 16)):
            return b""
        data += more
    return data


def _received(client: socket.socket) -> bytes:
    if not (more := client.recv(1 << 16)):
        raise OSError("the client went away")
    return more
