import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from landing import World, event, record, tables

from isotherm.errors import IsothermError
from isotherm.land.rowhash import of_table
from isotherm.land.schema import ADDED, LAKE_SCHEMA
from isotherm.land.write import compact, decode, encode, read_table


def bits(table: pa.Table) -> list[list[object]]:
    """Every value, doubles as their eight bytes."""
    return [
        [struct.pack("<d", v) if isinstance(v, float) else v for v in table.column(name).to_pylist()]
        for name in LAKE_SCHEMA.names
    ]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@given(table=tables())
def test_every_bit_comes_back(format: str, table: pa.Table) -> None:  # noqa: A002
    back = decode(bytes(encode(table, format)), format)
    back.validate(full=True)
    assert back.schema == LAKE_SCHEMA
    assert bits(back) == bits(table)
    assert of_table(back) == of_table(table)


@given(tables(min_rows=1))
def test_a_jsonl_line_is_plain_json_with_the_columns_names(table: pa.Table) -> None:
    lines = gzip.decompress(encode(table, "jsonl")).splitlines()
    assert len(lines) == table.num_rows
    for line, x in zip(lines, table["x_norm"].to_pylist(), strict=True):
        row = json.loads(line)
        assert set(row) <= set(LAKE_SCHEMA.names)
        assert row.get("x_norm") == x
        assert isinstance(row["event_time"], int)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@given(table=tables())
def test_some_columns_only(format: str, table: pa.Table) -> None:  # noqa: A002
    back = decode(bytes(encode(table, format)), format, ["position", "batch_id"])
    assert back.to_pydict() == table.select(["position", "batch_id"]).to_pydict()


@given(tables(min_rows=1))
def test_a_file_of_an_earlier_version_reads_with_nulls(table: pa.Table) -> None:
    older, rows = table.drop_columns(sorted(ADDED)), table.num_rows
    sink = pa.BufferOutputStream()
    pq.write_table(older, sink, store_schema=False)
    back = decode(sink.getvalue(), "parquet")
    assert back.schema == LAKE_SCHEMA
    assert all(back[name].null_count == rows for name in ADDED)
    nulls = [pa.nulls(rows, field.type) if field.name in ADDED else table[field.name] for field in LAKE_SCHEMA]
    assert bits(back) == bits(pa.table(nulls, schema=LAKE_SCHEMA))
    assert of_table(back) == of_table(table)
    assert decode(sink.getvalue(), "parquet", ["region_w", "x_norm"]).column_names == ["region_w", "x_norm"]


def test_a_file_that_lacks_an_older_column_is_damaged() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(LAKE_SCHEMA.empty_table().drop_columns(["x_norm"]), sink)
    with pytest.raises(ValueError, match="without the column x_norm"):
        decode(sink.getvalue(), "parquet")


def test_compact_drops_values_that_do_not_occur() -> None:
    names = pa.array(["a", "b", "c", "a", None, "c"]).dictionary_encode()
    table = pa.table({"url": pa.chunked_array([names])}, schema=pa.schema([LAKE_SCHEMA.field("url")]))
    small = compact(table.slice(2, 4).combine_chunks())
    assert small["url"].to_pylist() == ["c", "a", None, "c"]
    assert sorted(small["url"].chunk(0).dictionary.to_pylist()) == ["a", "c"]


def test_a_damaged_or_missing_file_is_named(world: World) -> None:
    world.append(record("shop", "b1", [event(world.clock.now_ms())]))
    world.lander().drain()
    [file] = world.manifest.listed()
    path: Path = world.lake.root / file.path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IsothermError, match=r"part-0-0-0-.*Restore"):
        read_table(world.lake, file)
    path.unlink()
    with pytest.raises(IsothermError, match=r"part-0-0-0-.*Restore"):
        read_table(world.lake, file)


def test_a_damaged_jsonl_file_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["jsonl"])
    world.append(record("shop", "b1", [event(world.clock.now_ms())]))
    world.lander().drain()
    [file] = world.manifest.listed()
    (world.lake.root / file.path).write_bytes(gzip.compress(b'{"client_id":"shop"}\n'))
    with pytest.raises(IsothermError, match="a row without"):
        read_table(world.lake, file)
