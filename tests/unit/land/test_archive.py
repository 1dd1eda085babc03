"""Raw moves to the archive with every row and hash, and may be killed anywhere on the way."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from interrupting import Killed, killing
from landing import NOW, World, event, record
from small_disks import disk, needs_mounts

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import open_log
from isotherm.land import archive as archiving
from isotherm.land import merge, rounds
from isotherm.land.archive import STEPS, Turn, archive_old
from isotherm.land.lake import LocalPlace, open_lake
from isotherm.land.manifest import Manifest
from isotherm.land.retention import expire_raw
from isotherm.land.rowhash import of_table
from isotherm.land.tiers import TieredLake, in_tier, open_tiers, roots_of, tier_of
from isotherm.land.upkeep import Upkeep
from isotherm.land.write import read_table
from isotherm.store.db import open_db

HOUR = NOW - NOW % HOUR_MS
LATER = NOW + 31 * DAY_MS


@pytest.fixture(params=["folder", "elsewhere"])
def tiered(request: pytest.FixtureRequest, make_world: Callable[..., World], tmp_path: Path) -> World:
    """A world whose archive is a folder of its lake, or another folder."""
    archive = "" if request.param == "folder" else f"file://{tmp_path / 'cold'}"
    world = make_world(archive=archive)
    world.lake = open_tiers(world.settings)  # type: ignore[assignment] - all of a lake but its folder
    return world


def fill(world: World, client_id: str = "a", files: int = 3, rows: int = 4) -> None:
    for n in range(files):
        events = [event(HOUR + n * 100 + i, 0.01 * i, 0.5, attrs={"n": n}) for i in range(rows)]
        world.append(record(client_id, f"{client_id}{n}", events, received_at=world.clock.now_ms()))
        world.lander().step(force=True)


def archive(world: World, now_ms: int = LATER, **more: Any) -> Any:
    return archive_old(world.settings, world.lake, world.manifest, now_ms, **more)


def tiers(world: World) -> list[str]:
    return [tier_of(file.path) for file in world.manifest.listed()]


def rows(world: World) -> pd.DataFrame:
    """By pandas, from wherever the list says."""
    frames = [
        pd.read_parquet(roots_of(world.lake)[-1 if "archive/" in f.path else 0].where(f.path))
        for f in world.manifest.listed()
    ]
    return pd.concat(frames).sort_values(["client_id", "batch_id", "position"]).reset_index(drop=True).astype(object)


def hashes(world: World) -> list[tuple[str, int, int]]:
    return sorted((f.client_id, f.hour, f.rows) for f in world.manifest.listed())


def test_an_old_hour_becomes_one_tight_file_with_the_same_rows(tiered: World) -> None:
    fill(tiered)
    before, row_hashes = rows(tiered), [f.row_hash for f in tiered.manifest.listed()]
    assert archive(tiered, HOUR + 30 * DAY_MS).hours == 0
    done = archive(tiered)
    assert (done.hours, done.rows) == (1, 12)
    (file,) = tiered.manifest.listed()
    assert file.path.startswith("archive/dt=")
    assert (file.rows, file.row_hash) == (12, merge.rowhash.add(row_hashes))
    assert of_table(read_table(tiered.lake, file)) == file.row_hash
    pd.testing.assert_frame_equal(rows(tiered), before)
    place = roots_of(tiered.lake)[-1].place
    assert isinstance(place, LocalPlace)
    assert pq.read_metadata(place.root / file.path).row_group(0).column(0).compression == "ZSTD"
    assert len(tiered.manifest.sweep(tiered.lake)) == 3
    assert [path for path, _ in tiered.lake.list()] == [file.path]
    assert rounds.last(tiered.engine)["archive"]["did"]["rows"] == 12


@needs_mounts
@pytest.mark.drill
def test_while_the_archive_is_full_hours_stay_where_they_are(make_world: Callable[..., World], tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 8) as small:
        world = make_world(archive=f"file://{small.path / 'cold'}")
        world.lake = open_tiers(world.settings)  # type: ignore[assignment] - all of a lake but its folder
        fill(world)
        before, listed = rows(world), world.manifest.listed()
        small.fill()
        with pytest.raises(OSError, match="No space left"):
            archive(world)
        assert world.manifest.listed() == listed
        pd.testing.assert_frame_equal(rows(world), before)
        small.free()
        assert archive(world, LATER + HOUR_MS).rows == 12
        assert tiers(world) == ["archive"]
        pd.testing.assert_frame_equal(rows(world), before)
        # What the full disk cut short does not stay.
        world.clock.advance(2 * DAY_MS)
        world.manifest.sweep(world.lake)
        (file,) = world.manifest.listed()
        assert [path for path, _ in world.lake.list()] == [file.path]


def test_what_is_archived_stays_so_and_merging_leaves_it_alone(tiered: World) -> None:
    fill(tiered)
    archive(tiered)
    first = tiered.manifest.listed()
    assert archive(tiered).hours == 0
    tiered.clock.advance(3 * HOUR_MS)
    assert merge.merge_closed(tiered.settings, tiered.lake, tiered.manifest, tiered.clock.now_ms()) == 0
    assert tiered.manifest.listed() == first


def test_late_rows_land_hot_and_are_taken_along_when_it_is_quiet(tiered: World) -> None:
    fill(tiered)
    archive(tiered)
    tiered.clock.advance(LATER - NOW)
    fill(tiered, "b", files=1)
    tiered.append(record("a", "late", [event(HOUR + 5)], received_at=HOUR + 6))
    tiered.lander().drain()
    before = rows(tiered)
    assert sorted(tiers(tiered)) == ["archive", "hot", "hot"]
    assert archive(tiered, tiered.clock.now_ms()).hours == 0
    assert archive(tiered, tiered.clock.now_ms() + 2 * HOUR_MS).hours == 2
    assert hashes(tiered) == [("a", HOUR, 13), ("b", HOUR, 4)]
    assert tiers(tiered) == ["archive", "archive"]
    pd.testing.assert_frame_equal(rows(tiered), before)


def test_rows_that_are_never_tiled_stay_apart(make_world: Callable[..., World]) -> None:
    world = make_world(late_events="raw_only")
    fill(world, files=2)
    for n in range(2):
        world.append(record("a", f"late{n}", [event(HOUR + n)], received_at=HOUR + 40 * DAY_MS))
        world.lander().drain()
    archive(world, LATER + 30 * DAY_MS)
    assert sorted((f.raw_only, f.rows) for f in world.manifest.listed()) == [(False, 8), (True, 2)]


def test_each_format_is_archived_for_itself(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    fill(world)
    assert archive(world).hours == 2
    assert sorted((f.format, f.rows) for f in world.manifest.listed()) == [("jsonl", 12), ("parquet", 12)]
    assert {tier_of(f.path) for f in world.manifest.listed()} == {"archive"}


def test_a_file_that_lies_is_left_alone_and_keeps_no_other(tiered: World) -> None:
    fill(tiered, "a", files=1)
    fill(tiered, "b", files=1)
    bad = next(f for f in tiered.manifest.listed() if f.client_id == "a")
    place = roots_of(tiered.lake)[0].place
    assert isinstance(place, LocalPlace)
    path = place.root / bad.path
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(IsothermError, match="do not hold the rows"):
        archive(tiered)
    assert [(f.client_id, tier_of(f.path)) for f in tiered.manifest.listed()] == [("a", "hot"), ("b", "archive")] or [
        (f.client_id, tier_of(f.path)) for f in sorted(tiered.manifest.listed(), key=lambda f: f.client_id)
    ] == [("a", "hot"), ("b", "archive")]


def test_a_round_ends_in_time_and_the_next_goes_on(tiered: World) -> None:
    for client_id in "abc":
        fill(tiered, client_id, files=1)
    assert archive(tiered, seconds=0.0).hours == 0
    assert archive(tiered).hours == 3


@pytest.mark.parametrize("error", [IsothermError, OSError])
def test_an_hour_that_fails_slowly_keeps_no_other_from_its_turn(
    tiered: World, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    for client_id in "abc":
        fill(tiered, client_id, files=1)
    hour, tried, passed = archiving._archive_hour, list[str](), [0.0]  # pyright: ignore[reportPrivateUsage]

    def slow(lake: Any, manifest: Any, one: Any, *rest: Any) -> None:
        tried.append(one.client_id)
        passed[0] += 60
        if one.client_id == "a":
            raise error("damaged")
        hour(lake, manifest, one, *rest)

    monkeypatch.setattr(archiving, "_archive_hour", slow)
    monkeypatch.setattr(archiving, "monotonic", lambda: passed[0])
    turn = Turn()
    for n in range(5):
        with pytest.raises(error) if n in (0, 3, 4) else nullcontext():
            archive(tiered, LATER + n, turn=turn)
    assert tried == ["a", "b", "c", "a", "a"]
    assert sorted(tiers(tiered)) == ["archive", "archive", "hot"]


def test_the_upkeep_s_rounds_take_turns(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    seen = list[Any]()
    monkeypatch.setattr(archiving, "archive_old", lambda *_, turn, **__: seen.append(turn))
    upkeep = Upkeep(world.settings, world.log, world.lake, world.manifest, world.clock, lambda _: None)
    for _ in range(2):
        upkeep.once(threading.Event())
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert isinstance(seen[0], Turn)


def test_hours_come_in_order_from_the_last_one_on(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    for n in range(2):
        for client_id in "ab":
            at = HOUR + n * HOUR_MS
            world.append(record(client_id, f"{n}", [event(at)], received_at=at))
    world.lander().drain()
    whole = archiving._waiting(world.engine, LATER, LATER, None)  # pyright: ignore[reportPrivateUsage]
    assert len(whole) == 8
    for n, last in enumerate(whole, 1):
        found = archiving._waiting(world.engine, LATER, LATER, last)  # pyright: ignore[reportPrivateUsage]
        assert found == whole[n:] + whole[:n]


def test_nothing_moves_where_the_archive_is_turned_off(make_world: Callable[..., World]) -> None:
    world = make_world(archive_after_days=0)
    fill(world)
    assert archive(world).hours == 0
    assert set(tiers(world)) == {"hot"}


def test_archived_hours_go_by_retention_as_all_others(tiered: World) -> None:
    fill(tiered)
    archive(tiered)
    tiered.manifest.sweep(tiered.lake)
    assert expire_raw(tiered.settings, tiered.manifest, NOW + 731 * DAY_MS) == 1
    tiered.manifest.sweep(tiered.lake)
    assert list(tiered.lake.list()) == []


def test_a_reader_of_the_hot_files_keeps_them(tiered: World) -> None:
    fill(tiered)
    with tiered.manifest.snapshot() as snapshot:
        archive(tiered)
        assert tiered.manifest.sweep(tiered.lake) == []
        assert sum(read_table(tiered.lake, file).num_rows for file in snapshot.files) == 12
    assert len(tiered.manifest.sweep(tiered.lake)) == 3


@pytest.mark.parametrize("step", STEPS)
def test_broken_off_at_any_step_it_is_done_again(tiered: World, step: str) -> None:
    fill(tiered)
    before = rows(tiered)
    with pytest.raises(Killed):
        archive(tiered, checkpoint=killing(step))
    pd.testing.assert_frame_equal(rows(tiered), before)
    assert archive(tiered).hours == (0 if step == "replaced" else 1)
    pd.testing.assert_frame_equal(rows(tiered), before)
    tiered.clock.advance(2 * HOUR_MS)
    tiered.manifest.sweep(tiered.lake)
    (file,) = tiered.manifest.listed()
    assert [path for path, _ in tiered.lake.list()] == [file.path]


def test_the_steps_are_those_that_are_told(tiered: World) -> None:
    fill(tiered)
    told: list[str] = []
    archive(tiered, checkpoint=told.append)
    assert list(dict.fromkeys(told)) == list(STEPS)


CHILD = """
import os, signal, sys
from pathlib import Path
from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.land.archive import archive_old
from isotherm.land.manifest import Manifest
from isotherm.land.tiers import open_tiers
from isotherm.store.db import open_db

