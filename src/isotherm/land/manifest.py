"""The manifest: which files the lake consists of, and how far each log is landed.

A reader takes a snapshot and opens the files it lists. Everything that changes the list is one transaction that
draws one version, so a file is in the lake of version v when listed_version <= v < delisted_version.
"""

import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, TypedDict

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import HOUR_MS, Clock
from isotherm.errors import IsothermError
from isotherm.land import books, effects, gaps, known, rowhash, scanned, views
from isotherm.land.effects import Lost
from isotherm.land.formats import Unread, refuse_unread, unread
from isotherm.land.lake import Lake
from isotherm.land.landing import LakeFile, Landing, OffsetRange, Progress, Snapshot
from isotherm.land.shapes import write_shapes
from isotherm.land.tiers import HOT, tier_of
from isotherm.store.db import next_version, reading, total, writing
from isotherm.store.tables import file_ranges, files, positions, sequences, snapshots

LEASE_MS: Final = HOUR_MS
"""A snapshot that is not released or renewed for this long no longer keeps delisted files."""
PENDING_MS: Final = HOUR_MS
"""A file that is still pending after this long belongs to a lander that died."""
_PATIENCE_S: Final = 60.0
"""Objects that cannot be deleted are gone on with for so long."""
_CHUNK: Final = 500
"""Values bound in one statement; SQLite allows 32,766 variables."""


class Selection(TypedDict):
    """The arguments that choose files; see `Manifest.snapshot`."""

    start: int | None
    end: int | None
    client_ids: Sequence[str] | None
    format: str | None
    raw_only: bool | None


