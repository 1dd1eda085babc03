"""What a backup costs those who send while it runs, and how fast it comes back.

A steady load, well below what the collector takes, in pairs of rounds: alone, and beside `isotherm backup` of a lake
that the page cache does not hold. Pairs take turns in who is first (ABBA), and what counts is the median of their
ratios. Lake and backups lie on the disk of the log, which is the worst place for them. Then `isotherm restore` in turns
with `cp -r` and `sync` of the same files.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from bench.ingest.isotherm import environment
from bench.load import bodies as load_bodies
from bench.load import wrk
from bench.load.result import Load
from bench.machine import require_free
from bench.noise import QUIET_CORES, Others, wait_quiet
from bench.processes import cpu_seconds, running, wait_for
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.events import hour_of
from isotherm.store.db import open_db, writing
from isotherm.store.tables import files

GATE: Final = 10.0
"""Percent that a backup may add to the p99 of the collector's answers."""
RESTORE_GATE: Final = 300e6
SETTLE_SECONDS: Final = 60


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Pairs of rounds, medians of p50 and p99 with and without, the pairs' ratios; bytes per second back and forth."""
    require_free(folder, 1 + 5 * sizes.backup_mb // 1000)
    data, lines = folder / "data", folder / "bodies.txt"
    load_bodies.write(load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms()), lines)
    data.mkdir()
    lake = _fill(data, sizes.backup_mb)
    pairs: list[dict[str, Any]] = []
    with up(data) as system:
        _sent(system, lines, sizes)
        system.wait_idle(SETTLE_SECONDS)
        for number in range(sizes.backup_pairs):
            pairs.append(_pair(system, lines, sizes, lake, folder, first=number % 2 == 0))
            print(f"  {pairs[-1]}", flush=True)
        system.wait_idle(SETTLE_SECONDS)
    ratios = [pair["with"]["p99_ms"] / pair["without"]["p99_ms"] for pair in pairs]
    return {
        "events_per_second": sizes.backup_rate,
        "seconds": sizes.backup_seconds,
        "lake_mb": sizes.backup_mb,
        "pairs": len(pairs),
        **{name: _middle([pair[name] for pair in pairs]) for name in ("without", "with")},
        "p99_ratios": [round(ratio, 3) for ratio in ratios],
        "p99_added_percent": round(100 * (statistics.median(ratios) - 1), 1),
        "others_cores": round(statistics.median(pair[name]["others_cores"] for pair in pairs for name in _NAMES), 2),
        "restore": _restored(data, folder, lake, sizes),
    }


_NAMES: Final = ("without", "with")


