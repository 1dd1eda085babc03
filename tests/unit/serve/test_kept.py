"""Answers from the cache: the same bytes as without one, never of older maps, never of another client."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import NOW, WEEK, World

from isotherm.cli.roles import Parts
from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings, load_settings
from isotherm.metrics import REGISTRY
from isotherm.serve.kept import MAX_BYTES, TTL_MS, kept
from isotherm.store.cache import Cache, open_cache
from isotherm.store.cache_memory import MemoryCache
from isotherm.view import routes as view

JSON = {"accept": "application/json", "accept-encoding": "identity"}
FORMS = {
    "json": JSON,
    "gzip": JSON | {"accept-encoding": "gzip"},
    "arrow": {"accept": "application/vnd.apache.arrow.stream", "accept-encoding": "identity"},
    "arrow gzip": {"accept": "application/vnd.apache.arrow.stream", "accept-encoding": "gzip"},
}
SHOP = {"client_id": "shop", "screen_id": "/home"}
RANGE = {"from": str(WEEK), "to": str(WEEK + 7 * DAY_MS)}
QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("/v1/heatmap", SHOP | RANGE),
    ("/v1/heatmap", SHOP | RANGE | {"cells": "columns"}),
    ("/v1/heatmap", SHOP | RANGE | {"event_type": "click"}),
    ("/v1/heatmap", SHOP | RANGE | {"screen_id": "/dense"}),
    ("/v1/heatmap", SHOP | RANGE | {"from": str(WEEK + HOUR_MS)}),
    ("/v1/heatmap", SHOP | RANGE | {"client_id": "bank"}),
    ("/heatmap/weekly", SHOP | {"week_start": "2026-02-09"}),
    ("/heatmap/hourly", SHOP | {"dt": "2026-02-09", "hour": "03"}),
    ("/v1/thumbnail", SHOP | RANGE),
]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def cache(request: pytest.FixtureRequest) -> Iterator[Cache]:
    url = "memory://"
    if request.param == "redis":
        server: Any = request.getfixturevalue("redis_server")
        url = f"{server.url}?name={uuid.uuid4().hex}"
    cache = open_cache(load_settings(cache=url), ManualClock(NOW))
    yield cache
    cache.close()


def opened(world: World, cache: Cache | None = None) -> Any:
    return world.client(view.more(world.settings), answers=cache)


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("isotherm_query_cache_total", {"outcome": outcome}) or 0.0


def ask(api: Any, path: str, params: dict[str, str], form: str) -> tuple[int, bytes, dict[str, str]]:
    with api.stream("GET", path, params=params, headers=FORMS[form]) as answer:
        told = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
        return answer.status_code, b"".join(answer.iter_raw()), told


def everything(api: Any) -> list[tuple[int, bytes, dict[str, str]]]:
    return [ask(api, *question, form) for question in QUESTIONS for form in FORMS]


def test_a_hit_is_the_same_bytes_as_a_miss_and_as_no_cache(world: World, cache: Cache) -> None:
    with opened(world) as plain, opened(world, cache) as keeping:
        expected = everything(plain)
        assert {status for status, _, _ in expected} == {200}
        assert len({(body, told.get("content-encoding")) for _, body, told in expected}) > 2 * len(QUESTIONS)
        hits = count("hit")
        assert everything(keeping) == expected
        assert count("hit") - hits == len(FORMS) - 1  # the thumbnail is the same picture in every form
        # What is found now was kept: the tile store has nothing left to answer with.
        world.olap.command("TRUNCATE TABLE maps")
        assert everything(keeping) == expected
        assert ask(plain, *QUESTIONS[0], "json")[0] == 404


def test_newer_maps_are_never_answered_from_the_cache(world: World, cache: Cache) -> None:
    with opened(world) as plain, opened(world, cache) as keeping:
        before = everything(keeping)
        for hour in (WEEK + HOUR_MS, WEEK + 3 * HOUR_MS):
            world.put("shop", "/home", hour, {7: 1_000})
        world.publish()
        after = everything(keeping)
        assert after == everything(plain)
        assert after[0][1] != before[0][1]
        # Also while a part of it waits to be tiled.
        world.mark("hour", WEEK + 4 * HOUR_MS, "shop")
        assert everything(keeping) == everything(plain)


def test_another_store_with_the_same_versions_is_another_question(world: World, cache: Cache) -> None:
    """A deployment that starts again from nothing counts versions from one: hashes tell its maps apart."""
    with opened(world, cache) as keeping:
        first = ask(keeping, *QUESTIONS[0], "json")
        with world.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE buckets SET hash = 'other'")
        world.olap.command("TRUNCATE TABLE maps")
        assert first[0] == 200
        assert ask(keeping, *QUESTIONS[0], "json")[0] == 404


def test_answers_in_memory_leave_live_windows_their_room(world: World, tmp_path: Path) -> None:
    with Parts(Settings(data=tmp_path, cache="memory://?max_bytes=100000")) as parts:
        parts.cache.put({"live.window": b"1"}, HOUR_MS)
        with world.client(view.more(world.settings), cache=parts.cache, answers=parts.answers) as client:
            for n in range(50):
                kept(parts.answers, f"large {n}", lambda: bytes(10_000))
            assert ask(client, *QUESTIONS[0], "json")[0] == 200
        assert parts.cache.get(["live.window"]) == [b"1"]
        assert isinstance(parts.cache, MemoryCache)
        assert parts.cache.size < 1_000
    with Parts(Settings(data=tmp_path, cache="redis://127.0.0.1:1/0")) as parts:
        assert parts.answers is parts.cache


def test_an_unknown_screen_is_not_kept(world: World, cache: Cache) -> None:
    question = ("/v1/heatmap", SHOP | RANGE | {"screen_id": "/new"})
    with opened(world, cache) as keeping:
        assert ask(keeping, *question, "json")[0] == 404
        assert ask(keeping, *question, "json")[0] == 404


def test_a_cache_that_is_away_changes_no_answer(world: World) -> None:
    away = open_cache(load_settings(cache="redis://127.0.0.1:1/0"))
    with opened(world) as plain, opened(world, away) as keeping:
        assert everything(keeping) == everything(plain)
    away.close()


def test_an_answer_is_kept_for_a_while_and_only_when_it_is_small() -> None:
    clock = ManualClock(NOW)
    cache = MemoryCache(clock)
    assert [kept(cache, "a", lambda: b"1"), kept(cache, "a", lambda: b"2")] == [b"1", b"1"]
    clock.advance(TTL_MS)
    assert kept(cache, "a", lambda: b"3") == b"3"
    large = bytes(MAX_BYTES + 1)
    assert kept(cache, "b", lambda: large) == large
    assert kept(cache, "b", lambda: b"4") == b"4"
