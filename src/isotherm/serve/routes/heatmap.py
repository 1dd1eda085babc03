"""Maps: one hour, day or week, and any range."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response, get

from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.rollup.buckets import WEEK_MS, Bucket
from isotherm.rollup.grid import GRID_H, GRID_W
from isotherm.rollup.read import plan_read, sum_maps
from isotherm.serve import known, params
from isotherm.serve.answer import AnyRequest, answer
from isotherm.serve.cells import Counts, arrow_stream, arrow_table, json_answer, json_columns
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.negotiate import Form
from isotherm.serve.params import DEFAULT_EVENT_TYPE
from isotherm.store.db import reading

_GRID: Final = {"grid_w": GRID_W, "grid_h": GRID_H}


@dataclass(frozen=True, slots=True)
class _Map:
    """A map that was asked for, and the state of the tiles that answer it; times in ms."""

    client_id: str
    screen_id: str
    event_types: list[str]
    start: int
    end: int
    buckets: Sequence[Bucket]
    versions: Sequence[known.Version]
    stale: bool
    pending: int
    tiled_until: int
    columns: bool

    @property
    def complete(self) -> bool:
        return not self.stale and not self.pending

    def identity(self) -> list[Any]:
        asked = [self.client_id, self.screen_id, self.event_types, self.start, self.end]
        return [*asked, self.versions, self.stale, self.pending, self.tiled_until, self.columns]

    def headers(self) -> dict[str, str]:
        return {
            "isotherm-complete": str(self.complete).lower(),
            "isotherm-stale": str(self.stale).lower(),
            "isotherm-pending-hours": str(self.pending),
            "isotherm-tiled-until": iso(self.tiled_until),
        }

    def members(self, counts: Counts) -> dict[str, Any]:
        return {
            "client_id": self.client_id,
            "screen_id": self.screen_id,
            "event_types": self.event_types,
            "from": iso(self.start),
            "to": iso(self.end),
            **_GRID,
            "total": int(counts.sum()),
            "max": int(counts.max()),
            "complete": self.complete,
            "stale": self.stale,
            "pending": self.pending,
            "tiled_until": iso(self.tiled_until),
            "buckets": [{"level": bucket.level.value, "start": iso(bucket.start)} for bucket in self.buckets],
        }


def _find(
    deps: Deps,
    client_id: str,
    screen_id: str,
    event_type: list[str] | None,
    start: int,
    end: int,
    cells: params.Cells,
) -> _Map:
    """Plan the read in one snapshot. Raises Problem 404 for an unknown client and 422 for expired tiles."""
    params.client(client_id)
    params.screen(screen_id)
    kinds = params.event_types(event_type) or [DEFAULT_EVENT_TYPE]
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        plan = plan_read(connection, client_id, start, end, deps.clock.now_ms(), deps.settings)
        pending = 0 if plan.pending_from is None else known.pending_hours(connection, client_id, start, end)
        versions = known.versions(connection, client_id, plan.buckets)
    tiled_until = end if plan.pending_from is None else plan.pending_from
    return _Map(
        client_id,
        screen_id,
        kinds,
        start,
        end,
        plan.buckets,
        versions,
        plan.stale,
        pending,
        tiled_until,
        cells == "columns",
    )


def _counts(deps: Deps, found: _Map) -> Counts:
    """Read the tiles. Raises Problem 404 when they are all empty because the screen is unknown."""
    counts = sum_maps(deps.olap, found.client_id, found.screen_id, found.event_types, "", found.buckets)
    if not counts.any():
        known.require_screen(deps.olap, found.client_id, found.screen_id)
    return counts


def _encode(counts: Counts, members: dict[str, Any], form: Form, *, columns: bool) -> bytes:
    if form == "arrow":
        return arrow_stream(arrow_table(counts), members)
    return json_columns(counts, members) if columns else json_answer(counts, members)


def _one_bucket(request: AnyRequest, deps: Deps, found: _Map) -> Response[bytes]:
    def build(form: Form) -> bytes:
        return _encode(_counts(deps, found), _GRID, form, columns=found.columns)

    return answer(request, build, identity=found.identity(), headers=found.headers(), cache=deps.answers)


@get("/heatmap/hourly", sync_to_thread=True, tags=["maps"], summary="Map of one hour")
def hourly(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    dt: params.Day,
    hour: params.Hour,
    event_type: params.EventTypes = None,
    cells: params.Cells = "objects",
) -> Response[bytes]:
    """Counts per cell of one UTC hour."""
    start = params.hour_ms(dt, hour)
    return _one_bucket(request, deps, _find(deps, client_id, screen_id, event_type, start, start + HOUR_MS, cells))


@get("/heatmap/daily", sync_to_thread=True, tags=["maps"], summary="Map of one day")
def daily(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    dt: params.Day,
    event_type: params.EventTypes = None,
    cells: params.Cells = "objects",
) -> Response[bytes]:
    """Counts per cell of one UTC day."""
    start = params.day_ms(dt)
    return _one_bucket(request, deps, _find(deps, client_id, screen_id, event_type, start, start + DAY_MS, cells))


@get("/heatmap/weekly", sync_to_thread=True, tags=["maps"], summary="Map of one week")
def weekly(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    week_start: params.WeekStart,
    event_type: params.EventTypes = None,
    cells: params.Cells = "objects",
) -> Response[bytes]:
    """Counts per cell of one week, Monday to Sunday, UTC."""
    start = params.week_ms(week_start)
    return _one_bucket(request, deps, _find(deps, client_id, screen_id, event_type, start, start + WEEK_MS, cells))


@get("/v1/heatmap", sync_to_thread=True, tags=["maps"], summary="Map of any range")
def any_range(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    start: params.From,
    end: params.To,
    event_type: params.EventTypes = None,
    cells: params.Cells = "objects",
) -> Response[bytes]:
    """Counts per cell of any range of whole hours, from the fewest tiles that cover it.

    A range that needs hours or days whose tiles have expired is 422 and names the nearest range that works.
    """
    first, last = params.span(start, end)
    found = _find(deps, client_id, screen_id, event_type, first, last, cells)

    def build(form: Form) -> bytes:
        counts = _counts(deps, found)
        return _encode(counts, found.members(counts), form, columns=found.columns)

    return answer(request, build, identity=found.identity(), headers=found.headers(), cache=deps.answers)
