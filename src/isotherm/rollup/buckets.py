"""Buckets: an hour, day or week of UTC, named by its level and start. Weeks start on Monday (ISO 8601)."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from isotherm.clock import DAY_MS, HOUR_MS

WEEK_MS = 7 * DAY_MS
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05, the first Monday after the epoch


class Level(StrEnum):
    """How long a bucket is."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def ms(self) -> int:
        return {"hour": HOUR_MS, "day": DAY_MS, "week": WEEK_MS}[self.value]

    @property
    def parent(self) -> "Level | None":
        return {"hour": Level.DAY, "day": Level.WEEK, "week": None}[self.value]

    @property
    def child(self) -> "Level | None":
        return {"hour": None, "day": Level.HOUR, "week": Level.DAY}[self.value]


class Bucket(NamedTuple):
    """One level and its start in milliseconds since the epoch; `start` lies on the level's edge."""

    level: Level
    start: int

    @property
    def end(self) -> int:
        return self.start + self.level.ms

    @property
    def parent(self) -> "Bucket | None":
        level = self.level.parent
        return None if level is None else Bucket(level, floor(level, self.start))

    def ancestors(self) -> "list[Bucket]":
        """The coarser buckets that hold this one, finest first; empty for a week."""
        parent = self.parent
        return [] if parent is None else [parent, *parent.ancestors()]

    def children(self) -> "list[Bucket]":
        """The buckets of the next finer level that make up this one; empty for an hour."""
        level = self.level.child
        if level is None:
            return []
        return [Bucket(level, start) for start in range(self.start, self.end, level.ms)]


def floor(level: Level, ms: int) -> int:
    """Start of the bucket of `level` that holds the moment `ms`."""
    offset = _MONDAY_MS if level is Level.WEEK else 0
    return ms - (ms - offset) % level.ms


def starts(level: Level, start: int, end: int) -> Iterator[int]:
    """Starts of the buckets of `level` that lie wholly or partly in [start, end)."""
    return iter(range(floor(level, start), end, level.ms))


def cover(start: int, end: int) -> list[Bucket]:
    """The fewest buckets that exactly cover [start, end); both on the hour.

    Raises ValueError when an edge is off the hour or the range is empty.
    """
    if start % HOUR_MS or end % HOUR_MS or start >= end:
        raise ValueError("a range starts and ends on the hour, and ends after it starts")
    found: list[Bucket] = []
    at = start
    while at < end:
        for level in (Level.WEEK, Level.DAY, Level.HOUR):
            if floor(level, at) == at and at + level.ms <= end:
                found.append(Bucket(level, at))
                at += level.ms
                break
    return found
