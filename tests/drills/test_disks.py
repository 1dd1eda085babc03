"""Full disks under each store, and a read-only one under the lake; each lies on a small file system."""

import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drilling import Load, account, books_close, loaded, says, settle
from system_helpers import System, wait_for

FULL_SECONDS = 6.0
"""How long a disk stays full: landers and jobs fail several times."""
SIZES = {"log": 32, "lake": 16, "olap": 160, "db": 24}
"""MiB; enough for a drill."""

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


def settings_of(store: str, path: Path) -> dict[str, str]:
    scheme, leaf = {
        "log": ("lmdb", "log"), "lake": ("file", "lake"), "olap": ("chdb", "olap"), "db": ("sqlite", "isotherm.db"),
    }[store]  # fmt: skip
    return {store: f"{scheme}://{path / leaf}"}


def finish(name: str, store: str, load: Load, path: Path, seconds: list[float]) -> None:
    """The account of a drill whose store lies on the disk."""
    account(name, load, seconds, lake=path / "lake" if store == "lake" else None, db=path if store == "db" else None)
    books_close(load.system, load.client_id)


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", SIZES)
def test_the_disk_of_a_store_is_full(tmp_path: Path, store: str) -> None:
    name = f"{store}-full"
    with disk(tmp_path / "disk", SIZES[store]) as small:
        system = System(tmp_path / "data", disk_reserve_bytes=0, **settings_of(store, small.path))
        system.start()
        try:
            with loaded(system, name) as load:
                load.flows()
                until = time.monotonic() + FULL_SECONDS
                while time.monotonic() < until:
                    small.fill()
                    time.sleep(0.2)
                if store == "log":
                    wait_for("the collector to say why", lambda: "is full" in " ".join(load.refusals), 60)
                elif store == "lake":
                    wait_for("the lander to say why", says(system, "No space left"), 60)
                small.free()
                since = time.monotonic()
                load.flows()
                answered = time.monotonic() - since
            settle(system)
            finish(name, store, load, small.path, [answered, time.monotonic() - since])
            # Whatever else is full, the collector takes what comes; a full log is told, and nothing else.
            assert load.answers.keys() == ({"202", "503"} if store == "log" else {"202"})
        finally:
            system.stop()


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_log_stops_before_its_disk_is_full(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 64) as small:
        system = System(tmp_path / "data", disk_reserve_bytes=16 << 20, **settings_of("log", small.path))
        system.start()
        try:
            with loaded(system, "log-reserve") as load:
                load.flows()
                small.fill()
                wait_for("the collector to say why", lambda: "disk_reserve_bytes" in " ".join(load.refusals), 60)
                small.free()
                since = time.monotonic()
                load.flows()
                answered = time.monotonic() - since
            settle(system)
            finish("log-reserve", "log", load, small.path, [answered, time.monotonic() - since])
            assert load.answers.keys() == {"202", "503"}
        finally:
            system.stop()


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_lake_is_read_only_for_a_while(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", SIZES["lake"]) as small:
        system = System(tmp_path / "data", **settings_of("lake", small.path))
        system.start()
        try:
            with loaded(system, "lake-read-only") as load:
                load.flows()

                def protect() -> bool:
                    try:
                        small.read_only()
                    except subprocess.CalledProcessError:
                        return False
                    return True

                wait_for("a moment without a file that is written", protect, 30)
                wait_for("the lander to say why", says(system, "Read-only file system"), 60)
                small.writable()
                since = time.monotonic()
                load.flows()
                answered = time.monotonic() - since
            settle(system)
            finish("lake-read-only", "lake", load, small.path, [answered, time.monotonic() - since])
            assert load.answers.keys() == {"202"}
        finally:
            system.stop()
