"""Full and read-only disks under each store, and no file handles left; each store lies on a small file system."""

import resource
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drilling import Load, account, books_close, loaded, says, settle
from small_disks import disk, needs_mounts
from system_helpers import System, wait_for

FULL_SECONDS = 6.0
"""How long a disk stays full: landers and jobs fail several times."""
SIZES = {"log": 32, "lake": 16, "olap": 160, "db": 24}
"""MiB; enough for a drill."""


def settings_of(store: str, path: Path) -> dict[str, str]:
    scheme, leaf = {
        "log": ("lmdb", "log"), "lake": ("file", "lake"), "olap": ("chdb", "olap"), "db": ("sqlite", "isotherm.db"),
    }[store]  # fmt: skip
    return {store: f"{scheme}://{path / leaf}"}


def finish(name: str, store: str, load: Load, path: Path, seconds: list[float]) -> None:
    """The account of a drill whose store lies on the disk."""
    account(name, load, seconds, lake=path / "lake" if store == "lake" else None, db=path if store == "db" else None)
    books_close(load.system, load.client_id)


@contextmanager
def harmed(name: str, store: str, system: System, path: Path) -> Generator[Load]:
    """Load on a system whose store the block harms and mends; then all goes on, and the drill's account closes."""
    with loaded(system, name) as load:
        load.flows()
        yield load
        since = time.monotonic()
        load.flows()
        answered = time.monotonic() - since
    settle(system)
    finish(name, store, load, path, [answered, time.monotonic() - since])


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", SIZES)
def test_the_disk_of_a_store_is_full(tmp_path: Path, store: str) -> None:
    name = f"{store}-full"
    with (
        disk(tmp_path / "disk", SIZES[store]) as small,
        System(tmp_path / "data", disk_reserve_bytes=0, **settings_of(store, small.path)) as system,
    ):
        with harmed(name, store, system, small.path) as load:
            until = time.monotonic() + FULL_SECONDS
            while time.monotonic() < until:
                small.fill()
                time.sleep(0.2)
            if store == "log":
                wait_for("the collector to say why", lambda: "is full" in " ".join(load.refusals), 60)
            elif store == "lake":
                wait_for("the lander to say why", says(system, "No space left"), 60)
            small.free()
        # Whatever else is full, the collector takes what comes; a full log is told, and nothing else.
        assert load.answers.keys() == ({"202", "503"} if store == "log" else {"202"})


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_log_stops_before_its_disk_is_full(tmp_path: Path) -> None:
    with (
        disk(tmp_path / "disk", 64) as small,
        System(tmp_path / "data", disk_reserve_bytes=16 << 20, **settings_of("log", small.path)) as system,
    ):
        with harmed("log-reserve", "log", system, small.path) as load:
            small.fill()
            wait_for("the collector to say why", lambda: "disk_reserve_bytes" in " ".join(load.refusals), 60)
            small.free()
        assert load.answers.keys() == {"202", "503"}


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(900)
def test_the_lake_is_read_only_for_a_while(tmp_path: Path) -> None:
    with (
        disk(tmp_path / "disk", SIZES["lake"]) as small,
        System(tmp_path / "data", **settings_of("lake", small.path)) as system,
    ):
        with harmed("lake-read-only", "lake", system, small.path) as load:

            def protect() -> bool:
                try:
                    small.read_only()
                except subprocess.CalledProcessError:
                    return False
                return True

            wait_for("a moment without a file that is written", protect, 30)
            wait_for("the lander to say why", says(system, "Read-only file system"), 60)
            small.writable()
        assert load.answers.keys() == {"202"}


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["data", "log", "olap", "db"])
def test_nothing_starts_on_a_read_only_disk(tmp_path: Path, store: str) -> None:
    """A first life; then its disk is read-only, and the program says so and ends; then all is as before."""
    name, whole = f"{store}-read-only-at-start", store == "data"
    with disk(tmp_path / "disk", 256) as small:
        data = small.path / "data" if whole else tmp_path / "data"
        with System(data, disk_reserve_bytes=0, **({} if whole else settings_of(store, small.path))) as system:
            with loaded(system, name) as load:
                load.flows()
            settle(system)
            system.stop()
            small.read_only()
            done = system.run("up", "--port", "0", "--collect-port", "0")
            assert done.returncode == 1
            assert "ead-only" in done.stderr or "readonly" in done.stderr, done.stderr
            small.writable()
            began = time.monotonic()
            system.start()
            settle(system)
            finish(name, store, load, small.path, [time.monotonic() - began])


def children(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


@contextmanager
def few_files(pids: list[int]) -> Generator[None]:
    """No process of these may open one file more than it has open now."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
        yield
    finally:
        for pid, limits in before.items():
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ["collect", "app"])
def test_a_process_has_no_file_handle_left(tmp_path: Path, role: str) -> None:
    name = f"{role}-without-handles"
    with System(tmp_path / "data") as system:
        # Each request is a connection of its own: an answer needs a handle.
        with loaded(system, name, reconnect=True) as load:
            load.flows()
            pid = system.pid(role)
            assert pid is not None
            with few_files(children(pid)):
                time.sleep(FULL_SECONDS)
            since = time.monotonic()
            load.flows()
            answered = time.monotonic() - since
        settle(system)
        account(name, load, [answered, time.monotonic() - since])
        books_close(system, name)


@needs_mounts
@pytest.mark.drill
@pytest.mark.timeout(600)
def test_the_disk_of_the_backups_is_full(tmp_path: Path) -> None:
    """It says why and is no backup; the next one, with room, is whole, and everything comes back from it."""
    name = "backups-full"
    system = System(tmp_path / "data")
    with disk(tmp_path / "disk", 64) as small:
        place = f"file://{small.path / 'backups'}"
        with system:
            with loaded(system, name) as load:
                load.flows()
                first = system.run("backup", "--to", place, "--json")
                assert first.returncode == 0, first.stderr
                load.flows()
                small.fill()
                failed = system.run("backup", "--to", place)
                assert failed.returncode == 1
                assert "No space left" in failed.stderr
                assert "Traceback" not in failed.stderr
                # What was there before is as good as it was.
                assert len(system.run_json("backup", "--to", place, "--list", "--json")) == 1
                assert system.run("backup", "--to", place, "--verify").returncode == 0
                small.free()
                load.flows()
            settle(system)
            began = time.monotonic()
            again = system.run("backup", "--to", place, "--json")
            assert again.returncode == 0, again.stderr
            verified = system.run("backup", "--to", place, "--verify", "--json")
            assert verified.returncode == 0, verified.stdout
            assert load.answers.keys() == {"202"}
            account(name, load, [time.monotonic() - began])
            books_close(system)
        restored = System(tmp_path / "restored")
        done = restored.run("restore", "--from", place)
        assert done.returncode == 0, done.stderr
        load.system = restored
        with restored:
            settle(restored)
            account(f"{name}-restored", load, [])
            books_close(restored)
