"""Retention: whole sealed segments go, oldest first, when everyone has their records and their ids are a day old."""

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


class Keeper:
    """Carries out `expire`."""

    def __init__(self, folder: Folder, control: Control, reader: Reader, writer: Writer, settings: Settings) -> None:
        self._folder = folder
        self._control = control
        self._reader = reader
        self._writer = writer
        self._max_bytes = settings.log_max_bytes
        self._retention_ms = max(settings.log_retention_days * DAY_MS, IDS_MS)

    def expire(self, now_ms: int) -> list[str]:
        consumers = self._control.consumers()
        if not consumers:
            return []
        floor = min(consumers.values())
        active = self._reader.firsts()[-1]
        if self._writer.seal_if(active, now_ms - self._retention_ms, floor):
            # The next segment must stand before this one goes: its name carries the head.
            self._writer.refresh()
        with self._folder.changing():
            gone = self._delete(now_ms, floor)
        if gone:
            self._control.forget([self._folder.segment(first) for first in gone])
            self._reader.firsts()
            self._writer.refresh()
        return [self._folder.segment(first).name for first in gone]

    def _delete(self, now_ms: int, floor: int) -> list[int]:
        gone = list[int]()
        for first in self._folder.firsts()[:-1]:
            summary = self._reader.summary(first)
            full = log_bytes(self._folder) >= self._max_bytes
            age_ms = IDS_MS if full else self._retention_ms
            if summary.end > floor or not _all_before(summary, now_ms - age_ms):
                break
            self._folder.remove_segment(first)
            gone.append(first)
        if gone:
            fsync_folder(self._folder.path)
        return gone


def _all_before(summary: Summary, moment: int) -> bool:
    return summary.last_timestamp is None or summary.last_timestamp < moment
