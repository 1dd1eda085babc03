"""What every cache does, whichever adapter stands behind the URL."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import load_settings
from isotherm.errors import ConfigError
from isotherm.store.cache import Cache, open_cache

NOW = 1_770_000_000_000


@dataclass
class Place:
    """Where caches are kept. `open()` gives another client of the same deployment, `wait` lets time go by."""

    url: str
    shared: bool
    clock: ManualClock
    opened: list[Cache]

    def open(self, url: str | None = None) -> Cache:
        self.opened.append(open_cache(load_settings(cache=url or self.url), self.clock))
        return self.opened[-1]

    def wait(self, ms: int) -> None:
        if self.shared:
            time.sleep(ms / 1000)
        else:
            self.clock.advance(ms)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("resp2", marks=pytest.mark.services),
        pytest.param("resp3", marks=pytest.mark.services),
    ]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    url, shared = "memory://", request.param != "memory"
    if shared:
        server: Any = request.getfixturevalue("redis_server")
        url = f"{server.url}?name={uuid.uuid4().hex}&protocol={request.param[-1]}"
    made = Place(url, shared, ManualClock(NOW), [])
    yield made
    for cache in made.opened:
        cache.close()


@pytest.fixture
def cache(place: Place) -> Cache:
    return place.open()


def test_a_name_is_absent_once(cache: Cache) -> None:
    assert cache.add(["a", "b", "a"], HOUR_MS) == [True, True, False]
    assert cache.add(["b", "c"], HOUR_MS) == [False, True]
    assert cache.known(["c", "d", "a", "a"]) == [True, False, True, True]
    assert cache.get(["a", "d"]) == [b"", None]


def test_nothing_asked_is_nothing_answered(cache: Cache) -> None:
    assert (cache.add([], HOUR_MS), cache.known([]), cache.get([])) == ([], [], [])
    assert cache.put({}, HOUR_MS) is True
    cache.delete([])


def test_values_come_back_byte_for_byte(cache: Cache) -> None:
    values = {"empty": b"", "zeros": bytes(300), "all": bytes(range(256)), "crlf": b"\r\n$-1\r\n", "ünï|code \0": b"x"}
    assert cache.put(values, HOUR_MS) is True
    assert cache.get([*values, "none"]) == [*values.values(), None]
    cache.put({"all": b"new"}, HOUR_MS)
    assert cache.get(["all"]) == [b"new"]
    assert cache.add(["all"], HOUR_MS) == [False]
    assert cache.get(["all"]) == [b"new"]


def test_more_names_than_one_request_takes(cache: Cache) -> None:
    names = [f"n{n}" for n in range(2_345)]
    assert cache.add(names[::2], DAY_MS) == [True] * 1_173
    assert cache.add(names, DAY_MS) == [n % 2 == 1 for n in range(2_345)]
    assert all(cache.known(names))
    cache.delete(names)
    assert not any(cache.known(names))


def test_everything_ends_with_its_time(place: Place, cache: Cache) -> None:
    cache.add(["added"], 150)
    cache.put({"put": b"1"}, 150)
    cache.increase("count", 5, 150)
    cache.put({"stays": b"1"}, HOUR_MS)
    place.wait(200)
    assert cache.known(["added", "put", "stays"]) == [False, False, True]
    assert (cache.get(["put"]), cache.increase("count", 1, HOUR_MS)) == ([None], 1)
    assert cache.add(["added"], HOUR_MS) == [True]


def test_a_counter_is_one_window_of_time(place: Place, cache: Cache) -> None:
    assert cache.increase("count", 2, 400) == 2
    place.wait(250)
    assert cache.increase("count", 3, 60_000) in (3, 5)  # a slow machine may find the first window over
    other = cache.increase("slow", 1, HOUR_MS)
    place.wait(250)
    assert (other, cache.increase("slow", 10, 1)) == (1, 11)
    assert cache.increase("slow", -1, 1) == 10


def test_values_and_counters_of_one_name_never_meet(cache: Cache) -> None:
    cache.put({"name": b"1"}, HOUR_MS)
    assert cache.increase("name", 7, HOUR_MS) == 7
    assert (cache.get(["name"]), cache.increase("name", 1, HOUR_MS)) == ([b"1"], 8)
    cache.delete(["name", "other"])
    assert (cache.get(["name"]), cache.increase("name", 1, HOUR_MS)) == ([None], 1)


def test_of_threads_that_add_one_name_one_was_first(place: Place) -> None:
    caches = [place.open() for _ in range(4)] if place.shared else [place.open()] * 4
    wins: list[int] = []

    def work(cache: Cache) -> None:
        for n in range(50):
            wins.extend([n] * cache.add([f"race{n}"], HOUR_MS).count(True))
            cache.increase("total", 1, HOUR_MS)

    threads = [threading.Thread(target=work, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(50))
    assert caches[0].increase("total", 0, HOUR_MS) == 200


def test_a_closed_cache_is_an_empty_one(cache: Cache) -> None:
    cache.put({"a": b"1"}, HOUR_MS)
    cache.close()
    assert cache.get(["a"]) == [None]
    cache.close()


def test_a_cache_that_works_has_no_problem(cache: Cache) -> None:
    assert cache.problem() is None


Step = tuple[str, str, bytes]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "put", "increase", "delete"]),
        st.sampled_from(["a", "b", "c"]),
        st.binary(max_size=4),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_steps_leave_what_plain_dictionaries_hold(cache: Cache, steps: list[Step]) -> None:
    cache.delete(["a", "b", "c"])
    values: dict[str, bytes] = {}
    counters: dict[str, int] = {}
    for what, name, data in steps:
        if what == "add":
            assert cache.add([name], HOUR_MS) == [name not in values]
            values.setdefault(name, b"")
        elif what == "put":
            cache.put({name: data}, HOUR_MS)
            values[name] = data
        elif what == "increase":
            counters[name] = counters.get(name, 0) + len(data)
            assert cache.increase(name, len(data), HOUR_MS) == counters[name]
        else:
            cache.delete([name])
            values.pop(name, None)
            counters.pop(name, None)
    assert cache.get(["a", "b", "c"]) == [values.get(name) for name in "abc"]
    assert cache.known(["a", "b", "c"]) == [name in values for name in "abc"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memcached://x", "memory, redis, rediss"),
        ("memory://host", "max_bytes"),
        ("memory://?size=1", "max_bytes"),
        ("redis://:secret@h:1/zero", "redis://host:port/0"),
        ("redis://:secret@h:1/0?protocol=1", "protocol is 2 or 3"),
        ("redis://:secret@h:1/0?name=a:b", "name is letters"),
        ("redis://:secret@h:1/0?nmae=a", "unknown option 'nmae'"),
        ("redis://:secret@h:1/0?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_a_wrong_cache_url_says_what_is_right(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        open_cache(load_settings(cache=url))
    assert "secret" not in str(refused.value)
