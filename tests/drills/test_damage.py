"""Torn, truncated, flipped and missing files while everything is down: found, named, and made again from what is whole.

What a damaged log file costs, file by file and page by page: tests/unit/eventlog/test_damage.py.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drilling import Load, account, books_close, database, loaded, settle
from system_helpers import System, fetch, wait_for

from isotherm.clock import HOUR_MS

_LOST = "maps went with a damaged part of the tile store"
pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Not started yet; stopped at the end."""
    made = System(tmp_path / "data")
    try:
        yield made
    finally:
        made.stop()


def filled(system: System, name: str) -> Load:
    """One life of the system, in which all that was sent was landed and tiled."""
    system.start()
    with loaded(system, name) as load:
        for files in range(1, 4):
            load.flows()
            wait_for("another landed file", lambda files=files: len(listed(system)) >= files, 120)
    settle(system)
    return load


def flip(path: Path, at: float = 0.5) -> None:
    """One bit of the file, that far into it."""
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * at)] ^= 4
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def listed(system: System) -> list[Path]:
    with database(system.data) as connection:
        rows = connection.execute("SELECT path FROM files WHERE state = 'listed' ORDER BY rows DESC").fetchall()
    return [system.data / "lake" / path for (path,) in rows]


def test_lake_files_are_flipped_cut_and_gone(system: System, tmp_path: Path) -> None:
    """Named by `verify` and `lake compare`; the copies of a backup put in their place make everything whole."""
    name, place = "lake-damaged", f"file://{tmp_path / 'backups'}"
    load = filled(system, name)
    taken = system.run("backup", "--to", place)
    assert taken.returncode == 0, taken.stderr
    system.stop()
    files = listed(system)
    assert len(files) >= 3
    for harm, path in zip((flip, truncate, Path.unlink), files, strict=False):
        harm(path)
    system.start()
    began = time.monotonic()
    found = system.run("verify", "--json")
    assert found.returncode == 1
    verdicts = json.loads(found.stdout)
    assert verdicts["unreadable"] > 0, verdicts
    assert any(path.name in found.stdout for path in files[:3]), verdicts
    # What the maps say does not go with the files.
    assert system.run("ledger", "--check", "--json").returncode == 0
    system.stop()
    other = tmp_path / "other"
    restored = System(other)
    done = restored.run("restore", "--from", place)
    assert done.returncode == 0, done.stderr
    for path in files[:3]:
        shutil.copy2(other / "lake" / path.relative_to(system.data / "lake"), path)
    system.start()
    seconds = time.monotonic() - began
    account(name, load, [seconds])
    books_close(system)


def shown(system: System, load: Load) -> int | None:
    """Events in the cells of the maps that the app shows; None while it refuses."""
    hour = int(time.time() * 1000) // HOUR_MS * HOUR_MS
    edges = f"from={hour - 24 * HOUR_MS}&to={hour + HOUR_MS}"
    answer = fetch(f"{system.app_url}/v1/heatmap?client_id={load.client_id}&screen_id=home&{edges}")
    return None if answer is None else sum(cell["count"] for cell in answer["cells"])


def parts(system: System) -> list[Path]:
    """Folders of the tile store's parts."""
    return [path.parent for path in (system.data / "olap" / "store").rglob("data.bin")]


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone", "all-gone"])
def test_the_tile_store_is_damaged(system: System, harm: str) -> None:
    """Found by reading or at the start, named, and made again by itself; no wrong map is shown meanwhile."""
    name = f"tiles-{harm}"
    load = filled(system, name)
    whole = shown(system, load)
    assert whole == len(load.acknowledged) * load.events
    system.stop()
    for part in parts(system):
        if harm == "flipped":
            flip(part / "data.bin")
        elif harm == "cut":
            truncate(part / "data.bin")
        elif harm == "gone":
            shutil.rmtree(part)
    if harm == "all-gone":
        shutil.rmtree(system.data / "olap")
    said = len(system.log_file.read_text())
    system.start()
    began = time.monotonic()
    sums: set[int | None] = set()

    def made_again() -> bool:
        sums.add(shown(system, load))
        return whole in sums and not system.get("/v1/status")["lost"]["buckets"]

    if harm == "flipped":
        # Nobody notices a block that nobody reads: this reads all of them.
        system.run("verify")
        wait_for("the damage to be found", lambda: _LOST in system.log_file.read_text()[said:], 60)
    wait_for("the maps to be made again", made_again, 120)
    settle(system)
    seconds = time.monotonic() - began
    sums.add(shown(system, load))
    assert sums <= {None, whole}, "a wrong map was shown"
    assert whole in sums
    assert _LOST in system.log_file.read_text()[said:]
    if harm in ("flipped", "cut"):
        assert system.get("/v1/status")["lost"]["parts"]
    account(name, load, [seconds])
    books_close(system)
    # The error that told of it is shown for a while; that maps are lost is over.
    assert not any("damaged parts" in problem for problem in system.run_json("status", "--json")["problems"])


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_the_database_is_damaged_and_the_log_is_whole(system: System, tmp_path: Path, harm: str) -> None:
    """Refused by name, not made anew beside a full lake; the last backup and the log give everything again."""
    name, place = f"database-{harm}", f"file://{tmp_path / 'backups'}"
    system.start()
    with loaded(system, name) as load:
        load.flows()
        taken = system.run("backup", "--to", place)
        assert taken.returncode == 0, taken.stderr
        # Acknowledged after the backup: the log alone has it.
        load.flows()
    settle(system)
    system.stop()
    file = system.data / "isotherm.db"
    began = time.monotonic()
    if harm == "flipped":
        flip(file, 0.0)
    elif harm == "cut":
        truncate(file)
    else:
        file.unlink()
    if harm != "gone":
        refused = system.run("up", "--port", "0", "--collect-port", "0")
        assert refused.returncode == 1
        assert str(file) in refused.stderr
        assert "backup" in refused.stderr
    # The log stays where it is; everything else comes from the backup.
    data = tmp_path / "restored"
    restored = System(data, log=f"lmdb://{system.data / 'log'}")
    done = restored.run("restore", "--from", place)
    assert done.returncode == 0, done.stderr
    load.system = restored
    with restored:
        settle(restored)
        account(name, load, [time.monotonic() - began])
        books_close(restored)


def test_a_segment_of_the_log_is_cut_after_landing(system: System) -> None:
    """Set aside and named in the status; what was landed stays, and new events go on behind it."""
    name = "log-cut"
    load = filled(system, name)
    system.stop()
    (segment,) = sorted((system.data / "log").glob("0*.lmdb"))
    truncate(segment)
    began = time.monotonic()
    system.start()
    status = system.run_json("status", "--json")
    assert any(segment.name in one for one in status["log"]["set_aside"]), status["log"]
    seconds = time.monotonic() - began
    with loaded(system, f"{name}-after") as more:
        more.flows()
    settle(system)
    account(name, load, [seconds])
    account(f"{name}-after", more, [0.0])
    books_close(system)
