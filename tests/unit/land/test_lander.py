import threading
import time
from collections.abc import Callable
from itertools import pairwise

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import NOW, Event, Identity, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.eventlog.port import Record, Stored
from isotherm.events import FLAG_IMPORT
from isotherm.land import ledger, rowhash
from isotherm.land.lander import Lander
from isotherm.land.write import read_table

Batch = tuple[str, str, list[Event]]


@st.composite
def loads(draw: st.DrawFn) -> list[Batch]:
    """Batches of two clients in two hours, with and without coordinates."""
    times = st.sampled_from([NOW, NOW + 1, NOW - HOUR_MS])
    unit = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.29])
    events = st.builds(event, times, unit, unit) | st.builds(lambda t: event(t, None, kind="view"), times)
    sizes = draw(st.lists(st.integers(1, 6), max_size=6))
    clients = st.sampled_from(["a", "c.d"])
    return [(draw(clients), f"b{i}", draw(st.lists(events, min_size=n, max_size=n))) for i, n in enumerate(sizes)]


def expected(load: list[Batch]) -> list[Identity]:
    return sorted((client, batch, i) for client, batch, events in load for i in range(len(events)))


def hashes(world: World) -> dict[tuple[str, int], str]:
    """Row hash per client and hour, summed over the listed files."""
    found: dict[tuple[str, int], list[str]] = {}
    for file in world.manifest.listed(format="parquet"):
        assert rowhash.of_table(read_table(world.lake, file)) == file.row_hash
        assert rowhash.add(r.row_hash for r in file.ranges) == file.row_hash
        found.setdefault((file.client_id, file.hour), []).append(file.row_hash)
    return {key: rowhash.add(parts) for key, parts in found.items()}


def numbers(world: World) -> dict[str, int]:
    rows = ledger.read(world.engine)
    assert ledger.check(rows) == []
    return {name: count for name, count in ledger.sums(rows).items() if count}


