"""Making a deployment of a backup again: in empty stores, of any profile, all or nothing as far as others can see.

Everything but the tables is put in place first, in ways that may be repeated; the tables come in one transaction, which
also says that the restore is done. So a restore that was killed is run again, and goes on from what is there.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.backup import marks, records, tables, unfinished
from isotherm.backup.inventory import Damaged, Entry, Inventory, Named
from isotherm.backup.lake_files import put_files
from isotherm.backup.other_log import OtherLog
from isotherm.backup.stores import Stores, refuse_used
from isotherm.backup.target import Target
from isotherm.clock import iso
from isotherm.errors import IsothermError
from isotherm.eventlog.port import Record
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.rollup.copies import client_ids, drop_maps, put_maps
from isotherm.store.db import migrate_within, next_version, reading, writing
from isotherm.store.tables import dirty, known_ids, positions, sequences
from isotherm.store.upsert import upsert

STEPS: Final = ("marked", "dropped", "lake", "maps", "dead", "records", "ids", "tables", "unmarked")
"""After each of these the checkpoint is called; killed at any of them, the restore is run again."""
_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Step:
    """How far a restore is: `done` of `total` objects of this kind, and bytes read so far."""

    what: str
    done: int
    total: int
    bytes: int


Tell = Callable[[Step], None]


@dataclass
class Report:
    """What a restore did. `retiled` counts buckets that had changed since the backup's moment and are tiled again,
    `forgotten` records that came after the backup and that their log has no more: they are lost."""

    files: int = 0
    maps: int = 0
    letters: int = 0
    records: int = 0
    ids: int = 0
    rows: int = 0
    retiled: int = 0
    forgotten: int = 0
    bytes: int = 0


def choose(target: Target, at_ms: int | None = None) -> Named:
    """The newest backup that began at or before the moment. Raises IsothermError when there is none."""
    found = target.inventories()
    for one in found:
        if at_ms is None or one.started_at <= at_ms:
            return one
    if not found:
        raise IsothermError(f"{target.where} holds no complete backup")
    raise IsothermError(
        f"{target.where} holds no backup from {iso(at_ms or 0)} or before; the oldest is of {iso(found[-1].started_at)}"
    )


class Restore:
    """One restore of one backup."""

    def __init__(
        self,
        target: Target,
        inventory: Inventory,
        stores: Stores,
        *,
        tell: Tell = lambda _: None,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self._target = target
        self._inventory = inventory
        self._stores = stores
        self._tell = tell
        self._checkpoint = checkpoint
        self._report = Report()
        self._expected: dict[tuple[str, int, str], tuple[int, int]] = {}
        self._found: Counter[tuple[str, int, str]] = Counter()
        self._newest_map = 0
        self._positions: Mapping[int, int] = {}

    def run(self, *, force: bool = False) -> Report:
        """Restore; `force` replaces what is there. Raises IsothermError when the stores are not empty or the restore of
        another backup is not done there, a store does not answer, or the backup is damaged: then the restore is not
        done, and may be run again."""
        data = self._stores.settings.data
        with reading(self._stores.engine) as connection:
            under_way, finished = marks.under_way(connection), marks.finished(connection)
        again = under_way == self._inventory.id
        if under_way is not None and not again:
            raise IsothermError(self._other(under_way))
        # With a mark in the folder alone it was killed after the last transaction.
        done = unfinished.read_file(data) is not None and under_way is None and finished == self._inventory.id
        if not (done or again or force):
            refuse_used(self._stores, self._inventory)
        if not done:
            self._all()
        unfinished.remove_file(data)
        self._checkpoint("unmarked")
        return self._report

    def _other(self, under_way: str) -> str:
        """Why a restore of another backup has to be finished first, and how."""
        why = f"a restore of backup {under_way} was interrupted here, and its records may wait on the log already"
        for one in self._target.inventories():
            if one.id == under_way:
                return f"{why}: finish that one first, with --at {iso(one.started_at)}"
        return (
            f"{why}; {self._target.where} does not hold that backup. Finish it from where it is, or restore into empty "
            "stores (--data with a new folder, an empty database, bucket or prefix, and topic)"
        )

    def _all(self) -> None:
        stores, inventory = self._stores, self._inventory
        # The database's mark first: the folder's alone says that all is done.
        marks.set_under_way(stores.engine, inventory.id)
        unfinished.write_file(stores.settings.data, unfinished.Mark(inventory.id, self._target.where))
        self._checkpoint("marked")
        # At every attempt: the one before may have ended before it did. All maps of the backup are put in anew.
        drop_maps(stores.olap)
        self._checkpoint("dropped")
        entries: dict[str, list[Entry]] = {}
        for entry in self._target.entries(inventory):
            entries.setdefault(entry.kind, []).append(entry)
        if unknown := entries.keys() - {"table", "lake", "dead", "records", "ids", "maps"}:
            raise IsothermError(f"the backup holds {min(unknown)!r}, which this version does not know; use a newer one")
        self._expect(entries.get("table", []))
        self._lake(entries.get("lake", []))
        self._checkpoint("lake")
        self._maps(entries.get("maps", []))
        self._checkpoint("maps")
        self._dead(entries.get("dead", []))
        self._checkpoint("dead")
        known = self._known(entries.get("ids", []), entries.get("table", []))
        self._records(entries.get("records", []), known)
        self._checkpoint("records")
        self._ids(known)
        self._checkpoint("ids")
        self._tables(entries.get("table", []), known)
        self._checkpoint("tables")

    def _expect(self, entries: Sequence[Entry]) -> None:
        """What is published: per level, start and client the version and the number of maps."""
        for entry in _of_table(entries, "buckets"):
            rows = self._rows(entry)
            names = ("level", "start", "client_id", "version", "maps")
            for level, start, client_id, version, maps in zip(
                *(rows.column(name).to_pylist() for name in names), strict=True
            ):
                if maps:
                    self._expected[level, start, client_id] = version, maps

    def _lake(self, entries: Sequence[Entry]) -> None:
        for done, entry in enumerate(put_files(self._stores.lake, self._target, entries), 1):
            self._report.files += 1
            self._step("lake", done, len(entries), entry)

    def _maps(self, entries: Sequence[Entry]) -> None:
        for done, entry in enumerate(entries, 1):
            with self._target.fetched(entry) as file, _parquet(file, entry) as parquet:
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group)
                    put_maps(self._stores.olap, rows)
                    self._count(rows)
                    self._report.maps += rows.num_rows
            self._step("maps", done, len(entries), entry)

    def _count(self, rows: pa.Table) -> None:
        """Count the maps that are those of the published version."""
        names = ("level_name", "start", "version")
        for client_id, level, start, version in zip(
            client_ids(rows), *(rows.column(name).to_pylist() for name in names), strict=True
        ):
            key = (level, int(start) * 1000, client_id)
            self._newest_map = max(self._newest_map, version)
            expected = self._expected.get(key)
            if expected is not None and expected[0] == version:
                self._found[key] += 1

    def _dead(self, entries: Sequence[Entry]) -> None:
        """Dead letters that wait, on the log of dead letters; those that it has already are not appended again."""
        log = self._stores.dead
        for done, entry in enumerate(entries, 1):
            with self._target.fetched(entry) as file:
                found = records.read_records(file, f"{entry.kind} {entry.name}")
            if log is not None:
                self._report.letters += records.append(log, [record for _, _, record in found])
            self._step("dead letters", done, len(entries), entry)

    def _known(self, entries: Sequence[Entry], of_tables: Sequence[Entry]) -> dict[bytes, int]:
        """Ids of batches that the backup has, by when they came (ms). On the log that they came from they still are."""
        if self._same_log():
            return {}
        known: dict[bytes, int] = {}
        for done, entry in enumerate(entries, 1):
            with self._target.fetched(entry) as file:
                known |= dict.fromkeys(records.cut(file.read()), _hour(entry.name))
            self._step("ids", done, len(entries), entry)
        if self._stores.log.knows_ids:
            for entry in _of_table(of_tables, "known_ids"):
                rows = self._rows(entry)
                known |= dict(zip(rows.column("id").to_pylist(), rows.column("received_at").to_pylist(), strict=True))
        return known

    def _records(self, entries: Sequence[Entry], known: dict[bytes, int]) -> None:
        """Append what was not landed, and take its ids out of `known`: those left are of what is in the lake."""
        if self._same_log():
            tails = self._stores.log.status().tail
            heads = {} if self._inventory.log is None else self._inventory.log.heads
            self._report.forgotten = sum(max(0, tails.get(int(at), 0) - head) for at, head in heads.items())
            for found in self._read("records", entries):
                gone = [record for partition, offset, record in found if offset < tails.get(partition, 0)]
                self._report.records += records.append(self._stores.log, gone)
            return
        log = OtherLog(self._stores.log, self._stores.settings, self._landed())
        for found in self._read("records", entries):
            self._report.records += log.put([record for _, _, record in found])
            for _, _, record in found:
                known.pop(record.id or b"", None)
        if missing := log.missing():
            for found in self._read("records again", entries):
                self._report.records += log.put_again([record for _, _, record in found], missing)
        self._positions = log.without(known)

    def _read(self, what: str, entries: Sequence[Entry]) -> Iterator[list[tuple[int, int, Record]]]:
        """The records of each of these files."""
        for done, entry in enumerate(entries, 1):
            with self._target.fetched(entry) as file:
                yield records.read_records(file, f"{entry.kind} {entry.name}")
            self._step(what, done, len(entries), entry)

    def _same_log(self) -> bool:
        state = self._inventory.log
        return state is not None and state.identity == self._stores.log.identity

    def _landed(self) -> dict[int, int]:
        """Up to where the deployment that is replaced had landed the log, by partition."""
        log = self._stores.log.identity
        with reading(self._stores.engine) as connection:
            statement = sa.select(positions.c.partition, positions.c.next_offset).where(positions.c.log == log)
            return {row.partition: row.next_offset for row in connection.execute(statement)}

    def _ids(self, known: Mapping[bytes, int]) -> None:
        """Make ids of landed batches known to a log that keeps ids; for another they come with the tables."""
        if not self._stores.log.knows_ids:
            return
        for at, ids in _by_time(known).items():
            for first in range(0, len(ids), _AT_ONCE):
                part = ids[first : first + _AT_ONCE]
                self._report.ids += records.append(self._stores.log, records.marks(part, at))

    def _tables(self, entries: Sequence[Entry], known: Mapping[bytes, int]) -> None:
        """All tables, what has to be tiled again, and the word that this store may be used: one transaction."""
        with ExitStack() as stack:
            # The database waits for no network: everything is here before its transaction begins.
            order = {name: place for place, name in enumerate(tables.names())}
            ordered = sorted(entries, key=lambda entry: (order.get(entry.name.partition("/")[0], -1), entry.name))
            files = [(entry, stack.enter_context(self._target.fetched(entry))) for entry in ordered]
            self._load(files, known)

    def _load(self, files: Sequence[tuple[Entry, BinaryIO]], known: Mapping[bytes, int]) -> None:
        with writing(self._stores.engine) as connection:
            before = connection.execute(sa.select(sa.func.max(sequences.c.value))).scalar_one() or 0
            loader = tables.Loader(connection, {entry.name.partition("/")[0] for entry, _ in files})
            for done, (entry, file) in enumerate(files, 1):
                rows = tables.read_piece(file, f"{entry.kind} {entry.name}")
                self._report.rows += loader.load(entry.name.partition("/")[0], rows)
                self._step("tables", done, len(files), entry)
            migrate_within(connection)
            self._settle(connection, before)
            self._go_on(connection)
            if not self._stores.log.knows_ids:
                rows_of_ids = [{"id": one, "received_at": at} for one, at in known.items()]
                for first in range(0, len(rows_of_ids), _AT_ONCE):
                    upsert(connection, known_ids, rows_of_ids[first : first + _AT_ONCE])
                self._report.ids += len(rows_of_ids)
            marks.set_done(connection, self._inventory.id)

    def _settle(self, connection: Connection, before: int) -> None:
        """Versions go on above all that were ever drawn; buckets whose maps are not the published ones are dirty."""
        here = sequences.c.name == "version"
        newest = connection.execute(sa.select(sequences.c.value).where(here)).scalar_one()
        connection.execute(sa.update(sequences).where(here).values(value=max(newest, before, self._newest_map)))
        changed = [key for key, (_, maps) in self._expected.items() if self._found[key] != maps]
        if not changed:
            return
        version, now = next_version(connection), self._stores.clock.now_ms()
        rows = [
            {"level": level, "start": start, "client_id": client_id, "version": version, "marked_at": now}
            for level, start, client_id in sorted(changed)
        ]
        for first in range(0, len(rows), _AT_ONCE):
            upsert(connection, dirty, rows[first : first + _AT_ONCE], update=("version", "marked_at"))
        self._report.retiled = len(rows)

    def _go_on(self, connection: Connection) -> None:
        """On a log that is not the backup's, landing goes on where the replaced deployment had come to."""
        log = self._stores.log.identity
        rows = [{"log": log, "partition": at, "next_offset": after} for at, after in self._positions.items()]
        upsert(connection, positions, rows, update=("next_offset",))

    def _rows(self, entry: Entry) -> pa.Table:
        with self._target.fetched(entry) as file:
            return tables.read_piece(file, f"{entry.kind} {entry.name}")

    def _step(self, what: str, done: int, total: int, entry: Entry) -> None:
        self._report.bytes += entry.bytes
        self._tell(Step(what, done, total, self._report.bytes))


def _of_table(entries: Sequence[Entry], name: str) -> Iterator[Entry]:
    return (entry for entry in entries if entry.kind == "table" and entry.name.partition("/")[0] == name)


def _by_time(known: Mapping[bytes, int]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for one, at in known.items():
        found.setdefault(at, []).append(one)
    return found


def _hour(name: str) -> int:
    """The hour (ms) that a group of ids is named after. Raises Damaged."""
    try:
        return int(datetime.fromisoformat(name).timestamp() * 1000)
    except ValueError:
        raise Damaged(f"the backup names ids {name[:80]!r}, which is no hour") from None


@contextmanager
def _parquet(file: BinaryIO, entry: Entry) -> Generator[pq.ParquetFile]:
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(f"{entry.kind} {entry.name} is no Parquet file ({error})") from None
    with opened:
        yield opened