class Manifest:
    """The list of the lake's files, in the relational store. Any thread and process may use its own."""

    def __init__(self, engine: Engine, clock: Clock, default_format: str = "parquet") -> None:
        self.engine = engine
        self.clock = clock
        self.default_format = default_format

    @contextmanager
    def snapshot(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        client_ids: Sequence[str] | None = None,
        format: str | None = None,  # noqa: A002 - the manifest's word
        raw_only: bool | None = False,
    ) -> Generator[Snapshot]:
        """The files of hours in [start, end), of these clients (None: all), in one format, leased.

        What maps are made of, unless `raw_only` asks for the files that are never tiled (True), or for all (None).
        Raises ConfigError when no format is named and some of the rows are in another one than the default.
        """
        with writing(self.engine) as connection:
            taken = self.take(connection, start=start, end=end, client_ids=client_ids, format=format, raw_only=raw_only)
        try:
            yield taken
        finally:
            self.release(taken)

    def take(
        self,
        connection: Connection,
        *,
        start: int | None = None,
        end: int | None = None,
        client_ids: Sequence[str] | None = None,
        format: str | None = None,  # noqa: A002
        raw_only: bool | None = False,
    ) -> Snapshot:
        """`snapshot` inside the caller's write transaction; the caller releases it when done."""
        # The lock makes landings on a server with concurrent writers wait until this list is complete.
        version = connection.execute(
            sa.select(sequences.c.value).where(sequences.c.name == "version").with_for_update()
        ).scalar_one()
        wanted = _selection(start, end, client_ids, raw_only)
        if format is None:
            refuse_unread(connection, self.default_format, wanted)
        wanted &= files.c.format == (format or self.default_format)
        snapshot = Snapshot(uuid.uuid4().hex, version, list(_listed(connection, wanted)))
        expires_at = self.clock.now_ms() + LEASE_MS
        connection.execute(snapshots.insert().values(id=snapshot.id, version=version, expires_at=expires_at))
        return snapshot

    def renew(self, snapshot: Snapshot) -> None:
        """Keep the snapshot's files for another LEASE_MS; IsothermError when its lease has run out."""
        expires_at = self.clock.now_ms() + LEASE_MS
        statement = sa.update(snapshots).where(snapshots.c.id == snapshot.id).values(expires_at=expires_at)
        with writing(self.engine) as connection:
            if connection.execute(statement).rowcount == 0:
                raise IsothermError("the lease on this snapshot of the lake has run out: take a new one")

    def release(self, snapshot: Snapshot) -> None:
        """Give the lease back; a second time is fine."""
        with writing(self.engine) as connection:
            connection.execute(sa.delete(snapshots).where(snapshots.c.id == snapshot.id))

    def listed(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        client_ids: Sequence[str] | None = None,
        format: str | None = None,  # noqa: A002
        raw_only: bool | None = None,
    ) -> list[LakeFile]:
        """The list alone, without a lease: for people and for planning; the files may be gone when opened.

        All of them, unless `raw_only` asks for those that are never tiled (True), or for the others (False).
        """
        wanted = _selection(start, end, client_ids, raw_only)
        if format is not None:
            wanted &= files.c.format == format
        with reading(self.engine) as connection:
            return list(_listed(connection, wanted))

    def unread(self, *, start: int, end: int, client_ids: Sequence[str] | None) -> Unread | None:
        """What of these hours and clients is not in the default format; None when all is."""
        with reading(self.engine) as connection:
            return unread(connection, self.default_format, _selection(start, end, client_ids, None))

    def next_offset(self, log: str, partition: int) -> int:
        """The first offset of the partition that is not landed; 0 for a log never seen."""
        statement = sa.select(positions.c.next_offset).where(positions.c.log == log, positions.c.partition == partition)
        with reading(self.engine) as connection:
            return connection.execute(statement).scalar_one_or_none() or 0

    def progress(self, log: str) -> dict[int, Progress]:
        """How far each partition is landed; those of which nothing is are not there."""
        statement = sa.select(positions.c.partition, positions.c.next_offset, positions.c.received_until)
        with reading(self.engine) as connection:
            rows = connection.execute(statement.where(positions.c.log == log))
            return {partition: Progress(following, until) for partition, following, until in rows}

    def pending(self, planned: Iterable[LakeFile]) -> None:
        """Say that these files are about to be written; in a transaction of its own, before the first byte."""
        now = self.clock.now_ms()
        rows = [
            {"path": f.path, "state": "pending", "format": f.format, "client_id": f.client_id, "hour": f.hour}
            | {"created_at": now, "raw_only": f.raw_only, "tier": tier_of(f.path)}
            for f in planned
        ]
        if rows:
            with writing(self.engine) as connection:
                connection.execute(files.insert(), rows)

    def land(self, landing: Landing) -> int | None:
        """List the files, move the position, fold the counts and mark the hours, all in one transaction.

        Returns the manifest version, or None when another lander has landed these records, batches of theirs or rows
        in the compared hours, the sweeper has taken the files for dead, or retention has taken the raw events of an
        hour that was to be marked: nothing is listed then, and the caller's files are its own to `discard`.
        """
        try:
            with writing(self.engine) as connection:
                one = landing
                if one.scanned is None:
                    effects.move(connection, one.log, one.partition, one.first, one.next, one.received_until)
                else:
                    scanned.check(connection, one.scanned)
                if one.compared is not None:
                    effects.unchanged(connection, one.compared)
                if one.claims is not None:
                    known.claim(connection, one.claims)
                version = next_version(connection)
                self._list(connection, landing.files, version)
                if one.scanned is not None:
                    scanned.write(connection, one.scanned, version, self.clock.now_ms())
                gaps.write(connection, landing.log, landing.gaps)
                effects.fold(connection, landing.counts)
                effects.fold(connection, views.count(connection, landing.views))
                books.write_screens(connection, landing.screens)
                effects.arrive(connection, landing.counts, landing.newest)
                write_shapes(connection, landing.shapes)
                hours = {(f.client_id, f.hour) for f in landing.files if not f.raw_only}
                effects.not_retired(connection, hours)
                effects.mark(connection, hours, landing.received, version, self.clock.now_ms())
                return version
        except Lost:
            return None

    def replace(self, old: Sequence[LakeFile], new: Sequence[LakeFile]) -> int | None:
        """Put files with the same rows in the place of others, as one manifest version.

        Returns the version, or None when one of the old files is no longer listed or a new one no longer pending.
        Raises ValueError when the rows differ.
        """
        if _sums(old) != _sums(new):
            raise ValueError("the new files do not hold the same rows as the old ones")
        try:
            with writing(self.engine) as connection:
                version = next_version(connection)
                self._delist(connection, [f.path for f in old], version)
                self._list(connection, new, version)
                return version
        except Lost:
            return None

    def crowded(self, first_hour: int, last_hour: int, *, raw_only: bool | None = None) -> list[tuple[str, int, str]]:
        """(client_id, hour, format) of hours from the first to the last that have more than one hot file of one kind,
        oldest first; of the kind that `raw_only` says, None: of either."""
        key = (files.c.client_id, files.c.hour, files.c.format)
        hours = files.c.hour.between(first_hour, last_hour) & _kind(raw_only)
        statement = (
            sa.select(*key)
            .where(files.c.state == "listed", files.c.tier == HOT, hours)
            .group_by(*key, files.c.raw_only)
        )
        statement = statement.having(sa.func.count() > 1).order_by(files.c.hour, files.c.client_id, files.c.format)
        with reading(self.engine) as connection:
            return list(dict.fromkeys((client, hour, name) for client, hour, name in connection.execute(statement)))

    def newest(self, client_id: str, hour: int, format: str) -> int | None:  # noqa: A002
        """When the newest listed file of this client, hour and format was begun; None when there is none."""
        statement = sa.select(sa.func.max(files.c.created_at)).where(
            files.c.state == "listed",
            files.c.client_id == client_id,
            files.c.hour == hour,
            files.c.format == format,
        )
        with reading(self.engine) as connection:
            return connection.execute(statement).scalar_one()

    def begun(self, client_id: str, hour: int, format: str, since_ms: int) -> bool:  # noqa: A002
        """Whether somebody has begun a file of this client, hour and format after `since_ms` and is not done."""
        wanted = (files.c.state == "pending") & (files.c.client_id == client_id) & (files.c.hour == hour)
        wanted &= (files.c.format == format) & (files.c.created_at > since_ms)
        with reading(self.engine) as connection:
            return bool(connection.execute(sa.select(sa.exists().where(wanted))).scalar_one())

    def discard(self, lake: Lake, paths: Sequence[str]) -> None:
        """Remove files of our own that were never listed."""
        with writing(self.engine) as connection:
            for chunk in _chunks(paths):
                connection.execute(_give_up(files.c.path.in_(chunk)))
            mine = [p for chunk in _chunks(paths) for p in _removable(connection, files.c.path.in_(chunk))]
        self._remove(lake, mine)

    def sweep(self, lake: Lake) -> list[str]:
        """Delete what no reader can need: files of dead landers, and delisted files no leased snapshot lists.

        The list changes before an object goes: a lander that was only slow then fails to land its file. Returns
        the paths. A crash or an error on the way leaves rows that the next sweep finishes.
        """
        now = self.clock.now_ms()
        with writing(self.engine) as connection:
            connection.execute(sa.delete(snapshots).where(snapshots.c.expires_at <= now))
            connection.execute(_give_up(files.c.created_at <= now - PENDING_MS))
            oldest = connection.execute(sa.select(sa.func.min(snapshots.c.version))).scalar_one()
            unseen = sa.true() if oldest is None else files.c.delisted_version <= oldest
            swept = _removable(connection, unseen)
        self._remove(lake, swept)
        return swept

    def _remove(self, lake: Lake, paths: Sequence[str]) -> None:
        """One object that cannot be deleted does not keep others: the first error is raised when they had their turn.

        A lake that takes long to fail is not asked for all of them.
        """
        failures: list[Exception] = []
        until = monotonic() + _PATIENCE_S
        for chunk in _chunks(paths):
            gone = [path for path in chunk if _delete(lake, path, failures, until)]
            with writing(self.engine) as connection:
                connection.execute(sa.delete(files).where(files.c.path.in_(gone), files.c.state == "delisted"))
        if failures:
            raise failures[0]

    def totals(self) -> dict[str, Any]:
        """{"files", "rows", "bytes", "formats": {format: {"files", "rows", "bytes"}}} of what is listed.

        The rows on top are those of the format with most rows: formats hold the same rows.
        """
        statement = (
            sa.select(files.c.format, sa.func.count(), total(files.c.rows), total(files.c.bytes))
            .where(files.c.state == "listed")
            .group_by(files.c.format)
            .order_by(files.c.format)
        )
        with reading(self.engine) as connection:
            found = connection.execute(statement).all()
        formats = {name: {"files": count, "rows": rows, "bytes": size} for name, count, rows, size in found}
        return {
            "files": sum(f["files"] for f in formats.values()),
            "rows": max((f["rows"] for f in formats.values()), default=0),
            "bytes": sum(f["bytes"] for f in formats.values()),
            "formats": formats,
        }

    def _list(self, connection: Connection, new: Sequence[LakeFile], version: int) -> None:
        if not new:
            return
        values = ("rows", "bytes", "min_time", "max_time", "row_hash")
        statement = (
            sa.update(files)
            .where(files.c.path == sa.bindparam("_path"), files.c.state == "pending")
            .values(state="listed", listed_version=version, **{name: sa.bindparam(f"_{name}") for name in values})
        )
        rows = [{"_path": f.path} | {f"_{name}": getattr(f, name) for name in values} for f in new]
        if connection.execute(statement, rows).rowcount != len(rows):
            raise Lost
        ranges = [
            {name: getattr(r, name) for name in OffsetRange.__struct_fields__} | {"path": f.path}
            for f in new
            for r in f.ranges
        ]
        connection.execute(file_ranges.insert(), ranges)

    def _delist(self, connection: Connection, paths: Sequence[str], version: int) -> None:
        for chunk in _chunks(paths):
            statement = sa.update(files).where(files.c.path.in_(chunk), files.c.state == "listed")
            if connection.execute(statement.values(state="delisted", delisted_version=version)).rowcount != len(chunk):
                raise Lost


