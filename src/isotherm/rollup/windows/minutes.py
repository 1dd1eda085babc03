"""Counts per client, screen, event type and minute, as far back as a late event may reach.

Five minutes and hours are sums of minutes. A minute with events takes 24 bytes, in sorted arrays by hour; nothing is
kept per event, and nothing for minutes without any.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isotherm.clock import HOUR_MS, MINUTE_MS
from isotherm.rollup.windows.decode import Groups, Ints, Key
from isotherm.rollup.windows.rule import LATE_MS, LONGEST_TTL_MS, SIZES, Size

MAX_MINUTES: Final = 8 << 20
"""Minutes with events that are kept; beyond it the oldest hour is dropped, and its windows count no more."""
MAX_KEYS: Final = 1 << 20
"""Client, screen and type: events of more are not counted until older ones are forgotten."""
_PER_HOUR: Final = HOUR_MS // MINUTE_MS


class Window(NamedTuple):
    """The state of one window: how many events, and when (ms) the newest of its events was received."""

    key: Key
    size: Size
    start: int
    events: int
    newest: int


class _Hour:
    """Minutes of one hour: place = key * 60 + minute of the hour, ascending; and the values at these places."""

    def __init__(self) -> None:
        self.places: Ints = np.empty(0, np.int64)
        self.counts: Ints = np.empty(0, np.int64)
        self.newest: Ints = np.empty(0, np.int64)

    def add(self, places: Ints, counts: Ints, newest: Ints) -> None:
        """Add at places, ascending, each there once."""
        at = self.places.searchsorted(places)
        inside = at < len(self.places)
        old = inside.copy()
        old[inside] = self.places[at[inside]] == places[inside]
        self.counts[at[old]] += counts[old]
        self.newest[at[old]] = np.maximum(self.newest[at[old]], newest[old])
        if not old.all():
            new = ~old
            self.places = np.insert(self.places, at[new], places[new])
            self.counts = np.insert(self.counts, at[new], counts[new])
            self.newest = np.insert(self.newest, at[new], newest[new])

    def windows(self, places: Ints, minutes: int) -> tuple[Ints, Ints, Ints]:
        """Windows of so many minutes that hold the places: first place, count, newest receipt of each."""
        firsts = np.unique(places - places % minutes)
        edges = self.places.searchsorted(np.stack((firsts, firsts + minutes), axis=1).ravel())
        # What lies between two windows is summed too, and left out.
        spare = np.append(self.counts, 0), np.append(self.newest, 0)
        return firsts, np.add.reduceat(spare[0], edges)[::2], np.maximum.reduceat(spare[1], edges)[::2]


class Minutes:
    """All counts of one consumer. Not thread-safe."""

    def __init__(self, max_minutes: int = MAX_MINUTES, max_keys: int = MAX_KEYS) -> None:
        self.floor = 0
        """Start (ms) of the first minute that is counted; events before it are not, windows before it are not told."""
        self.lost = 0
        """Events that were not counted for want of room."""
        self._max_minutes = max_minutes
        self._max_keys = max_keys
        self._hours: dict[int, _Hour] = {}
        self._numbers: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._next = 0

    def __len__(self) -> int:
        """Minutes kept."""
        return sum(len(hour.places) for hour in self._hours.values())

    @property
    def keys(self) -> int:
        """Client, screen and type: how many are known."""
        return len(self._keys)

    def add(self, groups: Groups) -> dict[int, Ints]:
        """Add counts; returns the places that changed, by hour."""
        numbers = np.array([self._number(key) for key in groups.keys], np.int64)
        touched: dict[int, Ints] = {}
        if not len(groups.key):
            return touched
        number = numbers[groups.key]
        self.lost += int(groups.counts[number < 0].sum())
        hours = groups.minute // _PER_HOUR
        places = number * _PER_HOUR + groups.minute % _PER_HOUR
        for hour in np.unique(hours).tolist():
            here = np.flatnonzero((hours == hour) & (number >= 0))
            here = here[np.argsort(places[here])]
            if len(here):
                self._hours.setdefault(hour, _Hour()).add(places[here], groups.counts[here], groups.newest[here])
                touched[hour] = places[here]
        self._keep_in_bounds()
        return touched

    def windows(self, touched: dict[int, Ints] | None, now_ms: int) -> Iterator[Window]:
        """Living windows that hold these places; all living ones for None."""
        for hour, block in list(self._hours.items()):
            places = block.places if touched is None else touched.get(hour)
            if places is None or not len(places):
                continue
            for size in SIZES:
                firsts, counts, newest = block.windows(places, size.ms // MINUTE_MS)
                starts = hour * HOUR_MS + firsts % _PER_HOUR * MINUTE_MS
                alive = (newest + size.ttl_ms > now_ms) & (starts >= self.floor)
                numbers = (firsts[alive] // _PER_HOUR).tolist()
                values = starts[alive].tolist(), counts[alive].tolist(), newest[alive].tolist()
                for number, start, count, latest in zip(numbers, *values, strict=True):
                    yield Window(self._keys[number], size, start, count, latest)

    def forget(self, now_ms: int) -> None:
        """Drop hours that no event can reach any more and whose windows are dead, and keys without counts."""
        before = now_ms - LATE_MS - LONGEST_TTL_MS
        for hour in [hour for hour in self._hours if (hour + 1) * HOUR_MS <= before]:
            del self._hours[hour]
        self._forget_keys()

    def _number(self, key: Key) -> int:
        """The key's number; -1 when there are too many."""
        number = self._numbers.get(key)
        if number is not None:
            return number
        if len(self._numbers) >= self._max_keys:
            return -1
        number = self._next
        self._next += 1
        self._numbers[key] = number
        self._keys[number] = key
        return number

    def _keep_in_bounds(self) -> None:
        while len(self) > self._max_minutes and len(self._hours) > 1:
            oldest = min(self._hours)
            del self._hours[oldest]
            self.floor = max(self.floor, (oldest + 1) * HOUR_MS)

    def _forget_keys(self) -> None:
        used = {number for hour in self._hours.values() for number in np.unique(hour.places // _PER_HOUR).tolist()}
        for number in self._keys.keys() - used:
            del self._numbers[self._keys.pop(number)]


def merge(first: dict[int, npt.NDArray[np.int64]], second: dict[int, Ints]) -> None:
    """Put the places of `second` into `first`."""
    for hour, places in second.items():
        first[hour] = np.union1d(first[hour], places) if hour in first else places
