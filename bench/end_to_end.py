"""End to end: what rate can be taken while Parquet and tiles keep up, and whether every event is counted."""

import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.load import bodies as load_bodies
from bench.load import wrk
from bench.load.result import Load
from bench.noise import QUIET_CORES, Others, wait_quiet
from bench.processes import cpu_seconds
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.clock import SystemClock
from isotherm.errors import IsothermError

DRAIN_SECONDS: Final = 300
KEEPS_UP_SHARE: Final = 0.95
"""Landing keeps up when it lists at least this share of the events that come in, over the load's second half."""
ATTEMPTS: Final = 3
IDLE_SECONDS: Final = 30
"""And when all is landed and tiled this long after the load's end; 15 s of it is the flush age."""


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Paced steps until landing falls behind, then a flood; each on a fresh installation."""
    steps: list[dict[str, Any]] = []
    for rate in sizes.paced_rates:
        steps.append(_undisturbed(folder, sizes, rate))
        if not steps[-1]["keeps_up"]:
            break
    flood = _step(folder / "flood", sizes, 0)
    print(f"  {flood}", flush=True)
    return {
        "sustained_events_per_second": max((s["events_per_second"] for s in steps if s["keeps_up"]), default=0),
        "keeps_up_share": KEEPS_UP_SHARE,
        "idle_within_seconds": IDLE_SECONDS,
        "steps": steps,
        "flood": flood,
    }


def _undisturbed(folder: Path, sizes: Sizes, rate: int) -> dict[str, Any]:
    """A step; one that fell behind while others used the machine is tried again."""
    for attempt in range(ATTEMPTS if sizes.flood_seconds > 1 else 1):
        step = _step(folder / f"rate-{rate}-{attempt}", sizes, rate)
        print(f"  {step}", flush=True)
        if step["keeps_up"] or step["others_cores"] <= QUIET_CORES:
            break
    return step


def _step(folder: Path, sizes: Sizes, rate: int) -> dict[str, Any]:
    folder.mkdir()
    lines = folder / "bodies.txt"
    began = SystemClock().now_ms()
    load_bodies.write(load_bodies.make(sizes.bodies, sizes.events, began), lines)
    seconds = sizes.paced_seconds if rate else sizes.flood_seconds
    if sizes.flood_seconds > 1:
        wait_quiet()
    with up(folder / "data") as system:
        others = Others(system.process.pid)
        cpu, start = cpu_seconds(system.process.pid), time.perf_counter()
        load, landing = _loaded(system, lines, sizes, seconds, rate)
        end, cores = time.perf_counter(), others.cores()
        system.wait_idle(DRAIN_SECONDS)
        drained = time.perf_counter()
        cpu = cpu_seconds(system.process.pid) - cpu
        events = _exact(system, load.events, began)
    share = landing / load.rate
    idle_after = drained - end
    return {
        "asked_events_per_second": rate,
        "events_per_second": round(load.rate),
        "p50_ms": round(load.p50_ms, 1),
        "p99_ms": round(load.p99_ms, 1),
        "refused": load.refused,
        "landed_events_per_second": round(landing),
        "idle_after_seconds": round(idle_after, 1),
        "through_events_per_second": round(events / (drained - start)),
        "cpu_s_per_million": round(cpu / events * 1e6, 2),
        "events": events,
        "others_cores": cores,
        "keeps_up": not load.refused and share >= KEEPS_UP_SHARE and idle_after <= IDLE_SECONDS,
    }


def _loaded(system: System, lines: Path, sizes: Sizes, seconds: int, rate: int) -> tuple[Load, float]:
    """The load, and the rate at which rows were listed during its second half (slope of a straight line)."""
    seen: list[tuple[float, int]] = []
    over = threading.Event()
    start = time.perf_counter()

    def watch() -> None:
        while not over.wait(0.25):
            seen.append((time.perf_counter() - start, system.rows()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load = wrk.send(
            lines,
            system.collect_url,
            "/events/batch",
            seconds=seconds,
            connections=sizes.connections,
            events=sizes.events,
            rate=rate,
        )
    finally:
        over.set()
        watcher.join()
    half = np.array([point for point in seen if point[0] >= seconds / 2], np.float64).reshape(-1, 2)
    return load, float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) if len(half) > 1 else 0.0


def _exact(system: System, acknowledged: int, began: int) -> int:
    """Accepted = landed = rows listed = sum of all maps, and at least what was acknowledged; returns that number."""
    ledger = system.ledger()
    accepted = ledger["accepted"]
    numbers = {"ledger landed": ledger["landed"], "rows listed": system.rows(), "in maps": system.counted(began)}
    if accepted < acknowledged or set(numbers.values()) != {accepted}:
        raise IsothermError(f"bench: acknowledged {acknowledged}, accepted {accepted}, but {numbers}")
    return accepted