def _delete(lake: Lake, path: str, failures: list[Exception], until: float) -> bool:
    """Whether the object is gone. After a failure nothing is tried any more once the time `until` is over."""
    if failures and monotonic() > until:
        return False
    try:
        lake.delete(path)
    except (IsothermError, OSError, ValueError) as error:
        failures.append(error)
        return False
    return True


def _give_up(which: sa.ColumnElement[bool]) -> sa.Update:
    """Pending files become delisted ones that no snapshot ever listed."""
    return sa.update(files).where(which, files.c.state == "pending").values(state="delisted", delisted_version=0)


def _removable(connection: Connection, which: sa.ColumnElement[bool]) -> list[str]:
    return list(connection.execute(sa.select(files.c.path).where(which, files.c.state == "delisted")).scalars())


def _sums(group: Sequence[LakeFile]) -> dict[tuple[str, str, int, bool], tuple[int, str]]:
    """(rows, row hash) per format, client, hour, and whether they are tiled."""
    parts: dict[tuple[str, str, int, bool], list[LakeFile]] = {}
    for f in group:
        parts.setdefault((f.format, f.client_id, f.hour, f.raw_only), []).append(f)
    return {key: (sum(f.rows for f in part), rowhash.add(f.row_hash for f in part)) for key, part in parts.items()}


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _kind(raw_only: bool | None) -> sa.ColumnElement[bool]:
    if raw_only is None:
        return sa.true()
    return files.c.raw_only if raw_only else sa.not_(files.c.raw_only)


