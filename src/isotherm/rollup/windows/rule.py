"""What live windows count, in one place. Every engine decides by these numbers and by the record alone.

A window is tumbling, in UTC, of one size; it belongs to one client, screen and event type. It counts every accepted
event whose time lies in it, where

- the event's time is the client's time plus the record's `skew_ms`, as the lander has it,
- the event's lateness, `received_at` minus that time, is at most LATE_MS and at least -EARLY_MS,
- the record's batch was not there before within IDS_MS (by id, and by position where batches are split by hour),
- the record did not come through the import door: an import is no live data, and what of it is new is known only at
  landing.

So late events are counted whenever they come, for a day. Counts are absolute and only grow. A window lives from the
receipt of the newest event in it for `Size.ttl_ms`: late events wake a window up again, with all its events.
"""

from typing import Final, NamedTuple

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS


class Size(NamedTuple):
    """One size of window; `ttl_ms` is how long one lives after the newest receipt."""

    name: str
    ms: int
    ttl_ms: int


SIZES: Final[tuple[Size, ...]] = (
    Size("1m", MINUTE_MS, 2 * MINUTE_MS),
    Size("5m", 5 * MINUTE_MS, 10 * MINUTE_MS),
    Size("1h", HOUR_MS, 2 * HOUR_MS),
)
BY_NAME: Final = {size.name: size for size in SIZES}
BY_MS: Final = {size.ms: size for size in SIZES}

LATE_MS: Final = DAY_MS
"""Events that were received later than this after they happened are in the maps only."""
EARLY_MS: Final = 5 * MINUTE_MS
"""Events that claim to lie further ahead than this come from a wrong clock."""
IDS_MS: Final = DAY_MS
"""A batch is known at least this long after it was first received."""

LONGEST_TTL_MS: Final = max(size.ttl_ms for size in SIZES)
BACK_MS: Final = LATE_MS + LONGEST_TTL_MS + HOUR_MS + EARLY_MS
"""Whoever reads the log from this long ago counts every living window whole, and every one that may still wake up."""


def exact_from(received_at: int) -> int:
    """First minute (its start in ms) that is counted whole by whoever reads all records received from then on.

    A longer window is whole when it starts there or later.
    """
    return -(-(received_at + EARLY_MS) // MINUTE_MS) * MINUTE_MS
