"""Splitting batches by event hour changes no row and no number of the ledger, however they are cut and sent again."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from isotherm.collect import commit
from isotherm.collect.app import Collector
from isotherm.collect.commit import GroupCommit
from isotherm.collect.intake import Budget, Lease
from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, Rules
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import Position, Record
from isotherm.events import decode_envelope, record_id, slice_id
from isotherm.land import ledger
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

NOW = 1_795_000_000_000 - 1_795_000_000_000 % HOUR_MS + 10 * MINUTE_MS
WHOLE = Rules(frozenset(), 30 * DAY_MS, 2 << 20)
BY_HOUR = Rules(frozenset(), 30 * DAY_MS, 2 << 20, key_is_client=True, time_is_event=True)


class KeepsAll(MemoryLog):
    """A log that keeps no ids, as Kafka does."""

    @property
    def knows_ids(self) -> bool:
        return False

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        return super().append([Record(r.key, r.value, r.timestamp) for r in records])


def body(events: list[Any], **fields: Any) -> bytes:
    return json.dumps({"client_id": "shop", "screen_id": "home", "batch_id": "b1", "events": events} | fields).encode()


def at(ms: int, **fields: Any) -> dict[str, Any]:
    return {"event_time": ms, "event_type": "click", "x_norm": 0.25, "y_norm": 0.5} | fields


def walk(sent: bytes, rules: Rules, *, received_at: int = NOW, skew_ms: int = 0) -> Request:
    """The steps up to the records; a skew above a minute is what the sender's clock is behind."""
    query = f"sent_at={received_at - skew_ms}" if skew_ms else ""
    request = Request(sent, received_at, query=query)
    for _, step in STEPS:
        step(request, rules)
    return request


def records(request: Request) -> list[Record]:
    if request.slices:
        return [one.record for one in request.slices]
    assert request.record is not None
    return [request.record]


@contextmanager
def landed(batches: Sequence[Sequence[Record]]) -> Iterator[tuple[pd.DataFrame, dict[tuple[Any, ...], int]]]:
    """The rows as pandas reads them, without their places on the log, and the ledger."""
    with tempfile.TemporaryDirectory() as folder:
        built, clock = Settings(data=Path(folder), log="memory://"), ManualClock(NOW)
        log, engine = KeepsAll("memory://", built, clock), open_db(built.url("db"))
        manifest = Manifest(engine, clock)
        lake = LocalLake.of_url(built.url("lake"), built)
        lander = Lander(built, log, lake, manifest, clock)
        try:
            for batch in batches:
                log.append(batch)
                lander.step(force=len(batch) % 2 == 0)
            lander.drain()
            frames = [pd.read_parquet(lake.root / file.path) for file in manifest.listed()]
            rows = pd.concat(frames) if frames else pd.DataFrame(columns=["batch_id", "position", "log_offset"])
            rows = rows.sort_values(["batch_id", "position"], ignore_index=True).drop(columns="log_offset")
            books = ledger.read(engine)
            assert ledger.check(books) == []
            numbers = {(r.client_id, r.hour, r.measure, r.reason): r.events for r in books if r.events}
            yield rows.astype(str), numbers
        finally:
            log.close()
            engine.dispose()


