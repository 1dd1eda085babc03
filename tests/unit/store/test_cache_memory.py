"""The cache of one process keeps to its limit."""

from isotherm.clock import HOUR_MS, ManualClock
from isotherm.store.cache_memory import MemoryCache


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = MemoryCache(ManualClock(0), max_bytes=10_000)
    for n in range(6):
        cache.put({f"v{n}": bytes(1_000)}, HOUR_MS)
    assert cache.get(["v0"]) == [bytes(1_000)]
    for n in range(6, 10):
        cache.put({f"v{n}": bytes(1_000)}, HOUR_MS)
    assert cache.known([f"v{n}" for n in range(10)]) == [True, False, False] + [True] * 7
    assert cache.size <= 10_000


def test_an_entry_that_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    cache = MemoryCache(ManualClock(0), max_bytes=10_000)
    cache.put({"small": b"1"}, HOUR_MS)
    cache.put({"large": bytes(5_000)}, HOUR_MS)
    assert cache.known(["small", "large"]) == [True, False]


def test_the_count_of_bytes_comes_back_to_zero() -> None:
    clock = ManualClock(0)
    cache = MemoryCache(clock, max_bytes=100_000)
    cache.add(["a"], HOUR_MS)
    cache.put({"a": b"xyz", "b": bytes(50)}, HOUR_MS)
    cache.increase("c", 1, HOUR_MS)
    assert cache.size > 0
    cache.delete(["a", "b", "c"])
    assert cache.size == 0
    cache.put({"v": b"1"}, 10)
    clock.advance(10)
    assert (cache.get(["v"]), cache.size) == ([None], 0)
