"""TCP ports of servers under test: free ones, and whose they are."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

LISTENING = "0A"
# Below the range from which kernels give ports to outgoing connections: while a server is down, no client takes
# its port, and a client that connects to the port cannot meet itself there.
LOWEST, HIGHEST = 20000, 32000
_given: set[int] = set()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now, and that this process has not been given before.

    Another process may take it before a server does: `Server.start` tries again then.
    """
    for _ in range(1000):
        port = random.randint(LOWEST, HIGHEST)
        if port not in _given and _free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listeners(port: int) -> set[int] | None:
    """Ids of the processes that listen on the port; None where there is no /proc to ask, or it hides them."""
    inodes = _listening_inodes(port)
    if inodes is None:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return {pid for pid in processes() if wanted & set(_files(pid))}


def _listening_inodes(port: int) -> set[str] | None:
    """Sockets that listen on the port, by /proc/net/tcp: column 2 the local address, 4 the state, 10 the inode."""
    tables = [table for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if table.exists()]
    if not tables:
        return None
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def processes() -> Iterator[int]:
    """Ids of all running processes; nothing without /proc."""
    folder = Path("/proc")
    yield from (int(path.name) for path in folder.glob("[0-9]*")) if folder.is_dir() else ()


def _files(pid: int) -> Iterator[str]:
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                yield str(Path(entry.path).readlink())
            except OSError:
                continue
    except OSError:
        return


def members(group: int) -> set[int]:
    """Ids of the processes in the process group, the dead that nobody has waited for left out; Linux only."""
    return {pid for pid in processes() if _state(pid) not in ("Z", "X", "") and _group(pid) == group}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
