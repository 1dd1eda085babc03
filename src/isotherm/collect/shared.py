"""Metrics of several collector processes on one port, as one: whichever is asked tells the sums of all.

Counts and histograms are added, of gauges the largest counts. Of `process_*`, memory and CPU are sums (CPU with the
main process and those that ended), open files are those of the process that has most, and the start is the newest:
it shows that one was started again.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest, multiprocess
from prometheus_client.registry import Collector

from isotherm.metrics import SHARED_VARIABLES

_NAME: Final = "isotherm-collectors-"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, for this user only
_LOCK: Final = "lock"
_MERGED: Final[dict[str, Callable[[Iterable[float]], float]]] = {
    "process_open_fds": max,
    "process_max_fds": min,
    "process_start_time_seconds": max,
}
"""All others are added."""


@contextmanager
def folder(data: Path) -> Generator[Path]:
    """A new folder for the counts of the processes that are started now, named in the environment for them.

    In memory where the system has a place for that, else below `data`. It is gone at the end; what others left behind
    that died is taken away first. Raises OSError.
    """
    base = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else data
    base.mkdir(parents=True, exist_ok=True)
    _sweep(base)
    made = Path(tempfile.mkdtemp(prefix=_NAME, dir=base))
    handle = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.environ.update(dict.fromkeys(SHARED_VARIABLES, str(made)))
    try:
        yield made
    finally:
        for name in SHARED_VARIABLES:
            os.environ.pop(name, None)
        shutil.rmtree(made, ignore_errors=True)
        os.close(handle)


def _sweep(base: Path) -> None:
    """Take away folders of this user whose main process is gone. One that is being made has no lock yet."""
    for one in base.glob(f"{_NAME}*"):
        with suppress(OSError):
            if one.stat().st_uid == os.getuid() and _free(one / _LOCK):
                shutil.rmtree(one)


def _free(lock: Path) -> bool:
    """Whether nobody holds the lock. Raises FileNotFoundError where there is none."""
    handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def render(shared: Path) -> bytes:
    """The Prometheus text exposition of all processes that count in this folder."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(shared))
    registry.register(_Processes(shared))
    return generate_latest(registry)


class _Processes(Collector):
    """`process_*` of all living processes as one."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared

    def collect(self) -> Iterator[Metric]:
        found: dict[str, list[Metric]] = {}
        for pid in _living(self._shared):
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
                found.setdefault(metric.name, []).append(metric)
        for name, metrics in found.items():
            merged, first = _MERGED.get(name, sum), metrics[0]
            value = merged(sample.value for metric in metrics for sample in metric.samples)
            if name == "process_cpu_seconds":
                value += _ended_seconds()
            one = Metric(name, first.documentation, first.type)
            one.add_sample(first.samples[0].name, {}, value)
            yield one


def _living(shared: Path) -> list[int]:
    """Process ids of those that hold their places."""
    found: list[int] = []
    for place in shared.glob("*.pid"):
        with suppress(OSError, ValueError):
            if not _free(place):
                found.append(int(place.read_text()))
    return found


def _ended_seconds() -> float:
    """CPU of the main process and of its processes that ended; 0 where the system does not say."""
    try:
        text = Path(f"/proc/{os.getppid()}/stat").read_text()
    except OSError:
        return 0.0
    # The name in brackets may hold anything; utime is the 14th field of all, cstime the 17th.
    times = text.rpartition(")")[2].split()[11:15]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
