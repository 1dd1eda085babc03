"""Reads: from an offset on, across segments, jumping over what was deleted or lost."""

from collections.abc import Iterator
from threading import Lock

import lmdb
import structlog

from isotherm.eventlog.folder import Folder
from isotherm.eventlog.frame import DamagedError, Frame
from isotherm.eventlog.port import Segment, Stored
from isotherm.eventlog.segment import SegmentFile, SegmentPool, Summary

_log = structlog.get_logger(__name__)


class Reader:
    """The read side of one process. Thread-safe; each call works on its own snapshot."""

    def __init__(self, folder: Folder, pool: SegmentPool) -> None:
        self._folder = folder
        self._pool = pool
        self._lock = Lock()
        self._frame: Frame | None = None
        self._summaries: dict[int, Summary] = {}

    def firsts(self) -> list[int]:
        """Segments that are there now; those deleted by another process are closed."""
        firsts = self._folder.firsts()
        self._pool.keep_only(set(firsts))
        if self._frame is not None and firsts and self._frame.end <= firsts[0]:
            self._frame = None
        return firsts

    def read(self, offset: int, max_records: int, max_bytes: int) -> list[Stored]:
        found = list[Stored]()
        at, left = max(offset, 0), max_bytes
        while len(found) < max_records:
            frame = self._frame_at(at)
            if frame is None:
                break
            part = frame.cut(max(at, frame.first), max_records - len(found), left, at_least_one=not found)
            if not part:
                break
            found += part
            at = part[-1].offset + 1
            left -= sum(len(record.value) for record in part)
        return found

    def _frame_at(self, offset: int) -> Frame | None:
        """The frame that holds `offset`, or else the next one; None at the head."""
        frame = self._frame
        if frame is not None and frame.first <= offset < frame.end:
            return frame
        self._frame = frame = self._search(offset)
        return frame

    def _search(self, offset: int) -> Frame | None:
        firsts = self.firsts()
        at = offset
        while firsts:
            first = max((first for first in firsts if first <= at), default=firsts[0])
            try:
                with self._pool.use(first) as segment:
                    frame, sealed = _look(segment, at)
            except FileNotFoundError:
                firsts = self.firsts()
                continue
            if frame is not None:
                return frame
            later = [later for later in firsts if later > first]
            if not later and sealed:
                firsts = self.firsts()
                later = [later for later in firsts if later > first]
            if not later:
                return None
            at = max(at, later[0])
        return None

    def head(self) -> int:
        while True:
            firsts = self.firsts()
            try:
                return self.summary(firsts[-1]).end
            except FileNotFoundError:
                continue

    def summary(self, first: int) -> Summary:
        """What a segment holds. Raises FileNotFoundError when it was deleted."""
        known = self._summaries.get(first)
        if known is not None and known.sealed:
            return known
        with self._pool.use(first) as segment, segment.env.begin() as txn:
            found = segment.summary(txn, known)
        with self._lock:
            self._summaries[first] = found
        return found

    def first_stamp(self, first: int) -> int | None:
        """When the segment's first frame was written (ns, by the host's clock then); None without one.

        Raises FileNotFoundError when the segment was deleted.
        """
        with self._pool.use(first) as segment:
            return segment.first_stamp()

    def ids_since(self, since_ms: int) -> Iterator[tuple[int, bytes]]:
        """(First timestamp, joined ids) of every frame that has a record of that time or later."""
        for first in self.firsts():
            try:
                last = self.summary(first).last_timestamp
                if last is None or last < since_ms:
                    continue
                with self._pool.use(first) as segment, segment.env.begin() as txn:
                    entries = list(segment.entries(txn, 0))
            except FileNotFoundError:
                continue
            yield from ((e.first_timestamp, e.ids) for e in entries if e.ids and e.last_timestamp >= since_ms)

    def segments(self) -> list[Segment]:
        """A picture of all segments, oldest first."""
        found = list[Segment]()
        for first in self.firsts():
            path = self._folder.segment(first)
            try:
                summary, size = self.summary(first), path.stat().st_size
            except FileNotFoundError:
                continue
            times = summary.first_timestamp, summary.last_timestamp
            found.append(Segment(path.name, 0, first, summary.end, size, *times, summary.sealed))
        return found


def _look(segment: SegmentFile, offset: int) -> tuple[Frame | None, bool]:
    """The first sound frame from `offset` on, and whether the segment is sealed, from one snapshot."""
    with segment.env.begin() as txn:
        sealed = segment.is_sealed(txn)
        at = offset
        while True:
            try:
                raw = segment.find(txn, at)
                return (None if raw is None else segment.load(raw)), sealed
            except DamagedError as error:
                _log.error("records are damaged and skipped", file=str(segment.path), offset=at, reason=str(error))
                following = _next_key(segment, txn, at)
                if following is None:
                    return None, sealed
                at = following


def _next_key(segment: SegmentFile, txn: "lmdb.Transaction[bytes]", offset: int) -> int | None:
    """First offset of the frame that starts after `offset`."""
    with txn.cursor(db=segment.index) as cursor:
        if not cursor.set_range((offset + 1).to_bytes(8, "big")):
            return None
        return int.from_bytes(cursor.key(), "big")
