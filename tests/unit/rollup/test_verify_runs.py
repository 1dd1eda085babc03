"""Runs of verification: threads and samples judge alike, what was tampered with is named, verdicts are kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from landing import flipped
from tiling import World

from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.verify import Choice, Finding, Progress, Verdict, Verifier
from isotherm.store import tables
from isotherm.store.db import reading, writing


def run(world: World, parallel: int = 1, **choice: Any) -> tuple[list[Verdict], list[Progress]]:
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, world.settings, parallel)
    steps = list(verifier.run(Choice(**choice)))
    return [s for s in steps if isinstance(s, Verdict)], [s for s in steps if isinstance(s, Progress)]


def wrong(world: World, **choice: Any) -> dict[tuple[str, Level, int], Verdict]:
    found, _ = run(world, **choice)
    return {(v.client_id, *v.bucket): v for v in found if v.finding is not Finding.SAME}


def kept(world: World) -> dict[tuple[str, str, int], Any]:
    with reading(world.database) as connection:
        rows = connection.execute(sa.select(tables.verifications)).all()
    return {(row.client_id, row.level, row.start): row for row in rows}


@pytest.fixture
def full(world: World) -> World:
    """Two clients; hours of now, of yesterday and of last week, some in two files."""
    numbers = np.random.default_rng(11)
    for client in ("a", "b"):
        for ago in (0, 1, 24, 24 * 8):
            at = world.hour - ago * HOUR_MS
            world.land([(client, "/", "mousemove", at, x, y) for x, y in numbers.random((300, 2)).tolist()], 2)
            world.land([(client, "/b", "click", at, 0.29, 1.0), (client, "/b", "view", at, None, None)])
    world.run_all()
    return world


def path_of(world: World, client: str, hour: int) -> str:
    """The largest file of a client's hour."""
    listed = world.manifest.listed(start=hour, end=hour + HOUR_MS, client_ids=[client])
    return max(listed, key=lambda file: file.rows).path


def swap(world: World, path: str, content: Callable[[pa.Table], pa.Table]) -> None:
    """Put another file in the place of one, with pyarrow alone."""
    table = pq.read_table(pa.BufferReader(world.lake.get(path)))
    sink = pa.BufferOutputStream()
    pq.write_table(content(table), sink)
    world.lake.delete(path)
    world.lake.put(path, sink.getvalue().to_pybytes())


def test_threads_levels_and_samples_give_the_verdicts_of_one_thread(full: World) -> None:
    swap(full, path_of(full, "a", full.hour), lambda table: table.slice(1))
    full.lake.delete(path_of(full, "b", full.hour - 24 * HOUR_MS))
    full.land([("b", "/new", "click", full.hour, 0.5, 0.5)])
    serial, _ = run(full)
    by_key = {(v.client_id, v.bucket): v for v in serial}
    assert {v.finding for v in serial} == set(Finding) - {Finding.FROZEN}
    sizes: set[int] = set()

    @settings(max_examples=8, deadline=None, database=None)
    @given(
        parallel=st.integers(1, 4),
        levels=st.sets(st.sampled_from(Level), min_size=1),
        sample=st.none() | st.integers(0, 25),
        seed=st.integers(0, 9),
    )
    def alike(parallel: int, levels: set[Level], sample: int | None, seed: int) -> None:
        found, _ = run(full, parallel, levels=tuple(levels), sample=sample, seed=seed)
        wanted = {key for key in by_key if key[1].level in levels}
        got = {(v.client_id, v.bucket): v for v in found}
        assert len(got) == len(found)
        assert all(verdict == by_key[key] for key, verdict in got.items())
        assert len(got) == (len(wanted) if sample is None else min(sample, len(wanted)))
        assert got.keys() <= wanted
        again, _ = run(full, 1, levels=tuple(levels), sample=sample, seed=seed)
        assert again == found
        sizes.add(len(got))

    alike()
    assert len(sizes) > 3


