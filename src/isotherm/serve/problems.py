"""Every error of the API as application/problem+json, and nothing of our insides in it."""

import math
import re
from typing import Any, Final

import msgspec
import structlog
from clickhouse_connect.driver.exceptions import Error as OlapError
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import SQLAlchemyError

from isotherm.errors import Backpressure, IsothermError, Problem
from isotherm.store.olap import OlapDamaged

PROBLEM_JSON: Final = "application/problem+json"
_MISSING: Final = re.compile(r"Missing required query parameter '([^']+)'")
_log = structlog.get_logger(__name__)


def encode(problem: Problem) -> bytes:
    """The problem object as JSON, with the id of the request that is being answered, if one is."""
    known = structlog.contextvars.get_contextvars().get("request_id")
    return msgspec.json.encode(problem.body() | ({"request_id": known} if known else {}))


def response(problem: Problem) -> Response[bytes]:
    """The answer that carries a problem."""
    headers = {"cache-control": "no-store", **problem.headers}
    return Response(encode(problem), status_code=problem.status, media_type=PROBLEM_JSON, headers=headers)


def as_problem(error: BaseException) -> Problem:
    """What a person is told about an error; those that are our fault go to the log with their traceback."""
    match error:
        case Problem():
            return error
        case Backpressure():
            return Problem(error.status, str(error), headers={"retry-after": str(math.ceil(error.retry_after_s))})
        case HTTPException():
            return _from_http(error)
        case OlapDamaged():
            _log.error("a file cannot be read", exc_info=error)
            return Problem(
                503,
                "a file behind the maps cannot be read, which the app's log names. A damaged part of the tile store is "
                "set aside and made again by itself: try again in a while, and see `isotherm status`",
                headers={"retry-after": "10"},
            )
        case OlapError() | SQLAlchemyError():
            _log.error("store failed", exc_info=error)
            return Problem(
                503,
                "a store behind the API does not answer; try again, and see the app's log if it stays so",
                headers={"retry-after": "5"},
            )
        case IsothermError():
            _log.error("request failed", exc_info=error)
            return Problem(500, str(error))
        case _:
            _log.error("request failed", exc_info=error)
            return Problem(500, "the request could not be answered; the app's log says why")


def _from_http(error: HTTPException) -> Problem:
    if error.status_code == 404:
        return Problem(404, "no such route; GET /v1/openapi.json lists them all")
    if error.status_code == 400 and (wrong := _wrong_parameter(error)):
        return Problem(400, f"{wrong[0]}: {wrong[1]}", field=wrong[0])
    return Problem(error.status_code, error.detail, headers=dict(error.headers or {}))


def _wrong_parameter(error: HTTPException) -> tuple[str, str] | None:
    if missing := _MISSING.search(error.detail):
        return missing[1], "is required"
    if isinstance(error.extra, list) and error.extra and "key" in error.extra[0]:
        return str(error.extra[0]["key"]), str(error.extra[0]["message"])
    return None


def _handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    problem = as_problem(error)
    if problem.status == 405:
        problem.headers.setdefault("allow", _allowed(request))
    return response(problem)


def _allowed(request: Request[Any, Any, Any]) -> str:
    path = request.scope["path"].rstrip("/") or "/"
    methods = {m for route in request.app.routes if route.path == path for m in getattr(route, "methods", ())}
    return ", ".join(sorted(methods))


HANDLERS: Final[ExceptionHandlersMap] = {Exception: _handle, HTTPException: _handle}
