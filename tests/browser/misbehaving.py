"""A door in front of a real collector that records every body and fails as it is told."""

import gzip
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from browser.browsing import Quiet, QuietServer

CORS = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}


@dataclass
class Attempt:
    """One POST /events/batch: when it came (monotonic seconds), what was in it, and what became of it.

    `answer` is the real collector's (status, JSON), None when it never saw the body; `told` is the status the
    browser got, None when it got none. `hung_up`: the browser did not wait for an answer that was held back.
    """

    at: float
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    answer: tuple[int, dict[str, Any]] | None = None
    told: int | None = None
    hung_up: bool = False

    @property
    def batch_id(self) -> str:
        return self.body["batch_id"]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.body["events"]


@dataclass(frozen=True)
class Refuse:
    """Answer with this status; the collector does not see the body."""

    status: int
    retry_after: str | None = None


class Pass:
    """Let it through to the collector and its answer back."""


class Hang:
    """Take the body and say nothing until the door is closed or told otherwise."""


class Hold:
    """Let it through when told otherwise, and not before."""


class Cut:
    """Close the connection without an answer; the collector does not see the body."""


class TearAnswer:
    """Let the body through and cut the connection instead of giving back the answer."""


Behaviour = Pass | Hang | Hold | Cut | TearAnswer | Refuse


@dataclass
class Totals:
    """Events by what the real collector answered, and what the sender said it dropped (in batches that counted)."""

    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    dropped: dict[str, int] = field(default_factory=dict[str, int])


class MisbehavingCollector:
    """`url` is the endpoint for the SDK. `behave` sets what happens to the next requests."""

    def __init__(self, real_port: int) -> None:
        self.real_port = real_port
        self.attempts: list[Attempt] = []
        self.preflights = 0
        self._behave: Callable[[Attempt], Behaviour] = lambda attempt: Pass()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._server: QuietServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self, behaviour: Behaviour | Callable[[Attempt], Behaviour]) -> None:
        """From now on do this with every request, or what the function says for each; hanging requests are cut."""
        self._behave = behaviour if callable(behaviour) else lambda attempt: behaviour
        before, self._released = self._released, threading.Event()
        before.set()

    def listen(self) -> None:
        """Open the door, on the same port as before."""
        door = self

        class Handler(Quiet):
            def do_OPTIONS(self) -> None:  # noqa: N802 - the base class's name
                door.preflights += 1
                self.give(*door.ask_real("OPTIONS", self.path, dict(self.headers), b""))

            def do_POST(self) -> None:  # noqa: N802 - the base class's name
                door.received(self)

        self._server = QuietServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def leave(self) -> None:
        """Close the door: connections are refused until `listen`. Requests under way are cut."""
        if self._server is None or self._thread is None:
            return
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    close = leave

    def received(self, handler: Quiet) -> None:
        raw = handler.rfile.read(int(handler.headers["content-length"]))
        body = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        query = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        attempt = Attempt(time.monotonic(), query, headers, raw, body)
        with self._lock:
            behaviour = self._behave(attempt)
            released = self._released
            self.attempts.append(attempt)
        match behaviour:
            case Refuse(status, retry_after):
                attempt.told = status
                handler.give(status, CORS | ({"retry-after": retry_after} if retry_after else {}), b"{}")
            case Hang():
                released.wait()
                handler.connection.shutdown(socket.SHUT_RDWR)
            case Cut():
                handler.connection.shutdown(socket.SHUT_RDWR)
            case Pass() | TearAnswer() | Hold():
                if isinstance(behaviour, Hold):
                    released.wait()
                    readable, _, _ = select.select([handler.connection], [], [], 0)
                    attempt.hung_up = bool(readable)
                status, answer_headers, text = self.ask_real("POST", handler.path, headers, raw)
                attempt.answer = status, json.loads(text)
                if isinstance(behaviour, TearAnswer):
                    handler.connection.shutdown(socket.SHUT_RDWR)
                    return
                attempt.told = status
                handler.give(status, answer_headers, text)

    def ask_real(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """The real collector's status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.real_port, timeout=30)
        try:
            connection.request(method, path, body, {name: v for name, v in headers.items() if name.lower() != "host"})
            answer = connection.getresponse()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower().startswith(("access-", "content-type", "retry"))
            }
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def counted(self) -> dict[str, Attempt]:
        """The attempts that counted, by batch id: those the real collector accepted as new."""
        found: dict[str, Attempt] = {}
        for attempt in list(self.attempts):
            if attempt.answer and attempt.answer[0] == 202 and attempt.answer[1]["accepted"]:
                assert attempt.batch_id not in found, "a batch counted twice"
                found[attempt.batch_id] = attempt
        return found

    def events(self, *types: str) -> list[dict[str, Any]]:
        """All events that counted, in the order of their numbers within views; of these types, or all."""
        batches = sorted(
            self.counted().values(),
            key=lambda a: (a.body["events"][0]["event_time"], a.body["sequence"]["first_event"]),
        )
        return [e for a in batches for e in a.events if not types or e["event_type"] in types]

    def totals(self) -> Totals:
        """What the real collector made of everything."""
        totals = Totals()
        for attempt in list(self.attempts):
            if attempt.answer is None:
                continue
            status, answer = attempt.answer
            assert status == 202, f"the collector refused a body: {status} {answer}"
            totals.accepted += answer["accepted"]
            totals.rejected += answer["rejected"]
            totals.duplicate += answer["duplicate"]
        for attempt in self.counted().values():
            for reason, number in (attempt.body.get("dropped") or {}).items():
                totals.dropped[reason] = totals.dropped.get(reason, 0) + number
        return totals
