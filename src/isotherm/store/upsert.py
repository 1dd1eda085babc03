"""Statements over many rows, which SQLAlchemy spells per dialect: INSERT ... ON CONFLICT, and column IN (...).

PostgreSQL takes a column's values as one array. A parameter per value would cost the client more than the server.
SQLite's driver gets the rows as they are, with a text that is made once: what SQLAlchemy does for each row and value
costs several times as much as the database itself.
"""

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

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
    least_known: Sequence[str] = (),
) -> None:
    """Insert rows; where the primary key is taken, overwrite the columns `update` and add to the columns `add`.

    The columns `least` and `greatest` keep the smaller or the larger value, and a null that is there stays. So do
    the columns `least_known`, but a null that is there gives way. With none of these, a row that is there stays as it
    is.
    """
    if not rows:
        return
    changes = Changes(*map(tuple, (update, add, least, greatest, least_known)))
    if connection.dialect.name == "postgresql":
        statement = _statement("postgresql", table, changes)
        if len({tuple(row[key.name] for key in table.primary_key.columns) for row in rows}) == len(rows) > 1:
            connection.execute(statement.from_select(list(rows[0]), _unnested(table, rows)))
        else:
            # Also rows with the same key, one after the other: one statement cannot change a row twice.
            connection.execute(statement, list(rows))
    elif _plain(table):
        text, values = _text(table, tuple(rows[0]), changes)
        connection.exec_driver_sql(text, list(map(values, rows)))
    else:
        connection.execute(_statement("sqlite", table, changes), list(rows))


Names = tuple[str, ...]


class Changes(NamedTuple):
    """What becomes of the columns of a row that is there; see `upsert`."""

    update: Names
    add: Names
    least: Names
    greatest: Names
    least_known: Names


@lru_cache(256)
def _statement(dialect: str, table: sa.Table, changes: Changes) -> Any:
    """The INSERT without its values."""
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    new, old = statement.excluded, table.c
    changed: dict[str, Any] = {name: new[name] for name in changes.update}
    changed |= {name: old[name] + new[name] for name in changes.add}
    changed |= {name: sa.case((new[name] < old[name], new[name]), else_=old[name]) for name in changes.least}
    changed |= {name: sa.case((new[name] > old[name], new[name]), else_=old[name]) for name in changes.greatest}
    for name in changes.least_known:
        changed[name] = sa.case((sa.or_(old[name].is_(None), new[name] < old[name]), new[name]), else_=old[name])
    keys = list(table.primary_key.columns)
    if changed:
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)
    return statement.on_conflict_do_nothing(index_elements=keys)


@lru_cache(256)
def _text(table: sa.Table, given: Names, changes: Changes) -> tuple[str, Callable[[Mapping[str, Any]], Sequence[Any]]]:
    """For SQLite's driver: the INSERT of these columns, and what takes its values from a row."""
    statement = _statement("sqlite", table, changes)
    compiled = statement.compile(
        dialect=sqlite.dialect(paramstyle="qmark"), column_keys=list(given), for_executemany=True
    )
    names: Sequence[str] = compiled.positiontup
    get = operator.itemgetter(*names)
    return str(compiled), get if len(names) > 1 else lambda row: (row[names[0]],)


@lru_cache(256)
def _plain(table: sa.Table) -> bool:
    """Whether SQLite's driver takes the values of all columns as they are."""
    kinds = (sa.Integer, sa.Text, sa.Float, sa.Boolean, sa.LargeBinary)
    return all(isinstance(column.type, kinds) and column.default is None for column in table.c)


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


def with_key(
    connection: Connection, columns: Sequence["sa.Column[Any]"], values: Collection[Any]
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table whose first of these columns has one of the values, as plain tuples."""
    if connection.dialect.name == "postgresql":
        for condition in among(connection, columns[0], values):
            yield from map(tuple, connection.execute(sa.select(*columns).where(condition)))
        return
    wanted = list(values)
    names = ", ".join(f'"{column.name}"' for column in columns)
    for start in range(0, len(wanted), _MOST_VARIABLES):
        some = tuple(wanted[start : start + _MOST_VARIABLES])
        marks = ",".join("?" * len(some))
        text = f'SELECT {names} FROM "{columns[0].table.name}" WHERE "{columns[0].name}" IN ({marks})'
        yield from map(tuple, connection.exec_driver_sql(text, some))
