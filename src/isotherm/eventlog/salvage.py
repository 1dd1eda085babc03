"""What is done at start, by the one process that is alone in the folder: check, set aside, salvage, clean.

LMDB trusts its files: a truncated one kills the process (SIGBUS), a bit-flipped one may read wrong. So nothing is
handed to LMDB before these checks, which only read bytes:

always      magic, version, page size; both meta pages one transaction apart and in order; the newest one's pages all
            within the file
in full     every page by LMDB's structure verifier, then each frame's and index entry's CRC32C. Left out for a file
            whose size, inode and change time are those it had when it was last found (or left) sound.

A file that fails is renamed `<name>.damaged-<n>`, and the frames whose CRC32C is right are written to a fresh, sealed
segment at their old offsets. They are found by the log's identity at their start, without LMDB.
"""

import mmap
import os
import struct
from bisect import bisect
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

import lmdb
import structlog
from lmdb import verify as lmdb_verify

from isotherm.errors import ConfigError
from isotherm.eventlog.control import Control, create_control
from isotherm.eventlog.folder import SEGMENT_NAME, Folder, fsync_folder, lock_of
from isotherm.eventlog.frame import HEADER_BYTES, DamagedError, Header, check, read_header, unpack
from isotherm.eventlog.segment import (
    KEY,
    SEGMENT_SPAN,
    SegmentFile,
    Summary,
    build_segment,
    index_entry,
    read_entry,
    summary_entry,
)

_log = structlog.get_logger(__name__)

_META: Final = struct.Struct("=IIQQ")
"""magic, version, address, map size; at byte 16 of a meta page."""
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_PAGE_HEADER: Final = 16
_PAGE_SIZE_AT: Final = _PAGE_HEADER + 24
_LAST_PAGE_AT: Final = _PAGE_HEADER + 120
_META_BYTES: Final = _LAST_PAGE_AT + 16


class _Meta(NamedTuple):
    magic: int
    version: int
    page_size: int
    last_page: int
    txn: int


def _meta(raw: bytes) -> _Meta:
    magic, version, _, _ = _META.unpack_from(raw, _PAGE_HEADER)
    (page_size,) = struct.unpack_from("=I", raw, _PAGE_SIZE_AT)
    return _Meta(magic, version, page_size, *struct.unpack_from("=QQ", raw, _LAST_PAGE_AT))


