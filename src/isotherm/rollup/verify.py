"""Verification: rebuild what is published from the lake by NumPy, and compare cell by cell and by hash."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine as Database

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor, starts
from isotherm.rollup.expiry import kept_from, raw_kept_from
from isotherm.rollup.grid import CELLS, GRID_W
from isotherm.rollup.hashes import bucket_hash, map_line
from isotherm.rollup.recount import Recount, recount
from isotherm.store.db import reading
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty, files


class Finding(StrEnum):
    """What came of one bucket of one client."""

    SAME = "same"
    DIRTY = "dirty"
    FROZEN = "frozen"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bucket of one client. `maps` were compared; `detail` says what is wrong, or why nothing was compared.

    For the first cell that differs, `screen_id`, `event_type`, `cell_x`, `cell_y`, `expected` and `found` name it.
    """

    bucket: Bucket
    client_id: str
    finding: Finding
    maps: int = 0
    detail: str = ""
    screen_id: str | None = None
    event_type: str | None = None
    cell_x: int | None = None
    cell_y: int | None = None
    expected: int | None = None
    found: int | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """Published rows by bucket, and the buckets that have changed since (or hold one that has)."""

    published: dict[Bucket, Any]
    changed: set[Bucket]
    manifest_version: int


class Verifier:
    """Compares one client's tiles with its raw events."""

    def __init__(
        self, database: Database, olap: Olap, lake: Lake, manifest: Manifest, clock: Clock, settings: Settings
    ) -> None:
        self.database = database
        self.olap = olap
        self.lake = lake
        self.manifest = manifest
        self.clock = clock
        self.settings = settings

    def client(self, client_id: str, start: int, end: int) -> Iterator[Verdict]:
        """Verdicts for the client's hours in [start, end), and for the days and weeks wholly inside it."""
        for week in starts(Level.WEEK, start, end):
            first, last = max(week, start), min(week + WEEK_MS, end)
            with self.manifest.snapshot(start=first, end=last, client_ids=[client_id]) as snapshot:
                state = self._state(client_id, week, snapshot.version)
                by_hour: dict[int, list[LakeFile]] = {}
                for file in snapshot.files:
                    by_hour.setdefault(file.hour, []).append(file)
                yield from self._week(client_id, week, (first, last), by_hour, state)

    def _week(
        self, client_id: str, week: int, span: tuple[int, int], by_hour: dict[int, list[LakeFile]], state: _State
    ) -> Iterator[Verdict]:
        of_week = Recount()
        for day in Bucket(Level.WEEK, week).children():
            of_day = Recount()
            for hour in day.children():
                if hour.start in by_hour:
                    of_hour = recount(self.lake, by_hour[hour.start])
                    of_day.add(of_hour)
                    yield from self._judge(client_id, hour, of_hour, span, state)
                else:
                    yield from self._judge(client_id, hour, Recount(), span, state)
            of_week.add(of_day)
            yield from self._judge(client_id, day, of_day, span, state)
        yield from self._judge(client_id, Bucket(Level.WEEK, week), of_week, span, state)

    def _judge(
        self, client_id: str, bucket: Bucket, expected: Recount, span: tuple[int, int], state: _State
    ) -> Iterator[Verdict]:
        if bucket.start < span[0] or bucket.end > span[1]:
            return
        row = state.published.get(bucket)
        if bucket in state.changed or (row is not None and row.manifest_version > state.manifest_version):
            yield Verdict(bucket, client_id, Finding.DIRTY, detail="changed since it was published; a job will follow")
        elif row is not None and bucket.start < raw_kept_from(self.clock.now_ms(), self.settings):
            yield Verdict(bucket, client_id, Finding.FROZEN, detail="its raw events have expired")
        elif row is not None:
            verdict = self._compare(client_id, bucket, expected, row)
            if verdict.finding is Finding.DIFFERENT and self._moved_on(client_id, bucket, row.version):
                verdict = Verdict(bucket, client_id, Finding.DIRTY, detail="published again while it was compared")
            yield verdict
        elif expected.names and bucket.start >= kept_from(bucket.level, self.clock.now_ms(), self.settings):
            yield _missing(bucket, client_id, expected.names[0], "raw events, but nothing was published", None)

    def _moved_on(self, client_id: str, bucket: Bucket, version: int) -> bool:
        state = self._state(client_id, floor(Level.WEEK, bucket.start), 0)
        row = state.published.get(bucket)
        return bucket in state.changed or row is None or row.version != version

    def _state(self, client_id: str, week: int, manifest_version: int) -> _State:
        def rows_of(table: sa.Table) -> sa.Select[Any]:
            within = (table.c.client_id == client_id, table.c.start >= week, table.c.start < week + WEEK_MS)
            return sa.select(table).where(*within)

        with reading(self.database) as connection:
            published = {Bucket(Level(row.level), row.start): row for row in connection.execute(rows_of(buckets))}
            marks = [Bucket(Level(row.level), row.start) for row in connection.execute(rows_of(dirty))]
        changed: set[Bucket] = set()
        for mark in marks:
            changed.update((mark, *mark.ancestors()))
        return _State(published, changed, manifest_version)

    def _compare(self, client_id: str, bucket: Bucket, expected: Recount, row: Any) -> Verdict:
        lines: list[bytes] = []
        left = set(expected.names)
        maps = 0
        for screen_id, event_type, segment, counts in self._stored(client_id, bucket, row.maps):
            maps += 1
            name = (screen_id, event_type)
            known = name in left and segment == ""
            wanted = expected.counts(name) if known else np.zeros(CELLS, np.uint64)
            left.discard(name)
            if not known:
                return _missing(bucket, client_id, name, "a map that no raw event stands behind", counts)
            if not np.array_equal(wanted, counts):
                return _different(bucket, client_id, name, wanted, counts)
            if wanted.any():
                lines.append(map_line(screen_id, event_type, segment, wanted))
        if left:
            return _missing(bucket, client_id, min(left), "no map for these raw events", None)
        if bucket_hash(lines) != row.hash:
            return Verdict(
                bucket, client_id, Finding.DIFFERENT, maps, "the maps are right, the published hash is another"
            )
        return Verdict(bucket, client_id, Finding.SAME, maps)

    def _stored(self, client_id: str, bucket: Bucket, maps: int) -> Iterator[tuple[str, str, str, Any]]:
        pages = 1 + maps // 500
        for page in range(pages):
            table = self.olap.query(
                "SELECT screen_id, event_type, segment, cells, counts FROM maps FINAL WHERE client_id = {client:String}"
                " AND level = {level:String} AND bucket_start = {start:DateTime} AND events > 0"
                f" AND cityHash64(screen_id, event_type, segment) % {pages} = {page} ORDER BY 1, 2, 3",
                {"client": client_id, "level": bucket.level.value, "start": bucket.start // 1000},
                "write",
            )
            for i in range(table.num_rows):
                screen_id, event_type, segment = (table.column(c)[i].as_py() for c in range(3))
                counts = np.zeros(CELLS, np.uint64)
                cells, values = (table.column(name)[i].values.to_numpy() for name in ("cells", "counts"))
                if len(cells):
                    counts[cells] = values
                elif len(values):
                    counts[:] = values
                yield screen_id, event_type, segment, counts


def _different(bucket: Bucket, client_id: str, name: tuple[str, str], expected: Any, found: Any) -> Verdict:
    cell = int(np.flatnonzero(expected != found)[0])
    return Verdict(
        bucket,
        client_id,
        Finding.DIFFERENT,
        detail="a cell differs from the raw events",
        screen_id=name[0],
        event_type=name[1],
        cell_x=cell % GRID_W,
        cell_y=cell // GRID_W,
        expected=int(expected[cell]),
        found=int(found[cell]),
    )


def _missing(bucket: Bucket, client_id: str, name: tuple[str, str], detail: str, counts: Any) -> Verdict:
    found = 0 if counts is None else int(counts.sum())
    return Verdict(
        bucket, client_id, Finding.DIFFERENT, detail=detail, screen_id=name[0], event_type=name[1], found=found
    )


def verify(
    verifier: Verifier, client_ids: Sequence[str] | None = None, start: int | None = None, end: int | None = None
) -> Iterator[Verdict]:
    """Compare the published buckets of these clients (None: all) that lie in [start, end) with the raw events."""
    for client_id, (first, last) in sorted(_spans(verifier.database).items()):
        if client_ids is None or client_id in client_ids:
            low = floor(Level.WEEK, first) if start is None else start
            high = floor(Level.WEEK, last) + WEEK_MS if end is None else end
            yield from verifier.client(client_id, low, high)


def _spans(database: Database) -> dict[str, tuple[int, int]]:
    """First and last start, per client, of what was published or landed."""
    spans: dict[str, tuple[int, int]] = {}
    with reading(database) as connection:
        for client, moment, rows in (
            (buckets.c.client_id, buckets.c.start, sa.true()),
            (files.c.client_id, files.c.hour, files.c.state == "listed"),
        ):
            found = sa.select(client, sa.func.min(moment), sa.func.max(moment)).where(rows).group_by(client)
            for client_id, first, last in connection.execute(found):
                known = spans.get(client_id, (first, last))
                spans[client_id] = (min(known[0], first), max(known[1], last))
    return spans
