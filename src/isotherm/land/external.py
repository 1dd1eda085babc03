"""External merge sort: sorted files become one sorted stream of rows, with a bounded part of them in memory."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from isotherm.land.parts import in_order
from isotherm.land.schema import SORT_ORDER
from isotherm.land.write import compact

Key = tuple[str, int, int, int]


class _Run:
    """One sorted input: the table that was read of it last, without the rows that were taken."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._head = next(_filled(tables), None)

    def __bool__(self) -> bool:
        return self._head is not None

    @property
    def last(self) -> Key:
        """The key of the last row that is in memory."""
        assert self._head is not None
        return _key(self._head, self._head.num_rows - 1)

    def take(self, bound: Key) -> pa.Table:
        """The rows up to the bound that are in memory, and read on if these were all."""
        head = self._head
        assert head is not None
        count = head.num_rows
        if self.last > bound:
            count = bisect_right(range(head.num_rows), bound, key=lambda row: _key(head, row))
        self._head = head.slice(count) if count < head.num_rows else next(_filled(self._tables), None)
        return head.slice(0, count)


def merge_sorted(runs: Sequence[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """All rows of the runs by SORT_ORDER, as tables that follow each other; one table of each run is in memory.

    A run that is not sorted loses no row, but the result is not sorted then either.
    """
    left = [run for run in map(_Run, runs) if run]
    while left:
        # What a run has not read yet comes after its last row: up to the least of these, all rows are known.
        bound = min(run.last for run in left)
        taken = [table for run in left if (table := run.take(bound)).num_rows]
        yield in_order(pa.concat_tables(taken).unify_dictionaries().combine_chunks())
        left = [run for run in left if run]


def rechunk(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` each, but for the last; columns of one chunk each."""
    waiting: list[pa.Table] = []
    size = 0
    for table in tables:
        waiting.append(table)
        size += table.num_rows
        while size >= rows:
            whole = pa.concat_tables(waiting)
            yield _one(whole.slice(0, rows))
            waiting, size = [whole.slice(rows)], size - rows
    if size:
        yield _one(pa.concat_tables(waiting))


def _one(table: pa.Table) -> pa.Table:
    # A slice's dictionary holds the values of all rows it was cut from.
    return compact(table.unify_dictionaries().combine_chunks())


def _filled(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    return (table for table in tables if table.num_rows)


def _key(table: pa.Table, row: int) -> Key:
    screen, *numbers = (table.column(name)[row].as_py() for name in SORT_ORDER)
    return (screen, *numbers)
