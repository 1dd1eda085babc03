"""Tables to the bytes of a lake file, and back. Both formats hold the same fields and give the same bits back.

JSONL: one object per row with the columns' names, null fields left out; doubles as the shortest text that gives
the same double, times as integer milliseconds since the epoch (UTC); gzip.
"""

import gzip
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isotherm.errors import IsothermError
from isotherm.land.lake import Lake
from isotherm.land.schema import ADDED, DICTIONARY, LAKE_SCHEMA, PARQUET_OPTIONS

SUFFIXES: Final = {"parquet": "parquet", "jsonl": "jsonl.gz"}
_GZIP_LEVEL: Final = 6
_BLOCK: Final = 100_000
"""Rows that exist as Python objects at the same time when JSONL is written."""
_DICTIONARIES: Final = [field.name for field in LAKE_SCHEMA if field.type == DICTIONARY]


class Located(Protocol):
    """What `read_table` needs to know of a file; a LakeFile is one."""

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...


def _python_type(kind: Any) -> Any:
    if pa.types.is_floating(kind):
        return float | None
    return str | None if kind == DICTIONARY or kind == pa.string() else int | None


_Row: Final = msgspec.defstruct(
    "_Row", [(f.name, _python_type(f.type), None) for f in LAKE_SCHEMA], omit_defaults=True, gc=False
)
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Row)


def encode(table: pa.Table, format: str) -> memoryview:  # noqa: A002 - the manifest's word
    """The file's bytes. `table` has the lake's schema; `format` is parquet or jsonl."""
    return _parquet(table) if format == "parquet" else memoryview(_jsonl(table))


def read_table(lake: Lake, file: Located, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one lake file in the lake's schema (or its `columns`), in the file's order.

    Raises IsothermError when the file is missing or damaged.
    """
    try:
        data = lake.get(file.path)
        return decode(data, file.format, columns)
    except (OSError, EOFError, pa.ArrowException, msgspec.MsgspecError, ValueError) as error:
        raise IsothermError(
            f"{lake.where(file.path)}: the lake file cannot be read ({error}). Restore it from a backup; "
            "the manifest still lists it."
        ) from error


def decode(data: bytes, format: str, columns: Sequence[str] | None = None) -> pa.Table:  # noqa: A002
    """What `encode` made, as a table again; columns of one chunk each."""
    schema = LAKE_SCHEMA if columns is None else pa.schema([LAKE_SCHEMA.field(name) for name in columns])
    if format == "parquet":
        return _from_parquet(data, schema)
    rows = _decoder.decode_lines(gzip.decompress(data))
    return pa.table([_from_list(list(map(attrgetter(f.name), rows)), f) for f in schema], schema=schema)


def _from_parquet(data: bytes, schema: pa.Schema) -> pa.Table:
    with pq.ParquetFile(pa.BufferReader(data), read_dictionary=_DICTIONARIES) as file:
        there = set(file.schema_arrow.names)
        if lacking := set(schema.names) - there - ADDED:
            raise ValueError(f"a file without the column {min(lacking)}")
        table = file.read([name for name in schema.names if name in there], use_threads=False)
    for field in schema:
        if field.name not in there:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema).unify_dictionaries().combine_chunks()


def compact(table: pa.Table) -> pa.Table:
    """The same rows with dictionaries that hold only values that occur, so that a slice's file stays small."""
    for index, field in enumerate(table.schema):
        if field.type == DICTIONARY:
            table = table.set_column(index, field, _compact(table.column(index).combine_chunks()))
    return table


def _compact(column: Any) -> Any:
    size = len(column.dictionary)
    if size <= 1:
        return column
    indices = column.indices
    codes = indices.fill_null(0).to_numpy()
    used = np.flatnonzero(np.bincount(codes, minlength=size))
    if len(used) == size:
        return column
    renumber = np.zeros(size, np.int32)
    renumber[used] = np.arange(len(used), dtype=np.int32)
    mask = indices.is_null().to_numpy(False) if indices.null_count else None
    fresh = pa.array(renumber[codes], pa.int32(), mask=mask)
    return pa.DictionaryArray.from_arrays(fresh, column.dictionary.take(pa.array(used)))


def unequal(left: Any, right: Any) -> list[int]:
    """Rows whose values differ; doubles by their bits, so that -0.0 is not 0.0."""
    if left.type == DICTIONARY:
        left, right = left.dictionary_decode(), right.dictionary_decode()
    elif pa.types.is_floating(left.type):
        left, right = (column.view(pa.int64()) for column in (left, right))
    same = pc.call_function("equal", [left, right]).fill_null(False).to_numpy(zero_copy_only=False)
    nulls = [column.is_null().to_numpy(zero_copy_only=False) for column in (left, right)]
    return np.flatnonzero(~(same | (nulls[0] & nulls[1]))).tolist()


def _parquet(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET_OPTIONS)
    return memoryview(sink.getvalue()).cast("B")


def _jsonl(table: pa.Table) -> bytes:
    return gzip.compress(b"".join(_lines(table)), _GZIP_LEVEL, mtime=0)


def _lines(table: pa.Table) -> Iterator[bytes]:
    for start in range(0, table.num_rows, _BLOCK):
        block = table.slice(start, _BLOCK).combine_chunks()
        columns = [_to_list(block.column(i).combine_chunks()) for i in range(block.num_columns)]
        yield _encoder.encode_lines(list(map(_Row, *columns)))


def _to_list(column: Any) -> list[Any]:
    """The column as Python values; to_pylist would make a scalar object of each first."""
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    if pa.types.is_string(column.type) or not column.null_count:
        return column.to_numpy(zero_copy_only=False).tolist()
    values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(object)
    values[column.is_null().to_numpy(zero_copy_only=False)] = None
    return values.tolist()


def _from_list(values: list[Any], field: Any) -> Any:
    if not field.nullable and None in values:
        raise ValueError(f"a row without {field.name}")
    if field.type == DICTIONARY:
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, field.type)
