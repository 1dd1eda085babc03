"""The row in the relational store that says that a restore into it is not done: nothing of any machine may use it.

`unfinished.py` has the same for one machine.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from isotherm.errors import IsothermError
from isotherm.store.db import reading, writing
from isotherm.store.tables import leases

UNDER_WAY: Final = "restore"
DONE: Final = "restored"


def refuse_unfinished_store(engine: Engine) -> None:
    """Raise IsothermError while a restore into this relational store is not done."""
    with reading(engine) as connection:
        if under_way(connection) is not None:
            raise IsothermError(
                "a restore into this database was interrupted and has to be finished first: run the same `isotherm "
                "restore` again"
            )


def under_way(connection: Connection) -> str | None:
    """The id of the backup that is being restored into this store."""
    return _holder(connection, UNDER_WAY)


def finished(connection: Connection) -> str | None:
    """The id of the backup that this store was last restored from."""
    return _holder(connection, DONE)


def _holder(connection: Connection, name: str) -> str | None:
    return connection.execute(sa.select(leases.c.holder).where(leases.c.name == name)).scalar_one_or_none()


def set_under_way(engine: Engine, backup: str) -> None:
    with writing(engine) as connection:
        _set(connection, UNDER_WAY, backup)


def set_done(connection: Connection, backup: str) -> None:
    """In the transaction that loads the tables: from then on the store may be used."""
    connection.execute(sa.delete(leases).where(leases.c.name == UNDER_WAY))
    _set(connection, DONE, backup)


def _set(connection: Connection, name: str, holder: str) -> None:
    connection.execute(sa.delete(leases).where(leases.c.name == name))
    connection.execute(sa.insert(leases).values(name=name, holder=holder, expires_at=0))
