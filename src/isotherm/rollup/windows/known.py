"""Batches that were counted in the last day, for logs that do not refuse them at append."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from isotherm.clock import HOUR_MS

Bools = npt.NDArray[np.bool_]

MAX_IDS: Final = 16 << 20
"""Ids remembered at most, 16 bytes each; beyond it the oldest hour is forgotten first."""
MAX_SPLIT_IDS: Final = 2 << 20
"""The same where batches are split: an entry takes about 150 bytes and a bit per event."""
_RECENT: Final = 1 << 16
_ID: Final = np.dtype("S16")


class Seen(Protocol):
    """What is asked about a record: which of its events are new."""

    @property
    def id(self) -> bytes: ...
    @property
    def received_at(self) -> int: ...
    @property
    def places(self) -> Sequence[int]:
        """Each event's position in the client's body."""
        ...


class Known(Protocol):
    """A memory of batches."""

    forgot: bool
    """Whether ids were forgotten early, for want of room."""

    def fresh(self, records: Sequence[Seen]) -> list[Bools | bool]:
        """For each record in order which of its events are new (True: all); all are known from now on."""
        ...

    def forget(self, before: int) -> None:
        """Forget what was received in hours that ended before (ms)."""
        ...


class NothingKnown:
    """For logs that refuse known ids themselves."""

    forgot = False

    def fresh(self, records: Sequence[Seen]) -> list[Bools | bool]:
        return [True] * len(records)

    def forget(self, before: int) -> None:
        """There is nothing."""


class _Hour:
    """Ids received in one hour: a few in a set, the others in one sorted array."""

    def __init__(self) -> None:
        self.recent: set[bytes] = set()
        self.sorted: npt.NDArray[np.bytes_] = np.empty(0, _ID)

    def __len__(self) -> int:
        return len(self.recent) + len(self.sorted)

    def hits(self, ids: Sequence[bytes], array: npt.NDArray[np.bytes_]) -> Bools:
        found = np.fromiter(map(self.recent.__contains__, ids), np.bool_, len(ids))
        if len(self.sorted):
            at = np.minimum(self.sorted.searchsorted(array), len(self.sorted) - 1)
            found |= self.sorted[at] == array
        return found

    def add(self, one: bytes) -> None:
        self.recent.add(one)
        if len(self.recent) >= _RECENT:
            self.sorted = np.sort(np.concatenate((self.sorted, np.array(list(self.recent), _ID))))
            self.recent = set()


class KnownIds:
    """Batches by id. Ids of 16 bytes compare right as NumPy's byte strings: all have the same length."""

    def __init__(self, limit: int = MAX_IDS) -> None:
        self.forgot = False
        self._limit = limit
        self._hours: dict[int, _Hour] = {}

    def fresh(self, records: Sequence[Seen]) -> list[Bools | bool]:
        ids = [record.id for record in records]
        array = np.array(ids, _ID)
        known = np.zeros(len(ids), np.bool_)
        for hour in self._hours.values():
            known |= hour.hits(ids, array)
        answer: list[Bools | bool] = []
        here = set[bytes]()
        for record, old in zip(records, known.tolist(), strict=True):
            new = not old and record.id not in here
            answer.append(new)
            if new:
                here.add(record.id)
                self._hours.setdefault(record.received_at // HOUR_MS, _Hour()).add(record.id)
        if sum(map(len, self._hours.values())) > self._limit and len(self._hours) > 1:
            del self._hours[min(self._hours)]
            self.forgot = True
        return answer

    def forget(self, before: int) -> None:
        for hour in [hour for hour in self._hours if (hour + 1) * HOUR_MS <= before]:
            del self._hours[hour]


class KnownPositions:
    """Events by batch id and position: a batch that is split by hour comes in several records of one id."""

    def __init__(self, limit: int = MAX_SPLIT_IDS) -> None:
        self.forgot = False
        self._limit = limit
        self._hours: dict[int, dict[bytes, int]] = {}

    def fresh(self, records: Sequence[Seen]) -> list[Bools | bool]:
        answer = [self._fresh(record) for record in records]
        if sum(map(len, self._hours.values())) > self._limit and len(self._hours) > 1:
            del self._hours[min(self._hours)]
            self.forgot = True
        return answer

    def _fresh(self, record: Seen) -> Bools | bool:
        places = np.asarray(record.places, np.int64)
        known = 0
        for hour in self._hours.values():
            known |= hour.get(record.id, 0)
        hour = self._hours.setdefault(record.received_at // HOUR_MS, {})
        hour[record.id] = hour.get(record.id, 0) | _mask(places)
        return ~_bits(known, int(places.max(initial=0)) + 1)[places] if known else True

    def forget(self, before: int) -> None:
        for hour in [hour for hour in self._hours if (hour + 1) * HOUR_MS <= before]:
            del self._hours[hour]


def _mask(places: npt.NDArray[np.int64]) -> int:
    """An integer with these bits set."""
    bits = np.zeros(int(places.max(initial=0)) + 1, np.bool_)
    bits[places] = True
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def _bits(mask: int, size: int) -> Bools:
    raw = (mask & ((1 << size) - 1)).to_bytes(size // 8 + 1, "little")
    return np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[:size].astype(np.bool_)
