"""Counting the lake's rows again with NumPy: the independent way to the same maps, without SQL.

Per piece of a file: codes of map and cell, one bincount over both. Every step but the dictionaries is NumPy or Arrow
over whole columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile
from isotherm.land.write import read_footer, read_pieces
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W

COLUMNS: Final = ("screen_id", "event_type", "x_norm", "y_norm")
_PIECE_ROWS: Final = 1 << 18
_SLICE: Final = 1 << 15
"""Rows whose cells are computed at once: their doubles stay in the processor's cache."""
_DENSE_FROM: Final = 2_000
"""A map with at least so many non-zero cells is kept as counts of every cell."""
_TASK_ROWS: Final = 4_000_000
"""A file with more rows is counted in several parts, where it has several row groups."""
MapName = tuple[str, str]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint64]


class _Map(NamedTuple):
    """One map: counts of these cells, or of every cell where `cells` is None."""

    cells: Ints | None
    counts: Counts

    def dense(self) -> Counts:
        if self.cells is None:
            return self.counts
        full = np.zeros(CELLS, np.uint64)
        full[self.cells] = self.counts
        return full


_EMPTY: Final = _Map(np.zeros(0, np.int64), np.zeros(0, np.uint64))


class Recount:
    """Maps of one client and bucket. Memory grows with what is not zero; `rows` were counted."""

    def __init__(self) -> None:
        self._maps: dict[MapName, _Map] = {}
        self.rows = 0

    @property
    def names(self) -> list[MapName]:
        """(screen_id, event_type) of every map with at least one event, in order."""
        return sorted(self._maps)

    def counts(self, name: MapName) -> Counts:
        """The map's counts, shape (CELLS,), not to be written to; all zero for an unknown name."""
        return self._maps.get(name, _EMPTY).dense()

    def add_rows(self, table: pa.Table) -> None:
        """Count rows of the lake; those without both coordinates only make their map known."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        names, numbers = _numbered(table)
        x, y = (_doubles(table, name) for name in ("x_norm", "y_norm"))
        pairs = _pairs(numbers, x, y)
        for name, found in zip(names, _by_map(pairs, len(names)), strict=True):
            self._put(name, found)

    def add(self, other: "Recount") -> None:
        """Add another bucket's maps."""
        self.rows += other.rows
        for name, found in other._maps.items():
            self._put(name, found)

    def _put(self, name: MapName, found: _Map) -> None:
        known = self._maps.get(name)
        self._maps[name] = found if known is None else _sum(known, found)


def _sum(one: _Map, other: _Map) -> _Map:
    """The sum as a new map: either may be part of another bucket, too."""
    if one.cells is not None and other.cells is not None:
        cells, places = np.unique(np.concatenate([one.cells, other.cells]), return_inverse=True)
        sums = np.zeros(len(cells), np.uint64)
        np.add.at(sums, places, np.concatenate([one.counts, other.counts]))
        both = _Map(cells, sums)
        return both if len(cells) < _DENSE_FROM else _Map(None, both.dense())
    if one.cells is not None:
        one, other = other, one
    full = one.counts.copy()
    if other.cells is None:
        full += other.counts
    else:
        full[other.cells] += other.counts
    return _Map(None, full)


def _numbered(table: pa.Table) -> tuple[list[MapName], Ints]:
    """The names of the table's maps, and for each row the index of its own."""
    screens, screen_codes = _codes(table, "screen_id")
    kinds, kind_codes = _codes(table, "event_type")
    combined = screen_codes * np.int64(len(kinds)) + kind_codes
    used = np.flatnonzero(np.bincount(combined, minlength=1))
    names = [(screens[code // len(kinds)], kinds[code % len(kinds)]) for code in used.tolist()]
    if len(used) == used[-1] + 1:
        return names, combined
    numbers = np.zeros(used[-1] + 1, np.int64)
    numbers[used] = np.arange(len(used))
    return names, numbers[combined]


def _codes(table: pa.Table, name: str) -> tuple[list[str], Ints]:
    column: Any = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _doubles(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """The column with NaN for what is not there."""
    return table.column(name).to_numpy().astype(np.float64, copy=False)


def _pairs(numbers: Ints, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Ints:
    """number * CELLS + cell of every row that has both coordinates.

    The cell is min(floor(norm * size), size - 1) of each coordinate in doubles, as DESIGN has it, spelled out once
    more: converting to an integer cuts towards zero, which is floor for what is not negative.
    """
    found = np.empty(len(numbers), np.int64)
    size = 0
    for start in range(0, len(numbers), _SLICE):
        across, down = x[start : start + _SLICE], y[start : start + _SLICE]
        mine = numbers[start : start + _SLICE]
        placed = (across == across) & (down == down)
        if not placed.all():
            across, down, mine = across[placed], down[placed], mine[placed]
        cell_x = np.minimum((across * GRID_W).astype(np.int64), GRID_W - 1)
        cell_y = np.minimum((down * GRID_H).astype(np.int64), GRID_H - 1)
        found[size : size + len(mine)] = (mine * GRID_H + cell_y) * GRID_W + cell_x
        size += len(mine)
    return found[:size]


def _by_map(pairs: Ints, maps: int) -> Iterator[_Map]:
    """The counts of each of the maps that the pairs are numbered by."""
    if maps * CELLS <= max(4 * len(pairs), 1 << 20):
        for row in np.bincount(pairs, minlength=maps * CELLS).reshape(maps, CELLS):
            yield _shaped(row)
        return
    ordered = np.sort(pairs)
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    distinct, counts = ordered[first], np.diff(first, append=len(ordered)).astype(np.uint64)
    edges = np.searchsorted(distinct, np.arange(maps + 1) * CELLS).tolist()
    for number in range(maps):
        here = slice(edges[number], edges[number + 1])
        one = _Map(distinct[here] - number * CELLS, counts[here])
        yield one if len(one.counts) < _DENSE_FROM else _Map(None, one.dense())


def _shaped(row: Ints) -> _Map:
    cells = np.flatnonzero(row)
    if len(cells) < _DENSE_FROM:
        return _Map(cells, row[cells].astype(np.uint64))
    return _Map(None, row.astype(np.uint64))


class Part(NamedTuple):
    """What of a file is counted in one go: these row groups, or all of it."""

    file: LakeFile
    groups: Sequence[int] | None = None


def parts(lake: Lake, file: LakeFile) -> list[Part]:
    """The file in parts of about _TASK_ROWS rows. Raises IsothermError when it is missing or damaged."""
    if file.format != "parquet" or file.rows <= _TASK_ROWS:
        return [Part(file)]
    footer = read_footer(lake, file)
    found: list[list[int]] = [[]]
    size = 0
    for group in range(footer.num_row_groups):
        if size >= _TASK_ROWS:
            found.append([])
            size = 0
        found[-1].append(group)
        size += footer.row_group(group).num_rows
    return [Part(file, groups) for groups in found]


def recount_part(lake: Lake, part: Part) -> Recount:
    """Count the rows of a part. Raises IsothermError when the file is missing or damaged."""
    found = Recount()
    for table in read_pieces(lake, part.file, _PIECE_ROWS, COLUMNS, part.groups):
        found.add_rows(table)
    return found


def recount(lake: Lake, files: Iterable[LakeFile]) -> Recount:
    """Count the rows of these files of one client. Raises IsothermError when a file is missing or damaged."""
    found = Recount()
    for file in files:
        for part in parts(lake, file):
            found.add(recount_part(lake, part))
    return found
