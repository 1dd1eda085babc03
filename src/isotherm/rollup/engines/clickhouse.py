"""The batch engine in ClickHouse SQL, embedded or server: it reads the lake's files itself.

Three ways to make maps, because a dense state takes 160 kB per map and thread:
- dense: `countResample` counts straight into an array of all cells; for maps with many events;
- sparse: the cells of a map as one sorted array, its runs are the counts; for maps with few events;
- mixed: the maps are counted first, then the big ones go the dense way in portions and the rest the sparse way.
The dense way is tried first under a memory limit; beyond it the files are read again the mixed way.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from isotherm.config import GIB, Settings
from isotherm.errors import Backpressure
from isotherm.land.lake import Lake
from isotherm.rollup.buckets import Bucket
from isotherm.rollup.engines import stored
from isotherm.rollup.engines.port import RawFile
from isotherm.rollup.engines.sources import Source, Sources
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W, SPARSE_BELOW, cell_sql
from isotherm.store.olap import Olap, Params

FILES_PER_QUERY: Final = 4_000
ROWS_PER_SPARSE_QUERY: Final = 8_000_000
ROWS_FOR_OWN_QUERY: Final = 1_000_000
"""A client with this many rows gets a query of its own, which need not group by client: a quarter less work."""
DENSE_MEMORY: Final = GIB
"""Limit of one dense query; its result is inserted in blocks within it."""
DENSE_MAPS: Final = 1_000
"""Maps per dense query when they are known to be many: with two threads about half of DENSE_MEMORY."""
COUNTED_ROWS: Final = 2_000_000
"""The maps of so few rows are counted first: where they are many, trying the dense way would cost more than that."""

_KEYS: Final = "client_id, screen_id, event_type"
_CELL: Final = (
    f"toUInt16(if(isNull(x_norm) OR isNull(y_norm), {CELLS},"
    f" {cell_sql('assumeNotNull(x_norm)', 'assumeNotNull(y_norm)')}))"
)

_DENSE_STORED: Final = f"""
    {CELLS} - countEqual(all_counts, 0) AS filled,
    if(filled < {SPARSE_BELOW},
        arrayMap(i -> toUInt16(i - 1), arrayFilter((i, c) -> c > 0, arrayEnumerate(all_counts), all_counts)),
        []::Array(UInt16)) AS stored_cells,
    if(filled < {SPARSE_BELOW}, arrayFilter(c -> c > 0, all_counts), all_counts) AS stored_counts"""

_SPARSE_STORED: Final = """
    arraySort(seen) AS sorted,
    arrayFilter((i, this, next) -> this != next,
        arrayEnumerate(sorted), sorted, arrayResize(arrayPopFront(sorted), length(sorted), 65535)) AS ends,
    arrayCompact(sorted) AS stored_cells,
    arrayMap((end, before) -> toUInt64(end - before),
        ends, arrayResize(arrayPushFront(arrayPopBack(ends), 0), length(ends))) AS stored_counts"""


class ClickHouseEngine:
    """See `isotherm.rollup.engines.port.Engine`."""

    def __init__(self, olap: Olap, lake: Lake, settings: Settings) -> None:
        self._olap = olap
        self._sources = Sources(lake)
        self._dense_memory = min(DENSE_MEMORY, settings.job_memory_bytes)

    @classmethod
    def open(cls, settings: Settings, olap: Olap, lake: Lake) -> "ClickHouseEngine":
        """The Opener of this engine."""
        return cls(olap, lake, settings)

    def tile(self, bucket: Bucket, files: Sequence[RawFile], version: int) -> None:
        for part in _portions(files):
            with self._sources.reading():
                self._tile_portion(bucket, part, version)

    def _tile_portion(self, bucket: Bucket, files: Sequence[RawFile], version: int) -> None:
        source = self._sources.of(files)
        head, params = stored.insert_head(bucket, version)
        if source.rows < SPARSE_BELOW:
            self._olap.command(head + _sparse(source, "1"), params)
            return
        if source.rows < COUNTED_ROWS and self._maps(source) > DENSE_MAPS:
            self._tile_mixed(source, head, params)
            return
        alone = all(file.client_id == files[0].client_id for file in files)
        query = _dense_of_client(source) if alone else _dense(source, "1")
        own: Params = {"client": files[0].client_id} if alone else {}
        try:
            limit = f" SETTINGS max_memory_usage = {self._dense_memory}"
            self._olap.command(head + query + limit, params | own)
        except Backpressure:
            self._tile_mixed(source, head, params)

    def _maps(self, source: Source) -> int:
        count = f"SELECT uniqExact({_KEYS}) AS n FROM {source.table}"
        return self._olap.query(count, profile="write").column("n")[0].as_py()

    def _tile_mixed(self, source: Source, head: str, params: Params) -> None:
        sizes = f"SELECT {_KEYS}, countIf({_CELL} < {CELLS}) AS n FROM {source.table} GROUP BY {_KEYS}"
        row = self._olap.query(
            f"SELECT countIf(n >= {SPARSE_BELOW}) AS big, sumIf(n, n < {SPARSE_BELOW}) AS rest FROM ({sizes})",
            profile="write",
        ).to_pylist()[0]
        big = f"({_KEYS}) IN (SELECT {_KEYS} FROM ({sizes}) WHERE n >= {SPARSE_BELOW})"
        for only in _slices(-(-row["big"] // DENSE_MAPS)):
            self._olap.command(head + _dense(source, f"{big} AND {only}"), params)
        for only in _slices(1 + row["rest"] // ROWS_PER_SPARSE_QUERY):
            self._olap.command(head + _sparse(source, f"NOT {big} AND {only}"), params)

    def roll_up(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        head, params = stored.insert_head(bucket, version)
        params |= stored.children_of(bucket, client_ids)
        big = (
            f"({_KEYS}, segment) IN (SELECT {_KEYS}, segment FROM maps FINAL WHERE {stored.CHILDREN}"
            f" GROUP BY {_KEYS}, segment"
            f" HAVING max(empty(cells) AND tiled > 0) OR sum(length(cells)) >= {SPARSE_BELOW})"
        )
        count = f"SELECT uniqExact({_KEYS}, segment) AS n FROM maps FINAL WHERE {stored.CHILDREN} AND {big}"
        maps = self._olap.query(count, params, profile="write").column("n")[0].as_py()
        for only in _slices(-(-maps // DENSE_MAPS)):
            self._olap.command(head + _sum_dense(f"{big} AND {only}"), params)
        self._olap.command(head + _sum_sparse(f"NOT {big}"), params)
        self._sum_left_out(head, params)

    def _sum_left_out(self, head: str, params: Params) -> None:
        """Sum the maps that were small for the queries of big ones and big for that of small ones.

        Another job may insert newer children between two queries; without a row of this version such a map would
        pass for one that vanished.
        """
        missing = f"({_KEYS}, segment) NOT IN (SELECT {_KEYS}, segment FROM maps WHERE {stored.OF_VERSION})"
        count = f"SELECT uniqExact({_KEYS}, segment) AS n FROM maps FINAL WHERE {stored.CHILDREN} AND {missing}"
        maps = self._olap.query(count, params, profile="write").column("n")[0].as_py()
        for only in _slices(-(-maps // DENSE_MAPS)):
            self._olap.command(head + _sum_dense(f"{missing} AND {only}"), params)

    def clear_vanished(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        stored.clear_vanished(self._olap, bucket, client_ids, version)

    def close(self) -> None:
        """Nothing stays between jobs."""


def _row(segment: str, tiled: str, client: str = "client_id") -> str:
    """The stored columns, in the order of `stored.COLUMNS`, over an inner query that names its results."""
    return (
        f"SELECT {client}, screen_id, event_type, {segment}, {{level:String}}, toDateTime({{start:DateTime}}, 'UTC'),"
        f" {{version:UInt64}}, {GRID_W}, {GRID_H}, stored_cells, stored_counts, n_events, {tiled}, latest FROM "
    )


def _dense(source: Source, where: str) -> str:
    inner = (
        f"SELECT {_KEYS}, count() AS n_events, {source.time} AS latest,"
        f" countResample(0, {CELLS}, 1)({_CELL}) AS all_counts, {_DENSE_STORED}"
        f" FROM {source.table} WHERE {where} GROUP BY {_KEYS}"
    )
    return _row("''", "arraySum(stored_counts)") + f"({inner})"


def _dense_of_client(source: Source) -> str:
    """`_dense` for files of one client, given as a parameter."""
    inner = (
        f"SELECT screen_id, event_type, count() AS n_events, {source.time} AS latest,"
        f" countResample(0, {CELLS}, 1)({_CELL}) AS all_counts, {_DENSE_STORED}"
        f" FROM {source.table} GROUP BY screen_id, event_type"
    )
    return _row("''", "arraySum(stored_counts)", "{client:String}") + f"({inner})"


def _sparse(source: Source, where: str) -> str:
    inner = (
        f"SELECT {_KEYS}, count() AS n_events, {source.time} AS latest,"
        f" groupArrayIf({_CELL}, {_CELL} < {CELLS}) AS seen, {_SPARSE_STORED}"
        f" FROM {source.table} WHERE {where} GROUP BY {_KEYS}"
    )
    return _row("''", "arraySum(stored_counts)") + f"({inner})"


def _sum_dense(where: str) -> str:
    inner = (
        f"SELECT {_KEYS}, segment, sum(events) AS n_events, max(last_event) AS latest,"
        " sumForEachIf(counts, empty(cells)) AS dense, sumMapIf(cells, counts, notEmpty(cells)) AS sparse,"
        f" arrayMap((a, b) -> a + b, arrayResize(dense, {CELLS}, 0),"
        f" arrayReduce('sumResample(0, {CELLS}, 1)', sparse.2, sparse.1)) AS all_counts, {_DENSE_STORED}"
        f" FROM maps FINAL WHERE {stored.CHILDREN} AND {where} GROUP BY {_KEYS}, segment"
    )
    return _row("segment", "arraySum(stored_counts)") + f"({inner})"


def _sum_sparse(where: str) -> str:
    inner = (
        f"SELECT {_KEYS}, segment, sum(events) AS n_events, max(last_event) AS latest,"
        " sumMap(cells, counts) AS sparse, sparse.1 AS stored_cells, sparse.2 AS stored_counts"
        f" FROM maps FINAL WHERE {stored.CHILDREN} AND {where} GROUP BY {_KEYS}, segment"
    )
    return _row("segment", "arraySum(stored_counts)") + f"({inner})"


def _slices(count: int) -> Iterator[str]:
    """Conditions that split the maps into `count` parts of about the same size."""
    return (f"cityHash64({_KEYS}) % {count} = {i}" for i in range(count))


def _portions(files: Sequence[RawFile]) -> Iterator[list[RawFile]]:
    """Files in runs of whole clients, so that no map is split between two queries."""
    part: list[RawFile] = []
    ordered = sorted(files, key=lambda file: (file.client_id, file.path))
    for _, group in groupby(ordered, key=lambda file: file.client_id):
        mine = list(group)
        if sum(file.rows for file in mine) >= ROWS_FOR_OWN_QUERY:
            yield mine
            continue
        if part and len(part) + len(mine) > FILES_PER_QUERY:
            yield part
            part = []
        part += mine
    if part:
        yield part
