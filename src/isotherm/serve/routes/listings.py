"""What there is: clients, and a client's screens."""

import base64
from typing import Any, Final

import pyarrow as pa
from litestar import Response, get
from sqlalchemy.engine import Connection

from isotherm.clock import iso
from isotherm.errors import Problem
from isotherm.events import client_id_ok, is_simulated
from isotherm.rollup.buckets import Bucket
from isotherm.rollup.read import plan_read
from isotherm.serve import known, params
from isotherm.serve.answer import AnyRequest, listing
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.queries import bucket_params, plan_params, sql
from isotherm.store.db import reading

_MOMENT: Final = pa.timestamp("ms", "UTC")
_CLIENT_ROWS: Final = pa.schema(
    [
        ("client_id", pa.string()),
        ("simulated", pa.bool_()),
        ("screens", pa.uint64()),
        ("events", pa.uint64()),
        ("last_event", _MOMENT),
    ]
)
_SIZE: Final = [("device", pa.string()), ("w", pa.float64()), ("h", pa.float64()), ("source", pa.string())]
_SCREEN_ROWS: Final = pa.schema(
    [
        ("screen_id", pa.string()),
        ("events", pa.uint64()),
        ("tiled", pa.uint64()),
        ("last_event", _MOMENT),
        ("event_types", pa.map_(pa.string(), pa.uint64())),
        ("shape", pa.struct(_SIZE)),
        ("shapes", pa.list_(pa.struct([*_SIZE, ("events", pa.uint64())]))),
        ("background", pa.struct([("w", pa.uint32()), ("h", pa.uint32()), ("version", pa.string())])),
    ]
)
_FIRST_PAGE: Final = ((1 << 64) - 1, "\U0010ffff")


@get("/v1/clients", sync_to_thread=True, tags=["listings"], summary="Clients")
def clients(
    request: AnyRequest, deps: InDeps, limit: params.Limit = 100, cursor: params.Cursor = None
) -> Response[bytes]:
    """Every client that sent events: its screens, its events and its last one, as far as they are tiled."""
    with reading(deps.engine) as connection:
        names = known.client_page(connection, _client_cursor(cursor), limit + 1)
        plans = {name: _everything(connection, deps, name) for name in names[:limit]}
    rows = _client_rows(deps, plans)
    more = base64.urlsafe_b64encode(names[limit - 1].encode()).decode() if len(names) > limit else None
    return listing(request, "clients", rows, {"next_cursor": more})


def _client_rows(deps: Deps, plans: dict[str, list[Bucket]]) -> pa.Table:
    """One question for all of a page; a client without tiles has no row in its answer."""
    tiled = {name: plan for name, plan in plans.items() if plan}
    found = deps.olap.query(sql("client_totals"), plan_params(tiled)).to_pylist() if tiled else []
    totals = {row["client_id"]: row for row in found}
    rows = [
        {"screens": 0, "events": 0} | totals.get(name, {}) | {"client_id": name, "simulated": is_simulated(name)}
        for name in plans
    ]
    return pa.Table.from_pylist(rows, schema=_CLIENT_ROWS)


def _client_cursor(cursor: str | None) -> str:
    if not cursor:
        return ""
    try:
        name = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        name = ""
    if not client_id_ok(name):
        raise Problem(400, "cursor: is not one that an earlier page gave", field="cursor")
    return name


@get("/v1/screens", sync_to_thread=True, tags=["listings"], summary="Screens of a client")
def screens(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    q: params.Search = "",
    start: params.OptionalFrom = None,
    end: params.OptionalTo = None,
    limit: params.Limit = 100,
    cursor: params.Cursor = None,
) -> Response[bytes]:
    """A client's screens, most events first: events per type, the last event, how large they are, their picture."""
    params.client(client_id)
    after = params.read_cursor(cursor) or _FIRST_PAGE
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        edges = _edges(connection, deps, client_id, start, end)
        buckets = _plan(connection, deps, client_id, edges)
    found = deps.olap.query(
        sql("screens"),
        {
            "client_id": client_id,
            "search": q,
            "after_events": after[0],
            "after_screen": after[1],
            "limit": limit + 1,
            **bucket_params(buckets),
        },
    )
    page = found.slice(0, limit)
    ids: list[str] = page["screen_id"].to_pylist()
    with reading(deps.engine) as connection:
        shapes = known.shapes(connection, client_id, ids)
        pictures = known.pictures(connection, client_id, ids)
    rows = _screen_rows(page, shapes, pictures)
    more = None
    if found.num_rows > limit:
        more = params.make_cursor(found["events"][limit - 1].as_py(), found["screen_id"][limit - 1].as_py())
    bounds = {"from": edges and iso(edges[0]), "to": edges and iso(edges[1])}
    return listing(request, "screens", rows, {"client_id": client_id, **bounds, "next_cursor": more})


def _screen_rows(
    found: pa.Table, shapes: dict[str, list[dict[str, Any]]], pictures: dict[str, dict[str, Any]]
) -> pa.Table:
    rows = found.to_pylist()
    for row in rows:
        row["event_types"] = list(zip(row.pop("types"), row.pop("type_counts"), strict=True))
        row["shapes"] = shapes.get(row["screen_id"], [])
        row["shape"] = row["shapes"][0] if row["shapes"] else None
        row["background"] = pictures.get(row["screen_id"])
    return pa.Table.from_pylist(rows, schema=_SCREEN_ROWS)


def _edges(
    connection: Connection, deps: Deps, client_id: str, start: str | None, end: str | None
) -> tuple[int, int] | None:
    """The range asked for, open edges taken from the client's data; None when there is no data."""
    given = (start and params.moment(start, "from"), end and params.moment(end, "to"))
    known_span = known.data_span(connection, client_id, deps.clock.now_ms(), deps.settings)
    if known_span is None and None in given:
        return None
    first = given[0] if isinstance(given[0], int) else known_span[0] if known_span else 0
    last = given[1] if isinstance(given[1], int) else known_span[1] if known_span else 0
    if first < last:
        return first, last
    if None in given:
        return None
    raise Problem(400, "to: must lie after from", field="to")


def _plan(connection: Connection, deps: Deps, client_id: str, edges: tuple[int, int] | None) -> list[Bucket]:
    if edges is None:
        return []
    return plan_read(connection, client_id, *edges, deps.clock.now_ms(), deps.settings).buckets


def _everything(connection: Connection, deps: Deps, client_id: str) -> list[Bucket]:
    span = known.data_span(connection, client_id, deps.clock.now_ms(), deps.settings)
    return _plan(connection, deps, client_id, span)