data, now, step = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
settings, clock = Settings(data=data, archive=sys.argv[4]), ManualClock(now)
def die(at):
    if at == step:
        os.kill(os.getpid(), signal.SIGKILL)
archive_old(settings, open_tiers(settings), Manifest(open_db(settings.url("db")), clock), now, checkpoint=die)
"""


def test_every_row_is_there_after_a_kill_at_each_step(tmp_path: Path) -> None:
    """One process after the other is killed, each at the next step, on the same hour; the last one gets through."""
    settings, clock = Settings(data=tmp_path, archive=f"file://{tmp_path / 'cold'}"), ManualClock(NOW)
    log, engine = open_log(settings, clock), open_db(settings.url("db"))
    manifest = Manifest(engine, clock)
    world = World(settings, clock, log, open_tiers(settings), engine, manifest)  # type: ignore[arg-type]
    fill(world)
    before = rows(world)
    log.close()
    for n, step in enumerate((*STEPS, "none")):
        # Who died a moment ago is waited for: each comes later than that.
        now = LATER + n * HOUR_MS
        arguments = [str(tmp_path), str(now), step, settings.archive]
        child = subprocess.run([sys.executable, "-c", CHILD, *arguments], env={**os.environ, "TZ": "UTC"}, check=False)
        assert child.returncode == (0 if step == "none" else -signal.SIGKILL)
        pd.testing.assert_frame_equal(rows(world), before)
    assert tiers(world) == ["archive"]
    clock.advance(LATER - NOW + DAY_MS)
    manifest.sweep(world.lake)
    assert [path for path, _ in world.lake.list()] == [manifest.listed()[0].path]
    engine.dispose()


def test_a_path_says_where_it_lies(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, archive=f"file://{tmp_path / 'cold'}")
    lake = open_tiers(settings)
    assert isinstance(lake, TieredLake)
    path = in_tier("dt=2026-01-01/x", "archive")
    lake.put("dt=2026-01-01/x", b"hot")
    lake.put(path, b"cold")
    assert (tmp_path / "cold" / "archive" / "dt=2026-01-01" / "x").read_bytes() == b"cold"
    assert (lake.get(path), lake.get("dt=2026-01-01/x")) == (b"cold", b"hot")
    assert sorted(lake.list()) == [(path, 4), ("dt=2026-01-01/x", 3)]
    assert list(lake.list("archive")) == [(path, 4)]
    with pytest.raises(ValueError, match="not a path inside"):
        lake.get("archive/../x")
    alone = open_tiers(Settings(data=tmp_path))
    assert alone.url == open_lake(Settings(data=tmp_path).url("lake"), Settings()).url
    assert isinstance(roots_of(alone), Sequence)
