"""Reading maps: which buckets answer a range, and the sum of their maps. Aggregates only, never raw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.clock import HOUR_MS, iso
from isotherm.config import Settings
from isotherm.errors import Backpressure, IsothermError, Problem
from isotherm.rollup import gone
from isotherm.rollup.buckets import Bucket, Level, cover, floor
from isotherm.rollup.damage import is_lost
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets as buckets_table
from isotherm.store.tables import dirty as dirty_table


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What answers a range.

    `buckets` do not overlap; each is published, so none means that there is nothing to show. `stale` says that
    something in the range changed after the finer tiles behind it had expired. `pending_from` is the start of
    the earliest hour in the range whose landed events are not all tiled yet, None when all are.
    """

    buckets: list[Bucket]
    stale: bool
    pending_from: int | None


def plan_read(
    connection: Connection, client_id: str, start: int, end: int, now_ms: int, settings: Settings
) -> ReadPlan:
    """The fewest largest usable buckets that cover [start, end), both in ms on the hour.

    A bucket is usable when it is published and clean; otherwise its children answer. Raises Problem 400 when an
    edge is off the hour, Problem 422 with the nearest possible bounds when the range needs expired tiles, and
    Backpressure when it needs maps that went with a damaged part of the tile store.
    """
    try:
        pending = cover(start, end)
    except ValueError as error:
        raise Problem(400, f"{error}; got {iso(start)} to {iso(end)}") from None
    kept = _kept_range(client_id, start, end, now_ms, settings)
    if kept != (start, end):
        raise _expired(*_nearest(connection, client_id, *kept, now_ms, settings))
    try:
        chosen, stale = _choose(connection, client_id, pending, now_ms, settings)
    except _Gone as went:
        nearest = _nearest(connection, client_id, *_around(start, end, went.buckets), now_ms, settings)
        raise _expired(*nearest) from None
    return ReadPlan(chosen, stale, _pending_from(connection, client_id, start, end))


