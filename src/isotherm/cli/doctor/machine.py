"""What commonly goes wrong on one machine: versions, ports, disk, memory, limits, the clock, the data folder."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from isotherm.cli.checks import check_exposure
from isotherm.cli.doctor import formats
from isotherm.cli.doctor.dead import check_folders
from isotherm.cli.doctor.findings import Check, Finding
from isotherm.cli.doctor.folders import log_folder
from isotherm.cli.output import size
from isotherm.cli.processes import claim, read_running, url_of
from isotherm.clock import DAY_MS, SystemClock, iso
from isotherm.config import GIB, Settings
from isotherm.errors import ConfigError, Problem
from isotherm.store.db import revisions

OPEN_FILES: Final = 4_096
MEMORY: Final = 2 * GIB
_EARLIEST_MS: Final = 1_735_689_600_000
"""2025-01-01: a clock before this was never set."""
_OURS: Final = frozenset(
    {"log", "log-dead", "lake", "olap", "olap.lock", "dead", "isotherm.db", "isotherm.db-wal", "isotherm.db-shm",
     "isotherm.toml", "run.json", "run.json.new", "up.lock"}
)  # fmt: skip
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs"})


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Run the checks of this machine, one finding each or more. They change nothing."""
    checks: tuple[Check, ...] = (
        _versions, _ports, _exposure, _folder, _database, check_folders, _file_system, _disk, _memory, _files, _clock
    )  # fmt: skip
    for check in checks:
        yield from check(settings)


def _versions(settings: Settings) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("python", "error", f"{python}", "install isotherm with Python 3.11, 3.12 or 3.13")
    else:
        yield Finding("python", "ok", python)
    try:
        yield Finding("chdb", "ok", version("chdb-core"))
    except PackageNotFoundError:
        yield Finding(
            "chdb", "error", "is not installed",
            "pip install isotherm again; chDB has packages for glibc Linux and macOS, not for musl (Alpine) or Windows",
        )  # fmt: skip
    if version("pyarrow") == "25.0.0":
        yield Finding(
            "pyarrow", "error", "25.0.0 corrupts Parquet reads on some ARM machines", "pip install -U pyarrow"
        )


def _ports(settings: Settings) -> Iterator[Finding]:
    running = read_running(settings.data)
    if running is not None:
        yield Finding("ports", "ok", f"isotherm up runs (process {running.pid}): {running.app}, {running.collect}")
        return
    for host, port in (("host", "port"), ("collect_host", "collect_port")):
        address, number = getattr(settings, host), getattr(settings, port)
        try:
            claim(address, number, port).close()
        except ConfigError as error:
            if _is_ours(address, number):
                yield Finding(port, "ok", f"a role of isotherm answers on {address} port {number}")
            else:
                yield Finding(port, "error", f"{number} cannot be used", str(error))
        else:
            yield Finding(port, "ok", f"{number} on {address} is free" if number else "a free one is picked")


def _is_ours(address: str, port: int) -> bool:
    """Whether what listens there answers for its health as our roles do."""
    try:
        status, body = _health(f"{url_of(address, port)}/v1/healthz")
        said: dict[str, Any] = dict(json.loads(body))
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return False
    return said.get("status") in ("ok", "ready") if status == HTTPStatus.OK else _is_unwell(status, said)


def _health(url: str) -> tuple[int, bytes]:
    # A proxy of the environment is for the way out; this question stays on the machine.
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with ask.open(url, timeout=2.0) as answer:
            return answer.status, answer.read(4000)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(4000)


def _is_unwell(status: int, said: dict[str, Any]) -> bool:
    """Whether it is what our roles say when a store is away, or when they hang."""
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return False
    if said == {"status": "stalled"}:
        return True
    said.pop("next_retry_after_ms", None)
    detail = said.get("detail")
    return isinstance(detail, str) and said == Problem(status, detail).body()


def _exposure(settings: Settings) -> Iterator[Finding]:
    try:
        check_exposure(settings, app=True, collector=True)
    except ConfigError as error:
        yield Finding("exposure", "error", "a server would stand open to the network", str(error))


