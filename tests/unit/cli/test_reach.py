"""Whether the collector takes connections, and what it refuses for."""

import json
import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from isotherm.cli.reach import Collector, ask_collector
from isotherm.config import load_settings


@contextmanager
def answering(answer: bytes) -> Generator[int]:
    """A server that gives one client these bytes; yields its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1000).startswith(b"GET /v1/healthz HTTP/1.1\r\n")
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_listens_answers_until_it_is_closed(host: str) -> None:
    with closing(socket.create_server((host, 0))) as listening:
        settings = load_settings(collect_host=host, collect_port=listening.getsockname()[1])
        assert ask_collector(settings) == Collector(answers=True)
    assert ask_collector(settings) == Collector(answers=False)


@pytest.mark.parametrize(
    ("status", "body", "refuses"),
    [
        ("200 OK", {"status": "ready"}, None),
        ("503 Service Unavailable", {"title": "busy", "detail": "the disk is full"}, "the disk is full"),
        ("503 Service Unavailable", ["something else"], None),
        ("404 Not Found", {"detail": "not ours"}, None),
    ],
)
def test_a_collector_says_what_it_refuses_for(status: str, body: object, refuses: str | None) -> None:
    said = json.dumps(body).encode()
    with answering(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(said), said)) as port:
        found = ask_collector(load_settings(collect_host="127.0.0.1", collect_port=port))
    assert found == Collector(answers=True, refuses=refuses)


def test_a_server_that_speaks_something_else_is_not_said_to_refuse() -> None:
    with answering(b"220 mail.example ESMTP\r\n") as port:
        assert ask_collector(load_settings(collect_host="127.0.0.1", collect_port=port)) == Collector(answers=True)
