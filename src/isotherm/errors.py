"""What can go wrong, named once: drop reasons, the two steering exceptions, and the HTTP error envelope."""

from enum import StrEnum
from http import HTTPStatus
from typing import Any


class DropReason(StrEnum):
    """Why an event was not kept. Closed: every drop is counted under one of these names."""

    NOT_AN_EVENT = "not_an_event"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_EVENT_TYPE = "bad_event_type"
    BAD_TIME = "bad_time"
    BAD_POSITION = "bad_position"
    MISSING_POSITION = "missing_position"
    BAD_NUMBER = "bad_number"
    BAD_TEXT = "bad_text"
    TOO_DEEP = "too_deep"
    TOO_OLD = "too_old"
    TOO_FAR_AHEAD = "too_far_ahead"


DROP_REASONS: dict[DropReason, str] = {
    DropReason.NOT_AN_EVENT: "the entry in `events` is not a JSON object",
    DropReason.MISSING_FIELD: "`event_time` or `event_type` is missing",
    DropReason.WRONG_TYPE: "a field has another JSON type than the contract says",
    DropReason.BAD_EVENT_TYPE: "`event_type` does not match [a-z][a-z0-9_.$-]{0,63}",
    DropReason.BAD_TIME: "`event_time` is neither milliseconds since 1970 nor RFC 3339 with an offset",
    DropReason.BAD_POSITION: "a normalised coordinate is not finite or lies outside [0, 1]",
    DropReason.MISSING_POSITION: "mousemove, click and touch need x_norm and y_norm",
    DropReason.BAD_NUMBER: "a number is out of the range the contract allows",
    DropReason.BAD_TEXT: "a text is too long, empty, or not valid Unicode",
    DropReason.TOO_DEEP: "the event is nested deeper than the contract allows",
    DropReason.TOO_OLD: "the event is older than `late_horizon_days`; with `late_events = raw_only`, older than raw "
    "events are kept",
    DropReason.TOO_FAR_AHEAD: "the event lies more than 24 hours ahead of the server's clock",
}


class IsothermError(Exception):
    """An error whose message tells a person what to do; the command line prints it without a traceback."""


class ConfigError(IsothermError):
    """A setting is wrong, or two settings contradict each other."""


class Backpressure(IsothermError):
    """The next stage cannot take more now; the sender should come back after `retry_after_s`.

    `status` is 429 (this sender is too fast) or 503 (the store is full, down or behind).
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status


class Unusable(IsothermError):
    """A record that can never be processed; it goes to the dead letters and is not retried."""


class Problem(IsothermError):
    """An HTTP error, rendered as application/problem+json (RFC 9457).

    `extra` holds further members of the problem object, e.g. ``field`` or ``nearest``.
    """

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def body(self) -> dict[str, Any]:
        """The problem object: type, title, status, detail, and the extra members."""
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, **self.extra}
