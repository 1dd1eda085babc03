"""What work that comes round again did last: retention of each store, and the archive. One row per work."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from isotherm.clock import MINUTE_MS, iso
from isotherm.store.db import reading, writing
from isotherm.store.tables import rounds
from isotherm.store.upsert import upsert

BACKUP: Final = "backup"
"""Name of the round that is written down when a backup is complete."""
_SAID_MS = 10 * MINUTE_MS
"""A round that found nothing to do is written down this often, not every time."""


def note(engine: Engine, name: str, now_ms: int, did: dict[str, Any] | None) -> None:
    """Say that the work ended, and what it did; None: there was nothing to do."""
    if did is None:
        with reading(engine) as connection:
            ran_at = connection.execute(sa.select(rounds.c.ran_at).where(rounds.c.name == name)).scalar()
        if ran_at is not None and 0 <= now_ms - ran_at < _SAID_MS:
            return
    row: dict[str, Any] = {"name": name, "ran_at": now_ms, "did_at": None if did is None else now_ms, "did": did or {}}
    with writing(engine) as connection:
        upsert(connection, rounds, [row], update=("ran_at",) if did is None else ("ran_at", "did_at", "did"))


def last(engine: Engine) -> dict[str, Any]:
    """{name: {ran_at, did_at, did}} of every work that ran once; moments as RFC 3339."""
    with reading(engine) as connection:
        return {
            row.name: {"ran_at": iso(row.ran_at), "did_at": row.did_at and iso(row.did_at), "did": row.did}
            for row in connection.execute(sa.select(rounds).order_by(rounds.c.name))
        }


def of(engine: Engine, name: str) -> tuple[int | None, dict[str, Any]]:
    """When the work last had something to do (ms; None: never), and what it did then."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(rounds.c.did_at, rounds.c.did).where(rounds.c.name == name)).one_or_none()
    return (None, {}) if row is None else (row.did_at, row.did)
