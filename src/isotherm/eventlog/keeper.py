"""Retention: whole sealed segments go, oldest first, when everyone has their records and their ids are a day old."""

from typing import Final

from isotherm.clock import DAY_MS
from isotherm.config import Settings
from isotherm.eventlog.control import Control
from isotherm.eventlog.folder import Folder, fsync_folder
from isotherm.eventlog.gate import log_bytes
from isotherm.eventlog.reader import Reader
from isotherm.eventlog.writer import Writer

IDS_MS: Final = DAY_MS
"""Ids are known at least this long."""


class Keeper:
    """Carries out `expire`."""

    def __init__(self, folder: Folder, control: Control, reader: Reader, writer: Writer, settings: Settings) -> None:
        self._folder = folder
        self._control = control
        self._reader = reader
        self._writer = writer
        self._max_bytes = settings.log_max_bytes
        self._retention_ms = max(settings.log_retention_days * DAY_MS, IDS_MS)

    def expire(self, now_ms: int, landed: int) -> list[str]:
        self._mark_sealed()
        consumers = self._control.consumers()
        if not consumers:
            return []
        floor = min(landed, *consumers.values())
        self._seal_old(now_ms, floor)
        gone = self._due(now_ms, floor)
        self._delete(gone)
        if gone:
            self._control.forget([self._folder.segment(first) for first in gone])
            self._reader.firsts()
            self._writer.refresh()
        return [self._folder.segment(first).name for first in gone]

    def _mark_sealed(self) -> None:
        """Remember the sealed segments as sound, so that a start after a crash checks the active one alone."""
        sealed = [segment.first for segment in self._reader.segments() if segment.sealed]
        self._control.mark([self._folder.segment(first) for first in sealed])

    def _seal_old(self, now_ms: int, floor: int) -> None:
        """Seal the active segment when all of it is past retention, so that a quiet log is given back too."""
        try:
            sealed = self._writer.seal_if(self._reader.firsts()[-1], now_ms - self._retention_ms, floor)
        except FileNotFoundError:
            return  # another process expires at this moment
        if sealed:
            # The next segment must stand before this one goes: its name carries the head.
            self._writer.refresh()

    def _due(self, now_ms: int, floor: int) -> list[int]:
        """Sealed segments that may go, oldest first; they do not change any more, so no lock is needed to look."""
        due = list[int]()
        size = log_bytes(self._folder)
        for segment in self._reader.segments()[:-1]:
            age_ms = IDS_MS if size >= self._max_bytes else self._retention_ms
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
