import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from landing import tables

from isotherm.config import Settings
from isotherm.land.external import merge_sorted, rechunk
from isotherm.land.lake_local import LocalLake
from isotherm.land.schema import DICTIONARY, SORT_ORDER
from isotherm.land.write import read_pieces, unequal, write_pieces

KEYS = st.tuples(
    st.sampled_from(["", "a", "a b", "b", "é", "日"]), st.integers(0, 2), st.integers(0, 40), st.integers(0, 3)
)
RUNS = st.lists(st.lists(KEYS, max_size=40), max_size=6)


def run_of(keys: list[tuple[str, int, int, int]], number: int) -> pa.Table:
    """A sorted run; `row` says where each row came from."""
    frame = pd.DataFrame(sorted(keys), columns=list(SORT_ORDER))
    return pa.table(
        {
            "screen_id": pa.array(frame["screen_id"].astype(str), pa.string()).dictionary_encode().cast(DICTIONARY),
            "log_partition": pa.array(frame["log_partition"], pa.int32()),
            "log_offset": pa.array(frame["log_offset"], pa.int64()),
            "position": pa.array(frame["position"], pa.int32()),
            "row": pa.array([f"{number}.{i}" for i in range(len(frame))], pa.string()),
        }
    )


def cut(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))


@given(RUNS, st.integers(1, 9), st.integers(1, 50))
def test_runs_become_one_sorted_stream_with_every_row_once(
    runs: list[list[tuple[str, int, int, int]]], piece: int, size: int
) -> None:
    inputs = [run_of(keys, number) for number, keys in enumerate(runs)]
    merged = list(rechunk(merge_sorted([cut(table, piece) for table in inputs]), size))
    total = sum(map(len, runs))
    assert [t.num_rows for t in merged] == [size] * (total // size) + [total % size] * bool(total % size)
    if total:
        found, expected = (pa.concat_tables(t).to_pandas() for t in (merged, inputs))
        keys = list(found[list(SORT_ORDER)].itertuples(index=False, name=None))
        assert keys == sorted(keys)
        by_row = [f.astype({"screen_id": str}).set_index("row").sort_index() for f in (found, expected)]
        pd.testing.assert_frame_equal(*by_row)


def test_a_run_that_is_not_sorted_loses_no_row() -> None:
    backwards = run_of([("a", 0, n, 0) for n in range(30)], 0)
    backwards = backwards.take(pa.array(range(29, -1, -1)))
    other = run_of([("a", 0, n, 0) for n in range(0, 60, 2)], 1)
    merged = pa.concat_tables(merge_sorted([cut(backwards, 7), cut(other, 4)]))
    assert sorted(merged["row"].to_pylist()) == sorted(backwards["row"].to_pylist() + other["row"].to_pylist())


def test_a_table_of_a_stream_has_only_its_own_names() -> None:
    table = run_of([(f"screen {n}", 0, n, 0) for n in range(100)], 0)
    for part in rechunk([table], 10):
        assert len(part["screen_id"].chunk(0).dictionary) == 10


class Sized:
    """What readers need to know of a file."""

    def __init__(self, path: str, form: str, size: int) -> None:
        self.path, self.format, self.bytes = path, form, size


@given(st.lists(tables(min_rows=1), max_size=4), st.sampled_from(["parquet", "jsonl"]), st.integers(1, 20))
def test_pieces_come_back_bit_by_bit(parts: list[pa.Table], form: str, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as sink:
        lake = LocalLake.of_url(f"file://{Path(folder)}", Settings())
        write_pieces(sink, parts, form)
        sink.seek(0)
        lake.put("a", sink)
        for size in (0, 1 << 40):  # fetched whole, or opened in place
            found = list(read_pieces(lake, Sized("a", form, size), rows))
            assert all(0 < t.num_rows <= rows for t in found)
            assert sum(t.num_rows for t in found) == sum(t.num_rows for t in parts)
            if found:
                mine, theirs = (pa.concat_tables(t).unify_dictionaries().combine_chunks() for t in (found, parts))
                assert mine.schema == theirs.schema
                for left, right in zip(mine.itercolumns(), theirs.itercolumns(), strict=True):
                    assert unequal(left.combine_chunks(), right.combine_chunks()) == []
