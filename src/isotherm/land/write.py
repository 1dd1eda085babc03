"""Tables to the bytes of a lake file, and back. Both formats hold the same fields and give the same bits back.

JSONL: one object per row with the columns' names, null fields left out; doubles as the shortest text that gives
the same double, times as integer milliseconds since the epoch (UTC); gzip.
"""

import gzip
import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import Any, BinaryIO, Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isotherm.errors import IsothermError
from isotherm.land.lake import Lake
from isotherm.land.schema import ADDED, DICTIONARY, LAKE_SCHEMA, PARQUET_OPTIONS, TIGHT_LEVEL

SUFFIXES: Final = {"parquet": "parquet", "jsonl": "jsonl.gz"}
_GZIP_LEVEL: Final = 6
_BLOCK: Final = 100_000
"""Rows that exist as Python objects at the same time when JSONL is written."""
_WHOLE_BYTES: Final = 8 << 20
"""A file up to this size is fetched whole, with one request, even if it is read in pieces."""
_DICTIONARIES: Final = [field.name for field in LAKE_SCHEMA if field.type == DICTIONARY]


class Located(Protocol):
    """What readers need to know of a file; a LakeFile is one."""

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def bytes(self) -> int: ...


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
    with readable(lake, file):
        return decode(lake.get(file.path), file.format, columns)


def read_pieces(
    lake: Lake,
    file: Located,
    rows: int,
    columns: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.Table]:
    """`read_table` in tables of at most `rows` rows each; of a large file only what is needed is in memory.

    `groups` are the row groups of a Parquet file to read, by number; None: all. Raises IsothermError when the file is
    missing or damaged.
    """
    with readable(lake, file), _source(lake, file) as source:
        if file.format == "parquet":
            yield from _parquet_pieces(source, _schema(columns), rows, groups)
        else:
            yield from _jsonl_pieces(source, _schema(columns), rows)


def read_footer(lake: Lake, file: Located) -> pq.FileMetaData:
    """What a Parquet file says of its row groups. Raises IsothermError when it is missing or damaged."""
    with readable(lake, file), _source(lake, file) as source, _opened(source) as opened:
        return opened.metadata


@contextmanager
def readable(lake: Lake, file: Located) -> Generator[None]:
    """Turns what reading a missing or damaged file raises into an IsothermError that names it."""
    try:
        yield
    except (OSError, EOFError, pa.ArrowException, msgspec.MsgspecError, ValueError) as error:
        raise unreadable(lake.where(file.path), str(error)) from error


def unreadable(where: str, why: str) -> IsothermError:
    """What a person is told of a missing or damaged lake file."""
    return IsothermError(
        f"{where}: the lake file cannot be read ({why}). Restore it from a backup; the manifest still lists it."
    )


def _source(lake: Lake, file: Located) -> BinaryIO:
    """The file to read pieces of; a small one costs one request."""
    return io.BytesIO(lake.get(file.path)) if file.bytes <= _WHOLE_BYTES else lake.open(file.path)


def _schema(columns: Sequence[str] | None) -> pa.Schema:
    return LAKE_SCHEMA if columns is None else pa.schema([LAKE_SCHEMA.field(name) for name in columns])


def decode(data: bytes, format: str, columns: Sequence[str] | None = None) -> pa.Table:  # noqa: A002
    """What `encode` made, as a table again; columns of one chunk each."""
    schema = _schema(columns)
    if format == "parquet":
        with _opened(pa.BufferReader(data)) as file:
            return _shaped(file.read(_names(file, schema), use_threads=False), schema)
    return _from_lines(gzip.decompress(data), schema)


def _opened(source: Any, *, pre_buffer: bool = False) -> pq.ParquetFile:
    """The file, whose pages raise OSError when one is not what was written: zstd would unpack most of them all the
    same. Files of earlier versions have no checksums, and their pages are taken as they are."""
    return pq.ParquetFile(source, read_dictionary=_DICTIONARIES, pre_buffer=pre_buffer, page_checksum_verification=True)


def _parquet_pieces(source: BinaryIO, schema: pa.Schema, rows: int, groups: Sequence[int] | None) -> Iterator[pa.Table]:
    # With pre_buffer, a row group of many columns is one request or a few.
    with _opened(source, pre_buffer=True) as file:
        names = _names(file, schema)
        for group in range(file.num_row_groups) if groups is None else groups:
            for batch in file.iter_batches(rows, row_groups=[group], columns=names, use_threads=False):
                yield _shaped(pa.Table.from_batches([batch]), schema)


def _jsonl_pieces(source: BinaryIO, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    with gzip.GzipFile(fileobj=source) as lines:
        while block := b"".join(islice(lines, min(rows, _BLOCK))):
            yield _from_lines(block, schema)


def _names(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    """The schema's columns that the file has. ValueError when one is missing that every version writes."""
    there = set(file.schema_arrow.names)
    if lacking := set(schema.names) - there - ADDED:
        raise ValueError(f"a file without the column {min(lacking)}")
    return [name for name in schema.names if name in there]


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    there = set(table.schema.names)
    for field in schema:
        if field.name not in there:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema).unify_dictionaries().combine_chunks()


def _from_lines(lines: bytes, schema: pa.Schema) -> pa.Table:
    rows = _decoder.decode_lines(lines)
    return pa.table([_from_list(list(map(attrgetter(f.name), rows)), f) for f in schema], schema=schema)


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


def write_pieces(
    sink: BinaryIO,
    tables: Iterable[pa.Table],
    format: str,  # noqa: A002
    *,
    tight: bool = False,
) -> None:
    """Write what `encode` would make of all the tables, one after the other; each is a row group of its own.

    `tight` takes several times as long and makes files smaller; reading them takes no longer.
    """
    if format == "parquet":
        options: dict[str, Any] = PARQUET_OPTIONS | ({"compression_level": TIGHT_LEVEL} if tight else {})
        with pq.ParquetWriter(sink, LAKE_SCHEMA, **options) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
        return
    with gzip.GzipFile("", "wb", 9 if tight else _GZIP_LEVEL, sink, mtime=0) as packed:
        for table in tables:
            packed.writelines(_lines(table))


def _jsonl(table: pa.Table) -> bytes:
    return gzip.compress(b"".join(_lines(table)), _GZIP_LEVEL, mtime=0)


def _lines(table: pa.Table) -> Iterator[bytes]:
    for start in range(0, table.num_rows, _BLOCK):
        block = table.slice(start, _BLOCK).combine_chunks()
        columns = [to_list(block.column(i).combine_chunks()) for i in range(block.num_columns)]
        yield _encoder.encode_lines(list(map(_Row, *columns)))


def to_list(column: Any) -> list[Any]:
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
