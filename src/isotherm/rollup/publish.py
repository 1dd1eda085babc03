"""Publishing a bucket: what its maps are (measured from the store), and the one transaction that says so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm import __version__
from isotherm.rollup import dirty
from isotherm.rollup.buckets import Bucket
from isotherm.rollup.grid import CELLS
from isotherm.rollup.hashes import bucket_hash, hash_line, map_hash, sparse_hash
from isotherm.store.db import next_version
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets
from isotherm.store.upsert import upsert

DENSE_PER_PAGE: Final = 256
SPARSE_PER_PAGE: Final = 50_000


@dataclass(slots=True)
class Facts:
    """What a job made of one client's bucket: maps, raw rows behind them, rows in a cell, and the hash lines."""

    maps: int = 0
    rows: int = 0
    tiled: int = 0
    lines: list[bytes] = field(default_factory=list[bytes])


_OF_VERSION: Final = (
    "FROM maps FINAL WHERE client_id IN {clients:Array(String)} AND level = {level:String}"
    " AND bucket_start = {start:DateTime} AND version = {version:UInt64} AND events > 0"
)


def measure(olap: Olap, bucket: Bucket, client_ids: Sequence[str], version: int) -> dict[str, Facts]:
    """Read back what the job inserted, in pages of at most about 40 MB, and hash it."""
    params = {
        "clients": list(client_ids),
        "level": bucket.level.value,
        "start": bucket.start // 1000,
        "version": version,
    }
    sizes = olap.query(
        f"SELECT countIf(empty(cells)) AS dense, count() AS n {_OF_VERSION}", params, "write"
    ).to_pylist()
    pages = 1 + max(sizes[0]["dense"] // DENSE_PER_PAGE, sizes[0]["n"] // SPARSE_PER_PAGE)
    facts = {client_id: Facts() for client_id in client_ids}
    for page in range(pages):
        table = olap.query(
            f"SELECT client_id, screen_id, event_type, segment, events, tiled, cells, counts {_OF_VERSION}"
            f" AND cityHash64(client_id, screen_id, event_type, segment) % {pages} = {page}",
            params,
            "write",
        )
        _add_page(facts, table)
    return facts


def _add_page(facts: dict[str, Facts], table: Any) -> None:
    digests = _digests(table.column("cells").combine_chunks(), table.column("counts").combine_chunks())
    rows = zip(*(table.column(name).to_pylist() for name in table.column_names[:6]), strict=True)
    for digest, (client_id, screen_id, event_type, segment, events, tiled) in zip(digests, rows, strict=True):
        found = facts[client_id]
        found.maps += 1
        found.rows += events
        found.tiled += tiled
        if tiled:
            found.lines.append(hash_line(screen_id, event_type, segment, digest))


def _digests(cells: Any, counts: Any) -> Iterator[str]:
    """The map hash of every row of two list columns: counts of all cells, or of those that are named."""
    names, values = cells.values.to_numpy(), counts.values.to_numpy()
    edges = zip(pairwise(cells.offsets.to_pylist()), pairwise(counts.offsets.to_pylist()), strict=True)
    for (name, name_end), (value, value_end) in edges:
        here = values[value:value_end]
        if name == name_end and len(here) == CELLS:
            yield map_hash(here)
        else:
            yield sparse_hash(names[name:name_end], here)


@dataclass(frozen=True, slots=True)
class Publication:
    """What one job publishes for some clients of a bucket. `provenance` is per client."""

    bucket: Bucket
    version: int
    manifest_version: int
    facts: Mapping[str, Facts]
    provenance: Mapping[str, Any]
    cost_ms: int


def publish(connection: Connection, job: Publication, now_ms: int) -> list[str]:
    """Publish, mark the coarser buckets dirty, and clear the job's own marks; in the caller's write transaction.

    A client whose bucket was published by a newer job keeps that, and its bucket is marked again, since this job
    may have inserted maps that the newer one knew nothing of. A week that was summed from a day that is behind stays
    marked, so that reads go on taking its parts. Returns the clients that were published.
    """
    newer = set(
        connection.execute(
            sa.select(buckets.c.client_id).where(
                buckets.c.level == job.bucket.level.value,
                buckets.c.start == job.bucket.start,
                buckets.c.version >= job.version,
            )
        ).scalars()
    )
    winners = [client_id for client_id in job.facts if client_id not in newer]
    losers = [client_id for client_id in job.facts if client_id in newer]
    rows = [_row(job, client_id, now_ms) for client_id in winners]
    upsert(connection, buckets, rows, update=[name for name in rows[0] if name not in _KEY] if rows else ())
    version = next_version(connection)
    # All coarser ones: a week must not pass for clean while its day is behind.
    dirty.mark(connection, job.bucket.ancestors(), winners, version, now_ms)
    dirty.mark(connection, [job.bucket], losers, version, now_ms)
    behind = dirty.behind(connection, job.bucket)
    dirty.clear(connection, job.bucket, [client_id for client_id in winners if client_id not in behind], job.version)
    return winners


_KEY: Final = ("level", "start", "client_id")


def _row(job: Publication, client_id: str, now_ms: int) -> dict[str, Any]:
    facts = job.facts[client_id]
    return {
        "level": job.bucket.level.value,
        "start": job.bucket.start,
        "client_id": client_id,
        "version": job.version,
        "manifest_version": job.manifest_version,
        "hash": bucket_hash(facts.lines),
        "maps": facts.maps,
        "rows": facts.rows,
        "tiled": facts.tiled,
        "code_version": __version__,
        "cost_ms": job.cost_ms,
        "published_at": now_ms,
        "provenance": job.provenance[client_id],
    }