def gates(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """The rows of the report's gates."""
    added, rate = found["p99_added_percent"], found["restore"]["bytes_per_second"]
    return [
        ("a backup adds to the p99 of ingest", f"<= {GATE:g} %", f"{added} %", added <= GATE),
        ("restore", ">= 300 MB/s", f"{rate / 1e6:.0f} MB/s", rate >= RESTORE_GATE),
    ]


def describe(found: dict[str, Any]) -> tuple[str, tuple[str, ...], list[tuple[Any, ...]]]:
    """The report's words, and the heads and rows of its table."""
    back = found["restore"]
    words = (
        f"`isotherm up` under {found['events_per_second']:,} events/s in bodies of 200, {found['seconds']} s a round, "
        f"{found['pairs']} pairs of rounds in turns (ABBA); beside every second one `isotherm backup` of a lake of "
        f"{found['lake_mb']:,} MB that the page cache does not hold, to the log's disk. Medians of the rounds; "
        f"the ratio of the p99 is the median of the pairs' ({', '.join(map(str, found['p99_ratios']))}). Other "
        f"programs took {found['others_cores']} cores.\n\n"
        f"`isotherm restore` of {back['bytes'] / 1e6:,.0f} MB, every byte hashed and synced: "
        f"{back['bytes_per_second'] / 1e6:,.0f} MB/s (best {back['best_bytes_per_second'] / 1e6:,.0f}) in "
        f"{back['rounds']} rounds, in turns with `cp -r` and `sync` of the same lake: "
        f"{back['floor_bytes_per_second'] / 1e6:,.0f} MB/s."
    )
    heads = ("", "p50 ms", "p99 ms", "most ms", "events/s", "backup MB/s", "backup CPU-s")
    rows = [
        (name, one["p50_ms"], one["p99_ms"], one["max_ms"], f"{one['events_per_second']:,}", *more)
        for name, one, more in (
            ("alone", found["without"], ("", "")),
            ("beside a backup", found["with"], (found["with"]["backup_mb_per_second"], found["with"]["backup_cpu_s"])),
        )
    ]
    return words, heads, rows


def _fill(data: Path, megabytes: int) -> list[Path]:
    """Listed files of single hours of past days, of bytes that no disk or file system packs; a backup looks into none.

    Of the day after the archive's last and before the day of the load: nothing else touches them.
    """
    hour, chance = hour_of(SystemClock().now_ms()) - 3 * DAY_MS, np.random.default_rng(1)
    size = min(32_000_000, megabytes * 1_000_000 // 4)
    engine = open_db(f"sqlite://{data / 'isotherm.db'}")
    made: list[Path] = []
    rows: list[dict[str, Any]] = []
    for number in range(megabytes * 1_000_000 // size):
        start = hour - number * HOUR_MS
        path = f"dt={np.datetime64(start, 'ms').item():%Y-%m-%d}/hour=00/client_id=kept/part-0-{number}.parquet"
        where = data / "lake" / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(chance.bytes(size))
        made.append(where)
        rows.append(
            {"path": path, "state": "listed", "format": "parquet", "client_id": "kept", "hour": start, "rows": 1}
            | {"bytes": size, "created_at": start}
        )
    with writing(engine) as connection:
        connection.execute(sa.insert(files), rows)
    engine.dispose()
    return made


def _pair(
    system: System, lines: Path, sizes: Sizes, lake: list[Path], folder: Path, *, first: bool
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for beside in (first, not first):
        _forget(lake)
        if sizes.backup_seconds > 1:
            wait_quiet(system.process.pid, seconds=20)
        others = Others(system.process.pid)
        if not beside:
            found["without"] = _round(_sent(system, lines, sizes), others.cores())
            continue
        with _backup(system.data, folder) as backup:
            others = Others(system.process.pid)
            load = _sent(system, lines, sizes)
            taken, cores = backup.take(), others.cores()
        found["with"] = _round(load, max(0.0, cores - taken["backup_cpu_s"] / load.seconds)) | taken
    return found


def _sent(system: System, lines: Path, sizes: Sizes) -> Load:
    return wrk.send(
        lines,
        system.collect_url,
        "/events/batch",
        seconds=sizes.backup_seconds,
        connections=sizes.connections,
        events=sizes.events,
        rate=sizes.backup_rate,
    )


def _round(load: Load, cores: float) -> dict[str, Any]:
    if load.refused or load.broken:
        raise IsothermError(f"bench: {load.refused} requests refused, {load.broken} broken")
    return {
        "p50_ms": round(load.p50_ms, 2),
        "p99_ms": round(load.p99_ms, 2),
        "max_ms": round(load.max_ms, 2),
        "events_per_second": round(load.rate),
        "others_cores": round(cores, 2),
    }


def _middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}


class _Running:
    """One full backup to an empty place, under way."""

    def __init__(self, process: "subprocess.Popen[bytes]", place: Path) -> None:
        self._process = process
        self._place = place
        self._began, self._before = time.monotonic(), _size(place)
        self._spent = cpu_seconds(process.pid)

    def take(self) -> dict[str, Any]:
        """What it copied and spent since. Raises IsothermError when it failed."""
        if self._process.poll():
            raise IsothermError(f"bench: isotherm backup ended with code {self._process.returncode}")
        seconds, moved = time.monotonic() - self._began, _size(self._place) - self._before
        spent = max(0.0, cpu_seconds(self._process.pid) - self._spent)
        return {"backup_mb_per_second": round(moved / seconds / 1e6, 1), "backup_cpu_s": round(spent, 2)}


@contextmanager
def _backup(data: Path, folder: Path) -> Iterator[_Running]:
    """A backup runs in the block, already at the lake's files; what it wrote is removed."""
    place = folder / "backups"
    with running(_command(data, place), folder / "backup.log", env=environment()) as process:
        wait_for("the backup to copy files", lambda: _size(place) > 1_000_000, SETTLE_SECONDS, None)
        yield _Running(process, place)
    shutil.rmtree(place)


def _command(data: Path, place: Path) -> list[str]:
    return [sys.executable, "-m", "isotherm", "backup", "--data", str(data), "--to", f"file://{place}"]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _forget(lake: list[Path]) -> None:
    """Out of the page cache: a backup's first look at a file is at the disk."""
    for path in lake:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _restored(data: Path, folder: Path, lake: list[Path], sizes: Sizes) -> dict[str, Any]:
    """Restores in turns with the floor; both read what the page cache holds."""
    place = folder / "kept"
    _asked(_command(data, place))
    rates: list[float] = []
    floors: list[float] = []
    others = Others()
    moved = 0
    for number in range(sizes.backup_pairs):
        if sizes.backup_seconds > 1:
            wait_quiet(seconds=20)
        floors.append(_copied(data / "lake", folder / "copied", sum(path.stat().st_size for path in lake)))
        again = folder / f"again-{number}"
        command = [sys.executable, "-m", "isotherm", "restore", "--data", str(again), "--from", f"file://{place}"]
        said = json.loads(_asked([*command, "--json"]))
        moved = said["bytes"]
        rates.append(moved / max(said["seconds"], 0.05))
        shutil.rmtree(again)
    return {
        "bytes": moved,
        "rounds": len(rates),
        "bytes_per_second": round(statistics.median(rates)),
        "best_bytes_per_second": round(max(rates)),
        "floor_bytes_per_second": round(statistics.median(floors)),
        "others_cores": others.cores(),
        "quiet": others.cores() <= QUIET_CORES,
    }


def _asked(command: list[str]) -> str:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise IsothermError(f"bench: {' '.join(command[3:5])} failed: {done.stderr[-1000:]}")
    return done.stdout


def _copied(source: Path, target: Path, size: int) -> float:
    """Bytes per second of `cp -r` with `sync`."""
    begun = time.monotonic()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run(["sync", "-f", str(target)], check=True)
    seconds = time.monotonic() - begun
    shutil.rmtree(target)
    return size / seconds