class _Gone(Exception):
    """Retention took tiles of one level that the range needs, though by their days they would be kept."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        super().__init__(buckets)
        self.buckets = buckets


def _choose(
    connection: Connection, client_id: str, pending: list[Bucket], now_ms: int, settings: Settings
) -> tuple[list[Bucket], bool]:
    """The published buckets that answer for `pending`, by time, and whether something is stale. Raises _Gone."""
    chosen: list[Bucket] = []
    stale = False
    for level in (Level.WEEK, Level.DAY, Level.HOUR):
        here = [bucket for bucket in pending if bucket.level is level]
        published, changed, lost = _states(connection, client_id, here)
        unpublished = [bucket for bucket in here if bucket.start not in published]
        gone_here = gone.starts(connection, client_id, level, _windows(here)) if unpublished else set[int]()
        unusable = changed | lost | gone_here
        whole = _with_children(connection, client_id, [one for one in here if one.start in unusable], now_ms, settings)
        went = [one for one in here if one.start in gone_here and one.start not in whole]
        if went:
            raise _Gone(went)
        for bucket in here:
            if bucket.start in whole:
                pending += bucket.children()
                continue
            _refuse_lost(bucket, lost)
            stale |= level.child is not None and bucket.start in unusable
            # Publishing an hour marks its day and week: an unpublished clean bucket holds nothing at all.
            chosen += [bucket] if bucket.start in published else []
    chosen.sort(key=lambda bucket: bucket.start)
    return chosen, stale


def _with_children(
    connection: Connection, client_id: str, unusable: Sequence[Bucket], now_ms: int, settings: Settings
) -> set[int]:
    """Starts of those of the buckets, all of one level, whose next finer tiles are all kept and can answer."""
    if not unusable or (child := unusable[0].level.child) is None:
        return set()
    kept = [one for one in unusable if one.start >= kept_from(child, now_ms, settings, client_id)]
    went = gone.starts(connection, client_id, child, _windows(kept))
    return {one.start for one in kept} - {floor(unusable[0].level, start) for start in went}


def _kept_range(client_id: str, start: int, end: int, now_ms: int, settings: Settings) -> tuple[int, int]:
    """The nearest range that could be answered by the days that tiles are kept for: the same one when it could."""
    kept_edge = partial(_kept_edge, client_id)
    nearest_start = kept_edge(start, now_ms, settings, up=False)
    nearest_start = max(nearest_start, kept_from(Level.WEEK, now_ms, settings, client_id))
    nearest_end = max(kept_edge(end, now_ms, settings, up=True), nearest_start + HOUR_MS)
    return nearest_start, kept_edge(nearest_end, now_ms, settings, up=True)


def _nearest(
    connection: Connection, client_id: str, start: int, end: int, now_ms: int, settings: Settings
) -> tuple[int, int]:
    """The nearest range that can be answered."""
    while True:
        start, end = _kept_range(client_id, start, end, now_ms, settings)
        try:
            _choose(connection, client_id, cover(start, end), now_ms, settings)
        except _Gone as went:
            start, end = _around(start, end, went.buckets)
        except Backpressure:
            # Its maps are lost, and may come back.
            return start, end
        else:
            return start, end


def _around(start: int, end: int, went: Sequence[Bucket]) -> tuple[int, int]:
    """The range with the coarser buckets around these; of weeks, which nothing coarser holds, what comes after them."""
    coarser = [bucket.parent for bucket in went if bucket.parent is not None]
    if coarser:
        return min(start, *(one.start for one in coarser)), max(end, *(one.end for one in coarser))
    start = max(bucket.end for bucket in went)
    return start, max(end, start + HOUR_MS)


def _expired(start: int, end: int) -> Problem:
    return Problem(
        422,
        "the tiles that would answer this range exactly have expired (hours become days, days become weeks, "
        f"then they are dropped); the nearest range is {iso(start)} to {iso(end)}",
        nearest={"from": iso(start), "to": iso(end)},
    )


def _kept_edge(client_id: str, edge: int, now_ms: int, settings: Settings, *, up: bool) -> int:
    """The edge moved down, or up, to the nearest one that the finest tiles still kept there can tell apart."""
    level = Level.HOUR
    for coarser in (Level.DAY, Level.WEEK):
        if edge < kept_from(coarser.child or coarser, now_ms, settings, client_id):
            level = coarser
    return floor(level, edge + (level.ms - 1 if up else 0))


def _refuse_lost(bucket: Bucket, lost: set[int]) -> None:
    """What is left of lost maps would pass for the whole."""
    if bucket.start in lost:
        raise Backpressure(
            f"the maps of the {bucket.level} of {iso(bucket.start)} went with a damaged part of the tile store; they "
            "are made again from the raw events by themselves: try again in a while. If those have expired, restore a "
            "backup",
            retry_after_s=30,
        )


def _states(connection: Connection, client_id: str, wanted: Sequence[Bucket]) -> tuple[set[int], set[int], set[int]]:
    """Starts, among the wanted buckets of one level, that are published, that are dirty, and whose maps are lost."""
    published: set[int] = set()
    changed: set[int] = set()
    lost: set[int] = set()
    for first, end in _windows(wanted):
        for table, lost_too in ((buckets_table, is_lost()), (dirty_table, sa.false())):
            rows = connection.execute(
                sa.select(table.c.start, lost_too).where(
                    table.c.client_id == client_id,
                    table.c.level == wanted[0].level.value,
                    table.c.start >= first,
                    table.c.start < end,
                )
            ).all()
            (published if table is buckets_table else changed).update(start for start, _ in rows)
            lost.update(start for start, gone in rows if gone)
    return published, changed, lost


def _windows(wanted: Sequence[Bucket]) -> list[tuple[int, int]]:
    """Runs of adjoining buckets as (start, end): a read touches no state between them."""
    windows: list[tuple[int, int]] = []
    for bucket in sorted(wanted):
        if windows and windows[-1][1] == bucket.start:
            windows[-1] = (windows[-1][0], bucket.end)
        else:
            windows.append((bucket.start, bucket.end))
    return windows


def _pending_from(connection: Connection, client_id: str, start: int, end: int) -> int | None:
    return connection.execute(
        sa.select(sa.func.min(dirty_table.c.start)).where(
            dirty_table.c.level == Level.HOUR.value,
            dirty_table.c.client_id == client_id,
            dirty_table.c.start >= start,
            dirty_table.c.start < end,
        )
    ).scalar_one()


def in_buckets(buckets: Iterable[Bucket]) -> tuple[str, dict[str, list[int]]]:
    """A condition on `level` and `bucket_start` that holds for these buckets, and its parameters."""
    by_level: dict[str, list[int]] = {}
    for bucket in buckets:
        by_level.setdefault(bucket.level.value, []).append(bucket.start // 1000)
    parts = [f"(level = '{level}' AND bucket_start IN {{{level}s:Array(DateTime)}})" for level in by_level]
    return f"({' OR '.join(parts) or '0'})", {f"{level}s": starts for level, starts in by_level.items()}


_SUM: Final = """
SELECT
    sumForEachIf(counts, empty(cells)) AS dense,
    groupArrayArrayIf(cells, notEmpty(cells)) AS sparse_cells,
    groupArrayArrayIf(counts, notEmpty(cells)) AS sparse_counts,
    countIf(grid_w != {grid_w:UInt16} OR grid_h != {grid_h:UInt16}) AS other_grid
