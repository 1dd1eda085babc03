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
from isotherm.rollup import gone
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
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        level = _level(connection, client_id, step, *edges, deps)
        first, last = _widened(level, *edges)
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


def _level(connection: Connection, client_id: str, step: str, start: int, end: int, deps: Deps) -> Level:
    """The step's level. Raises Problem 400 for too many steps, 422 where tiles that fine have expired."""
    if step == "auto":
        fitting = [level for level in Level if _steps(level, start, end) <= AUTO_STEPS]
        kept = (one for one in fitting if _kept(connection, client_id, one, start, end, deps) <= start)
        return next(kept, Level.WEEK)
    level = Level(step)
    if _steps(level, start, end) > MAX_STEPS:
        raise Problem(400, f"step: more than {MAX_STEPS:,} steps; take a longer step or step=auto", field="step")
    first = _kept(connection, client_id, level, start, end, deps)
    if _widened(level, start, end)[0] < first:
        raise Problem(
            422,
            f"tiles of one {step} are kept from {iso(first)} on; start there, or take a longer step or step=auto",
            field="from",
            nearest={"from": iso(first)},
        )
    return level


def _kept(connection: Connection, client_id: str, level: Level, start: int, end: int, deps: Deps) -> int:
    """From which moment on the level's tiles of the range are all kept: by their days, and by what really went."""
    went = gone.starts(connection, client_id, level, [_widened(level, start, end)])
    by_days = kept_from(level, deps.clock.now_ms(), deps.settings, client_id)
    return max([by_days, *(at + level.ms for at in went)])


def _steps(level: Level, start: int, end: int) -> int:
    first, last = _widened(level, start, end)
    return (last - first) // level.ms


def _widened(level: Level, start: int, end: int) -> tuple[int, int]:
    return floor(level, start), floor(level, end + level.ms - 1)


def _buckets(connection: Connection, deps: Deps, client_id: str, level: Level, start: int, end: int) -> list[Bucket]:
    """Buckets of the level, those that changed replaced by their children where these are still kept."""
    child = level.child
    if child is None:
        return [Bucket(level, at) for at in range(start, end, level.ms)]
    edge = kept_from(child, deps.clock.now_ms(), deps.settings, client_id)
    changed = {at for at in known.changed(connection, client_id, level, start, end) if at >= edge}
    if changed:
        # Not where any of the children went.
        went = gone.starts(connection, client_id, child, [(min(changed), max(changed) + level.ms)])
        changed -= {floor(level, at) for at in went}
    used: list[Bucket] = []
    for at in range(start, end, level.ms):
        if at in changed:
            used += _buckets(connection, deps, client_id, child, at, at + level.ms)
        else:
            used.append(Bucket(level, at))
    return used


def _per_step(found: pa.Table, level: Level, start: int, end: int) -> npt.NDArray[np.uint64]:
    sums = np.zeros((end - start) // level.ms, np.uint64)
    at = (found["start"].to_numpy() * 1000 - start) // level.ms
    np.add.at(sums, at, found["events"].to_numpy())
    return sums
