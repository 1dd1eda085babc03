"""Counting the lake's rows again with NumPy: the independent way to the same maps, without SQL."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile
from isotherm.land.write import read_pieces
from isotherm.rollup.grid import CELLS, cells_of

COLUMNS = ("screen_id", "event_type", "x_norm", "y_norm")
_PIECE_ROWS = 1 << 20
MapName = tuple[str, str]


class Recount:
    """Maps of one client and bucket, kept as (map, cell) pairs with counts: memory grows with what is not zero."""

    def __init__(self) -> None:
        self._numbers: dict[MapName, int] = {}
        self._pairs: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._counts: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)

    @property
    def names(self) -> list[MapName]:
        """(screen_id, event_type) of every map with at least one event, in order."""
        return sorted(self._numbers)

    def counts(self, name: MapName) -> npt.NDArray[np.uint64]:
        """The map's counts, shape (CELLS,); all zero for an unknown name."""
        counts = np.zeros(CELLS, np.uint64)
        number = self._numbers.get(name)
        if number is not None:
            first, last = np.searchsorted(self._pairs, (number * CELLS, (number + 1) * CELLS))
            counts[self._pairs[first:last] - number * CELLS] = self._counts[first:last]
        return counts

    def add_rows(self, table: pa.Table) -> None:
        """Count rows of the lake; those without both coordinates only make their map known."""
        screens, screen_codes = _codes(table, "screen_id")
        kinds, kind_codes = _codes(table, "event_type")
        combined = screen_codes * len(kinds) + kind_codes
        present, groups = np.unique(combined, return_inverse=True)
        mine = np.array([self._number((screens[c // len(kinds)], kinds[c % len(kinds)])) for c in present], np.int64)
        x, y = (table.column(name).to_numpy().astype(np.float64) for name in ("x_norm", "y_norm"))
        placed = ~(np.isnan(x) | np.isnan(y))
        pairs, counts = np.unique(mine[groups[placed]] * CELLS + cells_of(x[placed], y[placed]), return_counts=True)
        self._merge(pairs, counts.astype(np.uint64))

    def add(self, other: "Recount") -> None:
        """Add another bucket's maps."""
        numbers = np.array([self._number(name) for name in other._numbers], np.int64)
        if len(other._pairs):
            self._merge(numbers[other._pairs // CELLS] * CELLS + other._pairs % CELLS, other._counts)

    def _number(self, name: MapName) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def _merge(self, pairs: npt.NDArray[np.int64], counts: npt.NDArray[np.uint64]) -> None:
        all_pairs = np.concatenate([self._pairs, pairs])
        self._pairs, places = np.unique(all_pairs, return_inverse=True)
        sums = np.zeros(len(self._pairs), np.uint64)
        np.add.at(sums, places, np.concatenate([self._counts, counts]))
        self._counts = sums


def recount(lake: Lake, files: Iterable[LakeFile]) -> Recount:
    """Count the rows of these files of one client. Raises IsothermError when a file is missing or damaged."""
    found = Recount()
    for file in files:
        for table in read_pieces(lake, file, _PIECE_ROWS, COLUMNS):
            found.add_rows(table)
    return found


def _codes(table: pa.Table, name: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    column: Any = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