def _selection(
    start: int | None, end: int | None, client_ids: Sequence[str] | None, raw_only: bool | None
) -> sa.ColumnElement[bool]:
    wanted = (files.c.state == "listed") & _kind(raw_only)
    if start is not None:
        wanted &= files.c.hour >= start
    if end is not None:
        wanted &= files.c.hour < end
    if client_ids is not None:
        wanted &= files.c.client_id.in_(list(client_ids))
    return wanted


def _listed(connection: Connection, wanted: sa.ColumnElement[bool]) -> Iterable[LakeFile]:
    """Files in the order of hour, client and path."""
    ranges: dict[str, list[OffsetRange]] = {}
    statement = sa.select(file_ranges).join(files, files.c.path == file_ranges.c.path).where(wanted)
    for path, *values in connection.execute(statement.order_by(*file_ranges.primary_key.columns)):
        ranges.setdefault(path, []).append(OffsetRange(*values))
    names = [name for name in LakeFile.__struct_fields__ if name != "ranges"]
    chosen = sa.select(*[files.c[name] for name in names]).where(wanted)
    for row in connection.execute(chosen.order_by(files.c.hour, files.c.client_id, files.c.path)):
        yield LakeFile(**dict(zip(names, row, strict=True)), ranges=ranges.get(row.path, []))
