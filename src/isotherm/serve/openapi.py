"""The OpenAPI 3.1 document: Litestar describes parameters and bodies, this file what all answers share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from isotherm import __version__
from isotherm.serve import event_shapes, shapes
from isotherm.serve.dead_shapes import DeadAnswer, DeadCountsAnswer
from isotherm.serve.ledger_shapes import LedgerAnswer, MarksAnswer
from isotherm.serve.more import provided
from isotherm.serve.negotiate import ARROW, JSON
from isotherm.serve.picture import MEDIA_TYPES, STORED_AS
from isotherm.serve.problems import PROBLEM_JSON
from isotherm.serve.routes.admin import NDJSON
from isotherm.serve.status_shapes import StatusAnswer

DESCRIPTION: Final = """Exact heatmaps of where people move, click and scroll, from tiles that are never sampled.

Times are UTC. Counts come from aggregates only, never from the raw store. Every answer about data has a strong
`ETag`: send it back as `If-None-Match` and get 304 while nothing changed. Every error is `application/problem+json`
(RFC 9457) and says what to do."""

TAGS: Final = [
    {"name": "maps", "description": "Counts per cell of a grid of 100 by 200."},
    {"name": "listings", "description": "What there is, and when."},
    {"name": "live", "description": "What happens now, in windows of a minute, five minutes and an hour."},
    {"name": "backgrounds", "description": "Pictures of screens that maps are drawn on."},
    {"name": "operation", "description": "State, health and metrics of the program."},
    {"name": "admin", "description": "Jobs on demand, with streamed progress."},
]

_ERRORS: Final = {
    400: "A parameter is missing or wrong; `field` names it.",
    401: "The server asks for a token and the request has none, or a wrong one.",
    403: "A page of another origin tried to change something.",
    404: "Unknown client or screen, or a screen without what was asked for.",
    406: "None of the media types in Accept can be given.",
    409: "The client keeps as much as it may.",
    413: "The body is larger than what is taken here.",
    415: "The body has a media type that is not taken here.",
    421: "The Host header is not a name of this server.",
    422: "The answer would need tiles that have expired, and `nearest` has the nearest bounds that work; or the body "
    "is not what its media type says.",
    500: "A mistake in the program; its log says which.",
    501: "This process does not run such jobs.",
    503: "A store does not answer, or a limit was reached; try again after Retry-After seconds.",
}
_ALWAYS: Final = (401, 421, 500, 503)
_MAP_ERRORS: Final = (400, 404, 406, 422)
_JOB_ERRORS: Final = (400, 403, 413, 501)

_ROUTES: Final[dict[tuple[str, str], tuple[Any, tuple[int, ...]]]] = {
    ("/heatmap/hourly", "get"): (shapes.HeatmapAnswer, _MAP_ERRORS),
    ("/heatmap/daily", "get"): (shapes.HeatmapAnswer, _MAP_ERRORS),
    ("/heatmap/weekly", "get"): (shapes.HeatmapAnswer, _MAP_ERRORS),
    ("/v1/heatmap", "get"): (shapes.RangeAnswer, _MAP_ERRORS),
    ("/v1/clients", "get"): (shapes.ClientsAnswer, (400, 406)),
    ("/v1/screens", "get"): (shapes.ScreensAnswer, _MAP_ERRORS),
    ("/v1/activity", "get"): (shapes.ActivityAnswer, _MAP_ERRORS),
    ("/v1/freshness", "get"): (shapes.FreshnessAnswer, (400,)),
    ("/v1/ledger", "get"): (LedgerAnswer, (400, 404, 422)),
    ("/v1/ledger/marks", "get"): (MarksAnswer, (400, 404, 422)),
    ("/v1/dead", "get"): (DeadAnswer, (400, 501)),
    ("/v1/dead/counts", "get"): (DeadCountsAnswer, (501,)),
    ("/v1/live/windows", "get"): (shapes.LiveAnswer, (400,)),
    ("/v1/background", "get"): (STORED_AS, (400, 404)),
    ("/v1/background", "put"): (shapes.BackgroundAnswer, (400, 403, 404, 409, 413, 415, 422)),
    ("/v1/background", "delete"): (None, (400, 403)),
    ("/v1/status", "get"): (StatusAnswer, ()),
    ("/v1/healthz", "get"): (shapes.HealthAnswer, ()),
    ("/metrics", "get"): (None, ()),
    ("/v1/admin/rollup", "post"): (shapes.RollupRequest, _JOB_ERRORS),
    ("/v1/admin/verify", "post"): (shapes.VerifyRequest, _JOB_ERRORS),
    ("/v1/events/{batch_id}", "get"): (event_shapes.FoundAnswer, (400, 404, 501)),
    ("/v1/events", "get"): (event_shapes.FoundAnswer, (400, 501)),
    ("/v1/admin/maps", "get"): (ARROW, (400,)),
    ("/v1/admin/retention", "post"): (shapes.RetentionRequest, _JOB_ERRORS),
}
_COLUMNS: Final = {shapes.HeatmapAnswer: shapes.HeatmapColumns, shapes.RangeAnswer: shapes.RangeColumns}
"""The shape of the same answer to `cells=columns`."""

_FRESHNESS: Final = {
    "isotherm-complete": "`true` when everything landed in the range is counted.",
    "isotherm-stale": "`true` when something changed after the finer tiles behind it had expired.",
    "isotherm-pending-hours": "Hours of the range that wait to be tiled again.",
    "isotherm-tiled-until": "Up to here everything landed is counted (RFC 3339).",
}
_CELL_EXAMPLE: Final = {"grid_w": 100, "grid_h": 200, "cells": [{"cell_x": 49, "cell_y": 12, "count": 3071}]}


Described = Mapping[tuple[str, str], tuple[Any, tuple[int, ...]]]
"""By path and method: the answer's shape, or the media type of an answer that is a file; and its error statuses."""


