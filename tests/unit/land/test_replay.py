"""Replay: records made of rows say what the sender's records said, and count once wherever they land."""

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landing import DOUBLES, NOW, TEXT, World, event, record
from msgspec.structs import replace

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Position, Record, Stored, open_log
from isotherm.events import FLAG_IMPORT, FLAG_REPLAY, decode_envelope
from isotherm.land import ledger
from isotherm.land import replay as replay_module
from isotherm.land.columns import decode_records
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.land.parts import split
from isotherm.land.rebuild import records_of
from isotherm.land.replay import Progress, Replay, plan
from isotherm.land.write import decode, encode
from isotherm.store.db import open_db

HOUR = NOW - NOW % HOUR_MS
ORIGIN = ["log_partition", "log_offset"]
UNIT = st.floats(0, 1) | st.sampled_from([0.29, 0.1, -0.0, 1.0, 5e-324])
OPTIONAL = {
    "x_px": DOUBLES, "y_px": DOUBLES, "scroll_y": DOUBLES, "ax": UNIT, "ay": UNIT, "anchor": TEXT,
    "attrs": st.dictionaries(TEXT, TEXT | st.integers() | st.lists(st.booleans()), max_size=2),
}  # fmt: skip
EVENT = st.builds(
    lambda ms, kind, position, more: event(NOW + ms, *position, kind, **more),
    st.integers(-2 * HOUR_MS, 2 * HOUR_MS),
    st.sampled_from(["mousemove", "click", "scroll"]),
    st.tuples(UNIT, UNIT) | st.just((None, None)),
    st.fixed_dictionaries({}, optional=OPTIONAL),
)
SIZE = st.fixed_dictionaries({"w": st.floats(0, 1e6), "h": st.floats(0, 1e6)})
BODY = st.fixed_dictionaries(
    {},
    optional={name: st.text("abcé", min_size=1, max_size=4) for name in ("session_id", "visitor_id", "url", "sdk")}
    | dict.fromkeys(("viewport", "document", "region"), SIZE)
    | {"device_pixel_ratio": st.floats(0, 100)},
)


@st.composite
def sent(draw: st.DrawFn) -> list[Record]:
    """Records of some clients and screens, with clocks that are wrong, and with events that were rejected."""
    made: list[Record] = []
    for number in range(draw(st.integers(1, 5))):
        events = draw(st.lists(EVENT, min_size=1, max_size=4))
        gaps = np.cumsum([draw(st.integers(1, 3)) for _ in events]) - 1
        skew = draw(st.sampled_from([0, 0, 3_600_000, -61_000]))
        made.append(
            record(
                draw(st.sampled_from("ab")), f"b{number}", events, screen_id=draw(st.sampled_from(["home", "é/x"])),
                received_at=NOW + draw(st.integers(0, 10)), skew_ms=skew,
                positions=gaps.tolist() if draw(st.booleans()) else None, batch=draw(BODY),
            )
        )  # fmt: skip
    return made


def stored(records: Sequence[Record], offset: int = 0) -> list[Stored]:
    return [Stored(0, offset + n, one.timestamp, one.value) for n, one in enumerate(records)]


def rows_of(records: Sequence[Record]) -> list[tuple[str, int, pa.Table]]:
    found = decode_records(stored(records))
    assert not found.dead
    return [(part.client_id, part.hour, part.table) for part in split(found.rows)]


def bits(table: pa.Table) -> pd.DataFrame:
    """The rows in an order of their own, doubles as their bits, without where they stood on a log."""
    frame = table.drop_columns(ORIGIN).to_pandas()
    for name in frame.columns:
        if frame[name].dtype == np.float64:
            frame[name] = frame[name].to_numpy().view(np.int64)
        elif isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(object)
    return frame.sort_values(["screen_id", "batch_id", "position"]).reset_index(drop=True)


@settings(deadline=None, max_examples=40)
@given(records=sent(), form=st.sampled_from(["parquet", "jsonl"]), limit=st.sampled_from([400, 1 << 20]))
def test_rows_made_records_made_rows_are_the_same_bit_by_bit(records: list[Record], form: str, limit: int) -> None:
    for client_id, hour, table in rows_of(records):
        again = list(records_of(decode(bytes(encode(table, form)), form), NOW, max_bytes=limit))
        assert len({one.id for one in again}) == len(again)
        assert not {one.id for one in again} & {one.id for one in records}
        ((client, at, after),) = rows_of(again)
        assert (client, at) == (client_id, hour)
        pd.testing.assert_frame_equal(bits(after), bits(table))
        for one in again:
            envelope = decode_envelope(one.value)
            assert envelope.flags == [FLAG_IMPORT, FLAG_REPLAY]
            assert envelope.batch is not None
            assert envelope.counts.accepted == {str(hour): len(envelope.batch.events)}


