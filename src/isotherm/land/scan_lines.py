"""The lines of a sink's file as landing takes them: decoded, and those set aside that cannot be used or landed."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from isotherm.clock import DAY_MS
from isotherm.eventlog.port import Stored
from isotherm.land import poison
from isotherm.land.columns import Decoded
from isotherm.land.dead import Failed
from isotherm.land.poison import Probe
from isotherm.land.scan_text import Lines

_PIECE: Final = 2_000
"""Lines decoded at a time; their Python objects live only until they are columns."""


class Taken(Struct):
    """Lines that are decoded; `failed` is what landing said of those that it failed at, by line."""

    decoded: list[Decoded]
    failed: dict[int, str] = {}


def records_of(lines: Lines, number: int, now_ms: int) -> list[Stored]:
    """The lines of the file with this number as records."""
    return [Stored(number, line, now_ms, value) for line, value in lines.values]


def take(records: Sequence[Stored], now_ms: int) -> Taken:
    """Decode them all; one that cannot be used is dead and stops no other."""
    return Taken([decoded(piece, now_ms) for piece in _pieces(records)])


def decoded(records: Sequence[Stored], now_ms: int) -> Decoded:
    """Decode some of the records."""
    return _compared(poison.decode(records), now_ms - DAY_MS)


def spared(records: Sequence[Stored], now_ms: int, probe: Probe) -> Taken | None:
    """All of them, those dead that `probe` fails at, each tried alone; None when it is none of them."""
    bad: dict[int, str] = {}
    for piece in _pieces(records):
        bad |= poison.poisoned(piece, probe)
    if not bad:
        return None
    return Taken([_compared(poison.without(piece, bad), now_ms - DAY_MS) for piece in _pieces(records)], bad)


def dead_of(taken: Taken, where: str) -> Iterable[Failed]:
    """The lines that are dead, of the file that a person finds at `where`."""
    for one in taken.decoded:
        said = {tally.offset: tally for tally in one.tallies if tally.dead}
        for record in one.dead:
            whose, why = said[record.offset], taken.failed.get(record.offset)
            reason = "unusable" if why is None else "lander_error"
            detail = f"{where}, line {record.offset + 1}" + (f": {why}" if why else "")
            yield Failed(record, _place(where, record), whose.client_id, whose.received_at, reason, detail)


def _pieces(records: Sequence[Stored]) -> list[Sequence[Stored]]:
    return [records[at : at + _PIECE] for at in range(0, len(records), _PIECE)]


def _place(where: str, record: Stored) -> str:
    """The same at every try of the same file, whose number is drawn anew until it is landed."""
    said = blake2b(f"{where}\0{record.offset}\0".encode() + record.value, digest_size=16).hexdigest()
    return f"scan-{said}-{record.offset}"


def _compared(one: Decoded, before_ms: int) -> Decoded:
    """Rows received before this moment are compared with the lake, as imported ones are: their ids may be forgotten."""
    if one.batches:
        old = np.array([batch.received_at < before_ms for batch in one.batches], np.bool_)
        imported = one.rows.imported | old[one.rows.record]
        one.rows = msgspec.structs.replace(one.rows, imported=imported)
    return one
