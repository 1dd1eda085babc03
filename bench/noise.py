"""Other programs on the machine: wait for them to finish, and say how much of it they took all the same."""

import os
import time
from pathlib import Path
from typing import Any, Final

from bench.processes import TICKS, cpu_seconds

QUIET_CORES: Final = 0.15
"""Up to here the rest of the machine (also the kernel's own threads) is taken for idle."""
WAIT_SECONDS: Final = 60


def _busy_seconds() -> float:
    """CPU seconds of all processes and interrupts since the machine started, see proc(5) on /proc/stat."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]))
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class Others:
    """CPU that processes took that are neither ours, nor below us and ended, nor in the trees of `pids`."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._start = time.monotonic()
        self._before = self._taken()

    def _taken(self) -> float:
        own = sum(os.times()[:4]) + sum(map(cpu_seconds, self._pids))
        return _busy_seconds() - own

    def cores(self) -> float:
        """Cores they kept busy on average since the start."""
        return round(max(0.0, self._taken() - self._before) / (time.monotonic() - self._start), 2)


def wait_quiet(*pids: int, seconds: float = WAIT_SECONDS) -> None:
    """Return when the rest of the machine was idle for a second, or after `seconds`; `pids` as of `Others`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        others = Others(*pids)
        time.sleep(1)
        if others.cores() <= QUIET_CORES:
            return


def quiet(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs that others left alone, by their `others_cores`; when there is none, the one they disturbed least."""
    calm = [run for run in runs if run["others_cores"] <= QUIET_CORES]
    return calm or [min(runs, key=lambda run: run["others_cores"])]
