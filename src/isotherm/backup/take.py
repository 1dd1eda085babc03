"""Taking a backup of a deployment that runs.

The tables are read in one transaction, and everything else belongs to that moment: the lake's files that it lists,
leased so that none is deleted meanwhile; the maps that it says are published; and the log's records above the landed
positions that it holds. Records are read last, so that what was acknowledged while files were copied is in it too.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Final
from uuid import uuid4

import pyarrow.parquet as pq
import structlog

from isotherm import __version__
from isotherm.backup import records, tables
from isotherm.backup.flow import at_once
from isotherm.backup.inventory import Entry, Inventory, LogState
from isotherm.backup.lease import Lease, leased
from isotherm.backup.sources import (
    LakeObject,
    Published,
    Sources,
    handled_letters,
    lake_objects,
    landed,
    newest_landed,
    published,
    settings_as_text,
    version_of,
)
from isotherm.backup.target import Known, Target, digest, spooled
from isotherm.backup.work import adding
from isotherm.clock import MINUTE_MS, iso
from isotherm.errors import IsothermError
from isotherm.eventlog.port import Stored
from isotherm.land import rounds
from isotherm.land.lake import LakeUnavailable, LocalPlace
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.land.tiers import root_of
from isotherm.rollup.copies import pages
from isotherm.store.db import reading
from isotherm.store.tables import metadata

STEPS: Final = ("leased", "tables", "maps", "lake", "dead", "ids", "records", "lists", "inventory")
"""After each of these the checkpoint is called; killed at any of them, a backup is no backup, and the next goes on."""
FILES_AT_ONCE: Final = 4
_SHOWN: Final = 5
_log = structlog.get_logger("isotherm.backup")


@dataclass(frozen=True)
class Step:
    """How far a backup is: `done` of `total` objects of this kind (total 0: not known), and bytes stored so far."""

    what: str
    done: int
    total: int
    copied_bytes: int


Tell = Callable[[Step], None]


def silent(_: Step) -> None:
    """Tells nobody."""


@dataclass
class _State:
    """What was read in the one transaction."""

    revision: str
    version: int
    rows: dict[str, int]
    pieces: list[tables.Piece]
    files: list[LakeObject]
    published: list[Published]
    letters_done: set[tuple[int, int]]
    landed: dict[int, int]
    newest_landed: int | None


@dataclass
class _Run:
    """One backup under way. `known` are the objects at the place, `before` what the newest backup says of sources."""

    sources: Sources
    target: Target
    tell: Tell
    known: Known
    before: dict[tuple[str, str], Entry]

    def step(self, what: str, done: int, total: int) -> None:
        self.tell(Step(what, done, total, self.known.added_bytes))


def take(sources: Sources, target: Target, *, tell: Tell = silent, checkpoint: Checkpoint = no_checkpoint) -> Inventory:
    """Take a backup and return its inventory, which is written last.

    Raises IsothermError when something cannot be read or written, and names it. There is no backup then; what was
    copied stays and is not copied again.
    """
    started_at = sources.clock.now_ms()
    with adding(target, sources.clock), leased(sources) as lease, ExitStack() as stack:
        checkpoint("leased")
        run = _Run(sources, target, tell, target.known(), _earlier(target))
        state = _read_tables(sources, stack)
        lists = _tables(run, state)
        checkpoint("tables")
        lists += _maps(run, state.published)
        checkpoint("maps")
        lists += _lake(run, state.files, lease)
        checkpoint("lake")
        lists += _dead(run, state)
        checkpoint("dead")
        # Before the records: an id without its record would refuse the copy that its sender still has.
        ids = _ids(run)
        checkpoint("ids")
        log, kept = _records(run, state)
        checkpoint("records")
        named = _lists(run, [*lists, *kept, *ids])
        checkpoint("lists")
        everything = {entry.sha256: entry.bytes for entry in (*lists, *kept, *ids, *named)}
        _check_complete(target, everything)
        lease.hold()
        inventory = Inventory(
            format=1,
            id=uuid4().hex[:12],
            started_at=started_at,
            finished_at=sources.clock.now_ms(),
            code_version=__version__,
            schema=state.revision,
            database=sources.engine.dialect.name,
            manifest_version=state.version,
            log=log,
            tables=state.rows,
            events=_events(state.files),
            objects=len(everything),
            bytes=sum(everything.values()),
            copied_objects=run.known.added_objects,
            copied_bytes=run.known.added_bytes,
            settings=settings_as_text(sources.settings),
            lists=named,
        )
        where = target.finish(inventory)
        names = ("id", "bytes", "copied_bytes", "objects", "copied_objects")
        did = {"where": where} | {name: getattr(inventory, name) for name in names}
        rounds.note(sources.engine, rounds.BACKUP, inventory.finished_at, did)
        checkpoint("inventory")
    return inventory


def _earlier(target: Target) -> dict[tuple[str, str], Entry]:
    """What the newest readable backup says, by kind and name: unchanged sources need not be read again."""
    for one in target.inventories():
        try:
            return {(entry.kind, entry.name): entry for entry in target.entries(target.inventory(one))}
        except IsothermError as error:
            _log.warning("an earlier backup cannot be read; its objects are looked at again", problem=str(error))
    return {}


def _read_tables(sources: Sources, stack: ExitStack) -> _State:
    """Everything that the relational store says, at one moment and without waiting for the backup's place."""

    def scratch() -> BinaryIO:
        return stack.enter_context(spooled(sources.scratch))

    scanned = bool(sources.settings.scan)
    identity = "" if scanned else sources.log.identity
    partitions = [] if scanned else list(sources.log.partitions())
    with reading(sources.engine) as connection:
        found: list[tables.Piece] = []
        for name in tables.names():
            found += tables.dump(connection, metadata.tables[name], scratch)
        rows = dict.fromkeys(tables.names(), 0)
        for piece in found:
            rows[piece.table] += piece.rows
        return _State(
            tables.revision(connection),
            version_of(connection),
            rows,
            found,
            lake_objects(connection),
            published(connection),
            set() if sources.dead is None else handled_letters(connection, sources.dead.identity),
            landed(connection, identity, partitions),
            newest_landed(connection),
        )


