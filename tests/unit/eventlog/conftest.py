"""Helpers for the LMDB log: settings with small segments, and child processes that run this folder's programs."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.eventlog.lmdb import LmdbLog, open_lmdb
from isotherm.eventlog.port import Record, Stored

HERE = Path(__file__).parent
NOW = 1_770_000_000_000

Open = Callable[..., LmdbLog]
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def open_at() -> Iterator[Open]:
    """Open the log in a folder with settings changed at will; closed at the end."""
    logs: list[LmdbLog] = []

    def start(folder: Path, **changes: int) -> LmdbLog:
        settings = Settings().model_copy(update={"disk_reserve_bytes": 0, **changes})
        logs.append(open_lmdb(f"lmdb://{folder}", settings, ManualClock(NOW)))
        return logs[-1]

    yield start
    for log in logs:
        log.close()


@pytest.fixture
def make() -> Callable[..., Record]:
    """A record that tells its number, with an id derived from it."""

    def record(n: int, *, size: int = 0, at: int = NOW) -> Record:
        return Record("shop|home", f"{n} ".encode() + bytes(size), at, n.to_bytes(16, "big"))

    return record


@pytest.fixture
def everything() -> Callable[[LmdbLog], list[Stored]]:
    def read(log: LmdbLog) -> list[Stored]:
        found: list[Stored] = []
        while part := log.read(0, found[-1].offset + 1 if found else 0):
            found += part
        return found

    return read


@pytest.fixture
def run() -> Iterator[Run]:
    """Start one of this folder's programs; what still runs at the end is killed."""
    children: list[subprocess.Popen[str]] = []

    def start(program: str, *args: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(HERE / program), *map(str, args)]
        children.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
