"""Maps as Spark wrote them, to rows of the table of maps; and stored maps to what Spark reads. Block by block."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isotherm.rollup.buckets import Bucket
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W, SPARSE_BELOW

MAPS_PER_STEP: Final = 256
COUNTS_PER_BLOCK: Final = 5_000_000
"""A block that is inserted holds about this many counts, 40 MB."""
MAPS_PER_BLOCK: Final = 50_000

MOMENT: Final = pa.timestamp("ms", tz="UTC")


def blocks(files: Iterable[BinaryIO], bucket: Bucket, version: int) -> Iterator[pa.Table]:
    """Rows of the table `maps` from the Parquet files of a job, a bounded number of counts at a time."""
    held: list[pa.Table] = []
    counts = 0
    for file in files:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            for batch in parquet.iter_batches(MAPS_PER_STEP, use_threads=False):
                held.append(map_rows(batch, bucket, version))
                counts += len(held[-1].column("counts").chunk(0).values)
                if counts >= COUNTS_PER_BLOCK or len(held) * MAPS_PER_STEP >= MAPS_PER_BLOCK:
                    yield pa.concat_tables(held)
                    held, counts = [], 0
    if held:
        yield pa.concat_tables(held)


def map_rows(batch: pa.RecordBatch, bucket: Bucket, version: int) -> pa.Table:
    """The job's maps as the table stores them: those with SPARSE_BELOW cells or more as all their counts."""
    size = batch.num_rows
    cells, counts = _stored_form(batch.column("cells"), batch.column("counts"))
    return pa.table(
        {
            "client_id": batch.column("client_id"),
            "screen_id": batch.column("screen_id"),
            "event_type": batch.column("event_type"),
            "segment": batch.column("segment"),
            "level": pa.array([bucket.level.value] * size, pa.string()),
            "bucket_start": pa.array(np.full(size, bucket.start // 1000), pa.timestamp("s", tz="UTC")),
            "version": pa.array(np.full(size, version, np.uint64)),
            "grid_w": pa.array(np.full(size, GRID_W, np.uint16)),
            "grid_h": pa.array(np.full(size, GRID_H, np.uint16)),
            "cells": cells,
            "counts": counts,
            "events": batch.column("events").cast(pa.uint64()),
            "tiled": batch.column("tiled").cast(pa.uint64()),
            "last_event": batch.column("last_event").cast(MOMENT),
        }
    )


def _stored_form(cells: Any, counts: Any) -> tuple[Any, Any]:
    """Lists (cells, counts) in the table's forms, from lists of the cells that are not zero and their counts."""
    lengths = np.diff(cells.offsets.to_numpy())
    where, many = cells.flatten().to_numpy(), counts.flatten().to_numpy()
    dense = lengths >= SPARSE_BELOW
    first = _starts(np.where(dense, CELLS, lengths))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    in_map = np.where(dense[owner], where, np.arange(len(where)) - np.cumsum(lengths)[owner] + lengths[owner])
    stored = np.zeros(first[-1], np.uint64)
    stored[first[owner] + in_map] = many
    kept = where[~dense[owner]].astype(np.uint16)
    return (
        pa.ListArray.from_arrays(_starts(np.where(dense, 0, lengths)), pa.array(kept)),
        pa.ListArray.from_arrays(first, pa.array(stored)),
    )


def _starts(lengths: Any) -> Any:
    """Offsets of lists of these lengths, shape (n + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def to_parquet(stored: pa.Table) -> memoryview:
    """Stored maps as the job reads them; Spark knows no unsigned numbers."""
    changed = {"cells": pa.list_(pa.int32()), "counts": pa.list_(pa.int64()), "events": pa.int64()}
    fields = [field.with_type(changed.get(field.name, field.type)) for field in stored.schema]
    sink = pa.BufferOutputStream()
    table = stored.cast(pa.schema(fields))
    pq.write_table(table, sink, compression="zstd", store_schema=False, write_page_checksum=True)
    return memoryview(sink.getvalue()).cast("B")