def _folder(settings: Settings) -> Iterator[Finding]:
    data = settings.data.absolute()
    if not data.exists():
        parent = next(p for p in data.parents if p.exists())
        if not os.access(parent, os.W_OK):
            yield Finding(
                "data", "error", f"{data} cannot be made", f"make {parent} writable, or choose another --data"
            )
        else:
            yield Finding("data", "ok", f"{data} will be made at the first start")
        return
    if not data.is_dir() or not os.access(data, os.W_OK | os.X_OK):
        yield Finding("data", "error", f"{data} is no folder this user can write to", "fix its owner, or choose --data")
        return
    foreign = sorted(p.name for p in data.iterdir() if p.name not in _OURS)
    ours = any((data / name).exists() for name in ("log", "isotherm.db", "olap"))
    if foreign and not ours:
        yield Finding(
            "data", "error", f"{data} holds other things ({', '.join(foreign[:3])})",
            "give isotherm a folder of its own with --data",
        )  # fmt: skip
    elif foreign:
        names = ", ".join(foreign[:5])
        yield Finding("data", "warning", f"{data} holds files that are not ours: {names}", "move them elsewhere")
    else:
        yield Finding("data", "ok", f"{data}")
    yield from log_folder(data / "log", "log")


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.data.absolute() / "isotherm.db"
    if settings.db or not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        yield Finding("db", "error", f"{path} is not a usable database ({error})", "restore it from a backup")
        return
    if sound != "ok":
        yield Finding("db", "error", f"{path} is damaged ({sound})", "restore it from a backup")
    elif row is None or row[0] not in revisions():
        found = row[0] if row else "nothing"
        yield Finding(
            "db", "error", f"{path} is of another version ({found})", "use the version that wrote it, or newer"
        )
    else:
        yield Finding("db", "ok", f"{path} ({size(path.stat().st_size)})")
        yield from _formats(path, settings)


def _formats(path: Path, settings: Settings) -> Iterator[Finding]:
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        yield from formats.examine(connection, settings)


def _file_system(settings: Settings) -> Iterator[Finding]:
    kind = file_system(_existing(settings.data.absolute()))
    if kind in _NETWORK:
        yield Finding(
            "file system", "error", f"the data folder is on {kind}, a network file system",
            "put --data on a local disk: memory-mapped logs and locks are not safe over a network",
        )  # fmt: skip
    elif kind == "tmpfs":
        yield Finding("file system", "warning", "the data folder is in memory (tmpfs)", "it is gone after a reboot")
    elif kind:
        yield Finding("file system", "ok", kind)


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system the path is on, e.g. ext4; empty where the system does not say (macOS)."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    points = [(line.split()[1].replace("\\040", " "), line.split()[2]) for line in lines]
    holding = [(point, kind) for point, kind in points if path.resolve().is_relative_to(point)]
    return max(holding, key=lambda item: len(item[0]))[1] if holding else ""


def _existing(path: Path) -> Path:
    return path if path.exists() else next(parent for parent in path.parents if parent.exists())


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(settings.data.absolute())).free
    if free < settings.disk_reserve_bytes:
        yield Finding(
            "disk", "error", f"{size(free)} free, less than disk_reserve_bytes ({size(settings.disk_reserve_bytes)})",
            "free some space: the collector answers 503 until then",
        )  # fmt: skip
    elif free < settings.disk_reserve_bytes + 10 * GIB:
        yield Finding("disk", "warning", f"{size(free)} free", "10 GB and more give room to merge files and tiles")
    else:
        yield Finding("disk", "ok", f"{size(free)} free")


def _memory(settings: Settings) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _container_limit()
    have = min(total, limit) if limit else total
    if have < MEMORY:
        yield Finding(
            "memory", "warning", f"{size(have)}", "2 GB or more keep large hours fast; lower job_memory_bytes"
        )
    elif settings.job_memory_bytes > have // 2:
        yield Finding(
            "memory", "warning", f"job_memory_bytes ({size(settings.job_memory_bytes)}) is over half of {size(have)}",
            "set ISOTHERM_JOB_MEMORY_BYTES to half of the memory at most",
        )  # fmt: skip
    else:
        yield Finding("memory", "ok", size(have))


def _container_limit() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    return None


def _files(settings: Settings) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        yield Finding("open files", "warning", f"at most {soft}", f"ulimit -n {min(hard, 65_536)} before the start")
    else:
        yield Finding("open files", "ok", f"at most {soft}")


def _clock(settings: Settings) -> Iterator[Finding]:
    now = SystemClock().now_ms()
    newest = _newest(settings.data)
    if now < _EARLIEST_MS:
        yield Finding(
            "clock", "error", f"says {iso(now)}", "set the clock: events are judged by it (late_horizon_days)"
        )
    elif newest > now + 5_000:
        yield Finding(
            "clock", "error", f"says {iso(now)}, but files of the data folder are from {iso(newest)}",
            "set the clock (NTP): it went back, or the file system's clock is another",
        )  # fmt: skip
    elif abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) > DAY_MS / 1000:
        yield Finding("clock", "error", "two clocks of this machine disagree", "set the clock (NTP)")
    else:
        yield Finding("clock", "ok", iso(now))


def _newest(data: Path) -> int:
    """Modification time of the newest file at the top of the data folder, in milliseconds."""
    if not data.is_dir():
        return 0
    stats: list[Any] = [p.stat() for p in data.iterdir() if p.exists()]
    return max((stat.st_mtime_ns // 1_000_000 for stat in stats), default=0)
