"""Which raw events: of a batch, or behind a cell of a map. A look-up for operators, bounded in hours, rows and time.

It reads only files that the manifest lists for the client and hours, of these only row groups whose statistics may
match, and of these first only the columns that decide; the rest of a row is read where something matched.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.land.parts import int64
from isotherm.land.write import read_footer, read_pieces

MAX_SPAN_MS: Final = 31 * DAY_MS
MAX_FOUND: Final = 10_000
SECONDS: Final = 10.0
"""After this long a look-up ends with what it has, and says so."""
_PIECE_ROWS: Final = 1 << 20
_SHOWN: Final = (
    "batch_id", "position", "event_time", "received_at", "screen_id", "event_type", "x_norm", "y_norm",
    "log_partition", "log_offset",
)  # fmt: skip
Mask = npt.NDArray[np.bool_]
CellOf = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.int64]]


class Batch(Struct, frozen=True):
    """Events of one request, or the one at `position` in it."""

    batch_id: str
    position: int | None = None

    columns = ("batch_id", "position")

    def in_group(self, group: Any) -> bool:
        """Whether a row group may hold some, by its statistics."""
        return _between(group, "batch_id", self.batch_id)

    def mask(self, table: pa.Table) -> Mask:
        """Which rows of a table with `columns` match."""
        found = _equals(table, "batch_id", self.batch_id)
        return found if self.position is None else found & (int64(table, "position") == self.position)


class Place(Struct, frozen=True):
    """Events of a kind on a screen, those in one cell where it is given; `cell_of` is the grid's own formula."""

    screen_id: str
    event_type: str
    cell: int | None
    cell_of: CellOf
    start: int
    end: int

    columns = ("screen_id", "event_type", "event_time", "x_norm", "y_norm")

    def in_group(self, group: Any) -> bool:
        """Whether a row group may hold some, by its statistics."""
        return _between(group, "screen_id", self.screen_id) and _between(group, "event_type", self.event_type)

    def mask(self, table: pa.Table) -> Mask:
        """Which rows of a table with `columns` match."""
        found = _equals(table, "screen_id", self.screen_id) & _equals(table, "event_type", self.event_type)
        times = int64(table, "event_time")
        found &= (times >= self.start) & (times < self.end)
        if self.cell is not None and found.any():
            x, y = (table.column(name).to_numpy() for name in ("x_norm", "y_norm"))
            found &= (x == x) & (y == y)
            rows = np.flatnonzero(found)
            found[rows] = self.cell_of(x[rows], y[rows]) == self.cell
        return found


class Event(Struct, frozen=True):
    """One row of the lake; `batch_id` and `position` name it. Moments are ms."""

    file: str
    batch_id: str
    position: int
    event_time: int
    received_at: int
    screen_id: str
    event_type: str
    x_norm: float | None
    y_norm: float | None
    log_partition: int
    log_offset: int


class Found(Struct, frozen=True):
    """What a look-up came to. `complete`: nothing more matches in the hours that were asked for; else `why` not."""

    events: list[Event]
    complete: bool
    why: str
    files: int
    rows_read: int
    seconds: float


def find(
    lake: Lake, manifest: Manifest, client_id: str, wanted: Batch | Place, start: int, end: int, limit: int
) -> Found:
    """Events of the client in hours that touch [start, end), the newest hour first; at most `limit` of them.

    Raises ValueError for a range or limit beyond the bounds, and IsothermError when a file is missing or damaged.
    """
    if not 0 < end - start <= MAX_SPAN_MS:
        raise ValueError(f"a look-up covers at most {MAX_SPAN_MS // DAY_MS} days, and ends after it starts")
    if not 1 <= limit <= MAX_FOUND:
        raise ValueError(f"limit: 1 to {MAX_FOUND:,}")
    first = start - start % HOUR_MS
    with manifest.snapshot(start=first, end=end, client_ids=[client_id], raw_only=None) as snapshot:
        return _Search(lake, wanted, limit).through(sorted(snapshot.files, key=lambda file: -file.hour))