def _tables(run: _Run, state: _State) -> list[Entry]:
    kept: list[Entry] = []
    for done, piece in enumerate(state.pieces, 1):
        name = f"{piece.table}/{piece.number:06d}"
        kept.append(run.target.keep(piece.file, run.known, "table", name, rows=piece.rows))
        piece.file.close()
        run.step("tables", done, len(state.pieces))
    return kept


def _maps(run: _Run, found: Sequence[Published]) -> list[Entry]:
    kept: list[Entry] = []
    for done, one in enumerate(found, 1):
        name = f"{one.bucket.level.value}/{iso(one.bucket.start)}"
        mark = digest(one.lines)
        before = run.before.get(("maps", name))
        if before is not None and before.mark == mark and run.known.has(before.sha256, before.bytes):
            kept.append(before)
        else:
            kept += _copy_maps(run, one, name, mark)
        run.step("maps", done, len(found))
    return kept


def _copy_maps(run: _Run, one: Published, name: str, mark: str) -> list[Entry]:
    """A bucket as a Parquet file with a row group per page. None when its maps have expired in the meantime."""
    rows = 0
    with spooled(run.sources.scratch) as file, ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for page in pages(one.maps):
            found = run.sources.maps(one.bucket, page)
            if not found.num_rows:
                continue
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(file, found.schema, compression="zstd"))
            writer.write_table(found)
            rows += found.num_rows
        if writer is None:
            return []
        writer.close()
        return [run.target.keep(file, run.known, "maps", name, rows=rows, mark=mark)]


def _lake(run: _Run, found: Sequence[LakeObject], lease: Lease) -> list[Entry]:
    """The lake's files, several at once. One that cannot be read keeps no other from being copied."""
    problems: list[str] = []
    kept: list[Entry] = []

    def copy(one: LakeObject) -> Entry | None:
        before = run.before.get(("lake", one.path))
        if before is not None and before.bytes == one.bytes and run.known.has(before.sha256, one.bytes):
            return before
        lease.hold()
        try:
            return _copy_file(run, one)
        except LakeUnavailable:
            raise
        except (_Unfit, FileNotFoundError) as error:
            problems.append(str(error))
            return None

    for done, entry in enumerate(at_once(copy, found, FILES_AT_ONCE), 1):
        kept += [] if entry is None else [entry]
        run.step("lake", done, len(found))
    if problems:
        shown = "; ".join(sorted(problems)[:_SHOWN])
        raise IsothermError(
            f"{len(problems):,} of the lake's files cannot be backed up: {shown}. All others are copied. See `isotherm "
            "lake compare` and an earlier backup; there is no new backup until the lake is whole."
        )
    return kept


class _Unfit(Exception):
    """A lake file is not what the manifest says."""


