"""An API over maps that the tests put there themselves: no job of ours makes what the API must answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from litestar.testing import TestClient

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.serve.app import create_app
from isotherm.serve.deps import Deps
from isotherm.serve.more import More
from isotherm.store import tables
from isotherm.store.db import writing
from isotherm.store.olap import Olap

NOW = 1_771_236_000_000  # Monday 2026-02-16T10:00:00Z
WEEK = 1_770_595_200_000  # Monday 2026-02-09T00:00:00Z
LEVEL_MS = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}
Key = tuple[str, str, str, int]


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def edge(level: str, ms: int) -> int:
    """Start of the bucket; 1970-01-05 was a Monday."""
    offset = 4 * DAY_MS if level == "week" else 0
    return ms - (ms - offset) % LEVEL_MS[level]


@dataclass
class World:
    """Stores, the hours put into them, and a client of the API over them."""

    settings: Settings
    engine: sa.Engine
    olap: Olap
    clock: ManualClock
    hours: dict[Key, np.ndarray] = field(default_factory=dict)
    version: int = 0

    def deps(self, **more: Any) -> Deps:
        return Deps(settings=self.settings, engine=self.engine, olap=self.olap, clock=self.clock, **more)

    def client(self, added: More | None = None, **more: Any) -> TestClient[Any]:
        app = create_app(self.deps(**more)) if added is None else create_app(self.deps(**more), added)
        return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    def put(self, client_id: str, screen_id: str, hour: int, cells: Mapping[int, int], kind: str = "mousemove") -> None:
        """Remember an hour's map; `publish` writes it and what follows from it."""
        counts = np.zeros(20_000, np.uint64)
        counts[list(cells)] = list(cells.values())
        self.hours[client_id, screen_id, kind, hour] = counts

    def publish(self, *levels: str) -> None:
        """Write the maps of these levels, all by default, and publish their buckets."""
        self.version += 1
        self.write(made(self.hours, self.version, levels or tuple(LEVEL_MS)))

    def write(self, maps: pa.Table) -> None:
        """Write these maps, which are of the world's version, and publish their buckets."""
        self.olap.insert("maps", maps)
        starts = (start * 1000 for start in maps["bucket_start"].to_pylist())
        published = set(zip(maps["level"].to_pylist(), starts, maps["client_id"].to_pylist(), strict=True))
        filler = {"manifest_version": 1, "hash": "", "maps": 1, "rows": 1, "tiled": 1, "code_version": "t"}
        filler |= {"cost_ms": 1, "published_at": NOW, "provenance": {}}
        columns = tables.buckets.c
        where = [columns[name] == sa.bindparam(f"_{name}") for name in ("level", "start", "client_id")]
        keys = [{"level": level, "start": start, "client_id": client_id} for level, start, client_id in published]
        with writing(self.engine) as connection:
            connection.execute(
                sa.delete(tables.buckets).where(*where), [{f"_{name}": v for name, v in key.items()} for key in keys]
            )
            connection.execute(sa.insert(tables.buckets), [key | {"version": self.version} | filler for key in keys])

    def mark(self, level: str, start: int, client_id: str) -> None:
        with writing(self.engine) as connection:
            row = {"level": level, "start": start, "client_id": client_id, "version": 9, "marked_at": NOW}
            connection.execute(sa.insert(tables.dirty).values(**row))

    def expected(self, client_id: str, screen_id: str, kinds: tuple[str, ...], start: int, end: int) -> dict[int, int]:
        """Cell -> count of a range, summed by NumPy from the hours that were put."""
        total = np.zeros(20_000, np.uint64)
        for (client, screen, kind, hour), counts in self.hours.items():
            if (client, screen) == (client_id, screen_id) and kind in kinds and start <= hour < end:
                total += counts
        return {int(cell): int(total[cell]) for cell in np.flatnonzero(total)}


MAPS = pa.schema(
    [
        ("client_id", pa.string()),
        ("screen_id", pa.string()),
        ("event_type", pa.string()),
        ("segment", pa.string()),
        ("level", pa.string()),
        ("bucket_start", pa.uint32()),
        ("version", pa.uint64()),
        ("grid_w", pa.uint16()),
        ("grid_h", pa.uint16()),
        ("cells", pa.list_(pa.uint16())),
        ("counts", pa.list_(pa.uint64())),
        ("events", pa.uint64()),
        ("tiled", pa.uint64()),
        ("last_event", pa.timestamp("ms", "UTC")),
    ]
)


def made(hours: Mapping[Key, np.ndarray], version: int, levels: Sequence[str]) -> pa.Table:
    """The maps of these hours on these levels, as rows of the tile store."""
    rows: list[dict[str, Any]] = []
    for level in levels:
        sums: dict[Key, np.ndarray] = {}
        for (client_id, screen_id, kind, hour), counts in hours.items():
            key = (client_id, screen_id, kind, edge(level, hour))
            sums[key] = sums[key] + counts if key in sums else counts
        rows += [_row(level, key, counts, version) for key, counts in sums.items()]
    return pa.Table.from_pylist(rows, schema=MAPS)


def _row(level: str, key: Key, counts: np.ndarray, version: int) -> dict[str, Any]:
    client_id, screen_id, kind, start = key
    total = int(counts.sum())
    sparse = np.flatnonzero(counts) if np.count_nonzero(counts) < 2_000 else None
    return {
        "client_id": client_id,
        "screen_id": screen_id,
        "event_type": kind,
        "segment": "",
        "level": level,
        "bucket_start": start // 1000,
        "version": version,
        "grid_w": 100,
        "grid_h": 200,
        "cells": [] if sparse is None else sparse.tolist(),
        "counts": (counts if sparse is None else counts[sparse]).tolist(),
        "events": total,
        "tiled": total,
        "last_event": datetime.fromtimestamp(start / 1000 + 61, UTC),
    }


def two_weeks(world: World) -> World:
    """Two clients with a screen of the same name, hours over two weeks, three kinds of events."""
    if not _TWO_WEEKS:
        _draw_two_weeks(world)
        hours = dict(world.hours)
        _TWO_WEEKS.append((hours, made(hours, 1, tuple(LEVEL_MS))))
    hours, maps = _TWO_WEEKS[0]
    world.hours.update(hours)
    world.version = 1
    world.write(maps)
    return world


_TWO_WEEKS: list[tuple[dict[Key, np.ndarray], pa.Table]] = []
"""Drawn once per process: hundreds of tests look at them."""


def _draw_two_weeks(world: World) -> None:
    numbers = np.random.default_rng(7)
    for client_id, factor in (("shop", 1), ("bank", 1000)):
        for hour in range(WEEK - 7 * DAY_MS, WEEK + 7 * DAY_MS + 9 * HOUR_MS, 5 * HOUR_MS):
            for kind in ("mousemove", "click"):
                cells = numbers.choice(20_000, 40, replace=False).tolist()
                world.put(client_id, "/home", hour, dict.fromkeys(cells, factor + int(numbers.integers(5))), kind)
    dense = dict(enumerate(numbers.integers(1, 9, 20_000).tolist()))
    world.put("shop", "/dense", WEEK + 3 * HOUR_MS, dense)
    world.put("shop", "/überblick's \\ 100%", WEEK + 4 * HOUR_MS, {0: 3, 19_999: 4}, "touch")
