"""Maps of an hour, day, week and year by HTTP, each request another screen, with many full maps in the table."""

import http.client
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.noise import Others, wait_quiet
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, cover, floor
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W
from isotherm.store.db import open_db, writing
from isotherm.store.olap import Olap, open_olap
from isotherm.store.tables import buckets as buckets_table

CLIENT: Final = "bench"
SCREENS: Final = 20
CHUNK: Final = 100
MEASURED: Final = 100
"""Fewer requests than this are no measurement: nobody waits for a quiet machine."""
JSON: Final = {"accept": "application/json", "accept-encoding": "identity"}
FORMS: Final = {
    "json": JSON,
    "json gzip": JSON | {"accept-encoding": "gzip"},
    "arrow": {"accept": "application/vnd.apache.arrow.stream", "accept-encoding": "identity"},
}


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Latency of GET /v1/heatmap, uncached (no ETag, no repeated bucket of one screen in a row)."""
    now = SystemClock().now_ms()
    spans = _spans(now, sizes.query_weeks)
    maps = _fill(Settings(data=folder / "data"), spans, sizes.query_maps)
    # Without room in the cache, every map is read.
    with up(folder / "data", cache="memory://?max_bytes=0") as system:
        system.wait_idle(180)
        found = {
            f"{name} {form}": _measure(system, span, headers, sizes.query_requests)
            for name, span in spans.items()
            for form, headers in FORMS.items()
            if form == "json" or name == "year"
        }
    return {"maps": maps, "screens": SCREENS, "requests": sizes.query_requests, "ranges": found}


def _spans(now: int, weeks: int) -> dict[str, tuple[int, int]]:
    """Ranges in ms. The year starts on a Wednesday and ends at the last full hour: weeks, odd days, odd hours."""
    hour = now - now % HOUR_MS
    day, week = floor(Level.DAY, hour), floor(Level.WEEK, hour)
    return {
        "hour": (hour - HOUR_MS, hour),
        "day": (day - DAY_MS, day),
        "week": (week - WEEK_MS, week),
        "year": (week - (weeks - 1) * WEEK_MS - 5 * DAY_MS, hour),
    }


def _fill(settings: Settings, spans: dict[str, tuple[int, int]], least: int) -> int:
    """Publish full maps of every screen for every bucket the ranges need, and more up to `least`; returns how many."""
    wanted = sorted({bucket for span in spans.values() for bucket in cover(*span)})
    screens = max(SCREENS, -(-least // len(wanted)))
    engine = open_db(settings.url("db"))
    olap = open_olap(settings.url("olap"), settings)
    try:
        rng = np.random.default_rng(1)
        pairs = [(f"/page-{n}", bucket) for n in range(screens) for bucket in wanted]
        for first in range(0, len(pairs), CHUNK):
            _insert(olap, rng, pairs[first : first + CHUNK])
        with writing(engine) as connection:
            connection.execute(buckets_table.insert(), [_published(bucket, screens) for bucket in wanted])
    finally:
        olap.close()
        engine.dispose()
    return len(pairs)


def _insert(olap: Olap, rng: np.random.Generator, pairs: list[tuple[str, Bucket]]) -> None:
    counts: npt.NDArray[np.uint64] = rng.poisson(rng.uniform(2, 80, CELLS), (len(pairs), CELLS)).astype(np.uint64)
    sums = counts.sum(axis=1)
    seconds = np.array([bucket.start // 1000 for _, bucket in pairs], np.uint32)
    offsets = np.arange(len(pairs) + 1, dtype=np.int32)
    size = len(pairs)
    columns = {
        "client_id": pa.array([CLIENT] * size),
        "screen_id": pa.array([screen for screen, _ in pairs]),
        "event_type": pa.array(["mousemove"] * size),
        "segment": pa.array([""] * size),
        "level": pa.array([bucket.level.value for _, bucket in pairs]),
        "bucket_start": pa.array(seconds),
        "version": pa.array(np.ones(size, np.uint64)),
        "grid_w": pa.array(np.full(size, GRID_W, np.uint16)),
        "grid_h": pa.array(np.full(size, GRID_H, np.uint16)),
        "cells": pa.ListArray.from_arrays(pa.array(offsets * 0), pa.array([], pa.uint16())),
        "counts": pa.ListArray.from_arrays(pa.array(offsets * CELLS), pa.array(counts.ravel())),
        "events": pa.array(sums),
        "tiled": pa.array(sums),
        "last_event": pa.array(seconds.astype(np.int64) * 1000, pa.timestamp("ms", "UTC")),
    }
    olap.insert("maps", pa.table(columns))


def _published(bucket: Bucket, maps: int) -> dict[str, Any]:
    return {
        "level": bucket.level.value,
        "start": bucket.start,
        "client_id": CLIENT,
        "version": 1,
        "manifest_version": 1,
        "hash": "",
        "maps": maps,
        "rows": maps,
        "tiled": maps,
        "code_version": "bench",
        "cost_ms": 0,
        "published_at": bucket.end,
        "provenance": {},
    }


def _measure(system: System, span: tuple[int, int], headers: dict[str, str], requests: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=60)
    times, sizes = np.zeros(requests), np.zeros(requests)
    if requests >= MEASURED:
        wait_quiet()
    others = Others(system.process.pid)
    try:
        for number in range(-SCREENS, requests):
            query = {"client_id": CLIENT, "screen_id": f"/page-{number % SCREENS}", "from": span[0], "to": span[1]}
            start = time.perf_counter()
            connection.request("GET", f"/v1/heatmap?{urlencode(query)}", headers=headers)
            response = connection.getresponse()
            content = response.read()
            if response.status != http.client.OK:
                raise IsothermError(f"bench: /v1/heatmap answered {response.status}: {content[:300]!r}")
            if number >= 0:
                times[number], sizes[number] = (time.perf_counter() - start) * 1e3, len(content)
    finally:
        connection.close()
    p50, p95, p99 = (round(float(p), 1) for p in np.percentile(times, (50, 95, 99)))
    facts = {"buckets": len(cover(*span)), "answer_kb": round(sizes.mean() / 1e3), "others_cores": others.cores()}
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, **facts}
