"""A TCP relay that cuts a connection at a chosen moment, for tests of what is in doubt then."""

import contextlib
import socket
import threading
from typing import Self

CHUNK = 1 << 16


class Relay:
    """Hands bytes on to a server. `url_port` is where clients connect.

    `arm(after, at, delivered)`: on a connection on which the client has sent the bytes `after`, the next request that
    holds the bytes `at` is the last: it is handed on only if `delivered`, and no answer comes back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url_port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._armed: tuple[bytes, bytes, bool] | None = None
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def arm(self, after: bytes, at: bytes, *, delivered: bool) -> None:
        self._armed = (after, at, delivered)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                _end(one)
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self._open += [client, server]
                for work in (self._forth, self._back):
                    self._threads.append(threading.Thread(target=work, args=(client, server), daemon=True))
                    self._threads[-1].start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        seen = False
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                armed = self._armed
                if armed is not None and seen and armed[1] in data:
                    self._armed = None
                    self.cuts += 1
                    # The answer goes nowhere from here on.
                    _end(client)
                    if armed[2]:
                        server.sendall(data)
                        # The server ends the session when it has done what it was asked.
                        server.shutdown(socket.SHUT_WR)
                        return
                    break
                seen = seen or (armed is not None and armed[0] in data)
                server.sendall(data)
        _end(server)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                client.sendall(data)
        _end(client)
        server.close()
        client.close()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