FROM maps FINAL
WHERE client_id = {client_id:String} AND screen_id = {screen_id:String} AND segment = {segment:String}
    AND event_type IN {event_types:Array(String)} AND """


def sum_maps(
    olap: Olap,
    client_id: str,
    screen_id: str,
    event_types: str | Sequence[str],
    segment: str,
    buckets: Sequence[Bucket],
) -> npt.NDArray[np.uint64]:
    """The counts of one screen summed over buckets and event types: shape (CELLS,), index cell_y * GRID_W + cell_x.

    Take `buckets` from `plan_read`. All zero when there is no such map.
    """
    condition, params = in_buckets(buckets)
    row = olap.query(
        _SUM + condition,
        params
        | {
            "client_id": client_id,
            "screen_id": screen_id,
            "segment": segment,
            "event_types": [event_types] if isinstance(event_types, str) else list(event_types),
            "grid_w": GRID_W,
            "grid_h": GRID_H,
        },
    )
    if row.column("other_grid")[0].as_py():
        raise IsothermError("these maps were made on another grid; rebuild them with `isotherm rollup --from --to`")
    counts = np.zeros(CELLS, np.uint64)
    dense = _values(row, "dense")
    counts[: len(dense)] += dense
    np.add.at(counts, _values(row, "sparse_cells"), _values(row, "sparse_counts"))
    return counts


def _values(row: pa.Table, column: str) -> npt.NDArray[np.uint64]:
    return row.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)


def list_maps(olap: Olap, client_id: str, buckets: Sequence[Bucket], segment: str = "") -> pa.Table:
    """Maps of a client in these buckets: screen_id, event_type, events, tiled, last_event (timestamp[ms, UTC]).

    One row per screen and event type, most events first; vanished maps are left out.
    """
    condition, params = in_buckets(buckets)
    return olap.query(
        "SELECT screen_id, event_type, sum(m.events) AS events, sum(m.tiled) AS tiled, max(m.last_event) AS last_event"
        " FROM maps AS m FINAL"
        f" WHERE client_id = {{client_id:String}} AND segment = {{segment:String}} AND m.events > 0 AND {condition}"
        " GROUP BY screen_id, event_type ORDER BY events DESC, screen_id, event_type",
        params | {"client_id": client_id, "segment": segment},
    )
