from collections.abc import Callable, Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.errors import IsothermError
from isotherm.land import compare, merge, retention, rowhash
from isotherm.land.manifest import LakeFile, OffsetRange
from isotherm.store.db import reading
from isotherm.store.tables import dirty

HOUR = NOW - NOW % HOUR_MS


def flushes(world: World, count: int, start: int = 0, events: int = 3) -> None:
    """As many landings, each with a record of two clients."""
    lander = world.lander()
    for i in range(start, start + count):
        for client in ("a", "b"):
            rows = [event(NOW + i, j / 100, 1.0, x_px=None if j else 2.5) for j in range(events)]
            world.append(record(client, f"b{i}", rows, screen_id=f"s{i % 2}"))
        lander.step(force=True)


def merge_now(world: World, checkpoint: Callable[[str], None] = lambda _: None) -> int:
    return merge.merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms(), checkpoint=checkpoint)


def hashes(world: World) -> dict[str, str]:
    files = world.manifest.listed()
    return {c: rowhash.add(f.row_hash for f in files if f.client_id == c) for c in {f.client_id for f in files}}


@pytest.mark.parametrize("formats", [["parquet"], ["jsonl"], ["parquet", "jsonl"]])
def test_a_closed_hour_becomes_one_file_with_the_same_rows(
    make_world: Callable[..., World], formats: list[str]
) -> None:
    world = make_world(land_formats=formats)
    flushes(world, 4)
    before = hashes(world), {f: world.identities(f) for f in formats}
    with reading(world.engine) as connection:
        marks = connection.execute(sa.select(dirty)).all()
    assert merge_now(world) == 0  # the hour is not over
    world.clock.advance(2 * HOUR_MS)
    assert merge_now(world) == 2 * len(formats)
    assert merge_now(world) == 0
    files = world.manifest.listed()
    assert [(f.client_id, f.rows) for f in files] == [(c, 12) for c in ("a", "b") for _ in formats]
    assert [(r.first_offset, r.last_offset, r.rows) for r in files[0].ranges] == [(0, 7, 12)]
    assert (hashes(world), {f: world.identities(f) for f in formats}) == before
    with reading(world.engine) as connection:
        assert connection.execute(sa.select(dirty)).all() == marks
    world.manifest.sweep(world.lake)
    assert world.objects() == {f.path for f in files}


def test_a_merged_file_is_sorted(world: World) -> None:
    flushes(world, 4)
    world.clock.advance(2 * HOUR_MS)
    merge_now(world)
    table = pq.read_table(world.lake.root / world.manifest.listed()[0].path)
    keys = list(zip(*(table[n].to_pylist() for n in ("screen_id", "log_offset", "position")), strict=True))
    assert keys == sorted(keys)


def test_late_files_are_merged_again_when_they_add_up_or_it_is_quiet(world: World) -> None:
    flushes(world, 4, events=50)
    world.clock.advance(2 * HOUR_MS)
    assert merge_now(world) == 2
    flushes(world, 1, start=10)
    assert merge_now(world) == 0  # just landed
    world.clock.advance(MINUTE_MS)
    assert merge_now(world) == 0  # too little to rewrite 200 rows for
    world.clock.advance(HOUR_MS)
    assert merge_now(world) == 2
    assert [f.rows for f in world.manifest.listed()] == [203, 203]


MIB = 1 << 20
LIMITS = merge.Limits(256 * MIB, 1024 * MIB)


def some_file(name: int, rows: int, size: int) -> LakeFile:
    return LakeFile(f"p{name:04}", "parquet", "a", 0, rows, size, 0, 0, "", [])


