"""One hour of a busy site in a real lake: files written by the lake's own writer and listed in its manifest."""

from collections import Counter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench.load.bodies import WINDOWS, on_pixels
from bench.load.bodies import path as pointer_path
from isotherm.clock import HOUR_MS
from isotherm.land import rowhash
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.schema import LAKE_SCHEMA
from isotherm.land.store import write_files

CLIENTS: Final = 4
SCREENS: Final = 20
TYPES: Final = ("mousemove", "click")
MAPS: Final = CLIENTS * SCREENS * len(TYPES)
CLICKS: Final = 0.02
BATCH: Final = 200
LOG: Final = "bench"


def fill(lake: Lake, manifest: Manifest, hour: int, rows: int, file_rows: int) -> list[LakeFile]:
    """Land `rows` events of the hour in files of `file_rows`, the clients in turn; returns the listed files."""
    done = [_write(lake, manifest, hour, number, file_rows) for number in range(rows // file_rows)]
    counts = Counter[tuple[str, int, str, str]]()
    for file in done:
        counts[file.client_id, hour, "accepted", ""] += file.rows
        counts[file.client_id, hour, "landed", ""] += file.rows
    manifest.land(Landing(LOG, 0, 0, done[-1].ranges[-1].last_offset + 1, done, counts))
    return done


def _write(lake: Lake, manifest: Manifest, hour: int, number: int, rows: int) -> LakeFile:
    client = f"bench-{number % CLIENTS}"
    table = rows_of_file(client, hour, number, rows)
    times = table.column("event_time").cast(pa.int64()).to_numpy()
    digest = rowhash.of_table(table)
    first, last = number * rows // BATCH, (number + 1) * rows // BATCH - 1
    ranges = [OffsetRange(LOG, 0, first, last, rows, digest)]
    moment = np.datetime64(hour, "ms").item()
    path = f"dt={moment:%Y-%m-%d}/hour={moment:%H}/client_id={client}/part-0-{first}-{last}-bench.parquet"
    low, high = int(times.min()), int(times.max())
    file = LakeFile(path, "parquet", client, hour, rows, 0, low, high, digest, ranges)
    return write_files(lake, manifest, [(file, table)])[0]


def rows_of_file(client_id: str, hour: int, number: int, rows: int) -> pa.Table:
    """One file's rows in the lake's schema and order (by screen, then offset): batches of 200 pointer events."""
    rng = np.random.default_rng(number)
    batches = rows // BATCH
    screen = np.sort(rng.integers(0, SCREENS, batches))
    window = rng.integers(0, len(WINDOWS), batches)
    sizes = np.array(WINDOWS, np.float64)[window]
    page_h = np.floor(sizes[:, 1] * (1 + screen / 4))
    start = rng.integers(0, HOUR_MS - BATCH * 25, batches)
    pace = np.cumsum(rng.integers(8, 25, (batches, BATCH)), axis=1)
    spread = {
        "screen_id": _names(sorted(f"/shop/page-{n}" for n in range(SCREENS)), np.repeat(screen, BATCH)),
        "event_type": _names(list(TYPES), (rng.random(rows) < CLICKS).astype(np.int32)),
        "event_time": pa.array(hour + (start[:, None] + pace).ravel()),
        "received_at": pa.array(np.repeat(hour + start + 3_000, BATCH)),
        "x_norm": pa.array(on_pixels(pointer_path(rng, rows), np.repeat(sizes[:, 0], BATCH))),
        "y_norm": pa.array(on_pixels(pointer_path(rng, rows), np.repeat(page_h, BATCH))),
        "viewport_w": pa.array(np.repeat(sizes[:, 0], BATCH)),
        "viewport_h": pa.array(np.repeat(sizes[:, 1], BATCH)),
        "document_h": pa.array(np.repeat(page_h, BATCH)),
        "client_id": _names([client_id], np.zeros(rows)),
        "session_id": _visits(number, batches, 3),
        "visitor_id": _visits(number, batches, 9),
        "batch_id": _visits(number, batches, 1),
        "position": pa.array(np.tile(np.arange(BATCH, dtype=np.int32), batches)),
        "log_partition": pa.array(np.zeros(rows, np.int32)),
        "log_offset": pa.array(np.repeat(number * batches + np.arange(batches), BATCH)),
    }
    columns = [_column(spread.get(f.name), f, rows) for f in LAKE_SCHEMA]
    return pa.table(columns, schema=LAKE_SCHEMA)


def _column(values: Any, field: Any, rows: int) -> Any:
    return pa.nulls(rows, field.type) if values is None else values.cast(field.type)


def _names(names: list[str], indices: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), names)


def _visits(number: int, batches: int, per_visit: int) -> Any:
    """Ids that change every `per_visit` batches."""
    count = -(-batches // per_visit)
    ids = [f"{(number * batches + n) * 0x9E3779B97F4A7C15 % 2**64:016x}-{per_visit}" for n in range(count)]
    return _names(ids, np.repeat(np.arange(batches) // per_visit, BATCH))
