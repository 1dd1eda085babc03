"""Gaps: records that the log had lost before they were landed. Kept for good, since nothing else tells of them."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from isotherm.land.landing import Gap
from isotherm.store.db import reading, total
from isotherm.store.tables import log_gaps
from isotherm.store.upsert import upsert

SHOWN: Final = 100
"""The newest are shown, up to so many."""


def write(connection: Connection, log: str, gaps: Sequence[Gap]) -> None:
    """Remember the gaps, in the transaction of the landing that passes them: so each is there once."""
    rows = [
        {"log": log, "partition": gap.partition, "first_offset": gap.first, "last_offset": gap.last}
        | {"noticed_at": gap.noticed_at}
        for gap in gaps
    ]
    upsert(connection, log_gaps, rows)


def lost_since(connection: Connection, since_ms: int) -> int:
    """How many records were gone that somebody came for later than this, of every log."""
    records = log_gaps.c.last_offset - log_gaps.c.first_offset + 1
    return connection.execute(sa.select(total(records)).where(log_gaps.c.noticed_at > since_ms)).scalar_one()


def newest(engine: Engine, log: str) -> list[Gap]:
    """The log's gaps, the newest first."""
    order = (log_gaps.c.noticed_at.desc(), log_gaps.c.partition, log_gaps.c.first_offset)
    columns = (log_gaps.c.partition, log_gaps.c.first_offset, log_gaps.c.last_offset, log_gaps.c.noticed_at)
    statement = sa.select(*columns).where(log_gaps.c.log == log).order_by(*order).limit(SHOWN)
    with reading(engine) as connection:
        return [Gap(*values) for values in connection.execute(statement)]
