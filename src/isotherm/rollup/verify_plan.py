"""Which buckets a verification looks at: all of a range, or a random sample; in units of a client and a week."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

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


Conditions = Sequence[sa.ColumnElement[bool]]
KeptFrom = Callable[[str], int]
"""The moment (ms) from which on a client's raw events are kept."""


def units_of(database: Database, choice: Choice, kept_from: KeptFrom) -> list[Unit]:
    """The units of a choice; a sample in the order in which it was drawn, so that any beginning of it is a sample.

    Only buckets from `kept_from` on are drawn: earlier ones have no raw events to be compared with.
    """
    return list(_all(database, choice)) if choice.sample is None else _sampled(database, choice, kept_from)


def rows_of(database: Database, units: Sequence[Unit], form: str, kept_from: KeptFrom) -> int:
    """Raw rows that a verification of the units reads, as the manifest counts them."""
    rows = 0
    with reading(database) as connection:
        for unit in units:
            low = max(unit.start, kept_from(unit.client_id))
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


def _sampled(database: Database, choice: Choice, kept_from: KeptFrom) -> list[Unit]:
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


def _draw(connection: Connection, choice: Choice, kept_from: KeptFrom) -> Iterator[tuple[str, Bucket]]:
    """Distinct published buckets, each as likely as any other: numbers are drawn, and only these buckets are read."""
    groups: list[tuple[str, Level, Conditions]] = []
    sizes: list[int] = []
    for client_id in connection.execute(
        sa.select(buckets.c.client_id).distinct().order_by(buckets.c.client_id)
    ).scalars():
        if choice.client_ids is None or client_id in choice.client_ids:
            for level in sorted(choice.levels):
                within = _eligible(choice, client_id, level, kept_from(client_id))
                groups.append((client_id, level, within))
                sizes.append(connection.execute(sa.select(sa.func.count()).where(*within)).scalar_one())
    ends = list(accumulate(sizes))
    numbers = random.Random(choice.seed)  # noqa: S311 - a sample that can be drawn again, no secret
    for drawn in numbers.sample(range(sum(sizes)), min(choice.sample or 0, sum(sizes))):
        place = bisect_right(ends, drawn)
        client_id, level, within = groups[place]
        start = sa.select(buckets.c.start).where(*within).order_by(buckets.c.start)
        number = drawn - ends[place] + sizes[place]
        found = connection.execute(start.offset(number).limit(1)).scalar_one_or_none()
        if found is not None:
            yield client_id, Bucket(level, found)


def _eligible(choice: Choice, client_id: str, level: Level, kept_from: int) -> Conditions:
    low = kept_from if choice.start is None else max(choice.start, kept_from)
    mine = (buckets.c.client_id == client_id, buckets.c.level == level.value, buckets.c.start >= low)
    return mine if choice.end is None else (*mine, buckets.c.start <= choice.end - level.ms)
