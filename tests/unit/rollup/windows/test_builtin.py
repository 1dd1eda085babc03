"""The built-in consumer shows what pandas counts from the records alone, whatever order they come and repeat in."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import windows
from counting import Counting
from landing import NOW, event
from windows import again, living, many, sent

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, iso
from isotherm.errors import Backpressure
from isotherm.eventlog.port import Record
from isotherm.rollup.windows import builtin
from isotherm.rollup.windows.publish import last_beat
from isotherm.rollup.windows.read import degraded
from isotherm.store.cache_memory import MemoryCache


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("keeps_all", [False, True])
def test_windows_are_what_pandas_counts(deploy: Callable[..., Any], seed: int, keeps_all: bool) -> None:
    records = many(seed, NOW)
    deployment = deploy(keeps_all=keeps_all)
    stream = deployment.stream()
    for one in records:
        deployment.log.append([one])
        stream.step()
    deployment.follow(stream)
    expected = living(records, NOW)
    assert len(expected) > 30
    assert deployment.shown(records) == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_counts_the_same_from_the_log(deploy: Callable[..., Any], seed: int) -> None:
    records = many(seed, NOW, 90)
    deployment = deploy(keeps_all=True)
    stream = deployment.stream()
    deployment.log.append(records[:70])
    deployment.follow(stream)
    deployment.cache = MemoryCache(deployment.clock)
    deployment.log.append(records[70:])
    deployment.follow(deployment.stream())
    assert deployment.shown(records) == living(records, NOW)


def test_a_late_event_wakes_its_windows_with_all_their_events(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    first = sent("shop", "a", [event(NOW - MINUTE_MS + i) for i in range(5)], received_at=NOW)
    deployment.log.append([first])
    deployment.follow(stream)
    deployment.clock.advance(6 * HOUR_MS)
    assert deployment.shown([first]) == {}
    now = deployment.clock.now_ms()
    late = sent("shop", "b", [event(NOW - MINUTE_MS + 9)], received_at=now)
    deployment.log.append([late])
    deployment.follow(stream)
    shown = deployment.shown([first])
    assert shown == living([first, late], now)
    assert set(shown.values()) == {6}
    assert len(shown) == 3


def test_windows_live_2_10_and_120_minutes_from_their_newest_event(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    one = sent("shop", "a", [event(NOW)], received_at=NOW)
    deployment.log.append([one])
    deployment.follow(stream)
    for minutes, sizes in ((2, {"5m", "1h"}), (10, {"1h"}), (120, set[str]())):
        deployment.clock.advance(NOW + minutes * MINUTE_MS - 1 - deployment.clock.now_ms())
        before = {key[3] for key in deployment.shown([one])}
        deployment.clock.advance(1)
        assert {key[3] for key in deployment.shown([one])} == sizes
        assert before - sizes == before ^ sizes != set()


def test_a_day_late_counts_and_a_millisecond_more_does_not(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    events = [event(NOW - DAY_MS), event(NOW - DAY_MS - 1), event(NOW + 5 * MINUTE_MS), event(NOW + 5 * MINUTE_MS + 1)]
    one = sent("shop", "a", events, received_at=NOW)
    deployment.log.append([one])
    deployment.follow(stream)
    assert sum(n for key, n in deployment.shown([one]).items() if key[3] == "1m") == 2


def test_positions_decide_where_batches_are_split(deploy: Callable[..., Any]) -> None:
    deployment = deploy(keeps_all=True, log_timestamp="event")
    stream = deployment.stream()
    events = [event(NOW - (i % 2) * HOUR_MS - i) for i in range(40)]

    def slice_of(places: list[int], at: int) -> Record:
        return sent("shop", "a", [events[i] for i in places], positions=places, received_at=at)

    odd, even = list(range(1, 40, 2)), list(range(0, 40, 2))
    # The second try is cut otherwise: its clock said something else.
    records = [slice_of(even, NOW - 9), slice_of(odd[:5], NOW - 8), slice_of([*even, 11], NOW - 7), slice_of(odd, NOW)]
    deployment.log.append(records)
    deployment.follow(stream)
    expected = living(records, NOW, split=True)
    assert sum(n for key, n in expected.items() if key[3] == "1h") == 40
    assert deployment.shown(records) == expected


def test_only_whole_windows_show_when_the_log_does_not_reach_back(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    records = [
        sent("shop", f"b{i}", [event(NOW - 3 * HOUR_MS + i * MINUTE_MS)], received_at=NOW - 3 * HOUR_MS + i * MINUTE_MS)
        for i in range(181)
    ]
    deployment.log.append(records)
    del deployment.log._records[:100]
    deployment.log._tail = 100
    deployment.follow(deployment.stream())
    whole = {k: n for k, n in living(records, NOW).items() if k[4] >= NOW - 3 * HOUR_MS + 107 * MINUTE_MS}
    assert deployment.shown(records) == whole
    assert {key[3] for key in whole} == {"1m", "5m", "1h"}


def test_records_that_went_before_they_were_counted_take_their_windows_with_them(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    records = [
        sent("shop", f"b{i}", [event(NOW - 60 * MINUTE_MS + i * MINUTE_MS)], received_at=NOW + (i - 60) * MINUTE_MS)
        for i in range(61)
    ]
    stream = deployment.stream()
    deployment.log.append(records[:20])
    deployment.follow(stream)
    assert len(deployment.shown(records)) > 0
    deployment.log.append(records[20:])
    del deployment.log._records[:30]
    deployment.log._tail = 30
    deployment.follow(stream)
    # The next record was received 30 minutes ago; one from then may be five minutes early, and a minute out of order.
    whole = {k: n for k, n in living(records, NOW).items() if k[4] >= NOW - 24 * MINUTE_MS}
    assert deployment.shown(records) == whole
    assert len(whole) > 5
    deployment.clock.advance(3_000)
    stream.step()
    said = degraded(deployment.cache, deployment.settings, "1h", deployment.clock.now_ms())
    assert f"begin before {iso(NOW - 24 * MINUTE_MS)}" in said
    assert degraded(deployment.cache, deployment.settings, "5m", deployment.clock.now_ms()) is None


def test_who_is_minutes_behind_says_so_until_all_is_read(
    deploy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "_READ_RECORDS", 10)
    monkeypatch.setattr(builtin, "_LOOK_S", 0.0)
    deployment = deploy()
    stream = deployment.stream()
    deployment.follow(stream)
    deployment.log.append([sent("shop", f"b{i}", [event(NOW)], received_at=NOW + i) for i in range(20)])
    deployment.clock.advance(3 * MINUTE_MS)
    stream.step()
    now = deployment.clock.now_ms()
    assert "179 seconds behind" in degraded(deployment.cache, deployment.settings, "1h", now)
    deployment.follow(stream)
    deployment.clock.advance(3_000)
    stream.step()
    assert degraded(deployment.cache, deployment.settings, "1h", now) is None


def test_an_old_log_is_read_from_a_day_ago_only(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    old = [sent("shop", f"o{i}", [event(NOW - 60 * HOUR_MS)], received_at=NOW - 60 * HOUR_MS + i) for i in range(9_000)]
    new = [sent("shop", f"n{i}", [event(NOW - i)], received_at=NOW) for i in range(100)]
    deployment.log.append(old + new)
    stream = deployment.stream()
    deployment.follow(stream)
    assert deployment.shown(new) == living(new, NOW)
    assert stream.status().counted < 4_000


def test_a_batch_that_is_no_envelope_stops_nobody(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    good = sent("shop", "a", [event(NOW)], received_at=NOW)
    huge = good.value.replace(b'"received_at":', b'"received_at":9999999999999999999999')
    bad = [b"", b"{}", b"[1]", b'{"v":1', good.value.replace(b'"v":1', b'"v":2'), huge, b"\xff" * 9]
    deployment.log.append([Record("shop|home", value, NOW, None) for value in bad] + [good])
    deployment.follow(stream)
    assert deployment.shown([good]) == living([good], NOW)


def test_a_cache_that_was_emptied_is_filled_again(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    records = many(1, NOW)
    deployment.log.append(records)
    deployment.follow(stream)
    shown = deployment.shown(records)
    deployment.cache._entries.clear()
    assert deployment.shown(records) == {}
    deployment.clock.advance(3_000)
    stream.step()
    assert deployment.shown(records).items() >= {k: n for k, n in shown.items() if k[3] == "1h"}.items()


def test_nothing_is_committed_so_the_log_is_not_held_back(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    stream = deployment.stream()
    deployment.log.append(many(2, NOW))
    deployment.follow(stream)
    assert deployment.log.status().consumers == {}


def test_what_is_counted_and_what_is_late_is_told_as_metrics(deploy: Callable[..., Any]) -> None:
    counting = Counting("stream")
    deployment = deploy()
    stream = deployment.stream()
    late = sent("shop", "b", [event(NOW - DAY_MS - 1), event(NOW)], received_at=NOW)
    deployment.log.append([sent("shop", "a", [event(NOW)] * 3, received_at=NOW), late])
    deployment.follow(stream)
    assert counting.found() == (5, 4, 0, 1)
    stream._failed(ValueError("a mistake"))
    assert counting.found() == (5, 4, 1, 1)


def test_a_run_goes_on_after_the_log_failed(deploy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deploy()
    records = many(3, NOW)
    deployment.log.append(records)
    stream = deployment.stream()
    read, failures = deployment.log.read_some, iter([Backpressure("the broker is away"), ValueError("a mistake")])

    def fails_twice(*given: Any, **more: Any) -> Any:
        for error in failures:
            raise error
        return read(*given, **more)

    monkeypatch.setattr(deployment.log, "read_some", fails_twice)
    stop = threading.Event()
    thread = threading.Thread(target=stream.run, args=(stop,))
    thread.start()
    expected = living(records, NOW)
    try:
        deadline = time.monotonic() + 60
        while deployment.shown(records) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join()
    assert deployment.shown(records) == expected
    assert "a mistake" in (stream.status().last_error or "")


def test_of_two_processes_on_a_shared_cache_one_counts(deploy: Callable[..., Any]) -> None:
    deployment = deploy()
    deployment.settings = deployment.settings.model_copy(update={"cache": "redis://127.0.0.1:1/0"})
    stop = threading.Event()
    streams = [deployment.stream(), deployment.stream()]
    threads = [threading.Thread(target=stream.run, args=(stop,)) for stream in streams]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 60
        wanted = ["counting", "standby"]
        while sorted(s.status().state for s in streams) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(s.status().state for s in streams) == wanted
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    beat = last_beat(deployment.cache)
    assert beat is not None
    assert beat.state == "counting"


def test_the_two_calculations_agree_on_hand_counted_windows() -> None:
    one = sent("shop", "a", [event(NOW), event(NOW + 1), event(NOW - MINUTE_MS, kind="click")], received_at=NOW)
    found = windows.windows([one, again(one, NOW + 5)])
    minute = NOW // MINUTE_MS * MINUTE_MS
    assert found["shop", "home", "mousemove", "1m", minute] == 2
    assert found["shop", "home", "click", "1m", minute - MINUTE_MS] == 1
    assert found["shop", "home", "mousemove", "1h", NOW // HOUR_MS * HOUR_MS] == 2
