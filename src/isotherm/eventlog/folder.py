"""The folder of an LMDB log: its marker, its names, and the two locks that order processes.

`in-use.lock`  held shared by every process that has the log open. Whoever gets it exclusively is alone, and only
               then files are checked, repaired and cleaned. The kernel drops it when a process dies.
`change.lock`  held for the moment in which a segment is created or deleted, and shared while one is opened: LMDB
               would create anew the file that somebody is just deleting.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import uniform
from typing import Final
from uuid import UUID, uuid4

from isotherm.errors import ConfigError

FORMAT: Final = 1
MARKER: Final = "format.json"
CONTROL: Final = "control.lmdb"
IN_USE: Final = "in-use.lock"
CHANGE: Final = "change.lock"
_CHECKED: Final = b"checked\n"
SEGMENT_NAME: Final = re.compile(r"([0-9]{20})\.lmdb")
DAMAGED_NAME: Final = re.compile(r".+\.damaged-[0-9]+")


def fsync_folder(path: Path) -> None:
    """Make creations, renames and deletions in the folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Create or replace a file in one step, so that a reader sees the old bytes or the new, never a part."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    scratch.replace(path)
    if sync:
        fsync_folder(path.parent)


class Folder:
    """Names and locks of one log. `identity` is set by `settle`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = b""
        self._in_use: int | None = None

    def segment(self, first: int) -> Path:
        return self.path / f"{first:020d}.lmdb"

    def ids(self, first: int) -> Path:
        return self.path / f"{first:020d}.ids"

    @property
    def control(self) -> Path:
        return self.path / CONTROL

    def _names(self) -> list[str]:
        with os.scandir(self.path) as entries:
            return [entry.name for entry in entries]

    def firsts(self) -> list[int]:
        """First offsets of the segments that are there, ascending."""
        names = map(SEGMENT_NAME.fullmatch, self._names())
        return sorted(int(name[1]) for name in names if name)

    def set_aside(self) -> list[str]:
        """Names of damaged files that were moved out of the way and wait for a person."""
        return sorted(filter(DAMAGED_NAME.fullmatch, self._names()))

    def enter(self) -> bool:
        """Create the folder if need be and take the in-use lock; True when this process is alone in it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._in_use = os.open(self.path / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"log: {self.path} cannot be used: {error.strerror}; give a writable folder") from None
        while True:
            if _take_alone(self._in_use):
                os.ftruncate(self._in_use, 0)
                return True
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            if os.pread(self._in_use, len(_CHECKED), 0) == _CHECKED:
                return False
            # Whoever was alone gave up or died before its checks were done: somebody else must do them.
            fcntl.flock(self._in_use, fcntl.LOCK_UN)
            time.sleep(uniform(0.005, 0.05))  # noqa: S311 - spreads the processes that try

    def share(self) -> None:
        """Say that the files were checked, and let other processes in."""
        assert self._in_use is not None
        os.pwrite(self._in_use, _CHECKED, 0)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Drop the in-use lock."""
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    @contextmanager
    def changing(self, *, opening: bool = False) -> Generator[None]:
        """Hold the change lock; shared with others that are `opening` too. Not reentrant."""
        fd = os.open(self.path / CHANGE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH if opening else fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def settle(self, *, alone: bool) -> None:
        """Read the marker, or write it into a folder that is still empty.

        Raises ConfigError when the folder holds something else, or another format.
        """
        marker = self.path / MARKER
        if not marker.exists():
            self._refuse_foreign(alone=alone)
            text = json.dumps({"format": FORMAT, "identity": str(uuid4())})
            write_durably(marker, text.encode())
        self.identity = _identity(marker)

    def _refuse_foreign(self, *, alone: bool) -> None:
        ours = re.compile(rf"{re.escape(IN_USE)}|{re.escape(CHANGE)}|lost\+found|{re.escape(MARKER)}\..*tmp")
        found = sorted(name for name in self._names() if not ours.fullmatch(name))
        if found:
            raise ConfigError(
                f"log: {self.path / MARKER} is missing, but the folder holds {found[0]!r}"
                f"{' and more' if len(found) > 1 else ''}; put the marker back, or name an empty folder"
            )
        if not alone:
            raise ConfigError(f"log: {self.path / MARKER} is missing while another process uses the folder; try again")

    def remove_segment(self, first: int) -> None:
        """Delete a segment; the data file goes first, for without it the rest is litter."""
        self.segment(first).unlink(missing_ok=True)
        for path in (lock_of(self.segment(first)), self.ids(first)):
            path.unlink(missing_ok=True)


def _take_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_of(path: Path) -> Path:
    """LMDB's lock file beside a data file."""
    return path.with_name(f"{path.name}-lock")


def _identity(marker: Path) -> bytes:
    try:
        found = json.loads(marker.read_bytes())
        version, identity = found["format"], UUID(found["identity"]).bytes
    except OSError as error:
        raise ConfigError(f"log: {marker} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(f"log: {marker} is not the marker of an Isotherm log; restore it from a copy") from None
    if version != FORMAT:
        raise ConfigError(
            f"log: {marker} says format {version!r}, this program reads format {FORMAT}; "
            "use the version of isotherm that wrote it, or name another folder"
        )
    return identity
