"""Records that decode and yet break something in landing: found by halving, so that each costs only itself."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from isotherm.errors import IsothermError
from isotherm.eventlog.port import Stored
from isotherm.land.books import Books
from isotherm.land.columns import Decoded, dead_letter, decode_records
from isotherm.land.rows import Rows

SURROUNDINGS: Final = (IsothermError, SQLAlchemyError, OSError, MemoryError)
"""What goes wrong around landing, and passes: no record is to blame."""

Probe = Callable[[Sequence[Stored]], object]
"""Does with some records what landing does, and keeps nothing of it."""


def decode(records: Sequence[Stored]) -> Decoded:
    """`decode_records`, and a record that it fails at is dead."""
    try:
        return decode_records(records)
    except SURROUNDINGS:
        raise
    except Exception:  # noqa: BLE001 - whatever a record sets off, it must not stop the others
        if len(records) == 1:
            return dead_letter(records[0])
    middle = len(records) // 2
    return joined(decode(records[:middle]), decode(records[middle:]))


def joined(first: Decoded, second: Decoded) -> Decoded:
    """Both as one, in this order."""
    return Decoded(
        Rows.of([first.rows, second.rows]),
        first.tallies + second.tallies,
        first.dead + second.dead,
        first.shapes | second.shapes,
        first.batches + second.batches,
    )


def poisoned(records: Sequence[Stored], probe: Probe) -> dict[int, str]:
    """The records that `probe` fails at, each alone: offset -> what it said. Raises what lies in the surroundings."""
    try:
        probe(records)
    except SURROUNDINGS:
        raise
    except Exception as error:  # noqa: BLE001 - told with the record
        if len(records) == 1:
            return {records[0].offset: f"{type(error).__name__}: {error}"}
        middle = len(records) // 2
        return poisoned(records[:middle], probe) | poisoned(records[middle:], probe)
    return {}


def without(records: Sequence[Stored], bad: dict[int, str]) -> Decoded:
    """The records decoded, the bad ones as dead letters."""
    decoded = decode([record for record in records if record.offset not in bad])
    for record in records:
        if record.offset in bad:
            decoded = joined(decoded, _dead(record))
    return decoded


def _dead(record: Stored) -> Decoded:
    """What such a record counts may be what is wrong with it."""
    found = dead_letter(record)
    try:
        Books().add_tallies(found.tallies)
    except Exception:  # noqa: BLE001 - then it counts as one event of nobody
        return dead_letter(record, bare=True)
    return found
