"""Ends the servers of a test process that died without stopping them.

A child process reads lines from a pipe that only the test process can write to: `+g 123` and `-g 123` for a process
group to end or to forget, `+d FOLDER` and `-d FOLDER` for a folder to remove or to forget. When the pipe closes,
however the test process ended, what is left is ended and removed. (A death signal by prctl would follow the thread
that started the server, and Linux clears it when a server changes its user.)
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_lock = threading.Lock()
_child: "subprocess.Popen[bytes] | None" = None


def tell(line: str) -> None:
    """Tell the guard of this process one line; starts it when there is none."""
    global _child  # noqa: PLW0603
    with _lock:
        if _child is None or _child.poll() is not None:
            atexit.register(close)
            _child = subprocess.Popen(
                [sys.executable, "-I", str(Path(__file__))], stdin=subprocess.PIPE, start_new_session=True
            )
        assert _child.stdin is not None
        _child.stdin.write(f"{line}\n".encode())
        _child.stdin.flush()


def close() -> None:
    """End the guard, when this process ends in order; what it was not told to forget, it ends and removes."""
    global _child  # noqa: PLW0603
    with _lock:
        if _child is not None:
            assert _child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                _child.stdin.close()
            _child.wait(timeout=30)
            _child = None


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left: set[tuple[str, str]] = set()
    for line in sys.stdin:
        what, _, name = line.rstrip("\n").partition(" ")
        (left.add if what[0] == "+" else left.discard)((what[1], name))
    for kind, name in sorted(left, reverse=True):  # groups before folders
        if kind == "g":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(name), signal.SIGKILL)
        else:
            shutil.rmtree(name, ignore_errors=True)


if __name__ == "__main__":
    main()