def document(
    handlers: Sequence[ControllerRouterHandler], given: Iterable[str] = ("deps",), more: Described | None = None
) -> dict[str, Any]:
    """The document for these route handlers, which ask for the dependencies `given`; `more` describes added ones."""
    described = {**_ROUTES, **(more or {})}
    config = OpenAPIConfig(title="Isotherm", version=__version__, description=DESCRIPTION, use_handler_docstrings=True)
    found: dict[str, Any] = Litestar(
        handlers, openapi_config=config, dependencies={name: provided(None) for name in given}
    ).openapi_schema.to_schema()
    found["tags"] = TAGS
    found["components"] = _components(described)
    found["security"] = [{}, {"token": []}]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _finish(path, method, operation, *described[path, method])
    return found


def _components(described: Described) -> dict[str, Any]:
    kinds = [shape for shape, _ in described.values() if isinstance(shape, type)]
    kinds += [*_COLUMNS.values(), shapes.ProblemAnswer]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    token = {"type": "http", "scheme": "bearer", "description": "The setting `token`, when there is one."}
    return {
        "schemas": schemas,
        "securitySchemes": {"token": token},
        "responses": {str(status): _error(text) for status, text in _ERRORS.items()},
    }


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM_JSON: {"schema": _ref("schemas/ProblemAnswer")}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{name}"}


def _finish(path: str, method: str, operation: dict[str, Any], shape: Any, errors: tuple[int, ...]) -> None:
    operation.pop("deprecated", None)
    for parameter in operation.get("parameters", ()):
        _plain(parameter)
    responses: dict[str, Any] = (
        {"204": {"description": "It is gone."}}
        if method == "delete"
        else {"200": _success(path, shape, method, errors)}
    )
    is_file = isinstance(shape, str) and shape != ARROW
    if method == "get" and (406 in errors or is_file):
        operation.setdefault("parameters", []).append(_IF_NONE_MATCH)
        responses["304"] = {"description": "The answer with the ETag in If-None-Match is still right."}
    responses |= {str(status): _ref(f"responses/{status}") for status in sorted({*_ALWAYS, *errors})}
    operation["responses"] = responses
    if method == "post" and isinstance(shape, type):
        body = {"schema": _ref(f"schemas/{shape.__name__}"), "example": _JOB_EXAMPLES[path]}
        operation["requestBody"] = {"required": path == "/v1/admin/rollup", "content": {JSON: body}}
    if method == "put":
        picture = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(MEDIA_TYPES, picture)}


_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETag of an answer the caller holds.",
    "schema": {"type": "string"},
}
_JOB_EXAMPLES: Final = {
    "/v1/admin/rollup": {"from": "2026-02-02T00:00:00Z", "to": "2026-02-03T00:00:00Z", "client_id": "shop"},
    "/v1/admin/verify": {"client_id": "shop"},
    "/v1/admin/retention": {},
}


def _plain(parameter: dict[str, Any]) -> None:
    """Leave out what is said twice or says nothing."""
    schema = parameter["schema"]
    for key in ("description", "examples"):
        schema.pop(key, None)
    kept = [option for option in schema.pop("oneOf", ()) if option.get("type") != "null"]
    if len(kept) == 1:
        schema.update({name: value for name, value in kept[0].items() if name not in schema})
    for key in ("deprecated", "allowEmptyValue", "allowReserved"):
        if parameter.get(key) is False:
            del parameter[key]


def _success(path: str, shape: Any, method: str, errors: tuple[int, ...]) -> dict[str, Any]:
    if isinstance(shape, str):
        file: dict[str, Any] = {shape: {"schema": {"type": "string", "format": "binary"}}}
        if shape == ARROW:
            return {"description": "Rows as they are stored, as an Arrow IPC stream.", "content": file}
        headers = _headers({"etag": "Strong validator of this answer."})
        return {"description": "The picture.", "content": file, "headers": headers}
    if path == "/metrics":
        text: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
        return {"description": "Metrics in the Prometheus text format.", "content": text}
    if method == "post":
        lines = {NDJSON: {"schema": {"type": "string", "description": "One JSON object per line."}}}
        return {"description": "Progress of the job, line by line.", "content": lines}
    content: dict[str, Any] = {JSON: {"schema": _shape(shape)}}
    answer: dict[str, Any] = {"description": (shape.__doc__ or "").strip(), "content": content}
    if shape is shapes.HeatmapAnswer:
        content[JSON]["example"] = _CELL_EXAMPLE
    if 406 in errors:
        content[ARROW] = {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "An Arrow IPC stream: the rows as a table, the other members as JSON in its metadata.",
            }
        }
        answer["headers"] = _headers({"etag": "Strong validator of this answer."})
    if shape in _COLUMNS:
        answer["headers"] |= _headers(_FRESHNESS)
    return answer


def _shape(shape: Any) -> dict[str, Any]:
    kinds = [shape, _COLUMNS[shape]] if shape in _COLUMNS else [shape]
    refs = [_ref(f"schemas/{kind.__name__}") for kind in kinds]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}


def _headers(texts: dict[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}