class Wrapped:
    """A log with something changed."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Forgetful(Wrapped):
    """Keeps no ids, as a Kafka topic."""

    knows_ids = False


class Busy(Wrapped):
    """Refuses some appends."""

    refusals = 3

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        if self.refusals:
            self.refusals -= 1
            raise Backpressure("busy", retry_after_s=0.25)
        return self._log.append(records)


def fill(world: World) -> None:
    """Two clients, two screens, a batch over two hours, a wrong clock, and rows of an hour in two files."""
    world.append(
        record("a", "b1", [event(HOUR - 1, 0.29, 0.1), event(HOUR, 0.5, 0.5), event(HOUR + 1, None, kind="scroll")]),
        record(
            "a", "b2", [event(HOUR - HOUR_MS, 1.0, 0.0)] * 3, screen_id="other", skew_ms=HOUR_MS, positions=[1, 4, 9]
        ),
        record("b", "b1", [event(HOUR, 0.1 * n, 0.2, attrs={"n": n}, anchor="#x") for n in range(5)]),
    )
    world.lander().drain()
    world.append(record("a", "b3", [event(HOUR + 2)], received_at=NOW + 5, batch={"viewport": {"w": 390, "h": 844}}))
    world.lander().drain()


def replay(
    world: World, target: World, *, start: int = 0, end: int = NOW + DAY_MS, only: str | None = None
) -> Progress:
    work = Replay(world.lake, world.manifest, target.log, target.clock)
    return list(work.run(start, end, None if only is None else [only]))[-1]


def rows(world: World) -> list[dict[str, Any]]:
    frame = world.frame().drop(columns=ORIGIN)
    frame = frame.sort_values(["client_id", "batch_id", "position"]).astype(object)
    return frame.where(frame.notna(), None).to_dict("records")


def sums(world: World) -> dict[str, int]:
    found = ledger.read(world.engine)
    assert ledger.check(found) == []
    return ledger.sums(found)


def test_an_empty_deployment_gets_the_same_rows(make_world: Callable[..., World]) -> None:
    world, target = make_world(), make_world()
    fill(world)
    done = replay(world, target)
    assert (done.rows, done.total, done.known) == (12, 12, 0)
    target.lander().drain()
    assert rows(target) == rows(world)
    assert sums(target) | {"received": 12, "accepted": 12, "landed": 12, "landing_duplicate": 0} == sums(target)


@pytest.mark.parametrize("known", [True, False])
def test_the_same_deployment_stays_as_it_is(make_world: Callable[..., World], *, known: bool) -> None:
    world = make_world()
    if not known:
        world.log = cast("EventLog", Forgetful(world.log))
    fill(world)
    before, total = rows(world), sums(world)
    replay(world, world)
    world.lander().drain()
    assert rows(world) == before
    after = sums(world)
    assert (after["landed"], after["landing_duplicate"]) == (total["landed"], 12)
    assert after["received"] == total["received"] + 12


def test_killed_anywhere_and_run_again_it_is_exact(make_world: Callable[..., World]) -> None:
    world, target = make_world(), make_world()
    fill(world)
    for steps in range(1, 5):
        work = Replay(world.lake, world.manifest, target.log, target.clock).run(0, NOW + DAY_MS, None)
        for _ in range(steps):
            next(work)
        work.close()
        target.lander().drain()
        target.clock.advance(2 * DAY_MS)  # the log forgets its ids
    replay(world, target)
    target.lander().drain()
    assert rows(target) == rows(world)
    assert sums(target)["landed"] == 12


def test_a_merge_in_between_changes_nothing(make_world: Callable[..., World]) -> None:
    from isotherm.land.merge import merge_closed

    world, target = make_world(), make_world()
    fill(world)
    replay(world, target)
    world.clock.advance(3 * HOUR_MS)
    assert merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms())
    done = replay(world, target)
    target.lander().drain()
    assert rows(target) == rows(world)
    assert done.rows == 12


def test_killed_before_a_merge_that_moves_the_cut_of_a_record(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that the first run cut off go with the second, whose piece of that record is longer."""
    from isotherm.land.merge import merge_closed

    monkeypatch.setattr(replay_module, "_PIECE_ROWS", 4)
    world, target = make_world(), make_world(log="memory://")
    for batch in ("b1", "b2"):
        world.append(record("a", batch, [event(HOUR + n) for n in range(3)], screen_id="home"))
    world.lander().drain()
    first = Replay(world.lake, world.manifest, target.log, world.clock).run(0, NOW + DAY_MS, None)
    assert next(first).rows == 4
    first.close()
    world.append(record("a", "late", [event(HOUR)] * 2, screen_id="cart"))
    world.lander().drain()
    world.clock.advance(3 * HOUR_MS)
    assert merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms())
    replay(world, target)
    target.lander().drain()
    assert rows(target) == rows(world)
    assert target.identities() == world.identities()


