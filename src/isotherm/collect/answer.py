"""From a finished request, or what stopped it, to an HTTP answer."""

from math import ceil
from typing import Any, Final, NamedTuple

from isotherm.collect.cors import ANSWER_HEADERS, Headers
from isotherm.collect.request import Request
from isotherm.collect.shapes import encode
from isotherm.collect.trace import HEADER
from isotherm.errors import Backpressure, Problem

MAX_ERRORS: Final = 20

JSON_HEADERS: Final[Headers] = [("content-type", "application/json"), *ANSWER_HEADERS]
_PROBLEM_TYPE: Final = ("content-type", "application/problem+json")
_PROBLEM_HEADERS: Final[Headers] = [_PROBLEM_TYPE, *ANSWER_HEADERS]


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    headers: Headers
    body: bytes


def accepted(request: Request) -> Answer:
    """202: the counts of events, and the first errors by index."""
    if not request.rejections:
        body = b'{"accepted":%d,"rejected":0,"duplicate":%d,"errors":[]}' % (request.accepted, request.duplicate)
        return Answer(202, JSON_HEADERS, body)
    errors = [
        {"index": r.index, "field": r.field, "reason": r.reason.value}
        | ({"detail": r.detail[:200]} if r.detail else {})
        for r in request.rejections[:MAX_ERRORS]
    ]
    answer: dict[str, Any] = {
        "accepted": request.accepted,
        "rejected": request.rejected,
        "duplicate": request.duplicate,
        "errors": errors,
    }
    if request.imported:
        # A person reads the report of an import: there the first errors alone would not add up.
        answer["reasons"] = request.counts.rejected
    return Answer(202, JSON_HEADERS, encode(answer))


def problem(error: Problem) -> Answer:
    """application/problem+json (RFC 9457)."""
    return Answer(error.status, [*_PROBLEM_HEADERS, *error.headers.items()], encode(error.body()))


def named(reply: Answer, request_id: str) -> Answer:
    """The answer with the request's id: in a header, and in the body of a problem."""
    headers, body = reply.headers, reply.body
    if headers and headers[0] == _PROBLEM_TYPE:
        body = b'%s,"request_id":"%s"}' % (body[:-1], request_id.encode())
    return Answer(reply.status, [*headers, (HEADER, request_id)], body)


def backpressure(error: Backpressure) -> Answer:
    """429 or 503 with Retry-After in whole seconds, and `next_retry_after_ms` in the body."""
    seconds = max(1, ceil(error.retry_after_s))
    wait_ms = max(1, ceil(error.retry_after_s * 1000))
    return problem(
        Problem(error.status, str(error), headers={"retry-after": str(seconds)}, next_retry_after_ms=wait_ms)
    )
