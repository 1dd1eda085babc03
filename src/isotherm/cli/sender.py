"""Sends bodies to a collector: several requests in flight, every one repeated until it has an answer that counts."""

import http.client
import json
import queue
import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from backports import zstd

from isotherm.cli.recording import SHOWN
from isotherm.config import is_loopback
from isotherm.errors import IsothermError

IN_FLIGHT: Final = 6
_LONGEST_WAIT: Final = 5.0
_TIMEOUT: Final = 60.0


class Sendable(Protocol):
    """A body, and the number of each of its events in what it was made from, for messages."""

    @property
    def content(self) -> bytes: ...

    @property
    def lines(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Errand:
    """What is being sent: the query of the address, what a refused batch was, and what to do when nobody answers.

    With `stamped`, every attempt says when it was sent (`sent_at`), so that a wrong clock can be seen.
    """

    query: str
    what: str
    advice: str
    stamped: bool = False


IMPORT: Final = Errand(
    "source=import",
    "the events from line {} on",
    "Start the collector (`isotherm up`) and run the same import again: nothing is counted twice.",
)


class Sender:
    """Threads that post bodies; the counts are of events, by the collector's own answers.

    `finish` waits for all answers. `failure` is set when the collector refused a batch for good or was away for
    longer than `patience_s`; nothing more is sent then. `seconds` are the times from each request to its 202.
    """

    def __init__(self, url: str, patience_s: float, errand: Errand = IMPORT, in_flight: int = IN_FLIGHT) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise IsothermError(f"--to {url}: write the collector's address as http://HOST:PORT")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._parts = parts
        self._errand = errand
        self._path = f"{parts.path.rstrip('/')}/events/batch" + (f"?{errand.query}" if errand.query else "")
        # On the same machine compressing costs more than it saves.
        self._compress = not is_loopback(parts.hostname)
        self._patience_s = patience_s
        self._queue: queue.Queue[Sendable | None] = queue.Queue(in_flight * 4)
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self.accepted = self.rejected = self.duplicate = self.retries = 0
        self.seconds = array("d")
        self.reasons: Counter[str] = Counter()
        self.examples: list[tuple[int, str]] = []
        self.failure: str | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"send-{i}") for i in range(in_flight)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._stop.set()
        self._end()

    @property
    def answered(self) -> int:
        """Events that have an answer."""
        return self.accepted + self.rejected + self.duplicate

    def put(self, body: Sendable) -> None:
        """Queue a body; waits while too many are under way. Raises IsothermError when sending has failed."""
        while True:
            if self.failure is not None:
                raise IsothermError(self.failure)
            try:
                return self._queue.put(body, timeout=0.2)
            except queue.Full:
                continue

    def finish(self) -> None:
        """Wait for all answers. Raises IsothermError when sending has failed."""
        self._end()
        if self.failure is not None:
            raise IsothermError(self.failure)

    def _end(self) -> None:
        for thread in self._threads:
            while thread.is_alive():
                try:
                    self._queue.put(None, timeout=0.1)
                except queue.Full:
                    continue
                thread.join(0.1)

    def _work(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while (body := self._queue.get()) is not None:
            if not self._stop.is_set():
                connection = self._deliver(body, connection)
        if connection is not None:
            connection.close()

    def _deliver(
        self, body: Sendable, connection: http.client.HTTPConnection | None
    ) -> http.client.HTTPConnection | None:
        """Post until there is an answer that counts; returns the connection for the next body."""
        headers = {"content-type": "application/json"}
        content = body.content
        if self._compress:
            content, headers["content-encoding"] = zstd.compress(content, 3), "zstd"
        give_up, attempt = time.monotonic() + self._patience_s, 0
        while not self._stop.is_set():
            wait = 0.0
            try:
                connection = connection or self._connect()
                begun = time.monotonic()
                connection.request("POST", self._target(), content, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                if connection is not None:
                    connection.close()
                connection, what = None, f"{type(error).__name__}: {error}"
            else:
                if response.status == HTTPStatus.ACCEPTED:
                    self._count(json.loads(answer), body, time.monotonic() - begun)
                    return connection
                what = f"{response.status} {_detail(answer)}"
                if response.status != HTTPStatus.TOO_MANY_REQUESTS and response.status < 500:
                    self._fail(
                        f"{self.url} refused a batch ({what}). It was {self._errand.what.format(body.lines[0])}."
                    )
                    return connection
                wait = _seconds(response.headers.get("retry-after"))
            if time.monotonic() > give_up:
                self._fail(
                    f"{self.url} did not take a batch for {self._patience_s:.0f} s ({what}). {self._errand.advice}"
                )
                return connection
            with self._guard:
                self.retries += 1
            self._stop.wait(max(wait, random.uniform(0, min(_LONGEST_WAIT, 0.05 * 2**attempt))))  # noqa: S311
            attempt += 1
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(str(self._parts.hostname), self._parts.port, timeout=_TIMEOUT)

    def _target(self) -> str:
        if not self._errand.stamped:
            return self._path
        return f"{self._path}{'&' if '?' in self._path else '?'}sent_at={time.time_ns() // 1_000_000}"

    def _count(self, answer: dict[str, Any], body: Sendable, seconds: float) -> None:
        errors: Iterable[dict[str, Any]] = answer.get("errors", ())
        with self._guard:
            self.seconds.append(seconds)
            self.accepted += answer["accepted"]
            self.rejected += answer["rejected"]
            self.duplicate += answer["duplicate"]
            self.reasons.update(answer.get("reasons", {}))
            for error in errors:
                if len(self.examples) < SHOWN:
                    text = f"{error['reason']} {error.get('field', '')}".strip()
                    self.examples.append((body.lines[error["index"]], text))

    def _fail(self, why: str) -> None:
        with self._guard:
            self.failure = self.failure or why
        self._stop.set()


def _detail(answer: bytes) -> str:
    try:
        problem = json.loads(answer)
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")


def _seconds(retry_after: str | None) -> float:
    try:
        return min(60.0, float(retry_after or 0))
    except ValueError:
        return 1.0
