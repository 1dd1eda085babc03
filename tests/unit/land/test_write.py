import gzip
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from landing import World, event, flipped, record, tables

from isotherm.errors import IsothermError
from isotherm.land.landing import LakeFile
from isotherm.land.rowhash import of_table
from isotherm.land.schema import ADDED, LAKE_SCHEMA, PARQUET_OPTIONS
from isotherm.land.write import compact, decode, encode, read_pieces, read_table


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


def land(world: World) -> list[LakeFile]:
    """One event; the files it is in."""
    world.append(record("shop", "b1", [event(world.clock.now_ms())]))
    world.lander().drain()
    return world.manifest.listed()


def test_a_damaged_or_missing_file_is_named(world: World) -> None:
    [file] = land(world)
    path: Path = world.lake.root / file.path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IsothermError, match=r"part-0-0-0-.*Restore"):
        read_table(world.lake, file)
    path.unlink()
    with pytest.raises(IsothermError, match=r"part-0-0-0-.*Restore"):
        read_table(world.lake, file)


def many_rows(rows: int = 400) -> pa.Table:
    """Rows with values that compress badly, so that most bytes of their file are values."""
    numbers = np.random.default_rng(1)
    columns = {field.name: pa.nulls(rows, field.type) for field in LAKE_SCHEMA}
    for name, values in (
        ("client_id", ["shop"] * rows),
        ("screen_id", [f"s{n % 7}" for n in range(rows)]),
        ("event_type", ["mousemove", "click"] * (rows // 2)),
        ("event_time", numbers.integers(1_795_000_000_000, 1_795_003_600_000, rows)),
        ("x_norm", numbers.random(rows)),
        ("y_norm", numbers.random(rows)),
        ("attrs", [f'{{"n":{n}}}' for n in numbers.integers(0, 2**62, rows)]),
        ("received_at", numbers.integers(1_795_000_000_000, 1_795_003_600_000, rows)),
        ("batch_id", [f"b{n // 20}" for n in range(rows)]),
        ("position", np.arange(rows) % 20),
        ("log_partition", np.zeros(rows, np.int64)),
        ("log_offset", np.arange(rows) // 20),
    ):
        columns[name] = pa.array(values).cast(LAKE_SCHEMA.field(name).type)
    return pa.table(columns, schema=LAKE_SCHEMA)


def test_a_flipped_bit_is_an_error_or_changes_nothing_that_is_read() -> None:
    table = many_rows()
    whole = bytes(encode(table, "parquet"))
    expected = bits(table)
    chance = random.Random(5)
    errors = 0
    for _ in range(300):
        harmed = bytearray(whole)
        harmed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        try:
            read = decode(bytes(harmed), "parquet")
        except (OSError, pa.ArrowException, ValueError):
            errors += 1
        else:
            assert bits(read) == expected
    assert errors > 200


@pytest.mark.parametrize("column", ["x_norm", "attrs", "batch_id", "event_time", "position"])
def test_a_flipped_bit_of_any_column_is_named(world: World, column: str) -> None:
    """Also one that no map is made of; by whole files, by pieces, and where only this column is read."""
    rows = many_rows()
    [file] = land(world)
    path: Path = world.lake.root / file.path
    path.write_bytes(flipped(bytes(encode(rows, "parquet")), column))
    for columns in (None, [column]):
        with pytest.raises(IsothermError, match=r"part-0-0-0-.*(?i:crc|checksum).*Restore"):
            read_table(world.lake, file, columns)
        with pytest.raises(IsothermError, match=r"part-0-0-0-.*(?i:crc|checksum).*Restore"):
            list(read_pieces(world.lake, file, 100, columns))
    others = [name for name in LAKE_SCHEMA.names if name != column]
    assert read_table(world.lake, file, others) == rows.select(others)


def test_files_without_checksums_stay_readable() -> None:
    table = many_rows()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS | {"write_page_checksum": False})
    assert bits(decode(sink.getvalue().to_pybytes(), "parquet")) == bits(table)


def test_a_damaged_jsonl_file_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["jsonl"])
    world.append(record("shop", "b1", [event(world.clock.now_ms())]))
    world.lander().drain()
    [file] = world.manifest.listed()
    (world.lake.root / file.path).write_bytes(gzip.compress(b'{"client_id":"shop"}\n'))
    with pytest.raises(IsothermError, match="a row without"):
        read_table(world.lake, file)
