"""Senders that misbehave below HTTP: the others do not notice, and what was cut off leaves nothing."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from collecting import RunningCollector, batch, until

pytestmark = pytest.mark.system


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing_all:
        yield closing_all


def connect(collector: RunningCollector) -> socket.socket:
    return socket.create_connection(("127.0.0.1", collector.port), timeout=30)


def head(length: int | None, *more: str) -> bytes:
    lines = ["POST /events/batch HTTP/1.1", "host: localhost", "content-type: application/json", *more]
    if length is not None:
        lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answers(connection: socket.socket, count: int = 1) -> list[tuple[int, dict[str, object]]]:
    """That many answers, or fewer when the collector hangs up."""
    answers: list[tuple[int, dict[str, object]]] = []
    data = b""
    while len(answers) < count:
        while b"\r\n\r\n" not in data or len(_rest(data)) < _length(data):
            part = connection.recv(65_536)
            if not part:
                return answers
            data += part
        length = _length(data)
        answers.append((int(data.split(b" ", 2)[1]), json.loads(_rest(data)[:length] or b"{}")))
        data = _rest(data)[length:]
    return answers


def _rest(data: bytes) -> bytes:
    return data.split(b"\r\n\r\n", 1)[1]


def _length(data: bytes) -> int:
    lines = data.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n")
    return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)


def fine(collector: RunningCollector) -> None:
    assert collector.post(batch(2)).json()["accepted"] == 2


def test_slow_senders_do_not_hold_up_others(collector: RunningCollector, stack: ExitStack) -> None:
    """Headers that never end, bodies that never come, 100 of each."""
    for _ in range(100):
        unfinished = stack.enter_context(closing(connect(collector)))
        unfinished.sendall(b"POST /events/batch HTTP/1.1\r\nhost: x\r\nx-a: b")
        stalled = stack.enter_context(closing(connect(collector)))
        stalled.sendall(head(500_000) + b'{"client_id":')
    for _ in range(20):
        fine(collector)


def test_a_slow_body_gets_400_at_the_limit(collector: RunningCollector, stack: ExitStack) -> None:
    for declared in (100, 400_000, None):
        connection = stack.enter_context(closing(connect(collector)))
        extra = () if declared else ("transfer-encoding: chunked",)
        connection.sendall(head(declared, *extra) + (b"{" if declared else b"1\r\n{\r\n"))
        status, problem = read_answers(connection)[0]
        assert status == 400
        assert "longer than 2 s" in str(problem["detail"])
    fine(collector)


def test_pipelined_requests_are_answered_in_order(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    bodies = [json.dumps(batch(count)).encode() for count in range(1, 9)]
    connection.sendall(b"".join(head(len(body)) + body for body in bodies))
    answers = read_answers(connection, 8)
    assert [(status, answer["accepted"]) for status, answer in answers] == [(202, count) for count in range(1, 9)]


def test_more_bytes_than_declared_are_the_next_request(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    body = json.dumps(batch(1)).encode()
    connection.sendall(head(len(body)) + body + b"garbage that is no request\r\n\r\n")
    answers = read_answers(connection, 2)
    assert answers[0][0] == 202
    assert all(status == 400 for status, _ in answers[1:])
    fine(collector)


def test_fewer_bytes_than_declared_store_nothing(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data").start()
    body = json.dumps(batch(1, batch_id="cut")).encode()
    for declared in (len(body) + 1, 300_000):
        with closing(connect(running)) as connection:
            connection.sendall(head(declared) + body)
            connection.shutdown(socket.SHUT_RDWR)
    with closing(connect(running)) as connection:
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        connection.sendall(head(None, "transfer-encoding: chunked") + chunk)
        connection.shutdown(socket.SHUT_RDWR)
    assert running.post(batch(1, batch_id="whole")).status_code == 202
    running.stop()
    assert [envelope.batch_id for envelope in running.envelopes()] == ["whole"]


def test_half_closed_after_the_request(collector: RunningCollector, stack: ExitStack) -> None:
    """The sender says it is done and waits: an answer or a hang-up, and nobody else is touched."""
    connection = stack.enter_context(closing(connect(collector)))
    body = json.dumps(batch(3)).encode()
    connection.sendall(head(len(body)) + body)
    connection.shutdown(socket.SHUT_WR)
    assert all(status == 202 for status, _ in read_answers(connection))
    fine(collector)


def test_chunked_without_end_is_capped(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    connection.sendall(head(None, "transfer-encoding: chunked"))
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    try:
        while sent < 64 << 20:
            connection.sendall(chunk)
            sent += 65_536
    except OSError:
        pass
    assert sent < 32 << 20
    fine(collector)


def test_chunked_bodies_are_taken(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    body = json.dumps(batch(4)).encode()
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    connection.sendall(head(None, "transfer-encoding: chunked") + pieces)
    status, answer = read_answers(connection)[0]
    assert (status, answer["accepted"]) == (202, 4)


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 5", "content-length: 6"),
        ("content-length: -1",),
        ("content-length: abc",),
        ("content-length: 5", "transfer-encoding: chunked"),
        ("transfer-encoding: gzip",),
        ("content-length: 99999999999999999999999",),
    ],
    ids=str,
)
def test_contradictory_lengths(lines: tuple[str, ...], collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    connection.sendall(head(None, *lines) + b"0\r\n\r\n")
    answers = read_answers(connection)
    assert all(400 <= status < 500 for status, _ in answers)
    fine(collector)


def test_a_declared_size_over_the_limit_is_refused_at_once(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    connection.sendall(head(10 << 30))
    assert read_answers(connection)[0][0] == 413


def test_headers_are_bounded(collector: RunningCollector, stack: ExitStack) -> None:
    connection = stack.enter_context(closing(connect(collector)))
    try:
        connection.sendall(b"POST /events/batch HTTP/1.1\r\nhost: x\r\n" + b"x-a: " + b"y" * (4 << 20) + b"\r\n\r\n")
        answers = read_answers(connection)
    except OSError:
        answers = []
    assert all(400 <= status < 500 for status, _ in answers)
    fine(collector)


def test_a_storm_of_connections_passes(collector: RunningCollector) -> None:
    for _ in range(300):
        with closing(connect(collector)) as connection:
            connection.sendall(head(1_000))
    until(lambda: collector.post(batch(2)).status_code == 202, "the collector answers")
