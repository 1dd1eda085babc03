"""The sender against a small server: what it repeats, what it gives up on, what it counts."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from isotherm.cli.recording import Body
from isotherm.cli.sender import Sender
from isotherm.cli.simulate import ERRAND
from isotherm.errors import IsothermError

Answer = tuple[int, dict[str, str], object]


class Server:
    """Answers what `answer(number of the request)` says."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.answer: Callable[[int], Answer] = lambda n: (202, {}, {"accepted": 2, "rejected": 0, "duplicate": 0})
        guard = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805
                handler.rfile.read(int(handler.headers["content-length"]))
                with guard:
                    self.paths.append(handler.path)
                    status, headers, content = self.answer(len(self.paths))
                body = json.dumps(content).encode()
                handler.send_response(status)
                for name, value in ({"content-length": str(len(body))} | headers).items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def send(url: str, count: int, patience: float = 30.0) -> Sender:
    with Sender(url, patience) as sender:
        for number in range(count):
            sender.put(Body(b"{}", [number * 2 + 1, number * 2 + 2]))
        sender.finish()
    return sender


def test_counts_what_the_collector_says(server: Server) -> None:
    errors = [{"index": 1, "field": "x_norm", "reason": "bad_position"}]
    server.answer = lambda n: (
        202,
        {},
        {"accepted": 1, "rejected": 1, "duplicate": 0, "errors": errors} | {"reasons": {"bad_position": 1}},
    )
    sender = send(server.url, 20)
    assert (sender.accepted, sender.rejected, sender.answered) == (20, 20, 40)
    assert sender.reasons == {"bad_position": 20}
    assert sender.examples[0][1] == "bad_position x_norm"
    assert all(line % 2 == 0 for line, _ in sender.examples)
    assert set(server.paths) == {"/events/batch?source=import"}


def test_repeats_after_pressure_and_errors(server: Server) -> None:
    done: Answer = (202, {}, {"accepted": 2, "rejected": 0, "duplicate": 0, "errors": []})
    refusals: dict[int, Answer] = {1: (429, {"retry-after": "0"}, {}), 2: (503, {}, {}), 3: (500, {}, {})}
    server.answer = lambda n: refusals.get(n, done)
    sender = send(server.url, 5)
    assert sender.accepted == 10
    assert sender.retries == 3


def test_gives_up_at_once_when_refused_for_good(server: Server) -> None:
    server.answer = lambda n: (422, {}, {"detail": "client 'x' is not declared"})
    with pytest.raises(IsothermError, match="is not declared"):
        send(server.url, 50)


def test_gives_up_when_nobody_answers_for_too_long(server: Server) -> None:
    server.http.server_close()
    with pytest.raises(IsothermError, match="nothing is counted twice"):
        send(server.url, 1, patience=0.2)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(IsothermError, match="http://HOST:PORT"):
        Sender("localhost:7081", 1)


def test_simulated_bodies_say_when_each_attempt_was_sent_and_keep_latencies(server: Server) -> None:
    done: Answer = (202, {}, {"accepted": 2, "rejected": 0, "duplicate": 0, "errors": []})
    server.answer = lambda n: (429, {"retry-after": "0"}, {}) if n == 1 else done
    with Sender(server.url, 30.0, ERRAND, in_flight=1) as sender:
        sender.put(Body(b"{}", [1, 2]))
        sender.finish()
    paths = [path.partition("?sent_at=") for path in server.paths]
    assert [path for path, _, _ in paths] == ["/events/batch"] * 2
    assert int(paths[0][2]) <= int(paths[1][2])
    assert len(sender.seconds) == 1
