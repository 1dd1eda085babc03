"""The same counts by the peers: each takes the files' paths; `Counts` is what all of them are compared as."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isotherm.rollup.grid import CELLS, GRID_H, GRID_W, cells_of

Key = tuple[str, str, str]
Counts = dict[Key, npt.NDArray[np.int64]]
"""(client_id, screen_id, event_type) -> counts, shape (CELLS,)."""

KEYS: Final = ("client_id", "screen_id", "event_type")


def by_numpy(files: Iterable[str | BinaryIO]) -> Counts:
    """pyarrow reads the five columns, then one np.bincount a file over map and cell; all on one thread."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    counts: Counts = {}
    for file in files:
        table = pq.read_table(file, columns=[*KEYS, "x_norm", "y_norm"], read_dictionary=KEYS, use_threads=False)
        table = table.unify_dictionaries().combine_chunks()
        _add(counts, *_bincount(table))
    return counts


def _bincount(table: pa.Table) -> tuple[list[list[str]], npt.NDArray[np.int64]]:
    columns = [table.column(name).combine_chunks() for name in KEYS]
    names = [column.dictionary.to_pylist() for column in columns]
    codes = [column.indices.to_numpy() for column in columns]
    maps = (codes[0].astype(np.int64) * len(names[1]) + codes[1]) * len(names[2]) + codes[2]
    x, y = (table.column(name).to_numpy() for name in ("x_norm", "y_norm"))
    places = maps * CELLS + cells_of(x, y)
    shape = (*map(len, names), CELLS)
    return names, np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)


def _add(counts: Counts, names: list[list[str]], found: npt.NDArray[np.int64]) -> None:
    for a, b, c in np.ndindex(found.shape[:3]):
        if found[a, b, c].any():
            key = (names[0][a], names[1][b], names[2][c])
            counts[key] = counts.get(key, 0) + found[a, b, c]


def by_duckdb(paths: Sequence[str]) -> pa.Table:
    """One GROUP BY over map and cell, all cores; rows (client_id, screen_id, event_type, cell, n)."""
    import duckdb

    cell = (
        f"least(floor(y_norm * {GRID_H})::INTEGER, {GRID_H - 1}) * {GRID_W}"
        f" + least(floor(x_norm * {GRID_W})::INTEGER, {GRID_W - 1})"
    )
    relation = duckdb.connect().sql(
        f"SELECT client_id, screen_id, event_type, {cell} AS cell, count(*) AS n FROM read_parquet(?)"
        " WHERE x_norm IS NOT NULL AND y_norm IS NOT NULL GROUP BY ALL",
        params=[list(paths)],
    )
    return relation.to_arrow_table()


def by_polars(paths: Sequence[str]) -> pa.Table:
    """A lazy scan and group_by over map and cell with the streaming engine, all cores; rows as `by_duckdb`."""
    import polars as pl

    def place(name: str, size: int) -> Any:
        return (pl.col(name) * size).floor().cast(pl.Int32).clip(upper_bound=size - 1)

    frame = (
        pl.scan_parquet(list(paths))
        .filter(pl.col("x_norm").is_not_null() & pl.col("y_norm").is_not_null())
        .group_by(*KEYS, (place("y_norm", GRID_H) * GRID_W + place("x_norm", GRID_W)).alias("cell"))
        .agg(pl.len().alias("n"))
        .collect(engine="streaming")
    )
    return frame.to_arrow()


def dense(rows: pa.Table) -> Counts:
    """Rows (client_id, screen_id, event_type, cell, n) as counts per map."""
    columns = [pc.call_function("dictionary_encode", [rows.column(k).cast(pa.string())]) for k in KEYS]
    table = pa.table([*columns, rows.column("cell"), rows.column("n")], names=[*KEYS, "cell", "n"])
    table = table.unify_dictionaries().combine_chunks()
    parts = [table.column(k).combine_chunks() for k in KEYS]
    names = [part.dictionary.to_pylist() for part in parts]
    found = np.zeros((*map(len, names), CELLS), np.int64)
    cell, n = table.column("cell").to_numpy(), table.column("n").to_numpy()
    found[(*(part.indices.to_numpy() for part in parts), cell)] = n
    counts: Counts = {}
    _add(counts, names, found)
    return counts


def digest(counts: Mapping[Key, npt.NDArray[np.int64]]) -> str:
    """A hash of all maps that are not empty, in the order of their keys."""
    total = sha256()
    for key in sorted(counts):
        total.update("\t".join(key).encode() + b"\n" + counts[key].astype("<u8").tobytes())
    return total.hexdigest()
