"""Ids that are already on the log: a set for the active segment, sorted arrays for the sealed ones.

Every sealed segment has a side file of its ids in order (`<first offset>.ids`); it can be rebuilt from the segment.
Their first 8 bytes, merged over all segments into a few sorted arrays, answer "surely new" for a whole group by one
binary search per array; 8 bytes of memory per id. A hit is confirmed with all 16 bytes in the side files.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from isotherm.eventlog.folder import Folder, write_durably
from isotherm.eventlog.port import ID_BYTES
from isotherm.eventlog.segment import SegmentPool

Words = npt.NDArray[np.uint64]
"""Shape (n,): the first or second half of n ids."""

_HEADER: Final = struct.Struct("<8sIIQ")
"""magic, CRC32C of what follows it, zero, ids; then all first halves ascending, then the second halves."""
_MAGIC: Final = b"ISOIDS01"
_MERGE_RATIO: Final = 4
"""Neighbouring arrays are merged when the older is not this much longer: there are few, and merging is rare."""


def halves(ids: bytes) -> tuple[Words, Words]:
    """Both 8-byte halves of joined ids, sorted by the first then the second."""
    words = np.frombuffer(ids, "<u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    return words[order, 0], words[order, 1]


def write_ids(path: Path, ids: bytes) -> None:
    """Write a side file; it need not be durable, only whole."""
    body = b"".join(half.tobytes() for half in halves(ids))
    count = struct.pack("<IQ", 0, len(ids) // ID_BYTES)
    crc = google_crc32c.extend(google_crc32c.value(count), body)
    write_durably(path, b"".join((_MAGIC, struct.pack("<I", crc), count, body)), sync=False)


def read_ids(path: Path) -> tuple[Words, Words] | None:
    """Both halves, mapped from the side file; None when it is missing or damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) < _HEADER.size or raw[:8] != _MAGIC:
        return None
    _, crc, _, count = _HEADER.unpack_from(raw)
    if len(raw) != _HEADER.size + count * ID_BYTES or google_crc32c.value(raw[12:]) != crc:
        return None
    mapped = np.memmap(path, "<u8", "r", _HEADER.size, (2, count)) if count else np.zeros((2, 0), "<u8")
    return mapped[0], mapped[1]


class KnownIds:
    """Not thread-safe: the writer calls it under its lock."""

    def __init__(self, folder: Folder, pool: SegmentPool) -> None:
        self._folder = folder
        self._pool = pool
        self._recent: set[bytes] = set()
        self._sealed: dict[int, tuple[Words, Words]] = {}
        self._arrays: list[Words] = []

    def learn(self, ids: bytes) -> None:
        """Remember ids of the active segment."""
        self._recent.update(_cut(ids))

    def follow(self, sealed: Sequence[int]) -> None:
        """Take up the ids of newly sealed segments and drop those of deleted ones; forget the active set."""
        gone = self._sealed.keys() - set(sealed)
        new = [first for first in sealed if first not in self._sealed]
        for first in gone:
            del self._sealed[first]
        self._sealed.update((first, self._load(first)) for first in new)
        if gone or len(new) > 1:
            self._arrays = _merged([half for half, _ in self._sealed.values()])
        else:
            self._arrays = _pushed(self._arrays, [self._sealed[first][0] for first in new])

    def start_active(self) -> None:
        """Forget the set of the segment that was active; its ids are among the sealed now."""
        self._recent = set()

    def _load(self, first: int) -> tuple[Words, Words]:
        path = self._folder.ids(first)
        found = read_ids(path)
        if found is None:
            write_ids(path, self._ids_of(first))
            found = read_ids(path)
        assert found is not None
        return found

    def _ids_of(self, first: int) -> bytes:
        with self._pool.use(first) as segment, segment.env.begin() as txn:
            return b"".join(entry.ids for entry in segment.entries(txn, 0))

    def any_known(self, ids: Sequence[bytes]) -> bool:
        """Whether one of the ids may be known; False is certain. The cheap question, asked of every group."""
        if not self._recent.isdisjoint(ids):
            return True
        return bool(ids) and bool(self._hits(ids).any())

    def _hits(self, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        words = np.frombuffer(b"".join(ids), "<u8")[::2]
        found = np.zeros(len(words), np.bool_)
        for array in self._arrays:
            at = array.searchsorted(words)
            found |= array[np.minimum(at, len(array) - 1)] == words
        return found

    def known(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of the ids are known, exactly."""
        suspects = [one for one, hit in zip(ids, self._hits(ids).tolist(), strict=True) if hit]
        return self._recent.intersection(ids) | {one for one in suspects if self._confirmed(one)}

    def _confirmed(self, one: bytes) -> bool:
        first, second = np.frombuffer(one, "<u8")
        return any(_holds(heads, tails, first, second) for heads, tails in self._sealed.values())


def _holds(heads: Words, tails: Words, first: np.uint64, second: np.uint64) -> bool:
    start, stop = int(heads.searchsorted(first)), int(heads.searchsorted(first, "right"))
    return start < stop and bool((tails[start:stop] == second).any())


def _cut(ids: bytes) -> list[bytes]:
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def _merged(arrays: list[Words]) -> list[Words]:
    if not arrays:
        return []
    whole = np.concatenate(arrays)
    whole.sort()
    return [whole] if len(whole) else []


def _pushed(arrays: list[Words], new: list[Words]) -> list[Words]:
    """The arrays with one more, merged so that each is several times longer than the next."""
    stack = list(arrays)
    for array in new:
        top = np.array(array)
        while stack and len(stack[-1]) <= _MERGE_RATIO * len(top):
            top = np.concatenate((stack.pop(), top))
            top.sort(kind="stable")
        if len(top):
            stack.append(top)
    return stack
