"""How fresh a client's maps are: from what the lander has read, and from one snapshot of the relational store.

`tiled_until` must never promise too much. An event that was acknowledged before the lander found the log's end, and
before the oldest event that waits was received, cannot be waiting: it was on the log by then, and it was received
before it was acknowledged. So the smaller of these moments is the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.clock import DAY_MS
from isotherm.rollup.buckets import Level
from isotherm.serve.deps import Unlanded
from isotherm.store.tables import arrivals, buckets, dirty, files, positions


@dataclass(frozen=True, slots=True)
class Freshness:
    """Events received, moments in ms. `lander` and `tiles` count events that wait; None stands for not known."""

    received: int
    last_received_at: int | None
    tiled_until: int | None
    lander: int | None
    tiles: int
    version: int


@dataclass(frozen=True, slots=True)
class _Hour:
    start: int
    oldest: int | None
    rows: int


def look(connection: Connection, client_id: str, lake_format: str, read: Sequence[Unlanded] | None) -> Freshness | None:
    """What is known in this snapshot, with what the lander had `read` before; None when the two do not fit together.

    They do not while another lander works on the same log, or this one has just begun again.
    """
    unlanded = None if read is None else _still_unlanded(connection, read)
    if unlanded is None and read is not None:
        return None
    # Fewer rows than were tiled: files left the list since then, so new rows may hide behind them.
    hours = [hour for hour in _hours(connection, client_id, lake_format) if hour.rows != 0]
    landed = connection.execute(
        sa.select(arrivals.c.accepted, arrivals.c.last_received_at).where(arrivals.c.client_id == client_id)
    ).first()
    newest = [landed.last_received_at] if landed else []
    newest += [one.newest for one in unlanded or () if one.newest is not None]
    lander = None if unlanded is None else sum(one.events for one in unlanded)
    return Freshness(
        received=(landed.accepted if landed else 0) + (lander or 0),
        last_received_at=max(newest, default=None),
        tiled_until=None if read is None else _until(read, unlanded or (), hours),
        lander=lander,
        tiles=sum(max(hour.rows, 0) for hour in hours),
        version=_version(connection, client_id),
    )


def _still_unlanded(connection: Connection, read: Sequence[Unlanded]) -> list[Unlanded] | None:
    """The partitions whose records are not landed in this snapshot; None when the lander is somewhere else."""
    rows = connection.execute(sa.select(positions.c.log, positions.c.partition, positions.c.next_offset))
    known = {(log, partition): position for log, partition, position in rows}
    found: list[Unlanded] = []
    for one in read:
        position = known.get((one.log, one.partition), 0)
        if position == one.first:
            found.append(one)
        elif position != one.next:
            return None
    return found


def _until(read: Sequence[Unlanded], unlanded: Sequence[Unlanded], hours: Sequence[_Hour]) -> int | None:
    moments = [one.oldest for one in unlanded if one.oldest is not None]
    # No event lies more than a day ahead of the moment at which it is received.
    moments += [hour.start - DAY_MS if hour.oldest is None else hour.oldest for hour in hours]
    for one in read:
        if one.read_until is None:
            return None
        moments.append(one.read_until)
    return min(moments, default=None)


def _hours(connection: Connection, client_id: str, lake_format: str) -> list[_Hour]:
    """The client's changed hours, each with its rows that are in the lake and not in its maps (negative: fewer)."""
    of_client = (dirty.c.client_id == client_id, dirty.c.level == Level.HOUR.value)
    listed = (
        sa.select(sa.func.coalesce(sa.func.sum(files.c.rows), 0))
        .where(
            files.c.state == "listed",
            files.c.hour == dirty.c.start,
            files.c.client_id == dirty.c.client_id,
            files.c.format == lake_format,
            sa.not_(files.c.raw_only),
        )
        .scalar_subquery()
    )
    tiled = (
        sa.select(buckets.c.rows)
        .where(
            buckets.c.level == dirty.c.level,
            buckets.c.start == dirty.c.start,
            buckets.c.client_id == dirty.c.client_id,
        )
        .scalar_subquery()
    )
    query = sa.select(dirty.c.start, dirty.c.oldest_received_at, listed, sa.func.coalesce(tiled, 0)).where(*of_client)
    return [_Hour(start, oldest, int(rows) - int(done)) for start, oldest, rows, done in connection.execute(query)]


def _version(connection: Connection, client_id: str) -> int:
    query = sa.select(sa.func.max(buckets.c.version)).where(buckets.c.client_id == client_id)
    return connection.execute(query).scalar_one() or 0
