"""Where on the log counting has to begin, and what is counted whole from there on."""

from typing import Final, NamedTuple

from isotherm.clock import MINUTE_MS
from isotherm.eventlog.port import EventLog
from isotherm.events import received_at
from isotherm.rollup.windows.rule import BACK_MS, exact_from

_NEAR_MS: Final = 30 * MINUTE_MS
"""A start that lies this much too early is found with fewer questions."""
_NEAR_RECORDS: Final = 2_000
DISORDER_MS: Final = MINUTE_MS
"""Records of several collectors are in order of receipt up to this."""


class Begin(NamedTuple):
    """Offsets to read from, by partition; the moment of receipt (ms) that they stand for; and the start (ms) of the
    first minute that is counted whole, 0 where the log still has its first record."""

    positions: dict[int, int]
    since: int
    floor: int


def find_begin(log: EventLog, now_ms: int) -> Begin:
    """Go back BACK_MS from now, or as far as the log does."""
    since = now_ms - BACK_MS
    tails = log.status().tail
    found = {p: _start(log, p, tails.get(p, 0), since, now_ms) for p in log.partitions()}
    return Begin({p: start for p, (start, _) in found.items()}, since, max((f for _, f in found.values()), default=0))


def _start(log: EventLog, partition: int, tail: int, since: int, now_ms: int) -> tuple[int, int]:
    first = log.read(partition, tail, max_records=1)
    if not first:
        return tail, exact_from(now_ms) if tail else 0
    oldest = received_at(first[0].value, first[0].timestamp)
    if oldest >= since - DISORDER_MS:
        return tail, exact_from(oldest + DISORDER_MS) if first[0].offset else 0
    return _search(log, partition, first[0].offset, oldest, since - DISORDER_MS), exact_from(since)


def _search(log: EventLog, partition: int, low: int, low_ms: int, since: int) -> int:
    """An offset with all records received from `since` on behind it, not much further back than needed."""
    high = log.head(partition)
    while high - low > _NEAR_RECORDS and since - low_ms > _NEAR_MS:
        middle = (low + high) // 2
        found = log.read(partition, middle, max_records=1)
        at = received_at(found[0].value, found[0].timestamp) if found else since
        if found and found[0].offset < high and at < since:
            low, low_ms = found[0].offset, at
        else:
            high = middle
    return low
