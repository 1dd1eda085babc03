"""Rows -> parts: what one client did in one hour, in the lake's sort order, without rows that are landed already."""

import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from isotherm.clock import HOUR_MS, iso
from isotherm.events import client_id_ok
from isotherm.land import rowhash
from isotherm.land.lake import Lake
from isotherm.land.landing import LakeFile, OffsetRange, Snapshot
from isotherm.land.rows import Rows, joined, whole
from isotherm.land.schema import SORT_ORDER
from isotherm.land.write import SUFFIXES, read_pieces

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_POSITION_BITS: Final = 32
_PIECE_ROWS: Final = 1 << 20


class Part(Struct):
    """The rows of one client and event hour; `imported` says per row whether it came through the import door.

    `raw_only` rows are kept and never tiled; see `late.py`.
    """

    client_id: str
    hour: int
    table: pa.Table
    imported: Mask
    raw_only: bool = False


def split(rows: Rows) -> Iterator[Part]:
    """Parts of rows that are in log order, each sorted by SORT_ORDER."""
    if not len(rows.record):
        return
    events, facts, record, imported = whole(rows.events), whole(rows.facts), rows.record, rows.imported
    clients, client_rank = ranks(facts, "client_id")
    screens, screen_rank = ranks(facts, "screen_id")
    hours = int64(events, "event_time") // HOUR_MS
    first_hour = int(hours.min())
    span = int(hours.max()) - first_hour + 1
    group = client_rank[record] * span + (hours - first_hour)
    key = group * len(screens) + screen_rank[record]
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        events, record, imported, group = _take(events, order), record[order], imported[order], group[order]
    edges = [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(group)]
    for start, end in pairwise(edges):
        client, hour = divmod(int(group[start]), span)
        table = joined(events.slice(start, end - start), facts, record[start:end])
        yield Part(clients[client], (first_hour + hour) * HOUR_MS, table, imported[start:end])


def in_order(table: pa.Table) -> pa.Table:
    """The rows of one client and hour, sorted by SORT_ORDER."""
    keys = [ranks(table, name)[1] if name == "screen_id" else int64(table, name) for name in reversed(SORT_ORDER)]
    return _take(table, np.lexsort(keys))


def _take(table: pa.Table, order: npt.NDArray[np.intp]) -> pa.Table:
    indices = pa.array(order)
    # Most columns of most batches hold nulls only: those look the same in any order.
    columns = [c if c.null_count == len(c) else c.take(indices) for c in table.itercolumns()]
    return pa.table(columns, schema=table.schema)


def ranks(table: pa.Table, name: str) -> tuple[list[str], Ints]:
    """The values of a dictionary column in order, and for each row the index of its value; one chunk, no nulls."""
    column = table.column(name).combine_chunks()
    values = column.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    return [values[i] for i in order], rank[column.indices.to_numpy()]


def int64(table: pa.Table, name: str) -> Ints:
    """An integer or time column without nulls."""
    column = table.column(name).combine_chunks()
    return (column.cast(pa.int64()) if pa.types.is_integer(column.type) else column.view(pa.int64())).to_numpy()


def fresh(part: Part, lake: Lake, listed: Sequence[LakeFile]) -> Mask:
    """Which rows of the part are to be landed: all but imported ones that `listed` files or earlier rows hold.

    Rows are the same when client, hour, batch_id and position are.
    """
    keys, batches = _keys(part.table)
    first = np.zeros(len(keys), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    known = np.zeros(len(keys), np.bool_)
    for file in listed:
        for table in read_pieces(lake, file, _PIECE_ROWS, ["batch_id", "position"]):
            held = _held(table, batches)
            if len(held):
                known |= np.isin(keys, held)
    return ~part.imported | (first & ~known)


def _keys(table: pa.Table) -> tuple[Ints, Any]:
    column = table.column("batch_id").combine_chunks()
    codes = column.indices.to_numpy().astype(np.int64)
    return (codes << _POSITION_BITS) | int64(table, "position"), column.dictionary


def _held(table: pa.Table, batches: Any) -> Ints:
    """The keys of a file's rows in terms of `batches`; only rows of those batches."""
    keys, theirs = _keys(table)
    codes = pc.call_function("index_in", [theirs], pc.SetLookupOptions(value_set=batches)).fill_null(-1).to_numpy()
    ours = codes.astype(np.int64)[keys >> _POSITION_BITS]
    positions = keys & ((1 << _POSITION_BITS) - 1)
    return ((ours << _POSITION_BITS) | positions)[ours >= 0]


def without_known(parts: Sequence[Part], lake: Lake, snapshot: Snapshot) -> Iterator[tuple[Part, Mask]]:
    """Each part with the mask of its rows that are new; `snapshot` lists the files of its clients and hours."""
    listed: dict[tuple[str, int], list[LakeFile]] = {}
    for file in snapshot.files:
        listed.setdefault((file.client_id, file.hour), []).append(file)
    for part in parts:
        yield part, fresh(part, lake, listed.get((part.client_id, part.hour), []))


def describe(part: Part, format: str, ranges: Sequence[OffsetRange], stem: str) -> LakeFile:  # noqa: A002
    """The manifest's row for a file of this part, not yet with its size; `ranges` sum up to the part's rows."""
    times = int64(part.table, "event_time")
    return LakeFile(
        path=path_of(part.client_id, part.hour, stem, format),
        format=format,
        client_id=part.client_id,
        hour=part.hour,
        rows=part.table.num_rows,
        bytes=0,
        min_time=int(times.min()),
        max_time=int(times.max()),
        row_hash=rowhash.add(r.row_hash for r in ranges),
        ranges=list(ranges),
        raw_only=part.raw_only,
    )


def path_of(client_id: str, hour: int, stem: str, format: str) -> str:  # noqa: A002
    """Where a new file goes; a random suffix makes every path new. ValueError for a client id that is none."""
    if not client_id_ok(client_id):
        raise ValueError(f"not a client id: {client_id!r}")
    moment = iso(hour)
    folder = f"dt={moment[:10]}/hour={moment[11:13]}/client_id={client_id}"
    return f"{folder}/part-{stem}-{uuid.uuid4().hex[:12]}.{SUFFIXES[format]}"
