"""Small file systems in memory, which only root may mount: full and read-only disks for drills."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")


class Disk:
    """A file system of its own, in memory."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self.path = path
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs")

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(self.path)], check=True, capture_output=True)

    def fill(self) -> None:
        """Take all the room there is, and what is given back while it is done."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                while True:
                    try:
                        filler.write(bytes(size))
                    except OSError:
                        break

    def free(self) -> None:
        (self.path / "filler").unlink()

    def read_only(self) -> None:
        """Fails while a file is open for writing."""
        self._mount("-o", "remount,ro")

    def writable(self) -> None:
        self._mount("-o", "remount,rw")

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True, capture_output=True)


@contextmanager
def disk(path: Path, megabytes: int) -> Generator[Disk]:
    made = Disk(path, megabytes)
    try:
        yield made
    finally:
        made.close()
