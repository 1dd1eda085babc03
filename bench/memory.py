"""Memory of `isotherm up`: idle, and while it takes, lands and tiles as much as it can."""

import threading
import time
from pathlib import Path
from typing import Any

from bench.load import bodies as load_bodies
from bench.load import wrk
from bench.processes import tree
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.clock import SystemClock


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """PSS without file pages (Pss_Anon + Pss_Shmem) of the whole process group, in MB (10^6 bytes)."""
    lines = folder / "bodies.txt"
    load_bodies.write(load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms()), lines)
    with up(folder / "data") as system:
        time.sleep(sizes.idle_seconds)
        idle = system.memory_mb()
        processes = len(tree(system.process.pid))
        seen, load = _under_load(system, lines, sizes)
        system.wait_idle(180)
        return {
            "idle_mb": round(idle),
            "loaded_mb": round(max(seen)),
            "after_mb": round(system.memory_mb()),
            "processes": processes,
            "idle_seconds": sizes.idle_seconds,
            "load_seconds": sizes.loaded_seconds,
            "load_events_per_second": round(load.rate),
        }


def _under_load(system: System, lines: Path, sizes: Sizes) -> tuple[list[float], Any]:
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            seen.append(system.memory_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load = wrk.send(
            lines,
            system.collect_url,
            "/events/batch",
            seconds=sizes.loaded_seconds,
            connections=sizes.connections,
            events=sizes.events,
        )
    finally:
        over.set()
        watcher.join()
    return [*seen, system.memory_mb()], load