@given(load=loads(), data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_and_order_lands_the_same_rows(
    make_world: Callable[..., World], load: list[Batch], data: st.DataObject
) -> None:
    worlds = make_world(), make_world(land_formats=["parquet", "jsonl"])
    orders = load, data.draw(st.permutations(load))
    for world, order in zip(worlds, orders, strict=True):
        lander = world.lander()
        for batch in order:
            world.append(record(*batch))
            if data.draw(st.booleans()):
                lander.step(force=True)
        lander.drain()
        assert world.identities() == expected(load)
    assert hashes(worlds[0]) == hashes(worlds[1])
    assert numbers(worlds[0]) == numbers(worlds[1])
    assert worlds[1].identities("jsonl") == expected(load)


@given(load=loads())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_lands_is_what_was_sent(make_world: Callable[..., World], load: list[Batch]) -> None:
    world = make_world()
    world.append(*(record(*batch) for batch in load))
    world.lander().drain()
    sent = pd.DataFrame(
        [(c, b, i, e["event_time"], e.get("x_norm"), e.get("y_norm"), e["event_type"])
         for c, b, events in load for i, e in enumerate(events)],
        columns=["client_id", "batch_id", "position", "event_time", "x_norm", "y_norm", "event_type"],
    ).sort_values(["client_id", "batch_id", "position"])  # fmt: skip
    assert numbers(world).get("landed", 0) == len(sent)
    assert numbers(world).get("no_position", 0) == int(sent["x_norm"].isna().sum())
    if load:
        found = world.frame().sort_values(["client_id", "batch_id", "position"])
        times = found["event_time"].astype("datetime64[ms, UTC]").astype("int64")
        np.testing.assert_array_equal(times, sent["event_time"])
        for name in ("x_norm", "y_norm"):
            ours, theirs = (frame[name].to_numpy("float64") for frame in (found, sent))
            np.testing.assert_array_equal(ours, theirs)
        assert found["event_type"].astype(str).tolist() == sent["event_type"].tolist()
    for file in world.manifest.listed():
        assert f"client_id={file.client_id}/" in file.path
        assert file.hour <= file.min_time <= file.max_time < file.hour + HOUR_MS
        assert (world.lake.root / file.path).stat().st_size == file.bytes


def test_a_record_waits_for_age_or_size(make_world: Callable[..., World]) -> None:
    world = make_world(land_flush_seconds=15)
    lander = world.lander()
    world.append(record("a", "b1", [event(NOW)]))
    assert lander.step() == 0
    world.clock.advance(14_999)
    assert lander.step() == 0
    assert world.manifest.listed() == []
    world.clock.advance(1)
    assert lander.step() == 1
    big = [event(NOW, anchor="x" * 100)] * 3000
    world.append(*(record("a", f"big{i}", big) for i in range(3)))
    assert lander.step() == 9000
    assert [p.lag for p in lander.status().partitions] == [0]


def test_a_landing_marks_the_hours_and_commits_to_the_log(world: World) -> None:
    world.append(record("a", "b1", [event(NOW), event(NOW - HOUR_MS)]), record("b", "b2", [event(NOW)]))
    world.lander().drain()
    with world.engine.connect() as connection:
        marks = connection.exec_driver_sql("SELECT level, start, client_id, version FROM dirty ORDER BY 2, 3").all()
        versions = set(connection.exec_driver_sql("SELECT listed_version FROM files").scalars())
    hour = NOW - NOW % HOUR_MS
    assert [tuple(m)[:3] for m in marks] == [("hour", hour - HOUR_MS, "a"), ("hour", hour, "a"), ("hour", hour, "b")]
    assert {m.version for m in marks} == versions
    assert world.log.status().lag("land") == 0


def test_the_ledger_adds_up(world: World) -> None:
    world.append(
        record("a", "b1", [event(NOW), event(NOW, None, kind="view")], rejected={"too_old": 3, "bad_number": 1}),
        record("a", "b1x", [], duplicate=5),
        record("b", "b2", [event(NOW)], dropped={"queue_full": 7, "' OR 1=1": 10**30}, received_at=NOW - HOUR_MS),
        Record("k", b"nonsense", NOW),
    )
    world.lander().drain()
    assert numbers(world) == {
        "received": 13, "accepted": 4, "rejected": 4, "duplicate": 5, "landed": 3, "dead": 1, "no_position": 1,
        "sender_dropped": 10_000_007,
    }  # fmt: skip
    found = {(r.client_id, r.measure, r.reason): r.events for r in ledger.read(world.engine, start=NOW - NOW % HOUR_MS)}
    assert found["a", "rejected", "too_old"] == 3
    assert found["", "dead", ""] == 1
    [row] = ledger.read(world.engine, client_id="b", end=NOW - NOW % HOUR_MS)[:1]
    assert (row.hour, row.measure) == (NOW - NOW % HOUR_MS - HOUR_MS, "accepted")
    [kept] = (world.settings.data / "dead").iterdir()
    assert kept.name.endswith("-0-3.bin")
    assert kept.read_bytes() == b"nonsense"


def test_a_difference_in_the_ledger_is_named() -> None:
    rows = [ledger.LedgerRow("a", 0, "received", "", 5), ledger.LedgerRow("a", 0, "accepted", "", 4)]
    assert len(ledger.check(rows)) == 2
    assert "received 5 is not accepted + rejected + duplicate + sampled_out = 4" in ledger.check(rows)[0]


def test_imported_rows_the_lake_holds_are_dropped(world: World) -> None:
    def imported(batch_id: str, times: list[int], positions: list[int] | None = None, **more: str) -> Record:
        # Without its id, as after the log has forgotten it.
        made = record("a", batch_id, [event(t) for t in times], flags=[FLAG_IMPORT], positions=positions, **more)
        return msgspec.structs.replace(made, id=None)

    lander = world.lander()
    world.append(imported("i1", [NOW, NOW + 1, NOW - HOUR_MS]), record("a", "i2", [event(NOW)]))
    lander.drain()
    world.append(
        imported("i1", [NOW, NOW + 1, NOW - HOUR_MS]),  # all known
        imported("i2", [NOW, NOW + 5]),  # its position 0 came through the ordinary door
        imported("i3", [NOW], [7]), imported("i3", [NOW, NOW], [7, 8]),  # twice within one flush
    )  # fmt: skip
    lander.drain()
    world.append(imported("i3", [NOW, NOW], [7, 8]))
    lander.drain()
    held = [("a", "i1", 0), ("a", "i1", 1), ("a", "i1", 2), ("a", "i2", 0), ("a", "i2", 1), ("a", "i3", 7)]
    assert world.identities() == [*held, ("a", "i3", 8)]
    assert numbers(world) == {"received": 14, "accepted": 14, "landed": 7, "landing_duplicate": 7}


def test_another_clients_equal_ids_are_no_duplicates(world: World) -> None:
    for client in ("a", "b"):
        world.append(record(client, "i1", [event(NOW)], flags=[FLAG_IMPORT]))
        world.lander().drain()
    assert world.identities() == [("a", "i1", 0), ("b", "i1", 0)]


def test_records_the_log_lost_are_noted_and_landing_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(6)))
    read = world.log.read

    def holed(partition: int, offset: int, **limits: int) -> list[Stored]:
        return [r for r in read(partition, offset, **limits) if r.offset not in (0, 1, 3)]

    monkeypatch.setattr(world.log, "read", holed)
    lander = world.lander()
    lander.drain()
    assert world.identities() == [("a", f"b{i}", 0) for i in (2, 4, 5)]
    assert [(g.first, g.last) for g in lander.status().gaps] == [(0, 1), (3, 3)]
    assert lander.status().lag == 0


def test_two_landers_race_and_every_row_lands_once(make_world: Callable[..., World]) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    records = [record("ab"[i % 2], f"b{i}", [event(NOW + j) for j in range(5)]) for i in range(60)]
    barrier = threading.Barrier(3)
    errors: list[BaseException] = []
    done = threading.Event()

    def race(lander: Lander) -> None:
        try:
            barrier.wait()
            while not done.is_set():
                lander.step(force=True)
            lander.drain()
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=race, args=(world.lander(),), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for first, last in pairwise(range(0, 61, 6)):
        world.append(*records[first:last])
        world.manifest.next_offset(world.log.identity, 0)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    wanted = sorted(("ab"[i % 2], f"b{i}", j) for i in range(60) for j in range(5))
    assert world.identities() == world.identities("jsonl") == wanted
    assert numbers(world) == {"received": 300, "accepted": 300, "landed": 300}
    assert world.objects() == {f.path for f in world.manifest.listed()}


