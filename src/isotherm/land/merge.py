"""Merging: the small files of a closed hour become large sorted ones, one client and format at a time."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, zip_longest
from typing import BinaryIO, Final, cast

import msgspec
import pyarrow as pa
import structlog
from msgspec import Struct

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land import rowhash
from isotherm.land.external import merge_sorted, rechunk
from isotherm.land.lake import Lake, LakeUnavailable
from isotherm.land.manifest import LakeFile, Manifest, OffsetRange, Selection
from isotherm.land.parts import in_order, path_of
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.land.tiers import HOT, in_tier, tier_of
from isotherm.land.write import read_pieces, read_table, unequal, write_pieces

STEPS: Final = ("hour", "pending", "rows", "written", "checked", "replaced")
"""Names that `checkpoint` gets, in the order of one hour."""
FAN_IN: Final = 64
"""At most so many files are merged as streams; more are first merged in memory, in groups that fit there."""
ROW_BYTES: Final = 1_536
"""Memory that merging takes for a row, all copies counted, as measured."""
_UNPACKED: Final = 8
"""Rows with long texts take more: about this many times their bytes in the file."""
_PIECE_ROWS: Final = 1_000
"""A file that is merged as a stream is read in pieces of at least this many rows."""
_GROUP_ROWS: Final = 1 << 20
"""A row group has at most so many rows, which is what pyarrow makes of a whole table."""
_IN_MEMORY: Final = 16 << 20
"""A new file up to this size is not written to the scratch folder before it goes to the lake."""
_OUTWEIGHED: Final = 4
"""A file with more rows than this many times all smaller ones together is rewritten only after a quiet time."""
_QUIET_MS: Final = 60 * MINUTE_MS
_CLAIM_MS: Final = 10 * MINUTE_MS
"""Files that somebody else has begun in an hour less than this ago are waited for."""

_log = structlog.get_logger("isotherm.land")


class Limits(Struct, frozen=True):
    """How large files become, what memory merging takes for that, where a large file is put together, and of which
    tier it is then."""

    target_bytes: int
    memory_bytes: int
    scratch: str | None = None
    tier: str = HOT

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(settings.compact_target_bytes, settings.compact_memory_bytes, str(settings.data.absolute()))


def merge_closed(
    settings: Settings,
    lake: Lake,
    manifest: Manifest,
    now_ms: int,
    *,
    checkpoint: Checkpoint = no_checkpoint,
) -> int:
    """Merge what is closed and quiet: hours over for `close_delay_seconds`, without new files for one flush.

    Returns how many merges were made. An hour that cannot be merged does not keep others from it; its error is raised
    when they are done. What a merge leaves to be merged further waits for the next call.
    """
    closed = now_ms - int(settings.close_delay_seconds * SECOND_MS) - HOUR_MS
    quiet_ms = int(settings.land_flush_seconds * SECOND_MS)
    # Nothing that is tiled lands in hours older than this, so they are as merged as they get.
    oldest = now_ms - settings.late_horizon_ms - (settings.log_retention_days + 1) * DAY_MS
    merge = partial(merge_hour, lake, manifest, limits=Limits.of(settings), now_ms=now_ms, quiet_ms=quiet_ms)
    made, failed = 0, None
    crowded = [*manifest.crowded(0, oldest - 1, raw_only=True), *manifest.crowded(oldest, closed)]
    for client_id, hour, file_format in crowded:
        checkpoint("hour")
        try:
            made += merge(client_id, hour, file_format, checkpoint=checkpoint)
        except LakeUnavailable:
            raise
        except IsothermError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return made


def merge_hour(
    lake: Lake,
    manifest: Manifest,
    client_id: str,
    hour: int,
    format: str,  # noqa: A002 - the manifest's word
    *,
    limits: Limits,
    now_ms: int,
    quiet_ms: int = 0,
    checkpoint: Checkpoint = no_checkpoint,
) -> int:
    """Merge one client's files of one hour in one format. Returns how many merged files were listed.

    Nothing happens while a file is younger than `quiet_ms`, or while somebody else writes there. Raises IsothermError
    when the files do not hold the rows the manifest says; the list stays as it is then.
    """
    newest = manifest.newest(client_id, hour, format)
    if newest is None or now_ms - newest < quiet_ms or manifest.begun(client_id, hour, format, now_ms - _CLAIM_MS):
        return 0
    choose = partial(groups, patient=now_ms - newest >= _QUIET_MS, limits=limits)
    selection: Selection = {
        "start": hour,
        "end": hour + 1,
        "client_ids": [client_id],
        "format": format,
        "raw_only": None,
    }
    if not any(choose(manifest.listed(**selection))):
        return 0
    with manifest.snapshot(**selection) as snapshot:
        return sum([merge_files(lake, manifest, group, limits, checkpoint) for group in choose(snapshot.files)])


def groups(files: Sequence[LakeFile], *, patient: bool, limits: Limits) -> Iterator[list[LakeFile]]:
    """Which of an hour's files to merge with each other: each group makes one file of the target size or less.

    Archived files are left out; files that are tiled and files that are not stay apart. A group of more than FAN_IN
    files fits into memory; what it makes is merged further the next time. While late events still come (not
    `patient`), a large file is left alone until the small ones add up: otherwise a trickle would rewrite it again and
    again.
    """
    hot = [file for file in files if tier_of(file.path) == HOT]
    for raw_only in (False, True):
        yield from _groups([file for file in hot if file.raw_only is raw_only], patient=patient, limits=limits)


def _groups(files: Sequence[LakeFile], *, patient: bool, limits: Limits) -> Iterator[list[LakeFile]]:
    ordered = sorted(files, key=lambda file: (file.rows, file.path))
    if not patient:
        while len(ordered) > 1 and ordered[-1].rows > _OUTWEIGHED * sum(file.rows for file in ordered[:-1]):
            ordered.pop()
    group: list[LakeFile] = []
    for file in ordered:
        if group and not fits([*group, file], limits):
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def fits(group: Sequence[LakeFile], limits: Limits) -> bool:
    """Whether these make one file: not larger than the target, and put together within the memory."""
    few = len(group) <= FAN_IN or _weight(group) <= limits.memory_bytes
    return few and sum(file.bytes for file in group) <= limits.target_bytes


def _weight(files: Sequence[LakeFile]) -> int:
    """Memory that all their rows together would take."""
    return sum(max(file.rows * ROW_BYTES, file.bytes * _UNPACKED) for file in files)


def merge_files(lake: Lake, manifest: Manifest, old: Sequence[LakeFile], limits: Limits, checkpoint: Checkpoint) -> int:
    """Put one file in the place of these, of one client, hour, format and kind. Returns how many were listed: 1, or 0
    when somebody else was first.

    Raises IsothermError when the files do not hold the rows the manifest says; the list stays as it is then.
    """
    merged = _describe(old, limits.tier)
    version: int | None = None
    manifest.pending([merged])
    try:
        checkpoint("pending")
        new = _make(lake, merged, old, limits, checkpoint)
        checkpoint("checked")
        version = manifest.replace(old, [new])
    except LakeUnavailable:
        # What was sent may still arrive: the sweeper takes it away when that can no longer be.
        raise
    except BaseException:
        manifest.discard(lake, [merged.path])
        raise
    if version is None:
        manifest.discard(lake, [merged.path])
        return 0
    checkpoint("replaced")
    _log.debug("merged", files=len(old), rows=merged.rows, path=merged.path)
    return 1


def _make(lake: Lake, merged: LakeFile, old: Sequence[LakeFile], limits: Limits, checkpoint: Checkpoint) -> LakeFile:
    """Write the merged file and read it back, row by row beside what it was made of. Returns it with its size."""
    rows, size = _rows_of(lake, old, limits)
    new = _write(lake, merged, rows, limits, checkpoint)
    checkpoint("written")
    found = rechunk(read_pieces(lake, new, size), size)
    if not all(_same(left, right) for left, right in zip_longest(rows(), found)):
        raise IsothermError(f"{lake.where(merged.path)}: reads back differently; nothing was merged")
    return new


def _rows_of(lake: Lake, old: Sequence[LakeFile], limits: Limits) -> tuple[Callable[[], Iterator[pa.Table]], int]:
    """All rows in order, as often as one asks for them, in tables of so many rows (the last one may have fewer)."""
    total = sum(file.rows for file in old)
    weight = _weight(old)
    if weight <= limits.memory_bytes:
        size = max(min(total, _GROUP_ROWS), 1)
        whole = in_order(pa.concat_tables([read_table(lake, f) for f in old]).unify_dictionaries().combine_chunks())
        return partial(rechunk, [whole], size), size
    # Half of the memory for the tables that are put together, half for the pieces that are read of the files.
    at_once = limits.memory_bytes * total // weight // 2
    size = max(min(at_once, _GROUP_ROWS), _PIECE_ROWS)
    return partial(_streamed, lake, old, max(at_once // len(old), _PIECE_ROWS), size), size


def _streamed(lake: Lake, old: Sequence[LakeFile], piece: int, size: int) -> Iterator[pa.Table]:
    return rechunk(merge_sorted([read_pieces(lake, file, piece) for file in old]), size)


def _write(
    lake: Lake, merged: LakeFile, rows: Callable[[], Iterator[pa.Table]], limits: Limits, checkpoint: Checkpoint
) -> LakeFile:
    """Put the rows together in a file without a name, and that into the lake. Returns the file with its size."""
    hashes: list[str] = []
    count = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal count
        for table in rows():
            checkpoint("rows")
            hashes.append(rowhash.of_table(table))
            count += table.num_rows
            yield table

    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=limits.scratch) as spooled:
        scratch = cast("BinaryIO", spooled)
        write_pieces(scratch, counted(), merged.format, tight=limits.tier != HOT)
        if (count, rowhash.add(hashes)) != (merged.rows, merged.row_hash):
            raise IsothermError(
                f"the files of client {merged.client_id!r} in {merged.path.rpartition('/')[0]} do not hold the rows "
                "the manifest says; nothing was merged. Run `isotherm lake compare`, and restore the files from a "
                "backup."
            )
        size = scratch.tell()
        scratch.seek(0)
        lake.put(merged.path, scratch)
    return msgspec.structs.replace(merged, bytes=size)


def _same(left: pa.Table | None, right: pa.Table | None) -> bool:
    if left is None or right is None or left.num_rows != right.num_rows:
        return False
    # Table.equals would also ask for equal dictionaries, whose order is the writer's business.
    columns = zip(left.itercolumns(), right.itercolumns(), strict=True)
    return not any(unequal(a.combine_chunks(), b.combine_chunks()) for a, b in columns)


def _describe(old: Sequence[LakeFile], tier: str) -> LakeFile:
    one = old[0]
    ranges = joined([r for file in old for r in file.ranges])
    first, last = min(r.first_offset for r in ranges), max(r.last_offset for r in ranges)
    return LakeFile(
        path=in_tier(path_of(one.client_id, one.hour, f"{ranges[0].partition}-{first}-{last}", one.format), tier),
        format=one.format,
        client_id=one.client_id,
        hour=one.hour,
        rows=sum(file.rows for file in old),
        bytes=0,
        min_time=min(file.min_time for file in old),
        max_time=max(file.max_time for file in old),
        row_hash=rowhash.add(file.row_hash for file in old),
        ranges=ranges,
        raw_only=one.raw_only,
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
