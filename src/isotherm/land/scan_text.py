"""The text of a sink's file: unpacked within a limit, cut into lines, told apart from what is not finished."""

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

GZIP_MAGIC: Final = b"\x1f\x8b"
MAX_TEXT_BYTES: Final = 1 << 30
"""A file is landed in one transaction and held in memory for it."""
_PIECE: Final = 1 << 24


class Unreadable(Exception):
    """The file cannot be read as it is now; its message says why."""


class Lines(NamedTuple):
    """The lines of a text from some place on: (number, line) of those that are not blank. `end_line` and `end_byte`
    are where the next one would begin; `torn` says that more bytes follow, which are no whole line yet."""

    values: Sequence[tuple[int, bytes]]
    end_line: int
    end_byte: int
    torn: bool


def unpack(data: bytes, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The text of a plain or gzip file, of one member or several.

    Raises Unreadable when it is longer than the limit, ends in the middle, or is damaged.
    """
    if data.startswith(GZIP_MAGIC):
        return _inflate(data, limit)
    if len(data) > limit:
        raise _too_long(limit)
    return data


def _too_long(limit: int) -> Unreadable:
    return Unreadable(
        f"it holds more than {limit} bytes; let the sink begin a new file after fewer records (file.max.records), and "
        "cut this one at the end of a line"
    )


def _inflate(data: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while data:
        member = zlib.decompressobj(31)
        while not member.eof:
            try:
                part = member.decompress(data, min(_PIECE, room + 1))
            except zlib.error as error:
                raise Unreadable(f"its compressed data is damaged ({error})") from None
            data = member.unconsumed_tail or (b"" if not member.eof else member.unused_data)
            room -= len(part)
            if room < 0:
                raise _too_long(limit)
            if not part and not member.eof and not data:
                raise Unreadable("its compressed data ends in the middle: a sink may still be writing it")
            parts.append(part)
        data = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def lines_of(text: bytes, line: int, byte: int) -> Lines:
    """The lines from this one on, which begins at this byte.

    The last one needs no newline if it is whole JSON: sinks put newlines between records, or after each.
    """
    if byte and text[byte - 1 : byte + 1].endswith(b"\n") and text[byte - 1 : byte] != b"\n":
        # What was the last line by then has got its newline.
        byte += 1
    parts = text[byte:].split(b"\n")
    rest = parts.pop()
    values = [(line + at, part) for at, part in enumerate(parts) if part.strip()]
    end = line + len(parts)
    if not rest.strip():
        return Lines(values, end, len(text) - len(rest), torn=False)
    if not _is_json(rest):
        return Lines(values, end, len(text) - len(rest), torn=True)
    return Lines([*values, (end, rest)], end + 1, len(text), torn=False)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def digest(text: bytes, end: int) -> str:
    """Tells whether the first `end` bytes are the same as before."""
    return blake2b(memoryview(text)[:end], digest_size=16).hexdigest()
