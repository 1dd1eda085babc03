"""What the figures were measured on, and whether the programs they are compared with are there."""

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from isotherm.errors import IsothermError

POSTGRES_BIN = "/usr/lib/postgresql"


def describe() -> dict[str, Any]:
    """CPU model, cores, memory, kernel and Python of this machine."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _field(path: Path, name: str) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def program(name: str) -> str:
    """Path of a program that a measurement needs.

    Raises IsothermError that says what to install.
    """
    folders = [os.environ.get("PATH", ""), "/usr/sbin"]
    folders += sorted((str(p) for p in Path(POSTGRES_BIN).glob("*/bin")), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise IsothermError(
            f"bench: {name} is missing; install nginx-light redis-server postgresql wrk by the system's package manager"
        )
    return found


def require_linux() -> None:
    """Memory and CPU time are read from /proc."""
    if not sys.platform.startswith("linux"):
        raise IsothermError("bench: needs Linux (it reads CPU time and memory from /proc)")


def require_free(folder: Path, gib: int) -> None:
    """Raise IsothermError when the folder's disk has less than `gib` GiB free."""
    free = shutil.disk_usage(folder).free / 2**30
    if free < gib:
        raise IsothermError(
            f"bench: {folder} has {free:.1f} GiB free, this needs {gib}; name another folder with TMPDIR"
        )
