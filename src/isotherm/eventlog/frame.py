"""A frame: the records of one group commit as one value, compressed as a whole and covered by one CRC32C.

Layout (little-endian): header, lengths uint32[n], timestamps int64[n], ids 16 bytes each, body (zstd). The header
starts with the log's identity, which no sender knows: so a frame can be found in a damaged file by its bytes alone,
and nobody can send a body that passes for one.
"""

import struct
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

import google_crc32c
import numpy as np
from backports import zstd

from isotherm.eventlog.port import ID_BYTES, Record, Stored

ZSTD_LEVEL: Final = 1
FRAME_BYTES: Final = 16 << 20
"""Values gathered in one frame before the next is begun; it bounds what reading one record costs."""

_HEADER: Final = struct.Struct("<16sIIIIIQQ")
"""identity, CRC32C of what follows it, records, ids, compressed bytes, plain bytes, first offset, stamp."""
_CRC_END: Final = 20
_PER_RECORD: Final = 12

_value = attrgetter("value")
_timestamp = attrgetter("timestamp")
_id = attrgetter("id")


class DamagedError(Exception):
    """Bytes that are not what was written."""


class Packed(NamedTuple):
    """Records made ready for a frame, before their first offset is known."""

    records: int
    ids: bytes
    plain_bytes: int
    first_timestamp: int
    last_timestamp: int
    table: bytes
    body: bytes


def pack(records: Sequence[Record]) -> Packed:
    """Compress the records; they must fit one frame (see `split`)."""
    values = list(map(_value, records))
    lengths = np.fromiter(map(len, values), "<u4", len(values))
    timestamps = np.fromiter(map(_timestamp, records), "<i8", len(values))
    plain = b"".join(values)
    return Packed(
        len(values),
        b"".join(filter(None, map(_id, records))),
        len(plain),
        int(timestamps.min()),
        int(timestamps.max()),
        lengths.tobytes() + timestamps.tobytes(),
        zstd.compress(plain, ZSTD_LEVEL),
    )


def split(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Cut one append into frames of about FRAME_BYTES."""
    sizes = np.fromiter(map(len, map(_value, records)), np.int64, len(records))
    total = sizes.cumsum()
    if not len(total) or total[-1] <= FRAME_BYTES:
        return [records] if len(total) else []
    cuts = [0, *(np.flatnonzero(np.diff(total // FRAME_BYTES)) + 1).tolist(), len(records)]
    return [records[a:b] for a, b in pairwise(cuts)]


def seal(identity: bytes, first: int, stamp: int, packed: Packed) -> bytes:
    """The frame's bytes. `stamp` (nanoseconds) tells a later frame from an abandoned one with the same offsets."""
    ids = len(packed.ids) // ID_BYTES
    tail = b"".join((packed.table, packed.ids, packed.body))
    fields = (packed.records, ids, len(packed.body), packed.plain_bytes, first, stamp)
    head = _HEADER.pack(identity, 0, *fields)[_CRC_END:]
    crc = google_crc32c.extend(google_crc32c.value(head), tail)
    return b"".join((_HEADER.pack(identity, crc, *fields), tail))


class Header(NamedTuple):
    """The fixed part of a frame."""

    identity: bytes
    crc: int
    records: int
    ids: int
    stored_bytes: int
    plain_bytes: int
    first: int
    stamp: int

    @property
    def size(self) -> int:
        """Length of the whole frame in bytes."""
        return HEADER_BYTES + self.records * _PER_RECORD + self.ids * ID_BYTES + self.stored_bytes


HEADER_BYTES: Final = _HEADER.size


def read_header(raw: bytes) -> Header:
    """The header of the frame that starts here; says nothing about whether it is sound."""
    if len(raw) < HEADER_BYTES:
        raise DamagedError(f"a frame of {len(raw)} bytes is shorter than its header")
    return Header._make(_HEADER.unpack_from(raw))


def check(identity: bytes, raw: bytes) -> Header:
    """The header of a whole frame whose length and CRC32C are right.

    Raises DamagedError when they are not.
    """
    header = read_header(raw)
    if header.identity != identity or header.size != len(raw) or not header.records:
        raise DamagedError("a frame's header is damaged")
    if google_crc32c.value(raw[_CRC_END:]) != header.crc:
        raise DamagedError(f"the CRC32C of the frame at offset {header.first} is wrong")
    return header


class Frame(NamedTuple):
    """A decompressed frame. `ends[i]` is where record i ends in `body`; shape (records + 1,), ends[0] = 0."""

    first: int
    records: int
    ends: np.ndarray
    timestamps: list[int]
    ids: bytes
    body: bytes

    @property
    def end(self) -> int:
        return self.first + self.records

    def cut(self, offset: int, max_records: int, max_bytes: int, *, at_least_one: bool) -> list[Stored]:
        """Records from `offset` (inside this frame) on, as many as both limits allow."""
        start = offset - self.first
        fitting = int(self.ends.searchsorted(self.ends[start] + max_bytes, "right")) - 1
        stop = min(max(fitting, start + at_least_one), start + max_records, self.records)
        ends = self.ends[start : stop + 1].tolist()
        return [
            Stored(0, self.first + i, self.timestamps[i], self.body[a:b])
            for i, (a, b) in enumerate(pairwise(ends), start)
        ]


def unpack(identity: bytes, raw: bytes) -> Frame:
    """Check and decompress a frame. Raises DamagedError."""
    header = check(identity, raw)
    n = header.records
    at = HEADER_BYTES
    lengths = np.frombuffer(raw, "<u4", n, at)
    timestamps = np.frombuffer(raw, "<i8", n, at + 4 * n).tolist()
    at += n * _PER_RECORD
    ids = raw[at : at + header.ids * ID_BYTES]
    body = zstd.decompress(raw[at + len(ids) :])
    ends = np.concatenate(([0], lengths.astype(np.int64).cumsum()))
    if len(body) != header.plain_bytes or ends[-1] != len(body):
        raise DamagedError(f"the frame at offset {header.first} decompresses to another length")
    return Frame(header.first, n, ends, timestamps, ids, body)
