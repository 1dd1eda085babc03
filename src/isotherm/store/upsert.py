"""INSERT ... ON CONFLICT, which SQLAlchemy spells per dialect."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


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
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    changed = {name: statement.excluded[name] for name in update}
    changed |= {name: table.c[name] + statement.excluded[name] for name in add}
    for names, better in ((least, operator.lt), (greatest, operator.gt)):
        for name in names:
            new, old = statement.excluded[name], table.c[name]
            changed[name] = sa.case((better(new, old), new), else_=old)
    keys = list(table.primary_key.columns)
    if changed:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    connection.execute(statement, list(rows))
