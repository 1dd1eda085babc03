"""Appends: one call, one write transaction, one fsync; duplicates are decided inside that transaction.

LMDB's write lock orders the processes. Each process learns, at the start of its transaction, what the others added
to the active segment since its own last append, so the ids it compares with are complete. A full segment is sealed
by whoever finds it full; whoever finds it sealed takes up its ids and moves on to the next one.
"""

import errno
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from threading import Lock

import lmdb

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.eventlog.control import Control
from isotherm.eventlog.folder import Folder
from isotherm.eventlog.frame import DamagedError, Packed, pack, seal, split
from isotherm.eventlog.gate import Gate, no_handle
from isotherm.eventlog.known import KnownIds
from isotherm.eventlog.port import Position, Record, check_records
from isotherm.eventlog.segment import (
    MAX_SEGMENT_FRAMES,
    MAX_SEGMENT_RECORDS,
    Entry,
    SegmentFile,
    SegmentPool,
    Summary,
    create_segment,
    map_size,
)

_id = attrgetter("id")


class Writer:
    """The append side of one process. Thread-safe; threads append one after another."""

    def __init__(self, folder: Folder, pool: SegmentPool, control: Control, settings: Settings) -> None:
        self._folder = folder
        self._pool = pool
        self._control = control
        self._segment_bytes = settings.log_segment_bytes
        self.gate = Gate(folder, settings)
        self._lock = Lock()
        self._known = KnownIds(folder, pool)
        self._active = 0
        self._summary = Summary(0)
        self.move_on()

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        check_records(records)
        if not records:
            return []
        with self._lock:
            self.gate.check()
            packed = list(map(pack, split(records)))
            with self._refusing():
                while (positions := self._attempt(records, packed)) is None:
                    self.move_on()
            return positions

    @contextmanager
    def _refusing(self) -> Generator[None]:
        """What fails inside becomes Backpressure: while the disk is full or no file can be opened, or for as long as
        this process lives."""
        try:
            yield
        except lmdb.Error as error:
            if no_handle(error):
                raise self.gate.starved(error) from error
            # A write that the end of the disk cuts short is an I/O error to LMDB. Before the commit's last step that
            # harms nothing, and after it LMDB refuses its file: the next attempt fails by another error.
            cut_short = type(error) is lmdb.Error and self.gate.no_room()
            told = self.gate.full_disk if cut_short or isinstance(error, lmdb.DiskError) else self.gate.fail
            raise told(error) from error
        except (DamagedError, ConfigError, OSError) as error:
            if no_handle(error):
                raise self.gate.starved(error) from error
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (self.gate.full_disk if full else self.gate.fail)(error) from error

    def _attempt(self, records: Sequence[Record], packed: list[Packed]) -> list[Position | None] | None:
        """Append to the segment believed active; None when it is sealed now."""
        try:
            with self._pool.use(self._active) as segment:
                return self._commit(segment, records, packed)
        except FileNotFoundError:
            return None

    def _commit(
        self, segment: SegmentFile, records: Sequence[Record], packed: list[Packed]
    ) -> list[Position | None] | None:
        try:
            with segment.env.begin(write=True) as txn:
                if not self._ready(segment, txn):
                    return None
                fresh = self._fresh(records)
                if not all(fresh):
                    packed = list(map(pack, split([r for r, new in zip(records, fresh, strict=True) if new])))
                entries = self._put(segment, txn, packed)
        except lmdb.MapFullError:
            self._seal_full(segment)
            return None
        return self._done(fresh, packed, entries)

    def _ready(self, segment: SegmentFile, txn: "lmdb.Transaction[bytes]") -> bool:
        """Learn what other processes appended; False when the segment takes no more (it is sealed then)."""
        if segment.is_sealed(txn):
            return False
        for entry in segment.entries(txn, self._summary.end):
            self._known.learn(entry.ids)
            self._summary = self._summary.grown(entry)
        held = self._summary
        full = held.records >= MAX_SEGMENT_RECORDS or held.frames >= MAX_SEGMENT_FRAMES
        if held.records and (full or segment.path.stat().st_size >= self._segment_bytes):
            segment.mark_sealed(txn, self._summary)
            return False
        return True

    def _fresh(self, records: Sequence[Record]) -> list[bool]:
        """For each record, whether it must be stored."""
        ids = list(filter(None, map(_id, records)))
        if len(set(ids)) == len(ids) and not self._known.any_known(ids):
            return [True] * len(records)
        seen = self._known.known(ids)
        fresh = list[bool]()
        for record in records:
            fresh.append(record.id not in seen)
            if record.id is not None:
                seen.add(record.id)
        return fresh

    def _put(self, segment: SegmentFile, txn: "lmdb.Transaction[bytes]", packed: list[Packed]) -> list[Entry]:
        entries = list[Entry]()
        first = self._summary.end
        for part in packed:
            segment.put(txn, first, seal(segment.identity, first, time.time_ns(), part), part)
            entries.append(Entry(first, part.records, part.first_timestamp, part.last_timestamp, part.ids))
            first += part.records
        return entries

    def _done(self, fresh: list[bool], packed: list[Packed], entries: list[Entry]) -> list[Position | None]:
        """Take the committed frames into account."""
        offset = self._summary.end
        for entry in entries:
            self._known.learn(entry.ids)
            self._summary = self._summary.grown(entry)
        self.gate.grew(sum(len(part.body) + len(part.table) + 2 * len(part.ids) for part in packed))
        if all(fresh):
            return [Position(0, at) for at in range(offset, offset + len(fresh))]
        places = iter(range(offset, offset + len(fresh)))
        return [Position(0, next(places)) if new else None for new in fresh]

    def _seal_full(self, segment: SegmentFile) -> None:
        with segment.env.begin(write=True) as txn:
            found = segment.summary(txn)
            if not found.records:
                raise DamagedError(f"{segment.path} is empty and has no room")
            if not found.sealed:
                segment.mark_sealed(txn, found)

    def move_on(self) -> None:
        """Find the segment that takes records now, creating it if need be, and take up the ids of the others."""
        while True:
            firsts = self._folder.firsts()
            end = self._end_if_sealed(firsts[-1]) if firsts else 0
            if end is None:
                break
            with self._folder.changing():
                if self._folder.firsts()[-1:] == firsts[-1:]:
                    create_segment(self._folder, end, map_size(self._segment_bytes))
        try:
            self._known.follow(firsts[:-1])
        except FileNotFoundError:
            return self.move_on()
        except DamagedError as error:
            raise ConfigError(f"log: {self._folder.path} is damaged: {error}; stop every process, then start") from None
        if firsts[-1] != self._active or not self._summary.records:
            self._known.start_active()
            self._active, self._summary = firsts[-1], Summary(firsts[-1])
        self._control.mark([self._folder.segment(first) for first in firsts[:-1]])
        return None

    def _end_if_sealed(self, first: int) -> int | None:
        try:
            with self._pool.use(first) as segment, segment.env.begin() as txn:
                return segment.summary(txn).end if segment.is_sealed(txn) else None
        except FileNotFoundError:
            return None

    def seal_if(self, first: int, due: Callable[[Summary], bool], seen: Summary) -> bool:
        """Seal the active segment if what it holds now is `due`; `seen` is what it held a moment ago. Whether it is
        sealed."""
        with self._lock, self._pool.use(first) as segment, segment.env.begin(write=True) as txn:
            found = segment.summary(txn, seen)
            if not found.sealed:
                if not due(found):
                    return False
                segment.mark_sealed(txn, found)
        return True

    def refresh(self) -> None:
        """After segments were sealed or deleted by this process."""
        with self._lock:
            self.move_on()
        self.gate.measure()
