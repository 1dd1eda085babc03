"""Leases: never the same bucket twice at once, also across processes. A crashed holder's lease runs out.

On a database server its clock decides, so that machines whose clocks differ agree on who holds what.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from isotherm.clock import SECOND_MS, Clock
from isotherm.errors import IsothermError
from isotherm.store.db import now_ms, writing
from isotherm.store.tables import leases

LEASE_MS: Final = 20_000
_log = structlog.get_logger("isotherm.rollup")


class Busy(IsothermError):
    """Another job holds the lease; try again later."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held; `holder` is unique to this holding."""

    name: str
    holder: str = field(default_factory=lambda: uuid4().hex)

    def held(self, connection: Connection) -> bool:
        """Whether the lease is still ours, in the caller's write transaction.

        Writers go one at a time, so it stays ours until that transaction ends.
        """
        held_by = sa.select(leases.c.holder).where(leases.c.name == self.name)
        return connection.execute(held_by).scalar() == self.holder


@contextmanager
def lease(engine: Engine, clock: Clock, name: str, lease_ms: int = LEASE_MS) -> Generator[Lease]:
    """Hold the lease for the block, renewing it from a thread; raises Busy when another holder's has not run out."""
    mine = Lease(name)
    _acquire(engine, clock, mine, lease_ms)
    stop = threading.Event()
    renewer = threading.Thread(
        target=_renew, args=(engine, clock, mine, lease_ms, stop), name=f"lease {name}", daemon=True
    )
    renewer.start()
    try:
        yield mine
    finally:
        stop.set()
        renewer.join()
        _release(engine, mine)


def _release(engine: Engine, mine: Lease) -> None:
    """Give it back; where the store does not answer it runs out by itself, and what was done stays done."""
    try:
        with writing(engine) as connection:
            connection.execute(sa.delete(leases).where(leases.c.name == mine.name, leases.c.holder == mine.holder))
    except SQLAlchemyError as error:
        _log.warning("a lease could not be given back", lease=mine.name, error=str(error))


def _acquire(engine: Engine, clock: Clock, mine: Lease, lease_ms: int) -> None:
    with writing(engine) as connection:
        now = now_ms(connection, clock)
        row = connection.execute(sa.select(leases).where(leases.c.name == mine.name)).one_or_none()
        # No lease runs longer than this from now on: one that seems to was taken before the clock was set back.
        if row is not None and now < row.expires_at <= now + lease_ms + SECOND_MS:
            raise Busy(f"{mine.name} is being worked on by another job; it is free again when that one ends")
        connection.execute(sa.delete(leases).where(leases.c.name == mine.name))
        connection.execute(sa.insert(leases).values(name=mine.name, holder=mine.holder, expires_at=now + lease_ms))


def _renew(engine: Engine, clock: Clock, mine: Lease, lease_ms: int, stop: threading.Event) -> None:
    while not stop.wait(lease_ms / 3000):
        try:
            with writing(engine) as connection:
                connection.execute(
                    sa.update(leases)
                    .where(leases.c.name == mine.name, leases.c.holder == mine.holder)
                    .values(expires_at=now_ms(connection, clock) + lease_ms)
                )
        except SQLAlchemyError as error:
            # Tried again in a moment. If it stays so the lease runs out; another may take it, and `held` says so.
            _log.warning("a lease could not be renewed", lease=mine.name, error=str(error))
