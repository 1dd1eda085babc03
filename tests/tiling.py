"""A lake with events we choose, the jobs over it, and a recount of both: for tests of tile jobs."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.land.lake import Lake, open_lake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.rowhash import of_table
from isotherm.land.schema import LAKE_SCHEMA
from isotherm.land.write import encode
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.engines.port import Opener, open_engine
from isotherm.rollup.jobs import Jobs
from isotherm.store import tables
from isotherm.store.db import next_version, open_db, reading, writing
from isotherm.store.olap import Olap

NOW = 1_795_000_000_000 - 1_795_000_000_000 % HOUR_MS + 10 * 60_000
Row = tuple[str, str, str, int, float | None, float | None]


@dataclass
class World:
    """One deployment's stores, and the events that were landed in it, for the recount."""

    settings: Settings
    database: sa.Engine
    olap: Olap
    lake: Lake
    manifest: Manifest
    clock: ManualClock
    jobs: Jobs
    landed: list[Row] = field(default_factory=list)
    offset: int = 0

    def land(self, rows: Sequence[Row], files: int = 1) -> int:
        """Land rows (client, screen, type, time, x, y), dealt over `files` files per client and hour."""
        self.landed += rows
        groups: dict[tuple[str, int, int], list[Row]] = {}
        for i, row in enumerate(rows):
            groups.setdefault((row[0], floor(Level.HOUR, row[3]), i % files), []).append(row)
        planned = [self._write(client, hour, part) for (client, hour, _), part in groups.items()]
        first, self.offset = self.offset, self.offset + 1
        version = self.manifest.land(Landing("log", 0, first, self.offset, planned, {}))
        assert version is not None
        return version

    def _write(self, client_id: str, hour: int, rows: list[Row]) -> LakeFile:
        suffix = {"parquet": "parquet", "jsonl": "jsonl.gz"}[self.manifest.default_format]
        path = f"dt=x/hour={hour}/client_id={client_id}/part-0-{uuid.uuid4().hex}.{suffix}"
        table = lake_table(rows, self.offset)
        ranges = [OffsetRange("log", 0, self.offset, self.offset, len(rows), of_table(table))]
        times = [row[3] for row in rows]
        file = LakeFile(
            path, self.manifest.default_format, client_id, hour, len(rows), 1, min(times), max(times),
            of_table(table), ranges,
        )  # fmt: skip
        self.manifest.pending([file])
        self.lake.put(path, bytes(encode(table, file.format)))
        return file

    def run(self, level: Level, start: int) -> None:
        """Run the dirty clients of one bucket."""
        clients = self.dirty(level).get(floor(level, start), [])
        self.jobs.run(Bucket(level, floor(level, start)), clients)

    def run_all(self) -> None:
        for level in Level:
            for start in self.dirty(level):
                self.run(level, start)

    def dirty(self, level: Level) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        with reading(self.database) as connection:
            for row in connection.execute(sa.select(tables.dirty).where(tables.dirty.c.level == level.value)):
                found.setdefault(row.start, []).append(row.client_id)
        return found

    def published(self, level: Level) -> dict[tuple[str, int], Any]:
        with reading(self.database) as connection:
            rows = connection.execute(sa.select(tables.buckets).where(tables.buckets.c.level == level.value)).all()
        return {(row.client_id, row.start): row for row in rows}

    def maps(self, level: Level) -> dict[tuple[str, str, str, int], np.ndarray]:
        """Stored maps with events as (client, screen, type, start) -> counts, read without our own reader."""
        rows = self.olap.query(
            "SELECT client_id, screen_id, event_type, toUnixTimestamp(bucket_start) * 1000 AS start, cells, counts,"
            " events, tiled FROM maps FINAL WHERE level = {level:String} AND events > 0",
            {"level": level.value},
        ).to_pylist()
        found: dict[tuple[str, str, str, int], np.ndarray] = {}
        for row in rows:
            counts = np.zeros(20_000, np.uint64)
            where = row["cells"] or slice(0, len(row["counts"]))
            counts[where] = row["counts"]
            assert counts.sum() == row["tiled"] <= row["events"]
            assert not row["cells"] or (len(row["cells"]) < 2_000 and row["cells"] == sorted(set(row["cells"])))
            assert row["cells"] or len(row["counts"]) in (0, 20_000)
            found[row["client_id"], row["screen_id"], row["event_type"], row["start"]] = counts
        return found

    @property
    def hour(self) -> int:
        return floor(Level.HOUR, NOW)

    def check(self, *levels: Level) -> None:
        """The stored maps equal a recount of what was landed; without levels, on all of them."""
        for level in levels or tuple(Level):
            got, expected = self.maps(level), recount(self.landed, level)
            assert got.keys() == expected.keys(), level
            for key, counts in expected.items():
                assert np.array_equal(got[key], counts), (level, key)

    def delist(self, client_id: str, start: int) -> int:
        """Take a client's hour off the manifest and mark it, as an erasure does."""
        self.landed = [r for r in self.landed if r[0] != client_id or floor(Level.HOUR, r[3]) != start]
        with writing(self.database) as connection:
            version = next_version(connection)
            connection.execute(
                sa.update(tables.files)
                .where(tables.files.c.client_id == client_id, tables.files.c.hour == start)
                .values(state="delisted", delisted_version=version)
            )
            connection.execute(sa.delete(tables.dirty).where(tables.dirty.c.client_id == client_id))
        self.mark(Level.HOUR, start, client_id, version)
        return version

    def mark(self, level: Level, start: int, client_id: str, version: int) -> None:
        with writing(self.database) as connection:
            connection.execute(
                sa.insert(tables.dirty).values(
                    level=level.value, start=start, client_id=client_id, version=version, marked_at=self.clock.now_ms()
                )
            )