def quick_check(path: Path) -> str:
    """What is wrong with the file's size or meta pages; empty when nothing is.

    Raises ConfigError for a file of another LMDB format: it is whole, only not for this program.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_META_BYTES)
        if len(first) < _META_BYTES:
            return f"it has only {size} bytes" if first else "it is empty"
        one = _meta(first)
        if one.magic != _MAGIC:
            return "it is not an LMDB file"
        if not 512 <= one.page_size <= 1 << 16 or one.page_size & (one.page_size - 1):
            return "its page size is damaged"
        file.seek(one.page_size)
        second = file.read(_META_BYTES)
    if len(second) < _META_BYTES:
        return "it ends before its second page"
    return _compare(path, size, one, _meta(second))


def _compare(path: Path, size: int, one: _Meta, two: _Meta) -> str:
    if one.version == two.version != _VERSION and two.magic == _MAGIC:
        raise ConfigError(f"log: {path} has LMDB format {one.version}, this program reads {_VERSION}; move it away")
    if (two.magic, two.version, two.page_size) != (_MAGIC, _VERSION, one.page_size) or one.version != _VERSION:
        return "its meta pages are damaged"
    fresh = one.txn == two.txn == 0
    if not fresh and (abs(one.txn - two.txn) != 1 or one.txn % 2 or not two.txn % 2):
        return "its meta pages do not follow each other"
    older, newest = sorted((one, two), key=lambda meta: meta.txn)
    if older.last_page > newest.last_page:
        return "its newest meta page is damaged: the older one knows more pages"
    if (newest.last_page + 1) * newest.page_size > size:
        return f"it is truncated: {size} bytes instead of {(newest.last_page + 1) * newest.page_size}"
    return ""


def structure_check(path: Path) -> str:
    """The first thing LMDB's verifier finds wrong with the file's pages; empty when nothing is."""
    try:
        found = lmdb_verify.verify(str(path), subdir=False)
    except lmdb_verify.VerifyError as error:
        return str(error)
    return found[0] if found else ""


def content_check(folder: Folder, first: int, after: int | None, size: int) -> str:
    """Compare every frame and index entry with its CRC32C. Only for a file whose structure was checked.

    Raises ConfigError when the segment belongs to another log.
    """
    try:
        segment = SegmentFile(folder, first, size)
    except (lmdb.Error, DamagedError) as error:
        return str(error)
    try:
        with segment.env.begin() as txn, txn.cursor(db=segment.frames) as frames:
            index = {key: read_entry(key, raw).records for key, raw in txn.cursor(db=segment.index)}
            for key, raw in frames:
                header = check(folder.identity, raw)
                if key != KEY.pack(header.first) or index.pop(key, 0) != header.records:
                    return f"frame and index differ at offset {header.first}"
            summary = segment.summary(txn)
        if after is not None and (not summary.sealed or summary.end != after):
            return f"it does not lead to the next segment, {after}"
        return f"{len(index)} frames are missing" if index else ""
    except (DamagedError, struct.error) as error:
        return str(error)
    finally:
        segment.env.close()


class _Found(NamedTuple):
    stamp: int
    first: int
    end: int
    at: int
    size: int


def _scan(folder: Folder, data: mmap.mmap) -> Iterator[_Found]:
    """Sound frames anywhere in the bytes, also stale and abandoned ones."""
    at = data.find(folder.identity)
    while at >= 0:
        header = _sound(folder, data, at)
        if header is None:
            at = data.find(folder.identity, at + 1)
            continue
        yield _Found(header.stamp, header.first, header.first + header.records, at, header.size)
        at = data.find(folder.identity, at + header.size)


def _sound(folder: Folder, data: mmap.mmap, at: int) -> Header | None:
    try:
        size = read_header(data[at : at + HEADER_BYTES]).size
        return check(folder.identity, data[at : at + size]) if at + size <= len(data) else None
    except DamagedError:
        return None


def _newest(found: list[_Found]) -> list[_Found]:
    """Of frames that claim the same offsets, the one written last; in order of offsets."""
    chosen = list[_Found]()
    for frame in sorted(found, reverse=True):
        at = bisect(chosen, frame.first, key=lambda other: other.first)
        clear_left = at == 0 or chosen[at - 1].end <= frame.first
        if clear_left and (at == len(chosen) or frame.end <= chosen[at].first):
            chosen.insert(at, frame)
    return chosen


def salvage(folder: Folder, first: int, end: int, size: int) -> int:
    """Write the sound frames of a damaged segment to `<name>.salvaged`; returns how many records they hold.

    `end` is where the next segment begins. Offsets that are lost stay unused.
    """
    path = folder.segment(first)
    target = path.with_suffix(".salvaged")
    build_segment(folder, target, size)
    records = 0
    with path.open("rb") as file, lmdb.open(str(target), map_size=size, subdir=False, max_dbs=4) as env:
        frames, index, meta = (env.open_db(name) for name in (b"frames", b"index", b"meta"))
        summary = Summary(first)
        with env.begin(write=True) as txn:
            for raw in _frames(folder, file.fileno(), first, end):
                frame = unpack(folder.identity, raw)
                key = KEY.pack(frame.first)
                entry = index_entry(frame.records, min(frame.timestamps), max(frame.timestamps), frame.ids)
                txn.put(key, raw, append=True, db=frames)
                txn.put(key, entry, append=True, db=index)
                summary = summary.grown(read_entry(key, entry))
                records += frame.records
            txn.put(b"sealed", summary_entry(summary._replace(end=end)), db=meta)
    lock_of(target).unlink(missing_ok=True)
    return records


def _frames(folder: Folder, fd: int, first: int, end: int) -> Iterator[bytes]:
    if not os.fstat(fd).st_size:
        return
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        for found in _newest([frame for frame in _scan(folder, data) if first <= frame.first and frame.end <= end]):
            yield data[found.at : found.at + found.size]


def set_aside(path: Path) -> Path:
    """Rename a damaged file to the first free `<name>.damaged-<n>`."""
    n = 1
    while (target := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    path.rename(target)
    lock_of(path).unlink(missing_ok=True)
    return target


def recover(folder: Folder, size: int) -> None:
    """Make the folder fit for LMDB. The caller is alone in it.

    Raises ConfigError for what only a person can decide, and when a file cannot be read.
    """
    try:
        _clean(folder)
        _recover_control(folder)
        control = Control(folder)
        try:
            firsts = folder.firsts()
            for first, after in zip_longest(firsts, firsts[1:]):
                _recover_segment(folder, control, first, after, size)
            control.mark([folder.segment(first) for first in firsts])
        finally:
            control.close()
    except OSError as error:
        raise ConfigError(
            f"log: {error.filename or folder.path} cannot be read or repaired: {error.strerror}"
        ) from None


def _clean(folder: Folder) -> None:
    """Finish an interrupted salvage; delete what interrupted creations and deletions left."""
    for salvaged in folder.path.glob("*.salvaged"):
        target = salvaged.with_suffix(".lmdb")
        if target.exists():
            salvaged.unlink()
        else:
            salvaged.rename(target)
    for pattern in ("*.new", "*.tmp", "*.new-lock", "*.salvaged-lock"):
        for litter in folder.path.glob(pattern):
            litter.unlink()
    for side in [*folder.path.glob("*.ids"), *folder.path.glob("*.lmdb-lock")]:
        name = f"{side.stem}.lmdb"
        if SEGMENT_NAME.fullmatch(name) and not (folder.path / name).exists():
            side.unlink()
    fsync_folder(folder.path)


def _recover_control(folder: Folder) -> None:
    path = folder.control
    problem = ""
    if path.exists():
        problem = quick_check(path) or structure_check(path) or _unusable_control(folder)
        if problem:
            aside = set_aside(path)
            _log.warning(
                "the log's control file is damaged and was set aside; consumers commit anew",
                file=str(aside),
                reason=problem,
            )
    if not path.exists():
        create_control(folder)


def _unusable_control(folder: Folder) -> str:
    try:
        control = Control(folder)
    except lmdb.Error as error:
        return str(error)
    try:
        control.consumers()
    except (struct.error, UnicodeDecodeError) as error:
        return str(error)
    finally:
        control.close()
    return ""


def _recover_segment(folder: Folder, control: Control, first: int, after: int | None, size: int) -> None:
    path = folder.segment(first)
    problem = quick_check(path)
    if not problem and control.is_marked(path):
        return
    problem = problem or structure_check(path) or content_check(folder, first, after, size)
    if not problem:
        return
    end = first + SEGMENT_SPAN if after is None else after
    records = salvage(folder, first, end, size)
    aside = set_aside(path)
    path.with_suffix(".salvaged").rename(path)
    folder.ids(first).unlink(missing_ok=True)
    fsync_folder(folder.path)
    _log.warning(
        "a log segment is damaged and was set aside; what reads was salvaged",
        file=str(aside),
        reason=problem,
        records=records,
        next_offset=end,
    )
