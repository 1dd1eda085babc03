"""GET /v1/live/windows: what the cache has of one screen, and why there may be nothing."""

from typing import Any

import msgspec
import pytest
from serving import NOW, World, stamp

from isotherm.clock import HOUR_MS, MINUTE_MS
from isotherm.rollup.windows.minutes import Window
from isotherm.rollup.windows.publish import BEAT_TTL_MS, Publisher
from isotherm.rollup.windows.rule import BY_NAME
from isotherm.store.cache_memory import MemoryCache

HOME = {"client_id": "shop", "screen_id": "/home"}


@pytest.fixture
def shown(world: World) -> tuple[Any, MemoryCache, Publisher]:
    """An API over a cache, and what puts windows into it."""
    cache = MemoryCache(world.clock)
    publisher = Publisher(cache, world.clock)
    return world.client(cache=cache), cache, publisher


def window(size: str, start: int, events: int, kind: str = "mousemove", client: str = "shop", newest: int = NOW) -> Any:
    return Window((client, "/home", kind), BY_NAME[size], start, events, newest)


def test_windows_newest_first_with_counts_by_type(shown: Any) -> None:
    client, _, publisher = shown
    publisher.publish(
        [
            window("1m", NOW - MINUTE_MS, 7, newest=NOW - 5_000),
            window("1m", NOW, 5),
            window("1m", NOW, 2, "click", newest=NOW - 1),
            window("1h", NOW, 14),
        ]
    )
    publisher.beat("builtin", "counting", 0)
    with client:
        answer = client.get("/v1/live/windows", params=HOME | {"size": "1m"})
        hour = client.get("/v1/live/windows", params=HOME | {"size": "1h", "event_type": "click,mousemove"}).json()
        clicks = client.get("/v1/live/windows", params=HOME | {"size": "1m", "event_type": "click"}).json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    second = stamp(NOW).replace("Z", ".000Z")
    assert answer.json() == HOME | {
        "size": "1m",
        "now": second,
        "degraded": None,
        "windows": [
            {
                "start": second,
                "end": stamp(NOW + MINUTE_MS).replace("Z", ".000Z"),
                "counts": {"mousemove": 5, "click": 2},
                "total": 7,
                "updated_at": second,
            },
            {
                "start": stamp(NOW - MINUTE_MS).replace("Z", ".000Z"),
                "end": second,
                "counts": {"mousemove": 7},
                "total": 7,
                "updated_at": stamp(NOW - 5_000).replace("Z", ".000Z"),
            },
        ],
    }
    assert [(w["total"], w["end"]) for w in hour["windows"]] == [(14, stamp(NOW + HOUR_MS).replace("Z", ".000Z"))]
    assert [w["counts"] for w in clicks["windows"]] == [{"click": 2}]


def test_another_client_s_windows_never_show(shown: Any) -> None:
    client, _, publisher = shown
    publisher.publish([window("1m", NOW, 5, client="bank"), window("1m", NOW, 3, client="shop")])
    with client:
        for name in ("shop|/home", "bank|", "bank|/home|", "bank\n", "live.1m.bank", "*", "bank%00", "", "b*nk"):
            answer = client.get("/v1/live/windows", params=HOME | {"size": "1m", "client_id": name})
            assert answer.status_code in (200, 400), name
            assert not answer.json().get("windows"), name
        for screen in ("/home|x", "bank|/home", "../bank|/home", "\x00", ""):
            answer = client.get("/v1/live/windows", params=HOME | {"size": "1m", "screen_id": screen})
            assert answer.status_code == 400, screen
        assert client.get("/v1/live/windows", params=HOME | {"size": "1m"}).json()["windows"][0]["total"] == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"size": "2m"}, "size"),
        ({"size": None}, "size"),
        ({"client_id": "../x"}, "client_id"),
        ({"screen_id": "a|b"}, "screen_id"),
        ({"event_type": "No"}, "event_type"),
    ],
)
def test_wrong_parameters_are_named(shown: Any, wrong: dict[str, Any], field: str) -> None:
    client, _, _ = shown
    asked = {name: value for name, value in (HOME | {"size": "1m"} | wrong).items() if value is not None}
    with client:
        answer = client.get("/v1/live/windows", params=asked)
    assert answer.status_code == 400
    assert answer.json()["field"] == field


