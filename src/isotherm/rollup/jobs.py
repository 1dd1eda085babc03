"""The tile jobs: one bucket for some clients, from raw or from finer maps, published with hashes and provenance.

A job draws its version in the transaction that reads its inputs, inserts maps under that version, and publishes
in one transaction. Interrupted anywhere, maps are whole, the bucket is still dirty, and the next job replaces all.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.clock import Clock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.manifest import Manifest, Snapshot
from isotherm.land.steady import believed
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.metrics import TILE_JOB_SECONDS, TILE_JOBS
from isotherm.rollup import dirty
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.damage import Mender
from isotherm.rollup.engines.port import Engine
from isotherm.rollup.leases import Busy, Lease, lease
from isotherm.rollup.publish import Facts, Publication, measure, publish
from isotherm.rollup.ways import Way, lacking, ways
from isotherm.store.db import next_version, reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets

CLIENTS_PER_JOB: Final = 500
STEPS: Final = ("drawn", "made", "cleared", "measured", "published")
"""Names that `checkpoint` gets, in the order of one job: after its version was drawn with its inputs, after each insert
of maps, after they were read back, and after the one transaction that publishes them."""


class Expired(IsothermError):
    """The inputs of the bucket are gone for these clients: it stays as it was published. Others' were built."""

    def __init__(self, message: str, client_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.client_ids = client_ids


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job did: clients published, their maps, raw rows and rows in a cell, and how long it took."""

    bucket: Bucket
    clients: list[str]
    maps: int
    rows: int
    tiled: int
    cost_ms: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """A version, and the snapshot or the children's state read in the transaction that drew it."""

    version: int
    manifest_version: int
    provenance: dict[str, Any]
    snapshot: Snapshot | None


class Jobs:
    """Runs tile jobs; any thread may call. Two jobs never work on the same bucket at once: see `leases`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        olap: Olap,
        manifest: Manifest,
        engine: Engine,
        clock: Clock,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self.settings = settings
        self.database = database
        self.olap = olap
        self.manifest = manifest
        self.engine = engine
        self.clock = clock
        self.mender = Mender(database, olap, clock)
        self._checkpoint = checkpoint

    def run_hours(self, start: int, client_ids: Sequence[str]) -> Outcome:
        """Tile one hour from raw. Raises Busy, and Expired when its raw events are no longer all there."""
        return self.run(Bucket(Level.HOUR, start), client_ids)

    def run_rollup(self, level: Level, start: int, client_ids: Sequence[str]) -> Outcome:
        """Sum a day from its hours or a week from its days; from raw when those have expired.

        Raises Busy, and Expired when the raw events are gone too.
        """
        return self.run(Bucket(level, start), client_ids)

    def run(self, bucket: Bucket, client_ids: Sequence[str]) -> Outcome:
        """One job; see `run_hours` and `run_rollup`."""
        by_way = self._ways(bucket, client_ids)
        began = time.monotonic()
        outcomes: list[Outcome] = []
        label = bucket.level.value
        try:
            with lease(self.database, self.clock, f"tiles {label} {bucket.start}") as held:
                for way in (Way.CHILDREN, Way.RAW):
                    outcomes.extend(self._run_part(bucket, part, way, held) for part in _parts(by_way[way]))
        except Busy:
            raise
        except Exception:
            TILE_JOBS.labels(label, "failed").inc()
            raise
        finally:
            TILE_JOB_SECONDS.labels(label).inc(time.monotonic() - began)
        if outcomes or not client_ids:
            TILE_JOBS.labels(label, "published").inc()
        if by_way[Way.NONE]:
            raise Expired(
                f"the {bucket.level} of {iso(bucket.start)} cannot be built again: the raw events behind it have "
                "expired (raw_retention_days, retention); it stays as it was published",
                by_way[Way.NONE],
            )
        return Outcome(
            bucket,
            [client_id for outcome in outcomes for client_id in outcome.clients],
            sum(outcome.maps for outcome in outcomes),
            sum(outcome.rows for outcome in outcomes),
            sum(outcome.tiled for outcome in outcomes),
            round((time.monotonic() - began) * 1000),
        )

    def _ways(self, bucket: Bucket, client_ids: Sequence[str]) -> dict[Way, list[str]]:
        """How the bucket can be built now for each client."""
        now = believed(self.database, self.clock.now_ms(), "tiles")
        with reading(self.database) as connection:
            return ways(connection, bucket, client_ids, now, self.settings)

    def _run_part(self, bucket: Bucket, client_ids: Sequence[str], way: Way, held: Lease) -> Outcome:
        began = time.monotonic()
        read = self._read_raw if way is Way.RAW else self._read_children
        inputs = read(bucket, client_ids, held)
        try:
            self._checkpoint("drawn")
            if inputs.snapshot is None:
                self.engine.roll_up(bucket, client_ids, inputs.version)
            else:
                self.engine.tile(bucket, inputs.snapshot.files, inputs.version)
            self._checkpoint("made")
        finally:
            if inputs.snapshot is not None:
                self.manifest.release(inputs.snapshot)
        self.engine.clear_vanished(bucket, client_ids, inputs.version)
        self._checkpoint("cleared")
        facts = measure(self.olap, bucket, client_ids, inputs.version)
        self._checkpoint("measured")
        if inputs.snapshot is not None:
            _check_rows(facts, inputs.snapshot)
        cost_ms = round((time.monotonic() - began) * 1000)
        job = Publication(bucket, inputs.version, inputs.manifest_version, facts, inputs.provenance, cost_ms)
        with writing(self.database) as connection:
            _refuse_without(held, connection)
            published = publish(connection, job, self.clock.now_ms())
        self._checkpoint("published")
        done = [facts[client_id] for client_id in published]
        return Outcome(
            bucket, published, sum(f.maps for f in done), sum(f.rows for f in done), sum(f.tiled for f in done), cost_ms
        )

    def _read_raw(self, bucket: Bucket, client_ids: Sequence[str], held: Lease) -> _Inputs:
        with writing(self.database) as connection:
            version = _begin(connection, bucket, client_ids, held)
            _refuse_lacking(connection, bucket, client_ids, Way.RAW)
            snapshot = self.manifest.take(connection, start=bucket.start, end=bucket.end, client_ids=client_ids)
        ranges: dict[str, list[Any]] = {client_id: [] for client_id in client_ids}
        for file in snapshot.files:
            ranges[file.client_id].extend(msgspec.to_builtins(file.ranges))
        provenance = {client_id: {"ranges": found} for client_id, found in ranges.items()}
        return _Inputs(version, snapshot.version, provenance, snapshot)

    def _read_children(self, bucket: Bucket, client_ids: Sequence[str], held: Lease) -> _Inputs:
        with writing(self.database) as connection:
            version = _begin(connection, bucket, client_ids, held)
            _refuse_lacking(connection, bucket, client_ids, Way.CHILDREN)
            rows = _children(connection, bucket, client_ids)
        provenance: dict[str, Any] = {client_id: {"children": []} for client_id in client_ids}
        for client_id, start, child_version, digest, _ in rows:
            provenance[client_id]["children"].append({"start": start, "version": child_version, "hash": digest})
        return _Inputs(version, max((row.manifest_version for row in rows), default=0), provenance, None)


def _begin(connection: Connection, bucket: Bucket, client_ids: Sequence[str], held: Lease) -> int:
    """The job's version. Raises Busy when the lease is another job's by now: only that one may begin."""
    _refuse_without(held, connection)
    dirty.begin(connection, bucket, client_ids)
    return next_version(connection)


def _refuse_without(held: Lease, connection: Connection) -> None:
    if not held.held(connection):
        raise Busy(f"the lease on {held.name} ran out while the job worked; it will be done again")


def _refuse_lacking(connection: Connection, bucket: Bucket, client_ids: Sequence[str], way: Way) -> None:
    """Raises Busy when retention took some of it since the way was chosen: the next job will choose another one."""
    if lacking(connection, bucket, client_ids, way):
        raise Busy(
            f"{way.value} of the {bucket.level} of {iso(bucket.start)} expired as the job began; it is done again"
        )


def _check_rows(facts: Mapping[str, Facts], snapshot: Snapshot) -> None:
    """An engine that sees the lake from another machine may find a file missing and say nothing."""
    found, listed = sum(made.rows for made in facts.values()), sum(file.rows for file in snapshot.files)
    if found != listed:
        raise IsothermError(
            f"the maps hold {found} events and the lake's files {listed}: the engine does not see all files of the "
            "lake; make sure that it reads the same lake (setting lake), nothing was published"
        )


def _children(
    connection: Connection, bucket: Bucket, client_ids: Sequence[str]
) -> Sequence[sa.Row[str, int, int, str, int]]:
    columns = buckets.c
    return connection.execute(
        sa.select(columns.client_id, columns.start, columns.version, columns.hash, columns.manifest_version)
        .where(
            columns.client_id.in_(client_ids),
            columns.level == (bucket.level.child or bucket.level).value,
            columns.start >= bucket.start,
            columns.start < bucket.end,
        )
        .order_by(columns.client_id, columns.start)
    ).all()


def _parts(client_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (client_ids[i : i + CLIENTS_PER_JOB] for i in range(0, len(client_ids), CLIENTS_PER_JOB))
