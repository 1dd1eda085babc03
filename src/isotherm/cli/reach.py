"""Whether the collector answers and takes events, for those who look at the app."""

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Final

import msgspec
from msgspec import Struct

from isotherm.config import Settings

PATIENCE_SECONDS: Final = 0.5
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound to
_MOST: Final = 1 << 16


class Collector(Struct, frozen=True):
    """Whether something takes connections at the collector's address, and why it refuses what comes, if it says so."""

    answers: bool
    refuses: str | None = None


class _Problem(Struct, frozen=True):
    detail: str


def ask_collector(settings: Settings) -> Collector:
    """The collector as this process sees it; one that thinks about its health for long is not known to refuse."""
    host = _EVERYWHERE.get(settings.collect_host, settings.collect_host)
    with closing(HTTPConnection(host, settings.collect_port, timeout=PATIENCE_SECONDS)) as connection:
        try:
            connection.connect()
        except OSError:
            return Collector(answers=False)
        try:
            connection.request("GET", "/v1/healthz")
            response = connection.getresponse()
            said = response.read(_MOST)
        except (OSError, HTTPException):
            return Collector(answers=True)
    if response.status != 503:
        return Collector(answers=True)
    try:
        return Collector(answers=True, refuses=msgspec.json.decode(said, type=_Problem).detail)
    except msgspec.DecodeError:
        return Collector(answers=True)
