"""Damaged parts of the tile store: found, set aside, never taken for the whole, and made again."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.errors import Backpressure
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level, floor
from isotherm.rollup.damage import Damage, Mender, period_of, place_of
from isotherm.rollup.read import plan_read, sum_maps
from isotherm.rollup.scheduler import Scheduler
from isotherm.serve import measures
from isotherm.store import tables
from isotherm.store.db import reading
from isotherm.store.olap import OlapDamaged


def one(world: Any, at: int, client: str = "a") -> list[Any]:
    return [(client, "/", "mousemove", at, 0.5, 0.5)]


@pytest.fixture
def parts(world: Any) -> Any:
    """Gives the parts of a level by path; nothing merges them, and nothing stays aside at the end."""
    world.olap.command("SYSTEM STOP MERGES maps", profile="maintain")

    def of(level: Level) -> list[Path]:
        rows = world.olap.query(
            "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'maps' AND active"
            f" AND partition LIKE '(\\'{level.value}\\',%' ORDER BY name",
        ).to_pylist()
        return [Path(row["path"]) for row in rows]

    yield of
    world.olap.command("SYSTEM START MERGES maps", profile="maintain")
    world.olap.doubt.clear()
    for row in world.olap.query("SELECT name FROM system.detached_parts WHERE table = 'maps'").to_pylist():
        world.olap.command(
            f"ALTER TABLE maps DROP DETACHED PART '{row['name']}' SETTINGS allow_drop_detached = 1", profile="maintain"
        )


def flip(part: Path) -> None:
    path = part / "data.bin"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


def read(world: Any, client: str, start: int, end: int) -> int:
    """The sum of the client's map of the range."""
    with reading(world.database) as connection:
        plan = plan_read(connection, client, start, end, world.clock.now_ms(), world.settings)
    return int(sum_maps(world.olap, client, "/", "mousemove", "", plan.buckets).sum())


def scheduler_of(world: Any) -> Scheduler:
    return Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)


def settle(world: Any, scheduler: Scheduler, minutes: int = 20) -> None:
    for _ in range(minutes):
        while scheduler.step():
            pass
        world.clock.advance(MINUTE_MS)


def lost(world: Any) -> dict[str, int]:
    with reading(world.database) as connection:
        return measures.lost(connection).buckets


def test_a_flipped_part_is_set_aside_by_the_scheduler_and_made_again(world: Any, parts: Any) -> None:
    early, late = world.hour - 3 * HOUR_MS, world.hour - 2 * HOUR_MS
    world.land(one(world, early) * 3)
    world.run(Level.HOUR, early)
    world.land(one(world, late) * 5 + one(world, late, "b") * 7)
    world.run(Level.HOUR, late)
    first, second = parts(Level.HOUR)
    flip(second)
    with pytest.raises(OlapDamaged, match="Checksum"):
        read(world, "a", late, late + HOUR_MS)
    scheduler = scheduler_of(world)
    found = scheduler.jobs.mender.mend(thorough=True)
    assert [damage.part for damage in found] == [second.name]
    assert parts(Level.HOUR)[0] == first
    assert second not in parts(Level.HOUR)
    assert lost(world) == {"hour": 2}
    assert read(world, "a", early, early + HOUR_MS) == 3
    for client in "ab":
        with pytest.raises(Backpressure, match=r"damaged part of the tile store"):
            read(world, client, late, late + HOUR_MS)
    settle(world, scheduler)
    assert lost(world) == {}
    assert [read(world, client, late, late + HOUR_MS) for client in "ab"] == [5, 7]
    world.check()
    assert scheduler.jobs.mender.mend(thorough=True) == []


def test_the_scheduler_looks_by_itself_when_a_statement_met_damage(world: Any, parts: Any) -> None:
    world.land(one(world, world.hour) * 3)
    scheduler = scheduler_of(world)
    settle(world, scheduler, 1)
    for level in Level:
        for part in parts(level):
            flip(part)
    with pytest.raises(OlapDamaged):
        read(world, "a", world.hour, world.hour + HOUR_MS)
    settle(world, scheduler)
    assert lost(world) == {}
    assert read(world, "a", world.hour, world.hour + HOUR_MS) == 3
    world.check()


def test_a_backfill_sets_aside_what_it_meets(world: Any, parts: Any) -> None:
    world.land(one(world, world.hour) * 3)
    world.run_all()
    for level in Level:
        for part in parts(level):
            flip(part)
    assert [step.busy for step in backfill(world.jobs, world.hour, world.hour + HOUR_MS)] == [False] * 3
    assert lost(world) == {}
    world.check()


def test_what_the_store_set_aside_when_it_started_is_marked_once(world: Any, parts: Any) -> None:
    world.land(one(world, world.hour) * 3)
    world.run_all()
    (part,) = parts(Level.HOUR)
    # As the store does it by itself when it cannot load a part.
    world.olap.command(f"ALTER TABLE maps DETACH PART '{part.name}'", profile="maintain")
    aside = part.parent / "detached"
    (aside / part.name).rename(aside / f"broken-on-start_{part.name}")
    (damage,) = Mender(world.database, world.olap, world.clock).mend(thorough=False)
    assert (damage.part, damage.level) == (f"broken-on-start_{part.name}", Level.HOUR)
    assert lost(world) == {"hour": 1}
    with reading(world.database) as connection:
        assert measures.lost(connection).parts == [f"broken-on-start_{part.name}"]
    world.run_all()
    assert lost(world) == {}
    assert Mender(world.database, world.olap, world.clock).mend(thorough=False) == []
    world.check()