def test_every_bucket_is_drawn_sooner_or_later_and_seeds_draw_differently(full: World) -> None:
    drawn = [frozenset((v.client_id, v.bucket) for v in run(full, sample=4, seed=seed)[0]) for seed in range(40)]
    everything = frozenset((v.client_id, v.bucket) for v in run(full)[0])
    assert all(len(one) == 4 for one in drawn)
    assert frozenset().union(*drawn) == everything
    assert len(set(drawn)) > 30


def test_progress_counts_every_event_once(full: World) -> None:
    for parallel in (1, 3):
        _, steps = run(full, parallel)
        assert steps[0] == Progress(0, len(full.landed))
        assert steps[-1] == Progress(len(full.landed), len(full.landed))
        assert [s.read for s in steps] == sorted({s.read for s in steps})
    _, one = run(full, levels=(Level.HOUR,), sample=1, seed=2)
    assert (one[0].read, one[0].total) == (0, one[-1].read)
    assert one[-1].read == 302


@pytest.mark.parametrize("harm", ["missing", "cut", "flipped", "one bit"])
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_compared(full: World, harm: str) -> None:
    hour = full.hour - 24 * HOUR_MS
    path = path_of(full, "a", hour)
    content = full.lake.get(path)
    full.lake.delete(path)
    if harm == "cut":
        full.lake.put(path, content[: len(content) // 2])
    if harm == "flipped":
        full.lake.put(path, content[:-3] + bytes([content[-3] ^ 255]) + content[-2:])
    if harm == "one bit":
        full.lake.put(path, flipped(content, "x_norm"))
    found = wrong(full, parallel=2)
    day, week = (bucket.start for bucket in Bucket(Level.HOUR, hour).ancestors())
    assert found.keys() == {("a", Level.HOUR, hour), ("a", Level.DAY, day), ("a", Level.WEEK, week)}
    for verdict in found.values():
        assert verdict.finding is Finding.UNREADABLE
        assert verdict.file == full.lake.where(path)
        assert path in verdict.detail


def test_a_file_that_holds_other_events_is_named_with_the_cell(full: World) -> None:
    def moved(table: pa.Table) -> pa.Table:
        x = table.column("x_norm").to_numpy().copy()
        x[0] = 0.999 if x[0] < 0.9 else 0.001
        return table.set_column(table.schema.get_field_index("x_norm"), "x_norm", pa.array(x))

    path = path_of(full, "b", full.hour)
    swap(full, path, moved)
    found = wrong(full)
    assert {key[0] for key in found} == {"b"}
    assert {key[1] for key in found} == set(Level)
    for verdict in found.values():
        assert (verdict.finding, verdict.screen_id, verdict.event_type) == (Finding.DIFFERENT, "/", "mousemove")
        assert verdict.file == full.lake.where(path)
        assert verdict.expected != verdict.found


def test_a_file_with_fewer_rows_than_were_landed_is_named(full: World) -> None:
    path = path_of(full, "a", full.hour)
    swap(full, path, lambda table: table.slice(0, table.num_rows - 1))
    found = wrong(full)
    assert {verdict.finding for verdict in found.values()} == {Finding.DIFFERENT}
    assert all(verdict.file == full.lake.where(path) and "were landed" in verdict.detail for verdict in found.values())


def test_a_tampered_map_is_not_blamed_on_a_file(full: World) -> None:
    columns = (
        "client_id, screen_id, event_type, segment, level, bucket_start, grid_w, grid_h, events, tiled, last_event"
    )
    full.olap.command(
        f"INSERT INTO maps ({columns}, version, cells, counts) SELECT {columns}, version + 1, cells,"
        " arrayMap((c, i) -> c + (i = 1), counts, arrayEnumerate(counts)) FROM maps FINAL WHERE client_id = 'a'"
        " AND screen_id = '/b' AND event_type = 'click' AND level = 'hour' AND bucket_start = {start:DateTime}",
        {"start": full.hour // 1000},
    )
    (verdict,) = wrong(full).values()
    assert (verdict.client_id, verdict.bucket) == ("a", (Level.HOUR, full.hour))
    assert (verdict.cell_x, verdict.cell_y, verdict.expected, verdict.found) == (28, 199, 1, 2)
    assert verdict.file is None


def test_a_run_is_one_clients_only_when_it_is_asked_for_one(full: World) -> None:
    full.lake.delete(path_of(full, "a", full.hour))
    assert wrong(full, client_ids=["b"]) == {}
    for seed in range(10):
        found, _ = run(full, client_ids=["b"], sample=5, seed=seed)
        assert {v.client_id for v in found} == {"b"}
    assert {key[0] for key in kept(full)} == {"b"}
    assert run(full, client_ids=["' OR 1=1 --"], sample=3)[0] == []


def test_verdicts_are_kept_with_what_was_compared(full: World) -> None:
    run(full)
    rows = kept(full)
    published = {(c, level.value, start): row for level in Level for (c, start), row in full.published(level).items()}
    assert rows.keys() == published.keys()
    for key, row in rows.items():
        assert (row.finding, row.version, row.hash) == ("same", published[key].version, published[key].hash)
        assert row.verified_at == full.clock.now_ms()


def test_what_was_compared_once_stays_known_when_its_events_are_gone(full: World) -> None:
    run(full)
    before = kept(full)
    full.land([("a", "/new", "click", full.hour, 0.5, 0.5)])
    full.clock.advance(HOUR_MS)
    assert {v.finding for v in wrong(full).values()} == {Finding.DIRTY}
    assert kept(full)["a", "hour", full.hour] == before["a", "hour", full.hour]
    verified = kept(full)
    full.clock.advance((full.settings.raw_retention_days + 1) * DAY_MS)
    with writing(full.database) as connection:
        connection.execute(sa.delete(tables.dirty))
    found = wrong(full)
    assert {v.finding for v in found.values()} == {Finding.FROZEN}
    assert kept(full) == verified
    date = iso(verified["b", "hour", full.hour].verified_at)[:10]
    assert found["b", Level.HOUR, full.hour].detail.endswith(f"compared on {date}: same")
    assert run(full, sample=9)[0] == []


def test_hours_whose_events_were_retired_early_are_frozen_for_that_client_only(full: World) -> None:
    hour = full.hour - 24 * 8 * HOUR_MS
    with writing(full.database) as connection:
        gone = {"what": "raw", "client_id": "a", "start": hour, "rows": 302, "tiled": 0, "bytes": 1, "retired_at": 1}
        connection.execute(sa.insert(tables.retired).values(gone))
        listed = (tables.files.c.client_id == "a") & (tables.files.c.hour == hour)
        connection.execute(sa.update(tables.files).where(listed).values(state="delisted"))
    found = wrong(full)
    assert {v.finding for v in found.values()} == {Finding.FROZEN}
    assert {(key[0], key[1]) for key in found} == {("a", level) for level in Level}


def test_stopping_a_run_keeps_its_verdicts_and_gives_its_snapshots_back(full: World) -> None:
    verifier = Verifier(full.database, full.olap, full.lake, full.manifest, full.clock, full.settings, 3)
    steps = verifier.run(Choice())
    seen = [next(steps) for _ in range(5)]
    steps.close()
    assert len(kept(full)) == sum(isinstance(step, Verdict) for step in seen) > 0
    with reading(full.database) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.snapshots)).scalar_one() == 0


def test_a_sample_leaves_out_what_a_client_no_longer_has(full: World) -> None:
    """One client keeps raw events for fewer days than the others."""
    full.settings = full.settings.model_copy(update={"retention": {"a": {"raw": 5}}})
    old = full.hour - 24 * 8 * HOUR_MS
    drawn, _ = run(full, sample=100)
    assert {v.finding for v in drawn} == {Finding.SAME}
    assert ("b", (Level.HOUR, old)) in {(v.client_id, v.bucket) for v in drawn}
    assert min(v.bucket.start for v in drawn if v.client_id == "a") > old
    assert {v.finding for v in run(full, client_ids=["a"], end=old + HOUR_MS)[0]} == {Finding.FROZEN}