def test_what_landed_of_a_batch_since_the_last_replay_goes_with_the_next(make_world: Callable[..., World]) -> None:
    """A dead letter brings events of a batch that were rejected before, and merging puts them beside the others."""
    from isotherm.land.merge import merge_closed

    world, target = make_world(), make_world()
    some = [event(HOUR + n) for n in range(4)]
    world.append(record("a", "b1", [some[0], some[2]], positions=[0, 2]))
    world.lander().drain()
    replay(world, target)
    target.lander().drain()
    world.append(replace(record("a", "b1", some, flags=[FLAG_IMPORT]), id=None))
    world.lander().drain()
    world.clock.advance(3 * HOUR_MS)
    assert merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms())
    replay(world, target)
    target.lander().drain()
    assert [one[2] for one in target.identities()] == [0, 1, 2, 3]
    assert sums(target)["landed"] == 4


def test_a_replay_that_waits_long_for_the_log_keeps_its_files(make_world: Callable[..., World]) -> None:
    """Hours pass, the files are merged meanwhile, and the sweeper looks for what nobody needs."""
    from isotherm.land.merge import merge_closed

    world, target = make_world(), make_world()
    fill(world)

    def wait(_: float) -> None:
        world.clock.advance(40 * MINUTE_MS)
        merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms())
        world.manifest.sweep(world.lake)

    log: Any = Busy(target.log)
    list(Replay(world.lake, world.manifest, log, target.clock, wait=wait).run(0, NOW + DAY_MS, None))
    target.lander().drain()
    assert rows(target) == rows(world)


def test_a_range_and_a_client_are_all_that_goes(make_world: Callable[..., World]) -> None:
    world, target = make_world(), make_world()
    fill(world)
    assert plan(world.manifest, HOUR, HOUR + HOUR_MS, ["a"]).rows == 6
    replay(world, target, start=HOUR, end=HOUR + HOUR_MS, only="a")
    target.lander().drain()
    assert {row["client_id"] for row in rows(target)} == {"a"}
    expected = [row for row in rows(world) if row["client_id"] == "a" and row["event_time"].timestamp() * 1000 >= HOUR]
    assert rows(target) == expected
    assert [file.client_id for file in target.manifest.listed()] == ["a"]


def test_what_was_in_time_is_in_time_a_year_later(make_world: Callable[..., World]) -> None:
    """Late is who was received late, not who is replayed late."""
    world, target = make_world(late_events="raw_only"), make_world(late_events="raw_only")
    late = record("a", "late", [event(HOUR - 40 * DAY_MS)])
    world.append(record("a", "b1", [event(HOUR)]), late)
    world.lander().drain()
    target.clock.advance(365 * DAY_MS)
    replay(world, target)
    target.lander().drain()
    kinds = [[(f.hour, f.raw_only) for f in one.manifest.listed()] for one in (world, target)]
    assert kinds[0] == kinds[1] == [(HOUR - 40 * DAY_MS, True), (HOUR, False)]


def test_a_busy_log_is_asked_again_and_nothing_is_lost(make_world: Callable[..., World]) -> None:
    world, target = make_world(), make_world()
    fill(world)
    waited: list[float] = []
    log: Any = Busy(target.log)
    work = Replay(world.lake, world.manifest, log, target.clock, wait=waited.append)
    steps = list(work.run(0, NOW + DAY_MS, None))
    assert waited == [0.25] * 3
    assert [step.waiting for step in steps][:4] == ["busy"] * 3 + [None]
    target.lander().drain()
    assert rows(target) == rows(world)


def test_a_replay_leaves_room_on_the_log(make_world: Callable[..., World], tmp_path: Any) -> None:
    world = make_world()
    fill(world)
    built, clock = Settings(data=tmp_path / "small", log_max_bytes=64 << 20), ManualClock(NOW)
    log = open_log(built, clock)
    try:
        noise = random.Random(1)
        for n in range(40):
            log.append([Record("k", noise.randbytes(1 << 20), NOW, n.to_bytes(16, "big"))])
        waited: list[float] = []

        def stop(seconds: float) -> None:
            waited.append(seconds)
            raise KeyboardInterrupt

        head = log.status().head
        work = Replay(world.lake, world.manifest, log, clock, wait=stop)
        with pytest.raises(KeyboardInterrupt):
            list(work.run(0, NOW + DAY_MS, None))
        assert waited
        assert log.status().head == head
    finally:
        log.close()


def test_no_path_leads_to_another_client(make_world: Callable[..., World]) -> None:
    world = make_world()
    fill(world)
    for wrong in ("a%", "../b", "", "A"):
        assert plan(world.manifest, 0, NOW + DAY_MS, [wrong]).rows == 0


def test_the_log_is_another_deployments(tmp_path: Any, make_world: Callable[..., World]) -> None:
    """On the logs and databases of the embedded profile, by their URLs."""
    world = make_world(log="")
    fill(world)
    other, clock = Settings(data=tmp_path / "other"), ManualClock(NOW)
    log = open_log(Settings(data=tmp_path / "elsewhere", log=other.url("log")), clock)
    list(Replay(world.lake, world.manifest, log, clock).run(0, NOW + DAY_MS, None))
    log.close()
    log, engine = open_log(other, clock), open_db(other.url("db"))
    target = World(other, clock, log, LocalLake.of_url(other.url("lake"), other), engine, Manifest(engine, clock))
    target.lander().drain()
    assert rows(target) == rows(world)
    log.close()
    engine.dispose()