def _copy_file(run: _Run, one: LakeObject) -> Entry:
    lake = run.sources.lake
    with ExitStack() as stack:
        file = stack.enter_context(lake.open(one.path))
        if not isinstance(root_of(lake, one.path).place, LocalPlace):
            # It is read twice, for its name and to be copied: over the network once is enough.
            copy = stack.enter_context(spooled(run.sources.scratch))
            while data := file.read(1 << 20):
                copy.write(data)
            file = copy
        size = file.seek(0, 2)
        if size != one.bytes:
            raise _Unfit(f"{lake.where(one.path)} has {size:,} bytes, the manifest says {one.bytes:,}")
        return run.target.keep(file, run.known, "lake", one.path, rows=one.rows)


def _dead(run: _Run, state: _State) -> list[Entry]:
    """The dead letters that wait for somebody: whole, as records."""
    log = run.sources.dead
    if log is None:
        return []
    identity, tails = log.identity, log.status().tail
    waiting = (
        records.Named(stored, "", records.place_id(identity, stored))
        for partition, head in log.heads(list(log.partitions())).items()
        for stored in records.unlanded(log, partition, tails.get(partition, 0), head)
        if (partition, stored.offset) not in state.letters_done
    )
    return _kept_records(run, "dead", waiting)


def _kept_records(run: _Run, kind: str, found: Iterator[records.Named]) -> list[Entry]:
    kept: list[Entry] = []
    with ExitStack() as stack:

        def scratch() -> BinaryIO:
            return stack.enter_context(spooled(run.sources.scratch))

        for number, (file, rows) in enumerate(records.pieces(found, scratch)):
            kept.append(run.target.keep(file, run.known, kind, f"{number:06d}", rows=rows))
            file.close()
    return kept


def _records(run: _Run, state: _State) -> tuple[LogState | None, list[Entry]]:
    sources = run.sources
    if sources.settings.scan:
        # The sink's files are what is landed there, and they are not ours.
        return None, []
    log, identity = sources.log, sources.log.identity
    read_at = sources.clock.now_ms()
    heads = log.heads(list(state.landed))
    lost, newest, count = 0, state.newest_landed, 0

    def found() -> Generator[records.Named]:
        nonlocal lost, newest, count
        for partition, position in state.landed.items():
            expected = position
            for stored in records.unlanded(log, partition, position, heads[partition]):
                lost += stored.offset - expected
                expected = stored.offset + 1
                newest, count = _newer(newest, stored), count + 1
                yield records.name_record(stored, identity, sources.settings)
            run.step("records", count, 0)

    kept = _kept_records(run, "records", found())
    positions = {str(partition): at for partition, at in state.landed.items()}
    ends = {str(partition): at for partition, at in heads.items()}
    return LogState(identity, positions, ends, read_at, newest, count, lost), kept


def _newer(newest: int | None, stored: Stored) -> int:
    return stored.timestamp if newest is None else max(newest, stored.timestamp)


def _ids(run: _Run) -> list[Entry]:
    """Ids that a sender may come with again; those of hours that are over are the same in every backup."""
    sources = run.sources
    if sources.settings.scan:
        return []
    since = sources.clock.now_ms() - records.KNOWN_MS - 5 * MINUTE_MS
    hours = records.ids_by_hour(sources.log, since - since % (60 * MINUTE_MS))
    return [
        run.target.keep_bytes(ids, run.known, "ids", hour, rows=len(ids) // records.ID_BYTES) for hour, ids in hours
    ]


def _lists(run: _Run, entries: Iterable[Entry]) -> list[Entry]:
    """Lists of objects: of lake files by month of their event hour, of maps by level and month, which then stay."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_list_of(entry), []).append(entry)
    return [run.target.write_list(group, run.known, name) for name, group in sorted(groups.items())]


def _list_of(entry: Entry) -> str:
    if entry.kind == "lake":
        return f"lake/{entry.name.partition('dt=')[2][:7]}"
    if entry.kind == "maps":
        level, _, start = entry.name.partition("/")
        return f"maps/{level}/{start[:7]}"
    return entry.kind


def _check_complete(target: Target, wanted: Mapping[str, int]) -> None:
    """Nobody has taken away what was found there at the start. Raises IsothermError."""
    there = target.sizes()
    gone = sum(there.get(sha256) != size for sha256, size in wanted.items())
    if gone:
        raise IsothermError(f"{gone:,} objects vanished from {target.where} during the backup; start it again")


def _events(found: Iterable[LakeObject]) -> int:
    """Rows of the lake; where two formats hold the same rows they count once."""
    by_format: dict[bool, int] = {}
    for one in found:
        packed = one.path.endswith(".parquet")
        by_format[packed] = by_format.get(packed, 0) + one.rows
    return max(by_format.values(), default=0)
