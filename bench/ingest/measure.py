"""Durable ingest beside nginx, Redis and PostgreSQL: the same bodies, in turns, medians of the rounds."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import machine
from bench.ingest import isotherm, nginx, postgres, redis
from bench.ingest.target import Target
from bench.load import bodies as load_bodies
from bench.load import threads, wrk
from bench.load.bodies import Body
from bench.noise import Others, quiet, wait_quiet
from bench.processes import cpu_seconds, disk_bytes
from bench.sizes import Sizes
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError

FREE_GIB: Final = 25
MEDIANS: Final = ("events_per_second", "p50_ms", "p99_ms", "cpu_s_per_million", "disk_bytes_per_event")


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Measure all targets in turns: A B C D A B C D ...; each round starts its server again."""
    machine.require_free(folder, FREE_GIB if sizes.ingest_seconds > 1 else 2)
    bodies = load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms())
    lines = folder / "bodies.txt"
    load_bodies.write(bodies, lines)
    settings = Settings(data=folder / "isotherm")
    remembering = isotherm.remember(settings, sizes.remembered_ids)
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(sizes.ingest_rounds):
        for name, serve in _targets(folder, bodies, settings.data, number).items():
            if sizes.ingest_seconds > 1:
                wait_quiet()
            with serve() as target:
                found.setdefault(name, []).append(_round(target, lines, sizes))
            print(f"  {found[name][-1]}", flush=True)
    written = isotherm.records(settings) - sizes.remembered_ids
    acknowledged = sum(r["events"] for r in found["isotherm"]) // sizes.events
    if written < acknowledged:
        raise IsothermError(f"bench: {acknowledged} batches were acknowledged, the log has {written}")
    return {
        "remembered_ids": sizes.remembered_ids,
        "remembering_seconds": round(remembering, 1),
        "body_bytes_per_event": round(lines.stat().st_size / sizes.bodies / sizes.events, 1),
        "connections": sizes.connections,
        "seconds": sizes.ingest_seconds,
        "targets": {name: _summary(rounds) for name, rounds in found.items()},
    }


def _targets(
    folder: Path, bodies: list[Body], data: Path, number: int
) -> dict[str, Callable[[], AbstractContextManager[Target]]]:
    def fresh(name: str) -> Path:
        made = folder / f"{name}-{number}"
        made.mkdir()
        return made

    return {
        "isotherm": lambda: isotherm.serve(data),
        "nginx_proxy": lambda: nginx.by_proxy(fresh("proxy")),
        "nginx_mirror": lambda: nginx.by_mirror(fresh("mirror")),
        "redis": lambda: redis.serve(fresh("redis"), bodies),
        "postgres": lambda: postgres.serve(fresh("postgres"), bodies),
    }


def _round(target: Target, lines: Path, sizes: Sizes) -> dict[str, Any]:
    # What the round before left in the page cache is written now, not at this one's cost.
    os.sync()
    others = Others(target.pid)
    disk, cpu = disk_bytes(target.folder), cpu_seconds(target.pid)
    if target.url:
        load = wrk.send(
            lines,
            target.url,
            "/events/batch",
            seconds=sizes.ingest_seconds,
            connections=sizes.connections,
            events=sizes.events,
        )
    else:
        load = threads.send(target.units, seconds=sizes.ingest_seconds)
    if not load.events:
        raise IsothermError(f"bench: {target.name} acknowledged nothing ({load})")
    cpu, cores = cpu_seconds(target.pid) - cpu, others.cores()
    # Files that were preallocated or are still buffered show their blocks after a sync.
    os.sync()
    time.sleep(0.2)
    return {
        "name": target.name,
        "durability": target.durability,
        "events": load.events,
        "events_per_second": round(load.rate),
        "p50_ms": round(load.p50_ms, 2),
        "p99_ms": round(load.p99_ms, 2),
        "cpu_s_per_million": round(cpu / load.events * 1e6, 3),
        "disk_bytes_per_event": round((disk_bytes(target.folder) - disk) / load.events, 1),
        "refused": load.refused,
        "broken": load.broken,
        "others_cores": cores,
    }


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    first = rounds[0]
    return {
        "name": first["name"],
        "durability": first["durability"],
        **{name: round(median(r[name] for r in quiet(rounds)), 3) for name in MEDIANS},
        "refused": sum(r["refused"] for r in rounds),
        "broken": sum(r["broken"] for r in rounds),
        "rounds": [{name: r[name] for name in ("events_per_second", "others_cores")} for r in rounds],
    }
