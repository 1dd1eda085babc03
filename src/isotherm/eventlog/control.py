"""The log's small control file: committed offsets of consumers, and which segments were checked as they are."""

import struct
import time
from pathlib import Path
from typing import Final

import lmdb

from isotherm.config import MIB
from isotherm.eventlog.folder import Folder, fsync_folder, lock_of
from isotherm.eventlog.port import check_commit
from isotherm.eventlog.segment import open_env

_SIZE: Final = 64 * MIB
_OFFSET: Final = struct.Struct("<Q")
_STATE: Final = struct.Struct("<QQQ")
"""bytes, inode, change time in nanoseconds."""
QUIET_NS: Final = 100_000_000
"""A file's change time has a coarse clock: a file that changed later than this ago is not marked."""


def create_control(folder: Folder) -> None:
    """Make an empty control file appear in one step."""
    scratch = folder.control.with_suffix(".new")
    for stale in (scratch, lock_of(scratch)):
        stale.unlink(missing_ok=True)
    with lmdb.open(str(scratch), map_size=_SIZE, subdir=False, max_dbs=4) as env:
        env.open_db(b"consumers")
        env.open_db(b"checked")
    lock_of(scratch).unlink(missing_ok=True)
    scratch.rename(folder.control)
    fsync_folder(folder.path)


class Control:
    """The open control file. Every change is durable when the call returns."""

    def __init__(self, folder: Folder) -> None:
        self._env = open_env(folder.control, _SIZE)
        with self._env.begin(write=True) as txn:
            self._consumers = self._env.open_db(b"consumers", txn=txn, create=False)
            self._checked = self._env.open_db(b"checked", txn=txn, create=False)

    def commit(self, consumer: str, offset: int) -> None:
        """Raises ValueError for a name or an offset that cannot be."""
        check_commit(consumer, offset)
        with self._env.begin(write=True) as txn:
            txn.put(consumer.encode(), _OFFSET.pack(offset), db=self._consumers)

    def consumers(self) -> dict[str, int]:
        """Committed offset by consumer."""
        with self._env.begin() as txn, txn.cursor(db=self._consumers) as cursor:
            return {name.decode(): _OFFSET.unpack(offset)[0] for name, offset in cursor}

    def is_marked(self, path: Path) -> bool:
        """Whether the file is, by size, inode and change time, the one that was marked."""
        with self._env.begin() as txn:
            return txn.get(path.name.encode(), db=self._checked) == _state(path)

    def mark(self, paths: list[Path]) -> None:
        """Remember files as sound as they are now; a file that changed just now is left out."""
        latest = time.time_ns() - QUIET_NS
        marks = {p.name.encode(): _state(p) for p in paths if p.exists() and p.stat().st_ctime_ns < latest}
        with self._env.begin() as txn:
            new = {name: state for name, state in marks.items() if txn.get(name, db=self._checked) != state}
        if not new:
            return
        with self._env.begin(write=True) as txn:
            for name, state in new.items():
                txn.put(name, state, db=self._checked)

    def forget(self, paths: list[Path]) -> None:
        """Drop the marks of deleted files."""
        with self._env.begin(write=True) as txn:
            for path in paths:
                txn.delete(path.name.encode(), db=self._checked)

    def close(self) -> None:
        self._env.close()


def _state(path: Path) -> bytes:
    try:
        found = path.stat()
    except FileNotFoundError:
        return b""
    return _STATE.pack(found.st_size, found.st_ino, found.st_ctime_ns)
