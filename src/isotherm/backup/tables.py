"""The relational store's tables as Parquet files that both databases read: cut into pieces, in the order of the key.

A table is written from one read transaction, and read back into empty tables of the revision that it was written from;
what later revisions changed, their migrations then do.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.backup.inventory import Damaged
from isotherm.errors import IsothermError
from isotherm.store.tables import file_ranges, files, metadata

LEFT_OUT: Final = frozenset({"leases", "snapshots", "rounds"})
"""Who holds what at the moment, and what was done last by the clock of that deployment: nothing, after a restore."""
PIECE_ROWS: Final = 200_000
PIECE_BYTES: Final = 32 << 20
_FETCHED: Final = 2_000


class Piece(NamedTuple):
    """Some rows of one table, in a file of its own."""

    table: str
    number: int
    rows: int
    file: BinaryIO


def names() -> list[str]:
    """The tables of a backup, those that others refer to first."""
    return [table.name for table in metadata.sorted_tables if table.name not in LEFT_OUT]


def revision(connection: Connection) -> str:
    """The schema's revision, as the migrations name it."""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def dump(connection: Connection, table: sa.Table, open_file: Callable[[], BinaryIO]) -> Iterator[Piece]:
    """The table's rows, each piece in a file that `open_file()` gives. In the caller's read transaction.

    Files that are not listed belong to writers at work, or wait to be deleted: they are left out.
    """
    statement = _wanted(table).order_by(*table.primary_key.columns)
    schema = pa.schema([(column.name, _arrow_type(column)) for column in table.columns])
    held: list[pa.RecordBatch] = []
    number = 0
    result = connection.execute(statement.execution_options(stream_results=True, yield_per=_FETCHED))
    for rows in result.partitions():
        held.append(_batch(rows, table, schema))
        if sum(b.num_rows for b in held) >= PIECE_ROWS or sum(b.nbytes for b in held) >= PIECE_BYTES:
            yield _piece(table, number, held, schema, open_file())
            held, number = [], number + 1
    if held:
        yield _piece(table, number, held, schema, open_file())


def _wanted(table: sa.Table) -> "sa.Select[Any]":
    statement = sa.select(table)
    if table is files:
        return statement.where(files.c.state == "listed")
    if table is file_ranges:
        return statement.where(file_ranges.c.path.in_(sa.select(files.c.path).where(files.c.state == "listed")))
    return statement


def _piece(table: sa.Table, number: int, held: "list[pa.RecordBatch]", schema: pa.Schema, file: BinaryIO) -> Piece:
    whole = pa.Table.from_batches(held, schema)
    pq.write_table(whole, file, compression="zstd", store_schema=True)
    return Piece(table.name, number, whole.num_rows, file)


def _batch(rows: Sequence[Any], table: sa.Table, schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array([_plain(value, column) for value in values], schema.field(column.name).type)
        for column, values in zip(table.columns, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(value: Any, column: "sa.Column[Any]") -> Any:
    if value is None:
        return None
    if isinstance(column.type, sa.JSON):
        return msgspec.json.encode(value).decode()
    return bytes(value) if isinstance(column.type, sa.LargeBinary) else value


def _arrow_type(column: "sa.Column[Any]") -> pa.DataType:
    kinds: tuple[tuple[Any, pa.DataType], ...] = (
        (sa.Boolean, pa.bool_()),
        (sa.Integer, pa.int64()),
        (sa.Float, pa.float64()),
        (sa.LargeBinary, pa.large_binary()),
        (sa.JSON, pa.string()),
        (sa.String, pa.string()),
    )
    for kind, arrow in kinds:
        if isinstance(column.type, kind):
            return arrow
    raise IsothermError(f"{column}: a column of type {column.type} has no place in a backup yet")


def read_piece(file: BinaryIO, where: str) -> pa.Table:
    """The rows of one piece. Raises Damaged when it is no Parquet file."""
    try:
        return pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(f"{where} is no Parquet file ({error})") from None


class Loader:
    """Puts rows into the tables as they are in the database, in the caller's write transaction."""

    def __init__(self, connection: Connection, wanted: Iterable[str]) -> None:
        """Empties the tables. Raises IsothermError when one of them is not there."""
        self._connection = connection
        found = sa.MetaData()
        order = [name for name in names() if name in set(wanted)]
        if unknown := set(wanted) - set(order):
            raise IsothermError(f"the backup has a table {min(unknown)!r} this version does not know; use a newer one")
        with_rows = set(sa.inspect(connection).get_table_names())
        if missing := [name for name in order if name not in with_rows]:
            raise IsothermError(f"the database has no table {missing[0]!r}, which the backup has; use an empty one")
        found.reflect(connection, only=[*order])
        self.tables: Mapping[str, sa.Table] = found.tables
        for name in reversed([name for name in names() if name in with_rows]):
            connection.execute(sa.delete(metadata.tables[name]))

    def load(self, name: str, rows: pa.Table) -> int:
        """Insert rows; returns how many. Columns are matched by name."""
        table = self.tables[name]
        kinds = {column.name: metadata.tables[name].columns.get(column.name) for column in table.columns}
        for batch in rows.to_batches(_FETCHED):
            values = batch.to_pylist()
            for column, known in kinds.items():
                if known is not None and isinstance(known.type, sa.JSON) and column in batch.schema.names:
                    for row in values:
                        row[column] = None if row[column] is None else msgspec.json.decode(row[column])
            self._connection.execute(sa.insert(table), values)
        return rows.num_rows