class _Search:
    """One look-up under way."""

    def __init__(self, lake: Lake, wanted: Batch | Place, limit: int) -> None:
        self.lake = lake
        self.wanted = wanted
        self.limit = limit
        self.found: list[Event] = []
        self.rows_read = 0
        self.began = time.monotonic()

    def through(self, files: Sequence[LakeFile]) -> Found:
        """Look through the files until all are done, or a bound is reached."""
        single = isinstance(self.wanted, Batch) and self.wanted.position is not None
        for number, file in enumerate(files):
            for piece in self._pieces(file):
                self.found += piece
                if single and self.found:
                    return self._sum(number + 1, "")
                if len(self.found) > self.limit:
                    return self._sum(number + 1, f"more than {self.limit:,} match; raise the limit or narrow the range")
                if time.monotonic() - self.began > SECONDS:
                    return self._sum(number + 1, _late(file))
        return self._sum(len(files), "")

    def _sum(self, files: int, why: str) -> Found:
        seconds = round(time.monotonic() - self.began, 3)
        return Found(self.found[: self.limit], not why, why, files, self.rows_read, seconds)

    def _pieces(self, file: LakeFile) -> Iterator[list[Event]]:
        """Matching events, row group by row group, and piece by piece of a text file."""
        if isinstance(self.wanted, Place) and (file.max_time < self.wanted.start or file.min_time >= self.wanted.end):
            return
        if file.format != "parquet":
            for table in read_pieces(self.lake, file, _PIECE_ROWS):
                self.rows_read += table.num_rows
                yield self._events(file, table, self.wanted.mask(table))
            return
        footer = read_footer(self.lake, file)
        for number in range(footer.num_row_groups):
            if self.wanted.in_group(footer.row_group(number)):
                yield self._in_group(file, number)

    def _in_group(self, file: LakeFile, number: int) -> list[Event]:
        deciding = read_pieces(self.lake, file, _PIECE_ROWS, self.wanted.columns, [number])
        mask = np.concatenate([np.zeros(0, np.bool_), *map(self.wanted.mask, deciding)])
        self.rows_read += len(mask)
        if not mask.any():
            return []
        found: list[Event] = []
        at = 0
        for table in read_pieces(self.lake, file, _PIECE_ROWS, _SHOWN, [number]):
            found += self._events(file, table, mask[at : at + table.num_rows])
            at += table.num_rows
        return found

    def _events(self, file: LakeFile, table: pa.Table, mask: Mask) -> list[Event]:
        # One more than the limit says that there are more.
        rows = np.flatnonzero(mask)[: self.limit + 1 - len(self.found)]
        if not len(rows):
            return []
        taken = table.select(_SHOWN).take(pa.array(rows))
        columns = {name: taken.column(name).to_pylist() for name in _SHOWN if name not in ("event_time", "received_at")}
        for name in ("event_time", "received_at"):
            columns[name] = int64(taken, name).tolist()
        return [Event(file.path, *values) for values in zip(*(columns[name] for name in _SHOWN), strict=True)]


def _late(file: LakeFile) -> str:
    return (
        f"{SECONDS:g} s were not enough: everything from {iso(file.hour + HOUR_MS)} on was looked through; narrow the "
        "range"
    )


def _equals(table: pa.Table, name: str, value: str) -> Mask:
    column = table.column(name).combine_chunks()
    code = pc.call_function("index", [column.dictionary], pc.IndexOptions(pa.scalar(value))).as_py()
    return column.indices.to_numpy(zero_copy_only=False) == code


def _between(group: Any, name: str, value: str) -> bool:
    """False when the row group's statistics rule the value out."""
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema == name:
            statistics = column.statistics
            if statistics is None or not statistics.has_min_max:
                return True
            # As bytes: that is how Parquet orders text.
            low, high = (str(edge).encode() for edge in (statistics.min, statistics.max))
            return low <= value.encode() <= high
    return True
