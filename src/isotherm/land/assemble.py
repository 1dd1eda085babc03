"""From decoded records to what one landing lists and says: rows that are new, files to write, facts beside them.

Shared by all that lands: the lander of the log, and the scanner of a sink's files.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa
from msgspec import Struct

from isotherm.land import imports, known, late, rowhash, shapes
from isotherm.land.books import Books, Key
from isotherm.land.columns import Decoded
from isotherm.land.effects import Compared
from isotherm.land.lake import Lake
from isotherm.land.lake_local import LocalLake
from isotherm.land.landing import OffsetRange
from isotherm.land.manifest import Manifest
from isotherm.land.parts import Part, describe, int64, split
from isotherm.land.rows import Rows
from isotherm.land.store import Planned
from isotherm.land.waiting import totals
from isotherm.metrics import LANDED_FILES, LANDED_ROWS, Counts
from isotherm.store.db import reading


class Fresh(Struct, frozen=True):
    """The rows that are to be landed, and what must still hold then; see `Landing`."""

    parts: Sequence[Part]
    claims: known.Claims | None = None
    compared: Compared | None = None


def new_rows(
    decoded: Sequence[Decoded],
    books: Books,
    lake: Lake,
    manifest: Manifest,
    rule: late.Rule,
    *,
    by_id: bool,
) -> Fresh:
    """What of the decoded rows is new, as far as is known now; `books` learn what becomes of each row.

    With `by_id`, rows of batches that were landed before are dropped; without, the log tells these apart, but for
    batches that were sent again by another than their sender. Imported rows are compared with the lake. What is too
    late for the maps by the `rule` has parts of its own.
    """
    rows, claims = Rows.of(one.rows for one in decoded), None
    if not len(rows.record):
        return Fresh([])
    judged = _judged(decoded, manifest, by_id=by_id)
    if judged is not None:
        claims = judged.claims
        if judged.keep is not None:
            books.add_known(judged.dropped, split(rows.only(~judged.keep)))
            rows = rows.only(judged.keep)
    kept: list[Part] = []
    found, compared = imports.new_rows(list(split(rows)), lake, manifest)
    for part, mask in late.divide(found, rule, manifest.engine):
        books.add_rows(part, mask)
        if mask.any():
            rows = part.table if mask.all() else part.table.filter(pa.array(mask))
            kept.append(Part(part.client_id, part.hour, rows, part.imported[mask], part.raw_only))
    return Fresh(kept, claims, compared)


def _judged(decoded: Sequence[Decoded], manifest: Manifest, *, by_id: bool) -> known.Judged | None:
    """Which rows belong to batches that were landed before, as far as is known now; None when none can.

    Where the log tells duplicates, one question to the database finds out that nothing was sent again lately.
    """
    batches = [batch for one in decoded for batch in one.batches]
    again = [batch for batch in batches if batch.again]
    with reading(manifest.engine) as connection:
        if not (by_id or again or known.are_any(connection)):
            return None
        ids = known.ids_of(batches)
        before = known.look_up(connection, ids)
    if by_id:
        return known.judge(batches, ids, before)
    only = {*before, *known.ids_of(again)}
    return known.judge(batches, ids, before, only) if only else None


def said_by(decoded: Sequence[Decoded], fresh: Fresh) -> dict[str, Any]:
    """The fields of a `Landing` that follow from the records and their rows."""
    arrived = totals(tally for d in decoded for tally in d.tallies)
    said = {offset: shape for d in decoded for offset, shape in d.shapes.items()}
    return {
        "received": {
            (p.client_id, p.hour): int(int64(p.table, "received_at").min()) for p in fresh.parts if not p.raw_only
        },
        "newest": {client_id: one.newest for client_id, one in arrived.items()},
        "shapes": shapes.fold(((p.client_id, int64(p.table, "log_offset")) for p in fresh.parts), said),
        "claims": fresh.claims,
        "compared": fresh.compared,
    }


def plan(parts: Sequence[Part], place: tuple[str, int], first: int, last: int, formats: Sequence[str]) -> list[Planned]:
    """A file per part and format; the rows come from the records [first, last] of `place`: a log and its partition."""
    log, partition = place
    planned: list[Planned] = []
    for part in parts:
        source = OffsetRange(log, partition, first, last, part.table.num_rows, rowhash.of_table(part.table))
        stem = f"{partition}-{first}-{last}"
        planned += [(describe(part, name, [source], stem), part.table) for name in formats]
    return planned


def keep(dead: LocalLake, log: str, place: str, value: bytes) -> str:
    """Keep the bytes of an unusable record of this log. Returns the file's name; one that is there is from an earlier
    try."""
    name = f"{blake2b(log.encode(), digest_size=4).hexdigest()}-{place}.bin"
    if not dead.local_path(name).exists():
        dead.put(name, value)
    return name


def measure(component: Counts, files: int, counts: Mapping[Key, int]) -> int:
    """Tell the metrics what this component has landed. Returns the rows."""
    rows = sum(events for key, events in counts.items() if key[2] == "landed")
    dropped = sum(events for key, events in counts.items() if key[2] in ("landing_duplicate", "dead"))
    LANDED_ROWS.inc(rows)
    LANDED_FILES.inc(files)
    component.add(rows + dropped, rows)
    return rows
