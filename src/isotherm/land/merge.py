"""Merging: the small files of a closed hour become one sorted file per client and format."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import pyarrow as pa
import structlog

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land import rowhash
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest, OffsetRange, Selection
from isotherm.land.parts import in_order, path_of
from isotherm.land.store import Checkpoint, no_checkpoint, write_files
from isotherm.land.write import decode, read_table, unequal

MAX_ROWS: Final = 2_000_000
"""A merged file holds at most this many rows, so that merging needs at most about 1 GB of memory."""
_OUTWEIGHED: Final = 4
"""A file with more rows than this many times all smaller ones together is rewritten only after a quiet time."""
_QUIET_MS: Final = 60 * MINUTE_MS

_log = structlog.get_logger("isotherm.land")


def merge_closed(
    settings: Settings,
    lake: Lake,
    manifest: Manifest,
    now_ms: int,
    *,
    limit: int | None = None,
    checkpoint: Checkpoint = no_checkpoint,
) -> int:
    """Merge what is closed and quiet: hours over for `close_delay_seconds`, without new files for one flush.

    At most `limit` merges. Returns how many were made.
    """
    closed = now_ms - int(settings.close_delay_seconds * SECOND_MS) - HOUR_MS
    quiet_ms = int(settings.land_flush_seconds * SECOND_MS)
    # Nothing lands in hours older than this, so they are as merged as they get.
    oldest = now_ms - settings.late_horizon_ms - (settings.log_retention_days + 1) * DAY_MS
    made = 0
    for client_id, hour, file_format in manifest.crowded(oldest, closed):
        if limit is not None and made >= limit:
            break
        merged = merge_hour(
            lake, manifest, client_id, hour, file_format, now_ms=now_ms, quiet_ms=quiet_ms, checkpoint=checkpoint
        )
        made += merged
    return made


def merge_hour(
    lake: Lake,
    manifest: Manifest,
    client_id: str,
    hour: int,
    format: str,  # noqa: A002 - the manifest's word
    *,
    now_ms: int,
    quiet_ms: int = 0,
    checkpoint: Checkpoint = no_checkpoint,
) -> int:
    """Merge one client's files of one hour in one format. Returns how many merged files were listed.

    Nothing happens while a file is younger than `quiet_ms`. Raises IsothermError when the files do not hold the
    rows the manifest says; the list stays as it is then.
    """
    newest = manifest.newest(client_id, hour, format)
    if newest is None or now_ms - newest < quiet_ms:
        return 0
    patient = now_ms - newest >= _QUIET_MS
    selection: Selection = {"start": hour, "end": hour + 1, "client_ids": [client_id], "format": format}
    if not any(groups(manifest.listed(**selection), patient=patient)):
        return 0
    with manifest.snapshot(**selection) as snapshot:
        return sum([_merge(lake, manifest, group, checkpoint) for group in groups(snapshot.files, patient=patient)])


def groups(files: Sequence[LakeFile], *, patient: bool) -> Iterator[list[LakeFile]]:
    """Which of an hour's files to merge with each other, each group within MAX_ROWS.

    While late events still come (not `patient`), a large file is left alone until the small ones add up: otherwise
    a trickle would rewrite it again and again.
    """
    ordered = sorted(files, key=lambda file: (file.rows, file.path))
    if not patient:
        while len(ordered) > 1 and ordered[-1].rows > _OUTWEIGHED * sum(file.rows for file in ordered[:-1]):
            ordered.pop()
    group: list[LakeFile] = []
    for file in ordered:
        if group and sum(f.rows for f in group) + file.rows > MAX_ROWS:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _merge(lake: Lake, manifest: Manifest, old: Sequence[LakeFile], checkpoint: Checkpoint) -> int:
    table = in_order(pa.concat_tables([read_table(lake, file) for file in old]).unify_dictionaries().combine_chunks())
    merged = _describe(old)
    if (table.num_rows, rowhash.of_table(table)) != (merged.rows, merged.row_hash):
        raise IsothermError(
            f"the files of client {merged.client_id!r} in {merged.path.rpartition('/')[0]} do not hold the rows the "
            "manifest says; nothing was merged. Run `isotherm lake compare`, and restore the files from a backup."
        )
    version: int | None = None
    try:
        new = write_files(lake, manifest, [(merged, table)], checkpoint)
        if not _same(decode(lake.get(merged.path), merged.format), table):
            raise IsothermError(f"{lake.where(merged.path)}: reads back differently; nothing was merged")
        checkpoint("checked")
        version = manifest.replace(old, new)
    finally:
        if version is None:
            manifest.discard(lake, [merged.path])
    checkpoint("replaced")
    _log.debug("merged", files=len(old), rows=merged.rows, path=merged.path)
    return int(version is not None)


def _same(left: pa.Table, right: pa.Table) -> bool:
    # Table.equals would also ask for equal dictionaries, whose order is the writer's business.
    columns = zip(left.itercolumns(), right.itercolumns(), strict=True)
    return left.num_rows == right.num_rows and not any(
        unequal(a.combine_chunks(), b.combine_chunks()) for a, b in columns
    )


def _describe(old: Sequence[LakeFile]) -> LakeFile:
    one = old[0]
    ranges = joined([r for file in old for r in file.ranges])
    first, last = min(r.first_offset for r in ranges), max(r.last_offset for r in ranges)
    return LakeFile(
        path=path_of(one.client_id, one.hour, f"{ranges[0].partition}-{first}-{last}", one.format),
        format=one.format,
        client_id=one.client_id,
        hour=one.hour,
        rows=sum(file.rows for file in old),
        bytes=0,
        min_time=min(file.min_time for file in old),
        max_time=max(file.max_time for file in old),
        row_hash=rowhash.add(file.row_hash for file in old),
        ranges=ranges,
    )


def joined(ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """The ranges in order, neighbours that touch joined into one."""
    found: list[OffsetRange] = []
    for _, group in groupby(sorted(ranges, key=_place), key=lambda r: (r.log, r.partition)):
        mine: list[OffsetRange] = []
        for r in group:
            if mine and mine[-1].last_offset + 1 == r.first_offset:
                before = mine.pop()
                total = rowhash.add([before.row_hash, r.row_hash])
                rows = before.rows + r.rows
                r = OffsetRange(r.log, r.partition, before.first_offset, r.last_offset, rows, total)
            mine.append(r)
        found += mine
    return found


def _place(r: OffsetRange) -> tuple[str, int, int]:
    return r.log, r.partition, r.first_offset
