"""Start, watch and stop the processes of a measurement: each by its own id, also when the measurement fails."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from isotherm.errors import IsothermError

TICKS: Final = os.sysconf("SC_CLK_TCK")
STOP_SECONDS: Final = 30


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with its output in `log`; it and what it started are gone when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        yield process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL for whatever is left of its family after `STOP_SECONDS`."""
    family = tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    for pid, started in family.items():
        if tree(pid).get(pid) == started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def wait_for(
    what: str,
    ready: Callable[[], bool],
    seconds: float,
    process: "subprocess.Popen[bytes] | None",
    pause: float = 0.05,
) -> None:
    """Poll until `ready()`; raises IsothermError when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            raise IsothermError(f"bench: {what}: the process ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise IsothermError(f"bench: waited {seconds:.0f} s for {what} in vain")
        time.sleep(pause)


def listening(port: int) -> bool:
    """Whether something accepts connections on the port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on, see proc(5); None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> dict[int, int]:
    """Process ids of `root` and all its descendants, each with its start time in ticks."""
    parents: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = (int(stat[1]), int(stat[19]))
    found = {root: parents[root][1]} if root in parents else {}
    grown = True
    while grown:
        new = {pid: born for pid, (parent, born) in parents.items() if parent in found and pid not in found}
        found |= new
        grown = bool(new)
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the process, its live descendants and the descendants it has waited for."""
    ticks = 0
    for pid in tree(root):
        stat = _stat(pid)
        if stat is not None:
            ticks += sum(map(int, stat[11:15]))
    return ticks / TICKS


def private_bytes(root: int) -> int:
    """Proportional set size without file pages (Pss_Anon + Pss_Shmem), summed over the process tree."""
    total = 0
    for pid in tree(root):
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
    return total


def disk_bytes(folder: Path) -> int:
    """Blocks that the files below the folder take; a sparse file counts what is written of it."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                total += path.stat().st_blocks * 512
    return total