HOURS = st.integers(-40, 26).map(lambda hour: NOW + hour * HOUR_MS)
TIMES = st.one_of(HOURS, st.integers(NOW - 3 * HOUR_MS, NOW + HOUR_MS), st.just(NOW - 40 * DAY_MS))
GOOD = st.builds(at, TIMES) | st.builds(lambda ms: {"event_time": ms, "event_type": "scroll"}, TIMES)
EVENTS = st.lists(GOOD | st.sampled_from([{"event_type": "click"}, 7, at(NOW, x_norm=2)]), max_size=12)
SKEWS = st.sampled_from([0, 2 * MINUTE_MS, -50 * MINUTE_MS, 55 * MINUTE_MS, -3 * HOUR_MS])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(EVENTS, st.lists(SKEWS, min_size=1, max_size=3)), max_size=3), st.randoms())
@example([([at(NOW - 20 * MINUTE_MS), at(NOW), at(NOW - HOUR_MS)], [0, 55 * MINUTE_MS, -50 * MINUTE_MS])], None)
def test_split_batches_land_as_whole_ones_do(sent: list[tuple[list[Any], list[int]]], random: Any) -> None:
    whole, by_hour = [], []
    for number, (events, skews) in enumerate(sent):
        one = body(events, batch_id=f"b{number}", dropped={"offline": 2}, viewport={"w": 800, "h": 600})
        for attempt, skew_ms in enumerate(skews):
            received = NOW + attempt * MINUTE_MS
            whole.append(records(walk(one, WHOLE, received_at=received, skew_ms=skew_ms)))
            by_hour.append(records(walk(one, BY_HOUR, received_at=received, skew_ms=skew_ms)))
    if random is not None:
        # Each attempt's slices may be on the log in any order.
        for slices in by_hour:
            random.shuffle(slices)
    with landed(whole) as (expected, numbers), landed(by_hour) as (found, same):
        assert same == numbers
        pd.testing.assert_frame_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(EVENTS, SKEWS)
