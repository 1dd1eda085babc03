"""Memory stays within bounds, and what that costs is counted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from landing import NOW, event
from windows import living, many, sent

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.rollup.windows.decode import Groups, group
from isotherm.rollup.windows.known import KnownIds, NothingKnown
from isotherm.rollup.windows.minutes import Minutes


def groups(minutes: list[int], keys: int = 1) -> Groups:
    """One event of every key in each minute."""
    names = [("shop", f"s{i}", "click") for i in range(keys)]
    key, minute = np.repeat(np.arange(keys), len(minutes)), np.tile(minutes, keys)
    newest = minute * MINUTE_MS
    return Groups(names, key, minute, np.ones(len(key), np.int64), newest, len(key))


def test_beyond_the_limit_the_oldest_hour_goes_and_is_not_told_any_more() -> None:
    first = NOW // HOUR_MS * 60
    counts = Minutes(max_minutes=100)
    counts.add(groups([first, first + 1], 40))
    counts.add(groups([first + 60], 40))
    assert len(counts) == 40
    assert counts.floor == (first + 60) * MINUTE_MS
    assert {w.start for w in counts.windows(None, NOW)} == {(first + 60) * MINUTE_MS}


def test_more_screens_than_there_is_room_for_are_counted_as_lost() -> None:
    counts = Minutes(max_keys=10)
    counts.add(groups([NOW // MINUTE_MS], 25))
    assert counts.keys == 10
    assert counts.lost == 15


def test_a_day_later_nothing_is_kept() -> None:
    counts = Minutes()
    counts.add(groups([NOW // MINUTE_MS], 1000))
    counts.forget(NOW + DAY_MS)
    assert len(counts) == 1000
    counts.forget(NOW + DAY_MS + 3 * HOUR_MS)
    assert (len(counts), counts.keys) == (0, 0)


def test_100_000_screens_take_24_bytes_a_minute() -> None:
    counts = Minutes()
    counts.add(groups([NOW // MINUTE_MS], 100_000))
    (hour,) = counts._hours.values()
    assert hour.places.nbytes + hour.counts.nbytes + hour.newest.nbytes == 2_400_000
    assert sum(w.events for w in counts.windows(None, NOW)) == 300_000


def test_ids_are_known_for_a_day_and_forgotten_in_whole_hours() -> None:
    known = KnownIds()
    batches = [sent("shop", f"b{i}", [event(NOW)], received_at=NOW + i) for i in range(70_000)]
    floor = 0

    def counted(chosen: Any) -> int:
        stored = [Stored(record) for record in chosen]
        return int(group(stored, known, floor).counts.sum())

    assert counted(batches) == 70_000
    assert counted(batches) == 0
    known.forget(NOW // HOUR_MS * HOUR_MS)
    assert counted(batches[::7]) == 0
    known.forget(NOW + 2 * HOUR_MS)
    assert counted(batches[::7]) == 10_000


def test_more_ids_than_there_is_room_for_forget_the_oldest_hour() -> None:
    known = KnownIds(limit=10)
    old = [Stored(sent("shop", f"o{i}", [event(NOW)], received_at=NOW)) for i in range(8)]
    new = [Stored(sent("shop", f"n{i}", [event(NOW)], received_at=NOW + 2 * HOUR_MS)) for i in range(8)]
    assert group(old, known, 0).counts.sum() == 8
    assert group(new, known, 0).counts.sum() == 8
    assert known.forgot
    assert group(new, known, 0).counts.sum() == 0
    assert group(old, known, 0).counts.sum() == 8


def test_the_sparse_and_the_dense_way_of_grouping_agree(deploy: Callable[..., Any]) -> None:
    records = many(5, NOW, 200)
    together = group([Stored(r) for r in records], NothingKnown(), 0)
    alone = [group([Stored(r)], NothingKnown(), 0) for r in records]
    assert together.counts.sum() == sum(g.counts.sum() for g in alone)
    counts, each = Minutes(), Minutes()
    counts.add(together)
    for one in alone:
        each.add(one)
    assert set(counts.windows(None, 0)) == set(each.windows(None, 0))
    assert living(records, NOW)


class Stored:
    """A record as the log gives it back."""

    def __init__(self, record: Any) -> None:
        self.partition, self.offset = 0, 0
        self.value, self.timestamp = record.value, record.timestamp
