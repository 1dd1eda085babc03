"""Sends dead letters through the collector's door again, one after the other."""

import http.client
import json
import time
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from isotherm.collect import positions
from isotherm.collect.dead import Letter
from isotherm.errors import IsothermError

PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.5
_TIMEOUT_S: Final = 60.0
_HEADERS: Final = ("content-type", "content-encoding")


class Answer(NamedTuple):
    """What the collector said: its counts of events after a 202, else why it refused the letter."""

    accepted: int = 0
    rejected: int = 0
    refused: str | None = None


class _Envelope(msgspec.Struct):
    """As much of a record of the event log as its batch can be sent again with."""

    batch: msgspec.Raw
    batch_id: str
    skew_ms: int = 0
    positions: list[int] | None = None


def send(url: str, letter: Letter) -> Answer:
    """POST the letter's bytes as a replay. Raises IsothermError when the collector does not answer for a minute."""
    content, headers, query = request_of(letter)
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/events/batch?{urlencode(query, safe=',')}"
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            status, body = _post(parts, path, content, headers)
        except (OSError, http.client.HTTPException) as error:
            status, body, what = 0, b"", str(error) or type(error).__name__
        else:
            what = f"{status} {_detail(body)}"
        if status == HTTPStatus.ACCEPTED:
            counts = json.loads(body)
            return Answer(counts["accepted"], counts["rejected"])
        if status and status != HTTPStatus.TOO_MANY_REQUESTS and status < 500:
            return Answer(refused=what)
        if time.monotonic() > give_up:
            raise IsothermError(
                f"{url} did not take a dead letter for {PATIENCE_S:.0f} s ({what}). Start the collector, or name it "
                "with --collector, and run the same command again: nothing is counted twice"
            )
        time.sleep(_PAUSE_S)


def request_of(letter: Letter) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """Body, headers and query that the letter is sent with.

    The name of the batch is the same every time, and so are the places of its events, so that landing finds out which
    of them it has.
    """
    query = {"source": "replay", "skew_ms": str(letter.skew_ms), "batch_id": letter.batch_id or f"dead-{letter.id}"}
    headers = {name: letter.headers[name] for name in _HEADERS if name in letter.headers}
    if letter.stage == "collect":
        return letter.content, headers, query
    try:
        found = msgspec.json.decode(letter.content, type=_Envelope)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return letter.content, headers, query
    query |= {"skew_ms": str(found.skew_ms), "batch_id": found.batch_id[:128]}
    if found.positions is not None:
        query["positions"] = positions.write(found.positions)
    return bytes(found.batch), {"content-type": "application/json"}, query


def _post(parts: Any, path: str, content: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", path, content, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
