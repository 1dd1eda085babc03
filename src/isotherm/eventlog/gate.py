"""When the log refuses: it is full, its disk nearly so, or a commit failed. Cheap enough for every append."""

import errno
import os
import time
from threading import Lock
from typing import Final

from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.folder import SEGMENT_NAME, Folder

MEASURE_EVERY_S: Final = 0.25
"""Between two looks at the disk, what this process appended is added to the last figures."""
FULL_RETRY_S: Final = 10.0
_NO_ROOM: Final = 1 << 20
"""With less free than this, a write may have been cut short."""
_NO_HANDLE: Final = (errno.EMFILE, errno.ENFILE)


def log_bytes(folder: Folder) -> int:
    """Bytes of all segments and their side files."""
    total = 0
    with os.scandir(folder.path) as entries:
        for entry in entries:
            if SEGMENT_NAME.fullmatch(entry.name) or entry.name.endswith(".ids"):
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue
    return total


def no_handle(error: Exception) -> bool:
    """Whether a file could not be opened for want of a handle: nothing was written then, and it may succeed later."""
    if isinstance(error, OSError):
        return error.errno in _NO_HANDLE
    return any(os.strerror(number) in str(error) for number in _NO_HANDLE)  # LMDB tells it in words


def limit_of(*, dead: bool) -> str:
    """The setting that limits the size of the log, or of that of dead letters."""
    return "dead_max_bytes" if dead else "log_max_bytes"


class Gate:
    """Raises Backpressure from `check` while nothing may be appended, a folder that is gone included. Thread-safe."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        self._folder = folder
        self._max_bytes = settings.log_max_bytes
        self._dead = settings.of_dead_letters
        self._reserve = settings.disk_reserve_bytes
        self._lock = Lock()
        self._failure = ""
        self.measure()

    def measure(self) -> None:
        """Look at the disk now. Raises Backpressure while the folder cannot be looked at."""
        try:
            disk, held = os.statvfs(self._folder.path), log_bytes(self._folder)
        except OSError as error:
            if no_handle(error):
                raise self.starved(error) from error
            raise Backpressure(
                f"the event log {self._folder.path} cannot be looked at ({error.strerror}); if the folder is gone, put "
                "it back or mount its disk, then restart the collector",
                retry_after_s=FULL_RETRY_S,
            ) from error
        with self._lock:
            self._bytes = held
            self._free = disk.f_bavail * disk.f_frsize
            self._measured = time.monotonic()

    def grew(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            self._free -= count

    def check(self) -> None:
        if self._failure:
            raise Backpressure(self._failure, retry_after_s=FULL_RETRY_S)
        if time.monotonic() - self._measured >= MEASURE_EVERY_S:
            self.measure()
        if self._bytes >= self._max_bytes:
            raise Backpressure(
                f"the {'log of dead letters' if self._dead else 'event log'} {self._folder.path} holds {self._bytes} "
                f"bytes, its limit ({limit_of(dead=self._dead)}) is {self._max_bytes}; it takes records again when old "
                f"ones {'are past dead_retention_days' if self._dead else 'were landed and expired'}",
                retry_after_s=FULL_RETRY_S,
            )
        if self._free < self._reserve:
            raise Backpressure(
                f"the disk of the event log {self._folder.path} has {max(self._free, 0)} bytes free, less than "
                f"disk_reserve_bytes ({self._reserve}); free some space",
                retry_after_s=FULL_RETRY_S,
            )

    def fail(self, error: Exception) -> Backpressure:
        """Refuse every later append of this process: what a failed commit left on disk is not known for sure."""
        self._failure = (
            f"a commit to the event log {self._folder.path} failed ({error}); nothing of it was acknowledged. This "
            "process takes no more records: check the disk, then restart it"
        )
        return Backpressure(self._failure, retry_after_s=FULL_RETRY_S)

    def no_room(self) -> bool:
        """Whether the disk is full now."""
        self.measure()
        return self._free < _NO_ROOM

    def full_disk(self, error: Exception) -> Backpressure:
        """The disk had no room for a commit; LMDB took it back, and the next one may succeed."""
        return Backpressure(
            f"the disk of the event log {self._folder.path} is full ({error}); free some space",
            retry_after_s=FULL_RETRY_S,
        )

    def starved(self, error: Exception) -> Backpressure:
        """No file could be opened; nothing was written, and the next attempt may succeed."""
        return Backpressure(
            f"no file of the event log {self._folder.path} could be opened ({error}); raise the limit of open files "
            "(ulimit -n, LimitNOFILE)",
            retry_after_s=1.0,
        )