def test_a_store_that_is_empty_is_filled_again(world: Any, parts: Any) -> None:
    world.land(one(world, world.hour) * 3 + one(world, world.hour - 40 * DAY_MS, "b"))
    world.run_all()
    world.olap.command("TRUNCATE TABLE maps")
    found = Mender(world.database, world.olap, world.clock).mend(thorough=False)
    assert {damage.level for damage in found} == set(Level)
    with pytest.raises(Backpressure):
        read(world, "a", world.hour, world.hour + HOUR_MS)
    world.run_all()
    world.check()
    assert lost(world) == {}


def test_lost_hours_are_no_parts_of_a_day_and_finer_maps_answer_for_a_lost_day(world: Any, parts: Any) -> None:
    day = floor(Level.DAY, world.hour) - DAY_MS
    world.land(one(world, day) * 3 + one(world, day + HOUR_MS) * 2)
    world.run_all()
    mender = Mender(world.database, world.olap, world.clock)
    (whole,) = parts(Level.DAY)
    flip(whole)
    mender.mend(thorough=True)
    assert lost(world) == {"day": 1}
    assert read(world, "a", day, day + DAY_MS) == 5
    for part in parts(Level.HOUR):
        flip(part)
    mender.mend(thorough=True)
    # Not from its hours, which are gone.
    world.run(Level.DAY, day)
    assert lost(world) == {"hour": 2}
    assert read(world, "a", day, day + DAY_MS) == 5
    world.check(Level.DAY)
    world.run_all()
    world.check()


def test_what_cannot_be_made_again_is_never_shown_as_if_it_were_whole(world: Any, parts: Any) -> None:
    hour = floor(Level.DAY, world.hour) - DAY_MS
    world.land(one(world, hour) * 3)
    world.run_all()
    for part in parts(Level.HOUR):
        flip(part)
    world.settings = world.settings.model_copy(update={"raw_retention_days": 1})
    world.clock.advance(3 * DAY_MS)
    scheduler = scheduler_of(world)
    scheduler.jobs.mender.mend(thorough=True)
    settle(world, scheduler, 3)
    assert world.dirty(Level.HOUR) == {}
    with pytest.raises(Backpressure, match="restore a backup"):
        read(world, "a", hour, hour + HOUR_MS)
    assert read(world, "a", hour, hour + DAY_MS) == 3


def test_a_check_that_cannot_open_a_part_is_no_damage(world: Any, parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land(one(world, world.hour))
    world.run_all()
    said = "Code: 76. DB::Exception: Cannot open file: errno: 24, strerror: Too many open files. (CANNOT_OPEN_FILE)"
    real = world.olap.query

    def query(sql: str, *more: Any, **named: Any) -> Any:
        found = real(sql, *more, **named)
        if not sql.startswith("CHECK"):
            return found
        assert found.column("is_passed").to_pylist() == [1] * 3
        broken = [row | {"is_passed": 0, "message": said} for row in found.to_pylist()]
        return type(found).from_pylist(broken)

    monkeypatch.setattr(world.olap, "query", query)
    assert Mender(world.database, world.olap, world.clock).mend(thorough=True) == []
    assert len(parts(Level.HOUR)) == 1


def test_only_the_clients_of_the_part_lose_anything(world: Any, parts: Any) -> None:
    world.land(one(world, world.hour) * 3)
    world.run(Level.HOUR, world.hour)
    world.land(one(world, world.hour, "b"))
    world.run(Level.HOUR, world.hour)
    flip(parts(Level.HOUR)[-1])
    Mender(world.database, world.olap, world.clock).mend(thorough=True)
    with reading(world.database) as connection:
        gone = connection.execute(sa.select(tables.buckets.c.client_id).where(tables.buckets.c.lost_version > 0))
        assert list(gone.scalars()) == ["b"]
    assert world.dirty(Level.HOUR) == {world.hour: ["b"]}


@given(st.sampled_from(list(Level)), st.integers(0, 100 * 366 * 24))
def test_a_period_holds_the_buckets_that_start_in_it_and_no_others(level: Level, hours: int) -> None:
    start = floor(level, hours * HOUR_MS + 7 * DAY_MS)
    period = period_of(level, start)
    first, after = Damage("", level, period, "").edges()
    assert first <= start < after
    assert {period_of(level, first), period_of(level, after - 1)} == {period}
    assert period not in (period_of(level, first - 1), period_of(level, after))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("1-202611_3_3_1", (Level.HOUR, 202611)),
        ("2-2026", (Level.DAY, 2026)),
        ("3-2026_1_9_2_12", (Level.WEEK, 2026)),
        ("all_1_1_0", None),
        ("4-2026_1_1_0", None),
    ],
)
def test_a_part_tells_its_level_and_period(name: str, place: Any) -> None:
    assert place_of(name) == place
