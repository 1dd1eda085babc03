"""JSONL against Parquet, row by row and bit by bit, for lakes that are landed in both formats."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from isotherm.clock import iso
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest, Snapshot
from isotherm.land.parts import Ints, int64
from isotherm.land.schema import LAKE_SCHEMA
from isotherm.land.write import read_table, unequal
from isotherm.store.db import writing

FORMATS: Final = ("parquet", "jsonl")
_MOST: Final = 100


class Difference(Struct, frozen=True):
    """One thing that differs. Without a column the row itself is missing on the side whose value is None."""

    client_id: str
    hour: int
    batch_id: str | None
    position: int | None
    column: str | None
    parquet: Any
    jsonl: Any

    def __str__(self) -> str:
        where = f"client {self.client_id}, hour {iso(self.hour)}"
        if self.batch_id is not None:
            where += f", batch {self.batch_id}, position {self.position}"
        return f"{where}: {self.column or 'row'}: parquet {self.parquet!r}, jsonl {self.jsonl!r}"


class Report(Struct, frozen=True):
    """`rows` counts the Parquet rows compared; `differences` holds the first 100 of `differing`.

    `single` names hours (client_id, hour, format) that were landed in one format only.
    """

    hours: int
    rows: int
    differing: int
    differences: list[Difference]
    single: list[tuple[str, int, str]]


def compare(
    lake: Lake,
    manifest: Manifest,
    *,
    start: int | None = None,
    end: int | None = None,
    client_ids: Sequence[str] | None = None,
) -> Report:
    """Compare the listed files of hours in [start, end) and these clients (None: all), at one version."""
    with writing(manifest.engine) as connection:
        taken = [
            manifest.take(connection, start=start, end=end, client_ids=client_ids, format=name, raw_only=None)
            for name in FORMATS
        ]
    try:
        return _report(lake, manifest, taken)
    finally:
        for snapshot in taken:
            manifest.release(snapshot)


def _report(lake: Lake, manifest: Manifest, taken: Sequence[Snapshot]) -> Report:
    parquet, jsonl = (_by_hour(snapshot.files) for snapshot in taken)
    single = [(*key, "parquet") for key in parquet.keys() - jsonl.keys()]
    single += [(*key, "jsonl") for key in jsonl.keys() - parquet.keys()]
    rows = differing = 0
    found: list[Difference] = []
    both = sorted(parquet.keys() & jsonl.keys())
    for key in both:
        left, right = _rows(lake, parquet[key]), _rows(lake, jsonl[key])
        rows += left.num_rows
        for difference in _differences(*key, left, right):
            differing += 1
            found += [difference] if len(found) < _MOST else []
        for snapshot in taken:
            manifest.renew(snapshot)
    return Report(len(both), rows, differing, found, sorted(single))


def _by_hour(files: Sequence[LakeFile]) -> dict[tuple[str, int], list[LakeFile]]:
    hours: dict[tuple[str, int], list[LakeFile]] = {}
    for file in files:
        hours.setdefault((file.client_id, file.hour), []).append(file)
    return hours


def _rows(lake: Lake, files: Sequence[LakeFile]) -> pa.Table:
    return pa.concat_tables([read_table(lake, file) for file in files]).unify_dictionaries().combine_chunks()


def _differences(client_id: str, hour: int, left: pa.Table, right: pa.Table) -> Iterator[Difference]:
    mine, theirs = _keys(left, right), _keys(right, left)
    order, their_order = np.argsort(mine, kind="stable"), np.argsort(theirs, kind="stable")
    if not np.array_equal(mine[order], theirs[their_order]):
        yield from _missing(client_id, hour, left, mine, theirs, "parquet")
        yield from _missing(client_id, hour, right, theirs, mine, "jsonl")
        _, order, their_order = np.intersect1d(mine, theirs, return_indices=True)
    left, right = left.take(pa.array(order)), right.take(pa.array(their_order))
    for name in LAKE_SCHEMA.names:
        for row in unequal(left.column(name).combine_chunks(), right.column(name).combine_chunks()):
            values = (left.column(name)[row].as_py(), right.column(name)[row].as_py())
            yield Difference(client_id, hour, *_identity(left, row), name, *values)


def _keys(table: pa.Table, other: pa.Table) -> Ints:
    """One number per row that is the same for the same (batch_id, position) in both tables."""
    names = [t.column("batch_id").combine_chunks() for t in (table, other)]
    values = sorted({value for column in names for value in column.dictionary.to_pylist()})
    codes = pc.call_function(
        "index_in", [names[0].dictionary], pc.SetLookupOptions(value_set=pa.array(values, pa.string()))
    ).to_numpy()
    return (codes.astype(np.int64)[names[0].indices.to_numpy()] << 32) | int64(table, "position")


def _missing(client_id: str, hour: int, table: pa.Table, keys: Ints, others: Ints, side: str) -> Iterator[Difference]:
    counts = {"parquet": None, "jsonl": None}
    unique, first, times = np.unique(keys, return_index=True, return_counts=True)
    theirs, their_times = np.unique(others, return_counts=True)
    where = np.searchsorted(theirs, unique)
    known = np.isin(unique, theirs)
    other_times = np.zeros(len(unique), np.int64)
    other_times[known] = their_times[where[known]]
    for row, count in zip(first[times > other_times].tolist(), times[times > other_times].tolist(), strict=True):
        yield Difference(client_id, hour, *_identity(table, row), None, **(counts | {side: f"{count} rows"}))


def _identity(table: pa.Table, row: int) -> tuple[str, int]:
    return table.column("batch_id")[row].as_py(), table.column("position")[row].as_py()
