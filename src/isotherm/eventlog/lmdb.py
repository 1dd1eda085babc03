"""The embedded log: LMDB files in one folder, `lmdb:///absolute/folder`. One partition, 0.

`append` returns after LMDB's fsync; `kill -9` of any process at any moment loses nothing that was acknowledged and
leaves nothing that needs repair. Several processes may append and read; one process opens a folder once and shares
the object between its threads. Local disks only: LMDB does not work over network file systems.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import Final
from uuid import UUID

import lmdb

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.eventlog.control import Control
from isotherm.eventlog.folder import MARKER, Folder
from isotherm.eventlog.gate import no_handle
from isotherm.eventlog.keeper import Keeper
from isotherm.eventlog.port import MAX_RECORD_BYTES, LogStatus, Position, Record, Stored
from isotherm.eventlog.reader import Reader
from isotherm.eventlog.salvage import recover
from isotherm.eventlog.segment import SegmentPool, map_size
from isotherm.eventlog.writer import Writer

HEALTH_TIMEOUT_S: Final = 2.0
_opened: set[Path] = set()
_opening = Lock()


class LmdbLog:
    """An EventLog in a folder; see the module."""

    def __init__(self, url: str, folder: Folder, settings: Settings) -> None:
        self._url = url
        self._folder = folder
        self._max_bytes = settings.log_max_bytes
        self._pid = os.getpid()
        self._pool = SegmentPool(folder, map_size(settings.log_segment_bytes))
        self._control = Control(folder)
        self._writer = Writer(folder, self._pool, self._control, settings)
        self._reader = Reader(folder, self._pool)
        self._keeper = Keeper(folder, self._control, self._reader, self._writer, settings)
        self._probe: Thread | None = None
        self._closed = False

    @property
    def max_record_bytes(self) -> int:
        return MAX_RECORD_BYTES

    @property
    def knows_ids(self) -> bool:
        return True

    @property
    def retention_ms(self) -> int | None:
        return None

    @property
    def identity(self) -> str:
        return str(UUID(bytes=self._folder.identity))

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        self._check_usable()
        return self._writer.append(records)

    def partitions(self) -> Sequence[int]:
        return (0,)

    def assigned(self, consumer: str) -> Sequence[int]:
        return self.partitions()

    def read(
        self, partition: int, offset: int, *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        self._check_usable(partition)
        return self._reader.read(offset, max_records, max_bytes)

    def head(self, partition: int) -> int:
        self._check_usable(partition)
        return self._reader.head()

    def read_some(
        self, consumer: str, positions: Mapping[int, int], *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        limits = {"max_records": max_records, "max_bytes": max_bytes}
        return [stored for partition, offset in positions.items() for stored in self.read(partition, offset, **limits)]

    def heads(self, partitions: Sequence[int]) -> dict[int, int]:
        return {partition: self.head(partition) for partition in partitions}

    def commit(self, consumer: str, partition: int, offset: int) -> None:
        self._check_usable(partition)
        self._control.commit(consumer, offset)

    def healthy(self) -> None:
        """Check the limits, then begin and drop a write transaction, in a thread that may hang in our stead."""
        self._check_usable()
        self._writer.gate.check()
        if self._probe is None or not self._probe.is_alive():
            self._probe = Thread(target=self._touch, name="isotherm-log-probe", daemon=True)
            self._probe.start()
        self._probe.join(HEALTH_TIMEOUT_S)
        if self._probe.is_alive():
            raise Backpressure(
                f"no write to the event log {self._folder.path} could begin within {HEALTH_TIMEOUT_S:g} s: "
                "another process holds it, or its disk hangs"
            )
        self._writer.gate.check()

    def _touch(self) -> None:
        try:
            first = self._reader.firsts()[-1]
            with self._pool.use(first) as segment, segment.env.begin(write=True) as txn:
                segment.is_sealed(txn)
        except FileNotFoundError:
            return
        except (lmdb.Error, ConfigError, OSError) as error:
            if not no_handle(error):
                self._writer.gate.fail(error)

    def expire(self, now_ms: int, landed: Mapping[int, int]) -> list[str]:
        self._check_usable()
        return self._keeper.expire(now_ms, landed.get(0, 0))

    def ids_since(self, since_ms: int) -> Iterator[tuple[int, bytes]]:
        self._check_usable()
        return self._reader.ids_since(since_ms)

    def status(self) -> LogStatus:
        self._check_usable()
        segments = self._reader.segments()
        return LogStatus(
            url=self._url,
            head={0: segments[-1].last if segments else 0},
            tail={0: segments[0].first if segments else 0},
            bytes=sum(segment.bytes for segment in segments),
            max_bytes=self._max_bytes,
            consumers={name: {0: offset} for name, offset in self._control.consumers().items()},
            segments=segments,
            set_aside=self._folder.set_aside(),
        )

    def close(self) -> None:
        """Give the folder back. Calls that are running in other threads must have ended."""
        if self._closed:
            return
        self._closed = True
        self._pool.close()
        try:
            self._control.mark(list(map(self._folder.segment, self._folder.firsts())))
        except FileNotFoundError:
            pass  # the folder is gone, and the marks with it: whoever opens it again checks everything
        finally:
            self._control.close()
            _leave(self._folder)

    def _check_usable(self, partition: int = 0) -> None:
        if self._closed:
            raise ValueError(f"the event log {self._folder.path} is closed")
        if os.getpid() != self._pid:
            raise RuntimeError("an event log does not survive fork: open it in the new process")
        if partition != 0:
            raise ValueError(f"this log has one partition, 0, not {partition}")


def open_lmdb(url: str, settings: Settings, clock: Clock) -> LmdbLog:
    """Open or create the log; whoever comes first checks and repairs it.

    Raises ConfigError naming the file when the folder cannot be used, holds something else or another format, or is
    open in this process already.
    """
    folder = Folder(_folder_of(url))
    with _opening:
        if folder.path in _opened:
            raise ConfigError(f"log: {folder.path} is open in this process already; share that one")
        _opened.add(folder.path)
    try:
        alone = folder.enter()
        folder.settle(alone=alone)
        if alone:
            recover(folder, map_size(settings.log_segment_bytes))
            folder.share()
        return LmdbLog(url, folder, settings)
    except BaseException:
        _leave(folder)
        raise


def holds_log(url: str) -> bool:
    """Whether there is a log in this folder, of whatever format. Raises ConfigError for a URL that names none."""
    return (_folder_of(url) / MARKER).is_file()


def _leave(folder: Folder) -> None:
    folder.leave()
    with _opening:
        _opened.discard(folder.path)


def _folder_of(url: str) -> Path:
    path = url.removeprefix("lmdb://")
    if not path.startswith("/"):
        raise ConfigError(f"log: {url!r} does not name an absolute folder; write lmdb:///absolute/folder")
    return Path(path).resolve()