def test_slices_partition_the_accepted_events(events: list[Any], skew_ms: int) -> None:
    whole, request = (walk(body(events), rules, skew_ms=skew_ms) for rules in (WHOLE, BY_HOUR))
    assert (request.accepted, request.rejected) == (whole.accepted, whole.rejected)
    one = decode_envelope(records(whole)[0].value)
    slices = [decode_envelope(record.value) for record in records(request)]
    accepted: Counter[str] = Counter()
    for record, envelope in zip(records(request), slices, strict=True):
        assert record.key == "shop"
        hours = {(int(e.event_time) + skew_ms) // HOUR_MS for e in (envelope.batch.events if envelope.batch else [])}  # type: ignore[call-overload]
        assert len(hours) < 2
        if hours:
            times = [int(e.event_time) + skew_ms for e in envelope.batch.events]  # type: ignore[union-attr,call-overload]
            assert record.timestamp == min(times)
        accepted.update(envelope.counts.accepted)
    assert accepted == one.counts.accepted
    assert [s.counts.rejected for s in slices if s.counts.rejected] == [one.counts.rejected] * bool(one.counts.rejected)
    if len(slices) > 1:
        places = sorted(place for s in slices for place in s.positions or [])
        assert places == (one.positions or list(range(len(events))))


def test_what_is_said_of_the_request_stands_in_the_first_slice_alone() -> None:
    sequence = {"view": "v", "batch": 3, "first_event": 40}
    sent = body([at(NOW), at(NOW - HOUR_MS), 7], sequence=sequence, dropped={"offline": 5}, url="https://a.example/")
    first, second = (decode_envelope(record.value) for record in records(walk(sent, BY_HOUR)))
    assert first.counts.dropped == {"offline": 5}
    assert first.counts.rejected == {"not_an_event": 1}
    assert first.counts.sequence is not None
    assert first.positions == [1]
    assert (second.counts.dropped, second.counts.rejected, second.counts.sequence) == ({}, {}, None)
    assert second.positions == [0]
    assert second.batch is not None
    assert (second.batch.url, second.batch.dropped, second.batch.sequence) == ("https://a.example/", None, None)


def test_ids_of_slices_are_nobody_else_s() -> None:
    request = walk(body([at(NOW), at(NOW - HOUR_MS), at(NOW - DAY_MS)]), BY_HOUR)
    ids = [record.id for record in records(request)]
    assert len({*ids, record_id("shop", "b1")}) == 4
    hour = NOW - NOW % HOUR_MS
    assert ids[-1] == slice_id("shop", "b1", hour)
    assert slice_id("shop", "b1", hour) != record_id("shop", f"b1\0{hour}")
    assert not any(record.id for record in records(walk(body([at(NOW), at(NOW - HOUR_MS)], batch_id=None), BY_HOUR)))


def test_a_batch_of_one_hour_stays_whole_and_bears_its_first_event_s_time() -> None:
    sent = body([at(NOW - MINUTE_MS), at(NOW - 3 * MINUTE_MS)])
    (record,) = records(walk(sent, BY_HOUR))
    assert record.timestamp == NOW - 3 * MINUTE_MS
    assert decode_envelope(record.value).positions is None
    assert sent in record.value
    (nothing,) = records(walk(body([7]), BY_HOUR))
    assert nothing.timestamp == NOW


@pytest.mark.parametrize("hours", [1, 3])
def test_a_record_is_one_line_whatever_the_body_looks_like(hours: int) -> None:
    events = [at(NOW - n * HOUR_MS, attrs={"said": "two\nlines\r"}) for n in range(hours)]
    pretty = json.dumps(json.loads(body(events)), indent=1).replace("\n", "\r\n").encode()
    found = records(walk(pretty, BY_HOUR))
    assert len(found) == hours
    for record in found:
        assert b"\n" not in record.value
        assert b"\r" not in record.value
        batch = decode_envelope(record.value).batch
        assert batch is not None
        assert json.loads(bytes(batch.events[0].attrs)) == {"said": "two\nlines\r"}


class Calls(MemoryLog):
    """Remembers how many records each append had; `refuse` says which of them fail."""

    def __init__(self) -> None:
        super().__init__("memory://", Settings(), ManualClock(NOW))
        self.calls: list[int] = []
        self.refuse: set[int] = set()

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        self.calls.append(len(records))
        if len(self.calls) - 1 in self.refuse:
            raise Backpressure("not now")
        return super().append(records)


async def collected(log: MemoryLog, *sent: bytes) -> list[tuple[int, int]]:
    collector = Collector(Settings(log_timestamp="event", log="memory://"), log, ManualClock(NOW))
    collector.__rsgi_init__(asyncio.get_running_loop())
    try:
        replies = [await collector.collect(Request(one, NOW), Lease(Budget(1 << 30))) for one in sent]
    finally:
        collector._commit.close()  # type: ignore[union-attr]
        collector._intake.stop()
    told = [json.loads(reply.body) for reply in replies]
    return [(one["accepted"], one["duplicate"]) for one in told]


def test_all_slices_go_in_one_call_and_a_second_attempt_is_told_apart() -> None:
    log = Calls()
    sent = body([at(NOW - n * HOUR_MS) for n in range(5)] + [7])
    longer = body([at(NOW - n * HOUR_MS) for n in range(6)])
    assert asyncio.run(collected(log, sent, sent, longer)) == [(5, 0), (0, 5), (1, 5)]
    # Each time the slices, then counts for those that are known.
    assert log.calls == [5, 5, 5, 6, 5]
    envelopes = [decode_envelope(one.value) for one in log.read(0, 0)]
    assert sum(one.counts.duplicate for one in envelopes) == 10
    assert sum(sum(one.counts.rejected.values()) for one in envelopes) == 2
    log.close()


def test_no_slice_counts_when_the_log_refuses() -> None:
    log = Calls()
    log.refuse = {0}
    with pytest.raises(Backpressure):
        asyncio.run(collected(log, body([at(NOW), at(NOW - HOUR_MS)])))
    assert log.head(0) == 0
    log.close()


def test_a_request_is_never_cut_into_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "MAX_GROUP", 3)
    log = Calls()

    async def run() -> None:
        group = GroupCommit(log, asyncio.get_running_loop())
        several = [[(Record("k", b"v", NOW), lambda: Record("k", b"w", NOW))] * size for size in (2, 4, 1, 5)]
        answers = await asyncio.gather(*(group.append_all(one) for one in several))
        assert [len(one) for one in answers] == [2, 4, 1, 5]
        group.close()

    asyncio.run(run())
    # Two and four share a call, since the limit falls into the four.
    assert log.calls == [6, 6]
    log.close()


def test_only_a_log_that_keeps_no_ids_takes_event_times(tmp_path: Path) -> None:
    from isotherm.config import load_settings

    with pytest.raises(ConfigError, match="log_timestamp"):
        load_settings(data=tmp_path, log_timestamp="event")
