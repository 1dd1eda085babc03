"""What the publisher puts into the cache, through a cache that is away, refuses, or forgets."""

from collections.abc import Mapping, Sequence

import pytest
from landing import NOW

from isotherm.clock import HOUR_MS, MINUTE_MS, ManualClock
from isotherm.rollup.windows.minutes import Window
from isotherm.rollup.windows.publish import BEAT_MS, Publisher, entries, last_beat
from isotherm.rollup.windows.rule import BY_NAME
from isotherm.store.cache_memory import MemoryCache


class Moody(MemoryCache):
    """A cache that is away, or full: then it keeps nothing new, and away it also answers nothing."""

    away = full = False

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.names: list[list[str]] = []

    def put(self, values: Mapping[str, bytes], ttl_ms: int) -> bool:
        self.names.append(sorted(values))
        return not (self.away or self.full) and super().put(values, ttl_ms)

    def get(self, names: Sequence[str]) -> list[bytes | None]:
        return [None] * len(names) if self.away else super().get(names)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def cache(clock: ManualClock) -> Moody:
    return Moody(clock)


@pytest.fixture
def publisher(cache: Moody, clock: ManualClock) -> Publisher:
    made = Publisher(cache, clock)
    made.beat("builtin", "counting", 0)
    return made


def window(events: int, screen: str = "home", start: int = NOW) -> Window:
    return Window(("shop", screen, "click"), BY_NAME["1h"], start, events, NOW)


def count(cache: Moody, screen: str = "home") -> int:
    return sum(entry[2] for entry in entries(cache, "shop", screen, "1h"))


@pytest.mark.parametrize("mood", ["away", "full"])
def test_what_a_cache_did_not_take_is_written_when_it_takes_something(
    publisher: Publisher, cache: Moody, clock: ManualClock, mood: str
) -> None:
    publisher.publish([window(1), window(1, "cart")])
    setattr(cache, mood, True)
    publisher.publish([window(5)])
    setattr(cache, mood, False)
    assert (count(cache), last_beat(cache) is not None) == (1, True)
    clock.advance(BEAT_MS)
    publisher.beat("builtin", "counting", 0)
    assert (count(cache), count(cache, "cart")) == (5, 1)
    publisher.publish([window(6)])
    assert count(cache) == 6


def test_a_cache_that_takes_nothing_is_asked_once_a_beat(
    publisher: Publisher, cache: Moody, clock: ManualClock
) -> None:
    cache.away = True
    for n in range(9):
        publisher.publish([window(n, f"s{n}")])
    clock.advance(BEAT_MS)
    cache.names.clear()
    publisher.beat("builtin", "counting", 0)
    publisher.publish([window(9, "s9")])
    assert cache.names == [["live.engine"]]
    cache.away = False
    clock.advance(BEAT_MS)
    publisher.beat("builtin", "counting", 0)
    assert [count(cache, f"s{n}") for n in range(1, 10)] == list(range(1, 10))


def test_while_windows_are_written_again_the_sign_of_life_says_so(
    publisher: Publisher, cache: Moody, clock: ManualClock
) -> None:
    cache.full = True
    publisher.publish([window(5)])
    cache.full = False
    told: list[str | None] = []

    def put(values: Mapping[str, bytes], ttl_ms: int) -> bool:
        beat = last_beat(cache)
        told.append(beat.problem if beat is not None else None)
        return MemoryCache.put(cache, values, ttl_ms)

    cache.put = put
    clock.advance(BEAT_MS)
    publisher.beat("builtin", "counting", 0)
    before_windows, before_end = told[1], told[2]
    assert "written again" in (before_windows or "")
    assert before_windows == before_end
    beat = last_beat(cache)
    assert beat is not None
    assert beat.problem is None


def test_while_the_log_is_read_again_no_window_is_written(
    publisher: Publisher, cache: Moody, clock: ManualClock
) -> None:
    publisher.take([window(2)])
    cache._entries.clear()
    clock.advance(BEAT_MS)
    publisher.beat("flink", "rebuilding", None)
    assert count(cache) == 0
    publisher.take([window(7)])
    publisher.publish()
    assert count(cache) == 7


def test_windows_before_the_floor_are_taken_away_and_not_taken(
    publisher: Publisher, cache: Moody, clock: ManualClock
) -> None:
    publisher.publish([window(1, start=NOW - HOUR_MS), window(2), window(4, "cart", NOW - HOUR_MS)])
    publisher.set_floor(NOW - MINUTE_MS)
    publisher.publish([window(9, start=NOW - HOUR_MS)])
    assert (count(cache), count(cache, "cart"), publisher.windows) == (2, 0, 1)
    clock.advance(BEAT_MS)
    publisher.beat("builtin", "counting", 0)
    beat = last_beat(cache)
    assert beat is not None
    assert beat.exact_from == NOW - MINUTE_MS


def test_the_last_loss_is_told_once(publisher: Publisher, cache: Moody, clock: ManualClock) -> None:
    found: list[int] = []
    for lost in (3, 3, 4):
        clock.advance(BEAT_MS)
        publisher.beat("builtin", "counting", 0, lost=lost)
        beat = last_beat(cache)
        assert beat is not None
        found.append(beat.lost_at - NOW)
    assert found == [BEAT_MS, BEAT_MS, 3 * BEAT_MS]