Maker = Callable[..., World]


@contextmanager
def worlds() -> Iterator[Maker]:
    """Makes worlds, `make(settings, olap)`, on the stores that the settings name; closes their databases at the end.

    `opener` opens the engine of the jobs: `open_engine` by default, so the setting `engine` counts.
    """
    databases: list[sa.Engine] = []

    def make(
        settings: Settings,
        olap: Olap,
        *,
        lake_format: str = "parquet",
        clock: ManualClock | None = None,
        opener: Opener = open_engine,
    ) -> World:
        database = open_db(settings.url("db"))
        databases.append(database)
        clock = clock or ManualClock(NOW)
        lake = open_lake(settings.url("lake"), settings)
        manifest = Manifest(database, clock, lake_format)
        jobs = Jobs(settings, database, olap, manifest, opener(settings, olap, lake), clock)
        return World(settings, database, olap, lake, manifest, clock, jobs)

    try:
        yield make
    finally:
        for database in databases:
            database.dispose()


def lake_table(rows: Sequence[Row], offset: int) -> pa.Table:
    columns: dict[str, Any] = {field.name: pa.nulls(len(rows), field.type) for field in LAKE_SCHEMA}
    names = ("client_id", "screen_id", "event_type", "event_time", "x_norm", "y_norm")
    for i, name in enumerate(names):
        columns[name] = pa.array([row[i] for row in rows]).cast(LAKE_SCHEMA.field(name).type)
    columns["received_at"] = columns["event_time"]
    columns["batch_id"] = pa.array([f"b{offset}"] * len(rows)).cast(LAKE_SCHEMA.field("batch_id").type)
    columns["position"] = pa.array(range(len(rows)), pa.int32())
    columns["log_partition"] = pa.array([0] * len(rows), pa.int32())
    columns["log_offset"] = pa.array([offset] * len(rows), pa.int64())
    return pa.table(columns, schema=LAKE_SCHEMA)


def recount(rows: Sequence[Row], level: Level) -> dict[tuple[str, str, str, int], np.ndarray]:
    """The maps by a Python loop over the rows: nothing shared with the program but the words."""
    found: dict[tuple[str, str, str, int], np.ndarray] = {}
    offset = {"hour": (0, HOUR_MS), "day": (0, DAY_MS), "week": (4 * DAY_MS, 7 * DAY_MS)}[level.value]
    for client, screen, kind, time, x, y in rows:
        start = time - (time - offset[0]) % offset[1]
        counts = found.setdefault((client, screen, kind, start), np.zeros(20_000, np.uint64))
        if x is not None and y is not None:
            counts[min(int(y * 200), 199) * 100 + min(int(x * 100), 99)] += np.uint64(1)
    return found