def sizes_of(found: Iterator[list[LakeFile]]) -> list[list[int]]:
    return [[f.bytes // MIB for f in group] for group in found]


def test_groups_make_files_of_the_target_size_and_leave_no_pair_behind() -> None:
    files = [some_file(i, size, size * MIB) for i, size in enumerate([256, 250, 5, 4, 3, 60, 100, 90])]
    assert sizes_of(merge.groups(files, patient=True, limits=LIMITS)) == [[3, 4, 5, 60, 90]]
    assert sizes_of(merge.groups(files[:1], patient=True, limits=LIMITS)) == []


@given(
    st.lists(st.tuples(st.integers(1, 5_000_000), st.integers(1, 80 * MIB)), max_size=300),
    st.integers(MIB, 400 * MIB),
    st.booleans(),
)
def test_groups_stay_within_the_limits_and_come_to_an_end(
    sizes: list[tuple[int, int]], target: int, patient: bool
) -> None:
    files = [some_file(i, *size) for i, size in enumerate(sizes)]
    limits = merge.Limits(target, 1024 * MIB)
    for round_ in range(len(files) + 1):
        found = list(merge.groups(files, patient=patient, limits=limits))
        if not found:
            break
        taken = [f.path for group in found for f in group]
        assert len(taken) == len(set(taken))
        for number, group in enumerate(found):
            rows, size = sum(f.rows for f in group), sum(f.bytes for f in group)
            assert len(group) > 1
            assert size <= target
            assert len(group) <= merge.FAN_IN or rows * merge.ROW_BYTES <= limits.memory_bytes
            files.append(some_file(1000 * (round_ + 1) + number, rows, size))
        files = [f for f in files if f.path not in set(taken)]
    else:
        raise AssertionError("merging never ends")
    assert sum(f.rows for f in files) == sum(rows for rows, _ in sizes)


@pytest.mark.parametrize("step", ["pending", "written", "checked", "replaced"])
def test_a_crash_while_merging_changes_no_row(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class CrashError(Exception):
        pass

    def stop_at(name: str) -> None:
        if name == step:
            raise CrashError

    flushes(world, 3)
    rows, sums = world.identities(), hashes(world)
    world.clock.advance(2 * HOUR_MS)
    with monkeypatch.context() as patch:
        patch.setattr(world.manifest, "discard", lambda *_: None)
        with pytest.raises(CrashError):
            merge_now(world, stop_at)
    assert (world.identities(), hashes(world)) == (rows, sums)
    world.clock.advance(2 * HOUR_MS)
    merge_now(world)
    world.manifest.sweep(world.lake)
    assert (world.identities(), hashes(world)) == (rows, sums)
    assert world.objects() == {f.path for f in world.manifest.listed()}
    assert len(world.objects()) == 2


def test_a_file_with_other_rows_is_not_merged(world: World) -> None:
    flushes(world, 2)
    one, two = world.manifest.listed(client_ids=["a"])
    (world.lake.root / one.path).write_bytes((world.lake.root / two.path).read_bytes())
    world.clock.advance(2 * HOUR_MS)
    with pytest.raises(IsothermError, match="do not hold the rows"):
        merge_now(world)
    assert world.manifest.listed(client_ids=["a"]) == [one, two]


def test_ranges_that_touch_are_joined() -> None:
    def some(first: int, last: int, row_hash: str = "0" * 31 + "1", log: str = "x") -> OffsetRange:
        return OffsetRange(log, 0, first, last, 2, row_hash)

    joined = merge.joined([some(5, 6), some(0, 2), some(3, 4), some(8, 9), some(10, 11, log="y")])
    assert [(r.log, r.first_offset, r.last_offset, r.rows) for r in joined] == [
        ("x", 0, 6, 6), ("x", 8, 9, 2), ("y", 10, 11, 2),
    ]  # fmt: skip
    assert joined[0].row_hash == "0" * 31 + "3"


def test_a_snapshot_keeps_its_files_while_others_merge_and_sweep(world: World) -> None:
    flushes(world, 3)
    with world.manifest.snapshot(client_ids=["a"]) as snapshot:
        world.clock.advance(2 * HOUR_MS)
        world.manifest.renew(snapshot)
        assert merge_now(world) == 2
        world.manifest.sweep(world.lake)
        tables = [pq.read_table(world.lake.root / f.path) for f in snapshot.files]
        assert [len(t) for t in tables] == [3, 3, 3]
        with world.manifest.snapshot() as later:
            assert later.version > snapshot.version
            assert [f.rows for f in later.files] == [9, 9]
    assert len(world.manifest.sweep(world.lake)) == 6
    assert len(world.objects()) == 2


def test_a_lease_runs_out(world: World) -> None:
    flushes(world, 2)
    with world.manifest.snapshot() as snapshot:
        world.clock.advance(2 * HOUR_MS)
        merge_now(world)
        assert len(world.manifest.sweep(world.lake)) == 4
        with pytest.raises(IsothermError, match="run out"):
            world.manifest.renew(snapshot)


def test_a_snapshot_takes_hours_clients_and_format(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["jsonl", "parquet"])
    for client in ("a", "b"):
        world.append(record(client, "b1", [event(HOUR), event(HOUR - 1), event(HOUR + HOUR_MS)]))
    world.lander().drain()
    with world.manifest.snapshot(start=HOUR, end=HOUR + HOUR_MS, client_ids=["a"]) as snapshot:
        assert [(f.client_id, f.hour, f.format) for f in snapshot.files] == [("a", HOUR, "jsonl")]
    with world.manifest.snapshot(format="parquet") as snapshot:
        assert len(snapshot.files) == 6
    totals = world.manifest.totals()
    assert (totals["files"], totals["rows"], totals["formats"]["jsonl"]["rows"]) == (12, 6, 6)


def test_raw_leaves_by_our_clock(make_world: Callable[..., World]) -> None:
    world = make_world(raw_retention_days=60, hourly_retention_days=60)
    world.append(record("a", "b1", [event(HOUR), event(HOUR + HOUR_MS)]))
    world.lander().drain()
    edge = HOUR + HOUR_MS + 60 * DAY_MS
    assert retention.expire_raw(world.settings, world.manifest, edge - 1) == 0
    assert retention.expire_raw(world.settings, world.manifest, edge) == 1
    assert [f.hour for f in world.manifest.listed()] == [HOUR + HOUR_MS]
    world.manifest.sweep(world.lake)
    assert len(world.objects()) == 1


def test_equal_formats_compare_equal(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    flushes(world, 3)
    report = compare.compare(world.lake, world.manifest)
    assert (report.hours, report.rows, report.differing, report.single) == (2, 18, 0, [])


def test_each_difference_between_the_formats_is_found(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    flushes(world, 1)
    [file] = world.manifest.listed(client_ids=["a"], format="parquet")
    path = world.lake.root / file.path
    table = pq.read_table(path)
    y = table["y_norm"].to_numpy().copy()
    y[1] = np.nextafter(y[1], 0)
    pq.write_table(table.set_column(5, table.schema.field(5), [y]).slice(0, 2), path)
    report = compare.compare(world.lake, world.manifest)
    assert [(d.client_id, d.position, d.column) for d in report.differences] == [("a", 2, None), ("a", 1, "y_norm")]
    assert report.differences[1].jsonl == 1.0
    assert "y_norm: parquet 0.9999999999999999, jsonl 1.0" in str(report.differences[1])


def test_hours_of_one_format_are_named(world: World) -> None:
    flushes(world, 1)
    assert compare.compare(world.lake, world.manifest).single == [
        ("a", HOUR, "parquet"),
        ("b", HOUR, "parquet"),
    ]


def test_files_of_an_earlier_version_merge_and_compare_with_new_ones(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    lander = world.lander()
    for batch, more in (("old", None), ("new", {"region": {"w": 640, "h": 480}})):
        world.append(record("a", batch, [event(NOW), event(NOW + 1)], batch=more))
        lander.step(force=True)
    [older] = [f for f in world.manifest.listed(format="parquet") if f.ranges[0].first_offset == 0]
    path = world.lake.root / older.path
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["region_w", "region_h"]), path)
    assert compare.compare(world.lake, world.manifest).differing == 0
    world.clock.advance(2 * HOUR_MS)
    assert merge_now(world) == 2
    assert compare.compare(world.lake, world.manifest).differing == 0
    frame = world.frame().sort_values(["batch_id", "position"])
    assert frame["region_w"].fillna(0).tolist() == [640, 640, 0, 0]
