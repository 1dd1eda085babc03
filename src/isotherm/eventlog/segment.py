"""One LMDB file of the log: frames, and beside each frame an index entry with its ids.

The index is small and stands apart, so that counting records and learning ids touches no frame. Keys are first
offsets, 8 bytes big-endian. A sealed segment takes no more frames; `sealed` holds its summary.
"""

import struct
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import google_crc32c
import lmdb

from isotherm.config import GIB
from isotherm.errors import ConfigError
from isotherm.eventlog.folder import Folder, fsync_folder, lock_of
from isotherm.eventlog.frame import HEADER_BYTES, DamagedError, Frame, Packed, read_header, unpack
from isotherm.eventlog.port import ID_BYTES, MAX_APPEND_RECORDS

MAX_READERS: Final = 2048
MAX_SEGMENT_RECORDS: Final = 1 << 17
"""A segment is sealed at this many records, so that the ids of the active one fit in a set."""
MAX_SEGMENT_FRAMES: Final = 1 << 14
"""And at this many frames: after a crash each frame of the active segment is checked before anything is taken, about
20 microseconds each."""
SEGMENT_SPAN: Final = MAX_SEGMENT_RECORDS + MAX_APPEND_RECORDS
"""No segment ever held more offsets than this."""
IDLE_SEGMENTS: Final = 8

KEY: Final = struct.Struct(">Q")
_INDEX: Final = struct.Struct("<IIqq")
"""CRC32C of what follows it, records, least and greatest timestamp; then the ids."""
_SEALED: Final = struct.Struct("<QQqq")
"""end offset, records, least and greatest timestamp; their CRC32C follows."""


class Entry(NamedTuple):
    """What the index says of one frame."""

    first: int
    records: int
    first_timestamp: int
    last_timestamp: int
    ids: bytes

    @property
    def end(self) -> int:
        return self.first + self.records


class Summary(NamedTuple):
    """What a segment holds; `end` is the offset the next record gets, times are None without records.

    `frames` are those of an active segment: a sealed one does not say.
    """

    end: int
    records: int = 0
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    sealed: bool = False
    frames: int = 0

    def grown(self, entry: Entry) -> "Summary":
        first, last = self.first_timestamp, self.last_timestamp
        return Summary(
            entry.end,
            self.records + entry.records,
            entry.first_timestamp if first is None else min(first, entry.first_timestamp),
            entry.last_timestamp if last is None else max(last, entry.last_timestamp),
            self.sealed,
            self.frames + 1,
        )


def index_entry(records: int, first_timestamp: int, last_timestamp: int, ids: bytes) -> bytes:
    """The index value of a frame."""
    raw = _INDEX.pack(0, records, first_timestamp, last_timestamp)[4:] + ids
    return struct.pack("<I", google_crc32c.value(raw)) + raw


def summary_entry(summary: Summary) -> bytes:
    """The value that marks a segment sealed."""
    raw = _SEALED.pack(summary.end, summary.records, summary.first_timestamp or 0, summary.last_timestamp or 0)
    return raw + struct.pack("<I", google_crc32c.value(raw))


def read_summary(raw: bytes) -> Summary:
    """The summary of a sealed segment. Raises DamagedError when its CRC32C is wrong."""
    if raw[_SEALED.size :] != struct.pack("<I", google_crc32c.value(raw[: _SEALED.size])):
        raise DamagedError("the CRC32C of the segment's summary is wrong")
    end, records, first, last = _SEALED.unpack_from(raw)
    return Summary(end, records, first if records else None, last if records else None, sealed=True)


def read_entry(key: bytes, raw: bytes) -> Entry:
    """Raises DamagedError when the entry's CRC32C is wrong."""
    if len(key) != KEY.size or len(raw) < _INDEX.size or (len(raw) - _INDEX.size) % ID_BYTES:
        raise DamagedError("an index entry has a wrong length")
    crc, records, first_timestamp, last_timestamp = _INDEX.unpack_from(raw)
    (first,) = KEY.unpack(key)
    if google_crc32c.value(raw[4:]) != crc:
        raise DamagedError(f"the CRC32C of the index entry at offset {first} is wrong")
    return Entry(first, records, first_timestamp, last_timestamp, raw[_INDEX.size :])


def open_env(path: Path, map_size: int) -> lmdb.Environment:
    """Open an LMDB file with LMDB's full durability; it must be there, or LMDB creates it. Raises lmdb.Error."""
    env = lmdb.open(
        str(path), map_size=map_size, subdir=False, create=False, max_dbs=4, max_readers=MAX_READERS, readahead=False
    )
    env.reader_check()
    return env


def map_size(segment_bytes: int) -> int:
    """Address space for one segment; the file itself only grows as it is filled.

    A segment below its limit always has room for the largest append (MAX_APPEND_BYTES, incompressible).
    """
    return 2 * segment_bytes + GIB


