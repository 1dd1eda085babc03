"""Which buckets a verification looks at: all of a range, or a random sample; in units of a client and a week."""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor, starts
from isotherm.store.db import reading, total
from isotherm.store.tables import buckets, files


@dataclass(frozen=True, slots=True)
class Choice:
    """What to verify: None means no bound. `sample` buckets are drawn from the published ones by `seed`."""

    client_ids: Sequence[str] | None = None
    start: int | None = None
    end: int | None = None
    levels: Sequence[Level] = tuple(Level)
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """Buckets of one client and week: those of `levels` inside [start, end), or of them only the `chosen` ones."""

    client_id: str
    week: int
    start: int
    end: int
    levels: frozenset[Level]
    chosen: frozenset[Bucket] | None = None

    def wants(self, bucket: Bucket) -> bool:
        """Whether a verdict on the bucket is asked for."""
        inside = self.start <= bucket.start and bucket.end <= self.end
        return inside and bucket.level in self.levels and (self.chosen is None or bucket in self.chosen)

    def needs(self, hour: Bucket) -> bool:
        """Whether a bucket that is asked for holds the hour."""
        return any(map(self.wants, (hour, *hour.ancestors())))


def units_of(database: Database, choice: Choice, kept_from: int) -> list[Unit]:
    """The units of a choice; a sample in the order in which it was drawn, so that any beginning of it is a sample.

    Only buckets from `kept_from` on (ms) are drawn: earlier ones have no raw events to be compared with.
    """
    return list(_all(database, choice)) if choice.sample is None else _sampled(database, choice, kept_from)


def rows_of(database: Database, units: Sequence[Unit], form: str, kept_from: int) -> int:
    """Raw rows that a verification of the units reads, as the manifest counts them."""
    rows = 0
    with reading(database) as connection:
        for unit in units:
            low = max(unit.start, kept_from)
            within = (files.c.hour >= low, files.c.hour < unit.end, files.c.client_id == unit.client_id)
            listed = (files.c.state == "listed", files.c.format == form, files.c.raw_only.is_(False))
            if unit.chosen is None:
                rows += connection.execute(sa.select(total(files.c.rows)).where(*within, *listed)).scalar_one()
                continue
            by_hour = sa.select(files.c.hour, total(files.c.rows)).where(*within, *listed).group_by(files.c.hour)
            found = connection.execute(by_hour)
            rows += sum(count for hour, count in found if unit.needs(Bucket(Level.HOUR, hour)))
    return rows


def _all(database: Database, choice: Choice) -> Iterator[Unit]:
    levels = frozenset(choice.levels)
    for client_id, (first, last) in sorted(_spans(database).items()):
        if choice.client_ids is not None and client_id not in choice.client_ids:
            continue
        low = floor(Level.WEEK, first) if choice.start is None else choice.start
        high = floor(Level.WEEK, last) + WEEK_MS if choice.end is None else choice.end
        for week in starts(Level.WEEK, low, high):
            yield Unit(client_id, week, max(week, low), min(week + WEEK_MS, high), levels)


def _spans(database: Database) -> dict[str, tuple[int, int]]:
    """First and last start, per client, of what was published or landed."""
    spans: dict[str, tuple[int, int]] = {}
    with reading(database) as connection:
        for client, moment, rows in (
            (buckets.c.client_id, buckets.c.start, sa.true()),
            (files.c.client_id, files.c.hour, files.c.state == "listed"),
        ):
            found = sa.select(client, sa.func.min(moment), sa.func.max(moment)).where(rows).group_by(client)
            for client_id, first, last in connection.execute(found):
                known = spans.get(client_id, (first, last))
                spans[client_id] = (min(known[0], first), max(known[1], last))
    return spans


def _sampled(database: Database, choice: Choice, kept_from: int) -> list[Unit]:
    weeks: dict[tuple[str, int], set[Bucket]] = {}
    with reading(database) as connection:
        for client_id, bucket in _draw(connection, choice, kept_from):
            weeks.setdefault((client_id, floor(Level.WEEK, bucket.start)), set()).add(bucket)
    return [
        Unit(
            client_id, week, min(b.start for b in chosen), max(b.end for b in chosen), frozenset(Level),
            frozenset(chosen),
        )
        for (client_id, week), chosen in weeks.items()
    ]  # fmt: skip


def _draw(connection: Connection, choice: Choice, kept_from: int) -> Iterator[tuple[str, Bucket]]:
    """Distinct published buckets, each as likely as any other: numbers are drawn, and only these buckets are read."""
    key = (buckets.c.client_id, buckets.c.level)
    groups = connection.execute(
        sa.select(*key, sa.func.count()).where(*_eligible(choice, kept_from)).group_by(*key).order_by(*key)
    ).all()
    sizes = [count for _, _, count in groups]
    ends = list(accumulate(sizes))
    numbers = random.Random(choice.seed)  # noqa: S311 - a sample that can be drawn again, no secret
    for drawn in numbers.sample(range(sum(sizes)), min(choice.sample or 0, sum(sizes))):
        place = bisect_right(ends, drawn)
        client_id, level, count = groups[place]
        number = drawn - ends[place] + count
        within = (buckets.c.client_id == client_id, buckets.c.level == level)
        start = sa.select(buckets.c.start).where(*within, *_eligible(choice, kept_from))
        found = connection.execute(start.order_by(buckets.c.start).offset(number).limit(1)).scalar_one_or_none()
        if found is not None:
            yield client_id, Bucket(Level(level), found)


def _eligible(choice: Choice, kept_from: int) -> Sequence[sa.ColumnElement[bool]]:
    low = kept_from if choice.start is None else max(choice.start, kept_from)
    lengths: Any = sa.case({level.value: level.ms for level in Level}, value=buckets.c.level)
    found = [buckets.c.start >= low, buckets.c.level.in_([level.value for level in choice.levels])]
    if choice.end is not None:
        found.append(buckets.c.start + lengths <= choice.end)
    if choice.client_ids is not None:
        found.append(buckets.c.client_id.in_(list(choice.client_ids)))
    return found
