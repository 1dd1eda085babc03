"""What comes too late for the maps is kept in files of its own, decided by the record alone."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.eventlog.port import Stored
from isotherm.events import FLAG_IMPORT
from isotherm.land import ledger
from isotherm.land.merge import Limits, merge_closed, merge_hour
from isotherm.rollup.windows.decode import group
from isotherm.rollup.windows.known import NothingKnown
from isotherm.store import tables
from isotherm.store.db import reading, writing

Make = Callable[..., World]
HORIZON = 30 * DAY_MS
OLD = NOW - HORIZON - 1


def kinds(world: World) -> dict[bool, list[int]]:
    """Event times of the listed rows, by whether their file is never tiled."""
    found: dict[bool, list[int]] = {False: [], True: []}
    for file in world.manifest.listed(format="parquet"):
        frame = world.frame_of(file.path)
        found[file.raw_only] += frame["event_time"].astype("datetime64[ms, UTC]").astype("int64").tolist()
    return {raw_only: sorted(times) for raw_only, times in found.items()}


def dirty_hours(world: World) -> set[int]:
    with reading(world.engine) as connection:
        return set(connection.execute(sa.select(tables.dirty.c.start)).scalars())


def sums(world: World) -> dict[str, int]:
    rows = ledger.read(world.engine)
    assert ledger.check(rows) == []
    return ledger.sums(rows)


@pytest.mark.parametrize("moved_ms", [0, -40 * DAY_MS, 300 * DAY_MS, 10 * HOUR_MS])
def test_the_record_says_what_is_late_whatever_the_clock_says(make_world: Make, moved_ms: int) -> None:
    world = make_world()
    times = [OLD - 5, OLD, OLD + 1, NOW - HOUR_MS, NOW]
    world.append(record("a", "b1", [event(at) for at in times]))
    world.clock.advance(moved_ms)
    world.lander().drain()
    received = np.full(len(times), NOW)
    late = received - np.array(times) > HORIZON
    assert kinds(world) == {False: np.array(times)[~late].tolist(), True: np.array(times)[late].tolist()}
    assert dirty_hours(world) == {at - at % HOUR_MS for at in np.array(times)[~late].tolist()}
    found = sums(world)
    assert (found["landed"], found["raw_only"], found["no_position"]) == (5, 2, 0)


def test_readers_of_maps_do_not_see_them_and_others_do(world: World) -> None:
    world.append(record("a", "b1", [event(OLD), event(NOW)]))
    world.lander().drain()

    def seen(raw_only: bool | None) -> tuple[int, int]:
        with world.manifest.snapshot(raw_only=raw_only) as snapshot:
            return sum(f.rows for f in snapshot.files), sum(f.rows for f in world.manifest.listed(raw_only=raw_only))

    assert (seen(None), seen(False), seen(True)) == ((2, 2), (1, 1), (1, 1))
    with world.manifest.snapshot() as snapshot:
        assert [f.hour for f in snapshot.files] == [NOW - NOW % HOUR_MS]
    assert len(world.manifest.listed()) == 2


def test_late_rows_without_a_position_are_counted_once(world: World) -> None:
    world.append(record("a", "b1", [event(OLD, None, kind="view"), event(NOW, None, kind="view"), event(OLD)]))
    world.lander().drain()
    found = sums(world)
    assert (found["landed"], found["raw_only"], found["no_position"]) == (3, 2, 1)


def test_the_corrected_time_counts(world: World) -> None:
    world.append(
        record("a", "b1", [event(OLD - DAY_MS)], skew_ms=2 * DAY_MS),
        record("a", "b2", [event(OLD + DAY_MS)], skew_ms=-2 * DAY_MS),
    )
    world.lander().drain()
    assert kinds(world) == {False: [OLD + DAY_MS], True: [OLD - DAY_MS]}


def test_imported_again_they_are_still_there_once(world: World) -> None:
    for batch in ("one", "two", "one"):
        one = record("a", batch, [event(OLD), event(NOW)], flags=[FLAG_IMPORT])
        world.append(msgspec.structs.replace(one, id=None))
        world.lander().drain()
    found = sums(world)
    assert (found["landed"], found["landing_duplicate"], found["raw_only"]) == (4, 2, 2)


def test_merging_keeps_the_two_kinds_apart(world: World) -> None:
    hour = OLD - OLD % HOUR_MS
    late, early = [hour + 1, hour + 2, hour + 3], [hour + 10, hour + 20]
    lander = world.lander()
    for at in late:
        world.append(record("a", f"late{at}", [event(at)]))
        lander.drain()
    for at in early:
        # Received long ago, landed only now: not late by its own record.
        world.append(record("a", f"early{at}", [event(at)], received_at=hour + HOUR_MS))
        lander.drain()
    before = kinds(world)
    assert world.manifest.crowded(0, NOW) == [("a", hour, "parquet")]
    assert world.manifest.crowded(0, NOW, raw_only=True) == [("a", hour, "parquet")]
    limits = Limits(1 << 30, 1 << 30)
    assert merge_hour(world.lake, world.manifest, "a", hour, "parquet", limits=limits, now_ms=NOW + DAY_MS) == 2
    assert {file.raw_only: file.rows for file in world.manifest.listed()} == {False: 2, True: 3}
    assert kinds(world) == before == {False: early, True: late}
    assert world.manifest.crowded(0, NOW) == []
    one, other = world.manifest.listed()
    with pytest.raises(ValueError, match="same rows"):
        world.manifest.replace([one], [other])


def test_old_hours_are_merged_too(make_world: Make) -> None:
    world = make_world()
    lander = world.lander()
    ancient = NOW - 200 * DAY_MS
    for at in (ancient, ancient + 1):
        world.append(record("a", f"b{at}", [event(at)]))
        lander.drain()
    assert len(world.manifest.listed()) == 2
    assert merge_closed(world.settings, world.lake, world.manifest, NOW + DAY_MS) == 1
    [file] = world.manifest.listed()
    assert (file.raw_only, file.rows) == (True, 2)


def retire(world: World, client_id: str, hour: int) -> None:
    with writing(world.engine) as connection:
        connection.execute(
            tables.retired.insert().values(
                what="raw", client_id=client_id, start=hour, rows=1, tiled=0, bytes=1, retired_at=NOW
            )
        )


def test_an_hour_whose_raw_events_are_gone_is_not_tiled_from_what_came_later(world: World) -> None:
    hour = NOW - NOW % HOUR_MS
    retire(world, "a", hour)
    world.append(*(record(client, "b1", [event(NOW), event(NOW - HOUR_MS)]) for client in ("a", "b")))
    world.lander().drain()
    kept = [(f.client_id, f.hour) for f in world.manifest.listed() if f.raw_only]
    assert kept == [("a", hour)]
    with reading(world.engine) as connection:
        marks = connection.execute(sa.select(tables.dirty.c.client_id, tables.dirty.c.start)).all()
    assert set(map(tuple, marks)) == {("a", hour - HOUR_MS), ("b", hour), ("b", hour - HOUR_MS)}


def test_retention_that_comes_between_judging_and_landing_is_seen(world: World) -> None:
    hour = NOW - NOW % HOUR_MS
    world.append(record("a", "b1", [event(NOW)]))
    steps: list[str] = []

    def checkpoint(step: str) -> None:
        if step == "written" and step not in steps:
            retire(world, "a", hour)
        steps.append(step)

    world.lander(checkpoint).drain()
    assert [f.raw_only for f in world.manifest.listed()] == [True]
    assert dirty_hours(world) == set()
    assert world.objects() == {f.path for f in world.manifest.listed()}


def test_hours_beyond_raw_retention_are_frozen(make_world: Make) -> None:
    world = make_world(raw_retention_days=60, late_horizon_days=30)
    ancient: Sequence[Any] = [event(NOW - 61 * DAY_MS)]
    # It was received in time, and has waited on the log since.
    world.append(record("a", "b1", ancient, received_at=NOW - 61 * DAY_MS))
    world.lander().drain()
    assert [f.raw_only for f in world.manifest.listed()] == [True]
    assert sums(world)["raw_only"] == 1


def test_the_live_windows_leave_out_at_least_what_is_too_late_for_the_maps() -> None:
    horizon = Settings(late_horizon_days=1).late_horizon_ms
    for late, counted in ((horizon + 1, 0), (horizon, 1)):
        one = record("a", "b1", [event(NOW - late)])
        groups = group([Stored(0, 0, NOW, one.value)], NothingKnown(), 0)
        assert (groups.events, int(groups.counts.sum())) == (1, counted)