def test_an_unknown_screen_has_an_empty_list(shown: Any) -> None:
    client, _, publisher = shown
    publisher.beat("builtin", "counting", 0)
    with client:
        answer = client.get("/v1/live/windows", params={"client_id": "nobody", "screen_id": "x", "size": "5m"})
    assert answer.status_code == 200
    assert (answer.json()["windows"], answer.json()["degraded"]) == ([], None)


def test_says_why_windows_may_be_missing(world: World) -> None:
    cache = MemoryCache(world.clock)
    publisher = Publisher(cache, world.clock)
    asked = HOME | {"size": "1m"}
    with world.client() as client:
        assert "no process counts windows here" in client.get("/v1/live/windows", params=asked).json()["degraded"]
    with world.client(cache=cache) as client:
        assert "memory://" in client.get("/v1/live/windows", params=asked).json()["degraded"]
        publisher.beat("builtin", "rebuilding", None)
        assert "read again" in client.get("/v1/live/windows", params=asked).json()["degraded"]
        world.clock.advance(BEAT_TTL_MS - 1)
        publisher.beat("builtin", "counting", 0)
        assert client.get("/v1/live/windows", params=asked).json()["degraded"] is None
        world.clock.advance(BEAT_TTL_MS)
        assert "no process" in client.get("/v1/live/windows", params=asked).json()["degraded"]


def test_windows_that_are_missing_are_told_for_as_long_as_they_could_live(world: World) -> None:
    cache = MemoryCache(world.clock)
    with world.client(cache=cache) as client:

        def said(size: str) -> str | None:
            return client.get("/v1/live/windows", params=HOME | {"size": size}).json()["degraded"]

        publisher = Publisher(cache, world.clock)
        publisher.set_floor(NOW - 20 * MINUTE_MS)
        publisher.beat("builtin", "counting", 0, behind_ms=MINUTE_MS)
        assert (said("1m"), said("5m")) == (None, None)
        assert f"begin before {stamp(NOW - 20 * MINUTE_MS).replace('Z', '.000Z')}" in (said("1h") or "")
        publisher = Publisher(cache, world.clock)
        publisher.beat("builtin", "counting", 0, behind_ms=MINUTE_MS + 1)
        assert "60 seconds behind" in (said("1m") or "")
        publisher = Publisher(cache, world.clock)
        publisher.beat("builtin", "counting", 0, lost=1)
        assert "more than can be kept" in (said("1m") or "")
        world.clock.advance(4 * MINUTE_MS)
        publisher.beat("builtin", "counting", 0, lost=1)
        assert said("1m") is None
        assert "more than can be kept" in (said("5m") or "")


def test_a_cache_that_does_not_answer_is_told_and_no_error(world: World) -> None:
    world.settings = world.settings.model_copy(update={"cache": "redis://127.0.0.1:1/0"})

    class Gone(MemoryCache):
        def problem(self) -> str | None:
            return "connection refused"

    with world.client(cache=Gone(world.clock)) as client:
        answer = client.get("/v1/live/windows", params=HOME | {"size": "1m"})
    assert answer.status_code == 200
    assert answer.json()["windows"] == []
    assert "connection refused" in answer.json()["degraded"]


def test_the_value_in_the_cache_is_plain_json(shown: Any) -> None:
    _, cache, publisher = shown
    publisher.publish([window("5m", NOW, 5)])
    (value,) = cache.get(["live.5m.shop|/home"])
    assert msgspec.json.decode(value) == [[NOW, "mousemove", 5, NOW]]
