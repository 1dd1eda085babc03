"""Retention: whole sealed segments go, oldest first, when everyone has their records and their ids are a day old."""

import time
from typing import Final

from isotherm.clock import DAY_MS
from isotherm.config import Settings
from isotherm.eventlog.control import Control
from isotherm.eventlog.folder import Folder, fsync_folder
from isotherm.eventlog.gate import log_bytes
from isotherm.eventlog.reader import Reader
from isotherm.eventlog.segment import Summary
from isotherm.eventlog.writer import Writer

IDS_MS: Final = DAY_MS
"""Ids are known at least this long."""
_PARTS: Final = 30
"""A segment takes records for a day, or for this part of a retention that is longer: nothing stays longer than that
beyond its days, and however long they are, a quiet log has few files."""


class Keeper:
    """Carries out `expire`."""

    def __init__(self, folder: Folder, control: Control, reader: Reader, writer: Writer, settings: Settings) -> None:
        self._folder = folder
        self._control = control
        self._reader = reader
        self._writer = writer
        self._max_bytes = settings.log_max_bytes
        self._retention_ms = max(settings.log_retention_days * DAY_MS, IDS_MS)
        # What has landed may go early, to make room; a letter is all there is of what it holds.
        self._full_ms = self._retention_ms if settings.of_dead_letters else IDS_MS
        self._span_ms = max(DAY_MS, self._retention_ms // _PARTS)

    def expire(self, now_ms: int, landed: int) -> list[str]:
        self._mark_sealed()
        consumers = self._control.consumers()
        if not consumers:
            return []
        floor = min(landed, *consumers.values())
        # What is due goes first: on a full disk that makes the room for the segment that follows a sealed one.
        gone = self._give_back(now_ms, floor)
        if self._seal_active(now_ms, floor):
            gone += self._give_back(now_ms, floor)
        return [self._folder.segment(first).name for first in gone]

    def _give_back(self, now_ms: int, floor: int) -> list[int]:
        gone = self._due(now_ms, floor)
        self._delete(gone)
        if gone:
            self._control.forget([self._folder.segment(first) for first in gone])
            self._reader.firsts()
            self._writer.refresh()
        return gone

    def _mark_sealed(self) -> None:
        """Remember the sealed segments as sound, so that a start after a crash checks the active one alone."""
        sealed = [segment.first for segment in self._reader.segments() if segment.sealed]
        self._control.mark([self._folder.segment(first) for first in sealed])

    def _seal_active(self, now_ms: int, floor: int) -> bool:
        """Seal the active segment when all of it is past retention, or it has taken records long enough: a quiet log
        never fills one, and would keep old records for the sake of new ones. Whether it did."""
        try:
            first = self._reader.firsts()[-1]
            long_enough = self._is_long(first)

            def due(found: Summary) -> bool:
                last = found.last_timestamp
                past = last is not None and last < now_ms - self._retention_ms and found.end <= floor
                return past or (last is not None and long_enough)

            # Looked at beside the appends, which wait only while there is something to seal.
            seen = self._reader.summary(first)
            if not (seen.sealed or due(seen)) or not self._writer.seal_if(first, due, seen):
                return False
        except FileNotFoundError:
            return False  # another process expires at this moment
        # The next segment must stand before this one goes: its name carries the head.
        self._writer.refresh()
        return True

    def _is_long(self, first: int) -> bool:
        """Whether the segment's first frame was written so long ago, by the clock that stamped it.

        Not by the records' times, which may be anybody's: letters about what was received days ago would have a
        segment sealed at every round. A stamp ahead of the clock is from before it was set back, and as good as old.
        """
        stamp = self._reader.first_stamp(first)
        return stamp is not None and abs(time.time_ns() - stamp) > self._span_ms * 1_000_000

    def _due(self, now_ms: int, floor: int) -> list[int]:
        """Sealed segments that may go, oldest first; they do not change any more, so no lock is needed to look."""
        due = list[int]()
        size = log_bytes(self._folder)
        for segment in self._reader.segments()[:-1]:
            age_ms = self._full_ms if size >= self._max_bytes else self._retention_ms
            last = segment.last_timestamp
            if not segment.sealed or segment.last > floor or (last is not None and last >= now_ms - age_ms):
                break
            due.append(segment.first)
            size -= segment.bytes
        return due

    def _delete(self, due: list[int]) -> None:
        if not due:
            return
        with self._folder.changing():
            for first in due:
                self._folder.remove_segment(first)
            fsync_folder(self._folder.path)
