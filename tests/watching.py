"""For drills on memory and disk: what a running system's processes hold, and its folder, sampled beside the work."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from system_helpers import System

MB = 1_000_000


class Sample(NamedTuple):
    """`at` is by the monotonic clock; bytes by name."""

    at: float
    sizes: dict[str, int]


@dataclass
class Samples:
    """What was seen, oldest first."""

    memory: list[Sample] = field(default_factory=list[Sample])
    disk: list[Sample] = field(default_factory=list[Sample])

    def most(self, name: str) -> int:
        """The largest size that was seen of a process, in bytes."""
        return max((one.sizes.get(name, 0) for one in self.memory), default=0)


class Growth(NamedTuple):
    """Medians of the middle and of the last third of the samples, in bytes."""

    middle: float
    last: float

    def flat(self, share: float, slack: int) -> bool:
        """Whether the last third is not above the middle one by more than a share of it, or by `slack` bytes."""
        return self.last <= self.middle + max(self.middle * share, slack)

    def __str__(self) -> str:
        return f"{self.middle / MB:.0f} -> {self.last / MB:.0f} MB"


def growth(samples: Sequence[Sample], name: str) -> Growth:
    """The first third of the time is for warming up. Medians, so that a single peak or dip says nothing."""
    began, ended = samples[0].at, samples[-1].at
    third = (ended - began) / 3
    found = [(one.at, one.sizes[name]) for one in samples if name in one.sizes]
    middle = [size for at, size in found if began + third <= at < began + 2 * third]
    last = [size for at, size in found if at >= began + 2 * third]
    return Growth(statistics.median(middle), statistics.median(last))


def memory_of(pid: int) -> int:
    """Proportional set size without file pages, in bytes: they are given back when another program needs them."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return 0


def disk_of(folder: Path) -> int:
    """Blocks that the files below a folder take, in bytes."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(top, name)).st_blocks * 512  # noqa: PTH118 - called for every file
    return total


def _memory(system: System) -> dict[str, int]:
    """By role and process id; the collector is two processes, the newer one does the work."""
    found: dict[str, int] = {}
    for pid in system.family():
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            role = next((word.decode() for word in words if word in (b"up", b"collect", b"app")), "")
            if role and (size := memory_of(pid)):
                found[f"{role} {pid}"] = size
    return found


def _disk(system: System) -> dict[str, int]:
    parts = {path.name: disk_of(path) for path in system.data.iterdir() if path.is_dir()}
    return parts | {"all": disk_of(system.data)}


@contextmanager
def watched(system: System, *, memory_every: float = 2.0, disk_every: float = 10.0) -> Generator[Samples]:
    """Samples of a system that runs, until the block ends."""
    samples, over = Samples(), threading.Event()

    def take(into: list[Sample], look: Callable[[System], dict[str, int]], every: float) -> None:
        while not over.is_set():
            into.append(Sample(time.monotonic(), look(system)))
            over.wait(every)

    threads = [
        threading.Thread(target=take, args=(samples.memory, _memory, memory_every), name="memory"),
        threading.Thread(target=take, args=(samples.disk, _disk, disk_every), name="disk"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield samples
    finally:
        over.set()
        for thread in threads:
            thread.join()
