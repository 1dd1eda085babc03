"""Maps are made of archived files as of hot ones: same counts, same hashes, by SQL and by NumPy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiling import World, worlds

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land.archive import archive_old
from isotherm.land.manifest import Manifest
from isotherm.land.tiers import open_tiers, tier_of
from isotherm.rollup.buckets import Level, floor
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.verify import Choice, Verdict, Verifier
from isotherm.store.db import next_version, writing
from isotherm.store.olap import Olap


@pytest.fixture(params=[("parquet", False), ("parquet", True), ("jsonl", True)], ids=str)
def world(request: pytest.FixtureRequest, tmp_path: Path, olap: Olap) -> Iterator[World]:
    form, elsewhere = request.param
    archive = f"file://{tmp_path / 'cold old'}" if elsewhere else ""
    settings = Settings(data=tmp_path / "w", job_threads=2, archive=archive, late_horizon_days=35)
    with worlds() as make:
        made = make(settings, olap, lake_format=form)
        made.lake = open_tiers(settings)
        engine = open_engine(settings, olap, made.lake)
        made.jobs = Jobs(settings, made.database, olap, made.manifest, engine, made.clock)
        yield made


def land(world: World, hour: int, client: str = "a", n: int = 5) -> None:
    rows = [(client, f"s{i % 2}", "mousemove", hour + i, 0.29 + i / 100, i / 7) for i in range(n)]
    world.land(rows)
    world.land([(client, "s0", "scroll", hour + 9, None, None)])


def hashes(world: World) -> dict[tuple[str, str, int], tuple[str, int, int]]:
    return {
        (level.value, *key): (row.hash, row.rows, row.tiled)
        for level in Level
        for key, row in world.published(level).items()
    }


def build_again(world: World) -> None:
    """Every published hour from raw, and what holds it."""
    with writing(world.database) as connection:
        version = next_version(connection)
    for client, start in world.published(Level.HOUR):
        world.mark(Level.HOUR, start, client, version)
    world.run_all()


def verdicts(world: World) -> set[str]:
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, world.settings)
    return {step.finding.value for step in verifier.run(Choice()) if isinstance(step, Verdict)}


def test_maps_hashes_and_verification_are_the_same_before_and_after(world: World) -> None:
    old, newer = world.hour - 40 * DAY_MS, world.hour - 2 * HOUR_MS
    for client in ("a", "b"):
        for hour in (old, old + HOUR_MS, newer):
            land(world, hour, client)
    world.run_all()
    before = hashes(world)
    assert verdicts(world) == {"same"}
    world.clock.advance(2 * HOUR_MS)
    assert archive_old(world.settings, world.lake, world.manifest, world.clock.now_ms()).hours == 4
    tiers = sorted(tier_of(file.path) for file in world.manifest.listed())
    assert tiers == ["archive"] * 4 + ["hot"] * 4
    world.manifest.sweep(world.lake)
    assert verdicts(world) == {"same"}
    build_again(world)
    assert hashes(world) == before
    world.check()


def test_a_late_file_beside_an_archived_one_is_counted_with_it(world: World) -> None:
    old = world.hour - 33 * DAY_MS
    land(world, old)
    world.run_all()
    world.clock.advance(2 * HOUR_MS)
    archive_old(world.settings, world.lake, world.manifest, world.clock.now_ms())
    land(world, old, n=3)
    assert {tier_of(file.path) for file in world.manifest.listed()} == {"archive", "hot"}
    world.run_all()
    world.check()
    assert verdicts(world) == {"same"}
    before = hashes(world)
    world.clock.advance(2 * HOUR_MS)
    archive_old(world.settings, world.lake, world.manifest, world.clock.now_ms())
    assert [file.rows for file in world.manifest.listed()] == [10]
    build_again(world)
    assert hashes(world) == before
    day = floor(Level.DAY, old)
    assert {start for _, start in world.published(Level.DAY)} == {day}


def test_a_lake_moves_its_archive_by_copying_it(tmp_path: Path, olap: Olap) -> None:
    """The same paths in either place: what was archived in the lake is read elsewhere after a copy."""
    inside = Settings(data=tmp_path / "w", job_threads=2)
    with worlds() as make:
        world = make(inside, olap)
        land(world, world.hour - 40 * DAY_MS)
        world.run_all()
        before = hashes(world)
        world.clock.advance(2 * HOUR_MS)
        archive_old(inside, world.lake, world.manifest, world.clock.now_ms())
        world.manifest.sweep(world.lake)
        (tmp_path / "cold").mkdir()
        (tmp_path / "w" / "lake" / "archive").rename(tmp_path / "cold" / "archive")
        moved = inside.model_copy(update={"archive": f"file://{tmp_path / 'cold'}"})
        world.lake = open_tiers(moved)
        manifest = Manifest(world.database, world.clock)
        world.jobs = Jobs(moved, world.database, olap, manifest, open_engine(moved, olap, world.lake), world.clock)
        build_again(world)
        assert hashes(world) == before
        assert verdicts(world) == {"same"}
