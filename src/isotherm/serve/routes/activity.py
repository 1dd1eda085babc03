"""Events over time, for a time strip."""

from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from litestar import Response, get
from litestar.params import QueryParameter
from sqlalchemy.engine import Connection

from isotherm.clock import iso
from isotherm.errors import Problem
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.read import plan_read
from isotherm.serve import known, params
from isotherm.serve.answer import AnyRequest, listing
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.queries import bucket_params, sql
from isotherm.store.db import reading

MAX_STEPS: Final = 2_500
AUTO_STEPS: Final = 800

Step = Annotated[
    Literal["auto", "hour", "day", "week"],
    QueryParameter(name="step", description="Length of a step; `auto` takes the finest of at most 800 steps."),
]


@get("/v1/activity", sync_to_thread=True, tags=["listings"], summary="Events over time")
def activity(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    start: params.From,
    end: params.To,
    screen_id: params.OptionalScreenId = None,
    event_type: params.EventTypes = None,
    step: Step = "auto",
) -> Response[bytes]:
    """Events per hour, day or week, all event types unless some are named; steps without events are there too.

    `from` and `to` are widened to whole steps.
    """
    params.client(client_id)
    if screen_id is not None:
        params.screen(screen_id)
    kinds = params.event_types(event_type)
    edges = params.span(start, end)
    level = _level(client_id, step, *edges, deps)
    first, last = _widened(level, *edges)
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        plan = plan_read(connection, client_id, first, last, deps.clock.now_ms(), deps.settings)
        pending = known.pending_hours(connection, client_id, first, last)
        used = _buckets(connection, deps, client_id, level, first, last)
    if screen_id is not None:
        known.require_screen(deps.olap, client_id, screen_id)
    asked = {"client_id": client_id, "screen_id": screen_id or "", "event_types": kinds}
    found = deps.olap.query(sql("activity"), {**asked, **bucket_params(used)})
    sums = _per_step(found, level, first, last)
    members: dict[str, Any] = {
        "client_id": client_id,
        "screen_id": screen_id,
        "event_types": kinds,
        "from": iso(first),
        "to": iso(last),
        "step": level.value,
        "total": int(sums.sum()),
        "stale": plan.stale,
        "pending": pending,
        "tiled_until": iso(last if plan.pending_from is None else plan.pending_from),
    }
    starts = pa.array(np.arange(first, last, level.ms), pa.timestamp("ms", "UTC"))
    return listing(request, "steps", pa.table({"start": starts, "events": sums}), members)


def _level(client_id: str, step: str, start: int, end: int, deps: Deps) -> Level:
    """The step's level. Raises Problem 400 for too many steps, 422 where tiles that fine have expired."""
    now_ms = deps.clock.now_ms()
    if step == "auto":
        kept = [level for level in Level if start >= kept_from(level, now_ms, deps.settings, client_id)]
        fitting = [level for level in kept if _steps(level, start, end) <= AUTO_STEPS]
        return (fitting or [Level.WEEK])[0]
    level = Level(step)
    if _steps(level, start, end) > MAX_STEPS:
        raise Problem(400, f"step: more than {MAX_STEPS:,} steps; take a longer step or step=auto", field="step")
    first = kept_from(level, now_ms, deps.settings, client_id)
    if _widened(level, start, end)[0] < first:
        raise Problem(
            422,
            f"tiles of one {step} are kept from {iso(first)} on; start there, or take a longer step or step=auto",
            field="from",
            nearest={"from": iso(first)},
        )
    return level


def _steps(level: Level, start: int, end: int) -> int:
    first, last = _widened(level, start, end)
    return (last - first) // level.ms


def _widened(level: Level, start: int, end: int) -> tuple[int, int]:
    return floor(level, start), floor(level, end + level.ms - 1)


def _buckets(connection: Connection, deps: Deps, client_id: str, level: Level, start: int, end: int) -> list[Bucket]:
    """Buckets of the level, those that changed replaced by their children where these are still kept."""
    child = level.child
    changed = () if child is None else known.changed(connection, client_id, level, start, end)
    now_ms = deps.clock.now_ms()
    used: list[Bucket] = []
    for at in range(start, end, level.ms):
        if child is not None and at in changed and at >= kept_from(child, now_ms, deps.settings, client_id):
            used += _buckets(connection, deps, client_id, child, at, at + level.ms)
        else:
            used.append(Bucket(level, at))
    return used


def _per_step(found: pa.Table, level: Level, start: int, end: int) -> npt.NDArray[np.uint64]:
    sums = np.zeros((end - start) // level.ms, np.uint64)
    at = (found["start"].to_numpy() * 1000 - start) // level.ms
    np.add.at(sums, at, found["events"].to_numpy())
    return sums
