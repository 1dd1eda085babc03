"""One published bucket against a recount of its raw events: every map, every cell, and the published hash."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from isotherm.rollup.buckets import Bucket
from isotherm.rollup.grid import CELLS, GRID_W
from isotherm.rollup.hashes import bucket_hash, map_line
from isotherm.rollup.publish import DENSE_PER_PAGE, SPARSE_PER_PAGE
from isotherm.rollup.recount import MapName, Recount
from isotherm.rollup.verdicts import Finding, Verdict
from isotherm.store.olap import Olap

_OF_BUCKET = (
    "FROM maps FINAL WHERE client_id = {client:String} AND level = {level:String}"
    " AND bucket_start = {start:DateTime} AND events > 0"
)


def compare(olap: Olap, client_id: str, bucket: Bucket, expected: Recount, row: Any) -> Verdict:
    """The verdict on the bucket; `row` is what was published: version and hash count."""
    digest = _hash(expected)
    facts: dict[str, Any] = {"version": row.version, "hash": digest}
    left = set(expected.names)
    maps = 0
    for screen_id, event_type, segment, counts in _stored(olap, client_id, bucket):
        maps += 1
        name = (screen_id, event_type)
        if segment or name not in left:
            why = "a map that no raw event stands behind"
            return missing(bucket, client_id, name, why, found=int(counts.sum()), **facts)
        left.discard(name)
        wanted = expected.counts(name)
        if not np.array_equal(wanted, counts):
            return _different(bucket, client_id, name, wanted, counts, facts)
    if left:
        return missing(bucket, client_id, min(left), "no map for these raw events", **facts)
    if digest != row.hash:
        wrong = "the maps are right, the published hash is another"
        return Verdict(bucket, client_id, Finding.DIFFERENT, maps, wrong, **facts)
    return Verdict(bucket, client_id, Finding.SAME, maps, **facts)


def missing(bucket: Bucket, client_id: str, name: MapName, detail: str, **more: Any) -> Verdict:
    """A map is there on one side only."""
    facts: dict[str, Any] = {"found": 0, **more, "screen_id": name[0], "event_type": name[1]}
    return Verdict(bucket, client_id, Finding.DIFFERENT, detail=detail, **facts)


def _hash(expected: Recount) -> str:
    """What is published for these raw events."""
    wanted = ((name, expected.counts(name)) for name in expected.names)
    return bucket_hash(map_line(*name, "", counts) for name, counts in wanted if counts.any())


def _different(bucket: Bucket, client_id: str, name: MapName, expected: Any, found: Any, facts: Any) -> Verdict:
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
        **facts,
    )


def _stored(olap: Olap, client_id: str, bucket: Bucket) -> Iterator[tuple[str, str, str, Any]]:
    """(screen_id, event_type, segment, counts of every cell), in pages of at most about 40 MB."""
    params = {"client": client_id, "level": bucket.level.value, "start": bucket.start // 1000}
    (sizes,) = olap.query(
        f"SELECT countIf(empty(cells)) AS dense, count() AS n {_OF_BUCKET}", params, "write"
    ).to_pylist()
    pages = 1 + max(sizes["dense"] // DENSE_PER_PAGE, sizes["n"] // SPARSE_PER_PAGE)
    for page in range(pages):
        table = olap.query(
            f"SELECT screen_id, event_type, segment, cells, counts {_OF_BUCKET}"
            f" AND cityHash64(screen_id, event_type, segment) % {pages} = {page} ORDER BY 1, 2, 3",
            params,
            "write",
        )
        names = zip(*(table.column(name).to_pylist() for name in table.column_names[:3]), strict=True)
        lists = [table.column(name).combine_chunks() for name in ("cells", "counts")]
        for i, name in enumerate(names):
            cells, values = (one[i].values.to_numpy() for one in lists)
            yield *name, _dense(cells, values)


def _dense(cells: Any, values: Any) -> Any:
    counts = np.zeros(CELLS, np.uint64)
    if len(cells):
        counts[cells] = values
    elif len(values):
        counts[:] = values
    return counts