class SegmentFile:
    """An open segment. Readers and writers work inside a transaction they begin on `env`."""

    def __init__(self, folder: Folder, first: int, size: int) -> None:
        self.path = folder.segment(first)
        self.first = first
        self.identity = folder.identity
        self.env = open_env(self.path, size)
        try:
            # py-lmdb keeps handles only from a write transaction; it writes nothing.
            with self.env.begin(write=True) as txn:
                self.frames, self.index, self.meta = (
                    self.env.open_db(name, txn=txn, create=False) for name in (b"frames", b"index", b"meta")
                )
                self._check_owner(txn)
        except BaseException:
            self.env.close()
            raise

    def _check_owner(self, txn: "lmdb.Transaction[bytes]") -> None:
        found = txn.get(b"identity", db=self.meta)
        if found is None:
            raise DamagedError("the segment does not say which log it belongs to")
        if found != self.identity:
            raise ConfigError(f"log: {self.path} belongs to another log; move it out of the folder")

    def summary(self, txn: "lmdb.Transaction[bytes]", known: Summary | None = None) -> Summary:
        """Count what is there; `known` is an earlier summary to go on from."""
        sealed = txn.get(b"sealed", db=self.meta)
        if sealed is not None:
            return read_summary(sealed)
        found = known or Summary(self.first)
        for entry in self.entries(txn, found.end):
            found = found.grown(entry)
        return found

    def entries(self, txn: "lmdb.Transaction[bytes]", offset: int) -> Iterator[Entry]:
        """Index entries of the frames that start at `offset` or later. Raises DamagedError."""
        with txn.cursor(db=self.index) as cursor:
            if cursor.set_range(KEY.pack(offset)):
                for key, raw in cursor:
                    yield read_entry(key, raw)

    def put(self, txn: "lmdb.Transaction[bytes]", first: int, frame: bytes, packed: Packed) -> None:
        key = KEY.pack(first)
        txn.put(key, frame, append=True, db=self.frames)
        entry = index_entry(packed.records, packed.first_timestamp, packed.last_timestamp, packed.ids)
        txn.put(key, entry, append=True, db=self.index)

    def mark_sealed(self, txn: "lmdb.Transaction[bytes]", summary: Summary) -> None:
        txn.put(b"sealed", summary_entry(summary), db=self.meta)

    def is_sealed(self, txn: "lmdb.Transaction[bytes]") -> bool:
        return txn.get(b"sealed", db=self.meta) is not None

    def find(self, txn: "lmdb.Transaction[bytes]", offset: int) -> bytes | None:
        """The raw frame that holds `offset`, or else the next one; None past the last."""
        with txn.cursor(db=self.index) as cursor:
            if not _seek(cursor, offset):
                return None
            key = cursor.key()
        return txn.get(key, db=self.frames)

    def first_stamp(self) -> int | None:
        """The stamp of the first frame; of the frame, which may be large, only the head is read. None without one."""
        with self.env.begin(buffers=True) as txn:
            raw = txn.get(KEY.pack(self.first), db=self.frames)
            return None if raw is None else read_header(bytes(raw[:HEADER_BYTES])).stamp

    def load(self, raw: bytes) -> Frame:
        return unpack(self.identity, raw)


def _seek(cursor: "lmdb.Cursor[bytes]", offset: int) -> bool:
    """Place the cursor on the entry that ends after `offset`; False when there is none."""
    after = cursor.set_range(KEY.pack(offset))
    if after and cursor.key() == KEY.pack(offset):
        return True
    before = cursor.prev() if after else cursor.last()
    if before and read_entry(*cursor.item()).end > offset:
        return True
    return after and cursor.set_range(KEY.pack(offset))


def create_segment(folder: Folder, first: int, size: int) -> None:
    """Make an empty segment appear in one step, durably. The caller holds the change lock."""
    path = folder.segment(first)
    scratch = path.with_suffix(".new")
    build_segment(folder, scratch, size)
    scratch.rename(path)
    fsync_folder(folder.path)


def build_segment(folder: Folder, path: Path, size: int) -> None:
    """Write an empty segment under a scratch name."""
    for stale in (path, lock_of(path)):
        stale.unlink(missing_ok=True)
    with lmdb.open(str(path), map_size=size, subdir=False, max_dbs=4) as env:
        frames, index, meta = (env.open_db(name) for name in (b"frames", b"index", b"meta"))
        assert frames is not index
        with env.begin(write=True) as txn:
            txn.put(b"identity", folder.identity, db=meta)
    lock_of(path).unlink(missing_ok=True)


class SegmentPool:
    """Open segments of one process; idle ones are closed, those in use stay until released."""

    def __init__(self, folder: Folder, size: int) -> None:
        self._folder = folder
        self._size = size
        self._lock = Lock()
        self._open: OrderedDict[int, SegmentFile] = OrderedDict()
        self._uses: dict[int, int] = {}

    @contextmanager
    def use(self, first: int) -> Generator[SegmentFile]:
        """Borrow a segment. Raises FileNotFoundError when it was deleted."""
        segment = self._take(first)
        try:
            yield segment
        finally:
            with self._lock:
                self._uses[first] -= 1
                self._close_idle(IDLE_SEGMENTS)

    def _take(self, first: int) -> SegmentFile:
        with self._lock:
            segment = self._open.get(first)
            if segment is None:
                segment = self._open[first] = self._start(first)
            self._open.move_to_end(first)
            self._uses[first] = self._uses.get(first, 0) + 1
            return segment

    def _start(self, first: int) -> SegmentFile:
        path = self._folder.segment(first)
        with self._folder.changing(opening=True):
            if not path.exists():
                raise FileNotFoundError(path)
            try:
                return SegmentFile(self._folder, first, self._size)
            except (lmdb.Error, DamagedError) as error:
                raise ConfigError(f"log: {path} cannot be opened: {error}") from None

    def _close_idle(self, keep: int) -> None:
        for first in [first for first in self._open if not self._uses[first]][: max(0, len(self._open) - keep)]:
            self._open.pop(first).env.close()
            del self._uses[first]

    def keep_only(self, firsts: set[int]) -> None:
        """Close what was deleted, so that its disk space is given back."""
        with self._lock:
            for first in [first for first in self._open if first not in firsts and not self._uses[first]]:
                self._open.pop(first).env.close()
                del self._uses[first]

    def close(self) -> None:
        with self._lock:
            self._close_idle(0)
