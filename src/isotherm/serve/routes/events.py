"""Raw events by id, and by the cell that counts them: bounded look-ups for operators, never for a map."""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import PathParameter, QueryParameter

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import Problem
from isotherm.events import EVENT_TYPE
from isotherm.land.find import MAX_FOUND, MAX_SPAN_MS
from isotherm.rollup.grid import GRID_H, GRID_W
from isotherm.serve import params
from isotherm.serve.deps import Deps, InDeps

ID_CHARACTERS: Final = 256
BatchId = Annotated[
    str, PathParameter(description="The batch_id that the client sent, or `batch_id:position` as look-ups give it.")
]
Position = Annotated[
    int | None, QueryParameter(name="position", description="Only this event of the batch.", ge=0, le=2**31 - 1)
]
EventType = Annotated[str, QueryParameter(name="event_type", description="Kind of event.")]
CellX = Annotated[
    int | None,
    QueryParameter(name="cell_x", description="Column of the cell, with cell_y; default: any.", ge=0, le=GRID_W - 1),
]
CellY = Annotated[
    int | None,
    QueryParameter(name="cell_y", description="Row of the cell, with cell_x; default: any.", ge=0, le=GRID_H - 1),
]
FoundFrom = Annotated[
    str | None,
    QueryParameter(name="from", description="First hour; RFC 3339 or ms, on the hour. Default: 30 days ago."),
]
FoundTo = Annotated[
    str | None,
    QueryParameter(name="to", description="End, excluded; at most 31 days after `from`. Default: an hour from now."),
]
Most = Annotated[
    int, QueryParameter(name="limit", description="Events of the answer; `complete` tells of more.", ge=1, le=MAX_FOUND)
]


@get("/v1/events/{batch_id:str}", sync_to_thread=True, tags=["admin"], summary="Raw events of a batch")
def by_id(
    deps: InDeps,
    batch_id: BatchId,
    client_id: params.ClientId,
    position: Position = None,
    start: FoundFrom = None,
    end: FoundTo = None,
    limit: Most = 200,
) -> Response[bytes]:
    """The events of one request of a client, as they are in the lake; events still on the log are not there yet.

    Looks through the client's files of the hours asked for, the newest first, for at most ten seconds.
    """
    params.client(client_id)
    batch_id, position = _id(batch_id, position)
    edges = _edges(deps, start, end)
    found = _find(deps)(client_id=client_id, start=edges[0], end=edges[1], limit=limit, batch=(batch_id, position))
    if found["complete"] and not found["events"]:
        raise Problem(
            404, "no event of this batch of the client has landed in these hours; give from and to for others"
        )
    return _answer(found)


@get("/v1/events", sync_to_thread=True, tags=["admin"], summary="Raw events behind a cell")
def by_place(
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    start: params.From,
    end: params.To,
    event_type: EventType = params.DEFAULT_EVENT_TYPE,
    cell_x: CellX = None,
    cell_y: CellY = None,
    limit: Most = 200,
) -> Response[bytes]:
    """Which raw events made this cell: those of a screen and type in at most 31 days, the newest hour first.

    For operators who look into a number: it reads lake files, for at most ten seconds. Maps come from tiles.
    """
    params.client(client_id)
    params.screen(screen_id)
    if EVENT_TYPE.fullmatch(event_type) is None:
        raise Problem(400, "event_type: must match [a-z][a-z0-9_.$-]{0,63}", field="event_type")
    if (cell_x is None) != (cell_y is None):
        raise Problem(400, "cell_x: a cell is named by cell_x and cell_y together", field="cell_x")
    cell = None if cell_x is None or cell_y is None else (cell_x, cell_y)
    edges = _edges(deps, start, end)
    find = _find(deps)
    return _answer(
        find(client_id=client_id, start=edges[0], end=edges[1], limit=limit, place=(screen_id, event_type, cell))
    )


def _id(batch_id: str, position: int | None) -> tuple[str, int | None]:
    """The id with the position that may be part of it."""
    head, _, tail = batch_id.rpartition(":")
    if position is None and head and tail.isdecimal() and len(tail) < 10:
        batch_id, position = head, int(tail)
    if len(batch_id) > ID_CHARACTERS:
        raise Problem(400, f"batch_id: at most {ID_CHARACTERS} characters", field="batch_id")
    return batch_id, position


def _edges(deps: Deps, start: str | None, end: str | None) -> tuple[int, int]:
    now = deps.clock.now_ms()
    last = now - now % HOUR_MS + HOUR_MS if end is None else params.moment(end, "to")
    first = last - 30 * DAY_MS if start is None else params.moment(start, "from")
    if end is None:
        last = min(last, first + MAX_SPAN_MS)
    if first >= last:
        raise Problem(400, "to: must lie after from", field="to")
    if last - first > MAX_SPAN_MS:
        raise Problem(400, f"to: at most {MAX_SPAN_MS // DAY_MS} days after from", field="to")
    return first, last


def _find(deps: Deps) -> Any:
    if deps.find is None:
        raise Problem(501, "this process looks no events up; ask the one that `isotherm up` runs")
    return deps.find


def _answer(found: dict[str, Any]) -> Response[bytes]:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(found), media_type="application/json", headers=headers)
