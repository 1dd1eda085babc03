"""What ties a sender's trouble to a line of a log: the id of its request, and what is said about requests that failed.

A line names ids only. The body, the sender's address and what it wrote into fields are nobody's business here.
"""

import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from isotherm.collect.request import Request

HEADER: Final = "x-request-id"
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FIELDS: Final = frozenset(
    {"client_id", "screen_id", "batch_id", "events", "event_time", "sent_at", "sequence", "dropped", "source"}
)
"""Fields of the contract: other names are the sender's own words."""
LINES: Final = 20
PERIOD_S: Final = 10.0
"""At most so many lines in so many seconds: who sends nonsense all day must not fill the disk of the log."""


class RequestIds:
    """The id of each request: the sender's own if it is well formed, else one of ours, unique to this process."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._count = 0

    def of(self, given: str | None) -> str:
        """`given` is the X-Request-Id header: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit."""
        if given is not None and _WELL_FORMED.fullmatch(given):
            return given
        self._count += 1
        return f"{self._prefix}-{self._count:x}"


class Complaints:
    """One line for each request that was not taken, up to LINES in PERIOD_S; the next line says how many had none."""

    def __init__(self, logger: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._since = -PERIOD_S
        self._said = self._silent = 0

    def tell(self, status: int, reason: str, request_id: str, request: Request | None, field: object = None) -> None:
        """`reason` is in our own words; `request` is None when its body was not read."""
        now = self._now()
        if now - self._since >= PERIOD_S:
            self._since, self._said = now, 0
        if self._said >= LINES:
            self._silent += 1
            return
        self._said += 1
        facts = ids(request)
        if field in _FIELDS:
            facts["field"] = str(field)
        if self._silent:
            facts["without_a_line"], self._silent = str(self._silent), 0
        say = self._logger.warning if status >= 500 or status == 429 else self._logger.info
        say("not taken", status=status, reason=reason, request_id=request_id, **facts)


def ids(request: Request | None) -> dict[str, str]:
    """Client and batch, as far as the steps came to know them and found them well formed."""
    if request is None or request.facts is None:
        return {}
    batch_id = request.batch_id or getattr(request.facts, "batch_id", None) or ""
    return {"client_id": request.facts.client_id} | ({"batch_id": batch_id} if batch_id else {})