STEPS = ("dead", "pending", "written", "landed", "committed")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("clean", [True, False], ids=["exception", "crash"])
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    world: World, step: str, clean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(Exception):
        pass

    def stop_at(name: str) -> None:
        if name == step:
            raise CrashError

    world.append(*(record("ab"[i % 2], f"b{i}", [event(NOW)] * 3, rejected={"too_old": 1}) for i in range(6)))
    world.append(Record("k", b"nonsense", NOW))
    crashing = world.lander(stop_at)
    if not clean:  # a killed process cleans nothing up
        monkeypatch.setattr(crashing._manifest, "discard", lambda *_: None)
    with pytest.raises(CrashError):
        crashing.drain()
    listed = world.manifest.listed()
    assert all((world.lake.root / file.path).is_file() for file in listed)
    assert len(listed) in (0, 2)
    world.lander().drain()
    assert world.identities() == sorted(("ab"[i % 2], f"b{i}", j) for i in range(6) for j in range(3))
    assert numbers(world) == {"received": 25, "accepted": 19, "rejected": 6, "landed": 18, "dead": 1}
    world.manifest.sweep(world.lake)
    world.clock.advance(2 * HOUR_MS)
    world.manifest.sweep(world.lake)
    assert world.objects() == {f.path for f in world.manifest.listed()}
    assert world.log.status().lag("land") == 0


def test_a_lander_taken_for_dead_lists_nothing(world: World) -> None:
    world.append(record("a", "b1", [event(NOW)]))

    def sweep_meanwhile(name: str) -> None:
        if name == "written" and world.clock.now_ms() == NOW:
            world.clock.advance(2 * HOUR_MS)
            world.manifest.sweep(world.lake)

    lander = world.lander(sweep_meanwhile)
    assert lander.step(force=True) == 0
    assert world.manifest.listed() == []
    assert lander.step(force=True) == 1
    assert world.identities() == [("a", "b1", 0)]
    assert world.objects() == {f.path for f in world.manifest.listed()}


def test_the_loop_outlives_errors_and_shows_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.land.lander._BACKOFF_S", (0.001, 0.002))
    quick = world.settings.model_copy(update={"land_flush_seconds": 0.001})
    lander = Lander(quick, world.log, world.lake, world.manifest, SystemClock())
    put, failures = world.lake.put, iter(range(3))

    def failing(path: str, data: bytes) -> None:
        if next(failures, None) is not None:
            raise OSError(28, "No space left on device")
        put(path, data)

    monkeypatch.setattr(world.lake, "put", failing)
    world.append(record("a", "b1", [event(NOW)]))
    stop, landed = threading.Event(), threading.Event()
    monkeypatch.setattr(world.log, "commit", lambda *a: landed.set() if a[2] == 1 else None)
    thread = threading.Thread(target=lander.run, args=(stop,), daemon=True)
    thread.start()
    assert landed.wait(30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert world.identities() == [("a", "b1", 0)]
    assert "No space left on device" in (lander.status().last_error or "")
    assert lander.status().last_landing_at is not None
    assert world.objects() == {f.path for f in world.manifest.listed()}


def test_a_manifest_ahead_of_its_log_says_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(record("a", "b1", [event(NOW)]))
    world.lander().drain()
    monkeypatch.setattr(world.log, "head", lambda _: 0)
    with pytest.raises(Exception, match="the log was replaced"):
        world.lander().step()


def test_files_of_one_client_hold_no_other(world: World) -> None:
    for i in range(4):
        for client in ("a", "b", "a.b"):
            world.append(record(client, f"batch-of-{client}-{i}", [event(NOW + j * HOUR_MS) for j in range(2)]))
    world.lander().drain()
    for file in world.manifest.listed():
        path = world.lake.root / file.path
        assert set(pd.read_parquet(path)["client_id"]) == {file.client_id}
        others = {"a", "b", "a.b"} - {file.client_id}
        # Not even in a dictionary, where no row refers to it.
        columns = pq.ParquetFile(path, read_dictionary=["batch_id"]).read()["batch_id"].chunk(0)
        assert not [b for b in columns.dictionary.to_pylist() if b.startswith(tuple(f"batch-of-{o}-" for o in others))]


def test_the_log_is_given_back_when_it_is_landed_and_old(world: World) -> None:
    world.append(*[record("a", f"b{i}", [event(NOW)]) for i in range(3)])
    lander = world.lander()
    lander.drain()
    world.clock.advance((world.settings.log_retention_days + 2) * DAY_MS)
    stop = threading.Event()
    thread = threading.Thread(target=lander.run, args=(stop,), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while world.log.status().tail[0] < 3:
        assert time.monotonic() < deadline, "the log keeps what is landed and past its retention"
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert len(world.identities()) == 3
