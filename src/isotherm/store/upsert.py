"""Statements over many rows, which SQLAlchemy spells per dialect: INSERT ... ON CONFLICT, and column IN (...).

PostgreSQL takes a column's values as one array. A parameter per value would cost the client more than the server.
"""

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

_MOST_VARIABLES: Final = 5_000
"""Values in one statement of SQLite, which allows 32,766."""


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    update: Sequence[str] = (),
    add: Sequence[str] = (),
    least: Sequence[str] = (),
    greatest: Sequence[str] = (),
) -> None:
    """Insert rows; where the primary key is taken, overwrite the columns `update` and add to the columns `add`.

    The columns `least` and `greatest` keep the smaller or the larger value, and a null that is there stays. With
    none of these, a row that is there stays as it is.
    """
    if not rows:
        return
    keys = list(table.primary_key.columns)
    on_postgresql = connection.dialect.name == "postgresql"
    statement = (postgresql if on_postgresql else sqlite).insert(table)
    changed = {name: statement.excluded[name] for name in update}
    changed |= {name: table.c[name] + statement.excluded[name] for name in add}
    for names, better in ((least, operator.lt), (greatest, operator.gt)):
        for name in names:
            new, old = statement.excluded[name], table.c[name]
            changed[name] = sa.case((better(new, old), new), else_=old)
    if changed:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    if on_postgresql and len({tuple(row[key.name] for key in keys) for row in rows}) == len(rows) > 1:
        connection.execute(statement.from_select(list(rows[0]), _unnested(table, rows)))
    else:
        # Also rows with the same key, one after the other: one statement cannot change a row twice.
        connection.execute(statement, list(rows))


def _unnested(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> "sa.Select[Any]":
    """The rows as a table of the server."""
    names = list(rows[0])
    arrays = [_array(table.c[name], [row[name] for row in rows]) for name in names]
    columns = [sa.column(name, table.c[name].type) for name in names]
    return sa.select(sa.func.unnest(*arrays).table_valued(*columns).render_derived())


def _array(column: "sa.Column[Any]", values: Sequence[Any]) -> Any:
    kind = postgresql.ARRAY(column.type)
    if isinstance(column.type, sa.LargeBinary):
        # The driver would look at each value several times; in hexadecimal nothing needs quoting.
        texts = ("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values)
        return sa.cast(sa.literal(f"{{{','.join(texts)}}}"), kind)
    return sa.cast(sa.literal(list(values), kind), kind)


def among(connection: Connection, column: "sa.Column[Any]", values: Collection[Any]) -> Iterator[Any]:
    """Conditions that the column has one of the values; for each condition a statement, as all may be too many."""
    wanted = list(values)
    if connection.dialect.name == "postgresql":
        # A sub-query: the server would read an array that stands in a condition again for every row it looks at.
        yield column.in_(sa.select(sa.func.unnest(_array(column, wanted))))
        return
    for start in range(0, len(wanted), _MOST_VARIABLES):
        yield column.in_(wanted[start : start + _MOST_VARIABLES])
