"""Maps of one bucket and of any range equal a NumPy sum of the hours behind them."""

from typing import Any

import pytest

from isotherm.clock import DAY_MS, HOUR_MS

WEEK = 1_770_595_200_000  # Monday 2026-02-09
NEXT = WEEK + DAY_MS
ASK = {"client_id": "shop", "screen_id": "/home"}


def cells(body: dict[str, Any]) -> dict[int, int]:
    return {cell["cell_y"] * 100 + cell["cell_x"]: cell["count"] for cell in body["cells"]}


@pytest.mark.parametrize(
    ("path", "when", "start", "end"),
    [
        ("/heatmap/hourly", {"dt": "2026-02-09", "hour": "03"}, WEEK + 3 * HOUR_MS, WEEK + 4 * HOUR_MS),
        ("/heatmap/hourly", {"dt": "2026-02-09", "hour": "2"}, WEEK + 2 * HOUR_MS, WEEK + 3 * HOUR_MS),
        ("/heatmap/daily", {"dt": "2026-02-10"}, WEEK + DAY_MS, WEEK + 2 * DAY_MS),
        ("/heatmap/weekly", {"week_start": "2026-02-09"}, WEEK, WEEK + 7 * DAY_MS),
    ],
)
@pytest.mark.parametrize("screen", ["/home", "/dense"])
def test_one_bucket(api: Any, world: Any, path: str, when: dict[str, str], start: int, end: int, screen: str) -> None:
    answer = api.get(path, params=ASK | {"screen_id": screen} | when)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["grid_w", "grid_h", "cells"]
    assert (body["grid_w"], body["grid_h"]) == (100, 200)
    assert cells(body) == world.expected("shop", screen, ("mousemove",), start, end)
    assert all(list(cell) == ["cell_x", "cell_y", "count"] for cell in body["cells"])
    assert answer.headers["isotherm-complete"] == "true"
    assert answer.headers["isotherm-tiled-until"] == api_time(end)


def api_time(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.mark.parametrize("kinds", [(), ("mousemove",), ("click",), ("click", "mousemove")])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (WEEK - 7 * DAY_MS, WEEK + 7 * DAY_MS),
        (WEEK - 50 * HOUR_MS, WEEK + 75 * HOUR_MS),
        (WEEK + HOUR_MS, WEEK + 2 * HOUR_MS),
    ],
)
def test_any_range(api: Any, world: Any, kinds: tuple[str, ...], start: int, end: int) -> None:
    asked = ASK | {"from": str(start), "to": api_time(end), "event_type": list(kinds)}
    body = api.get("/v1/heatmap", params=asked).json()
    expected = world.expected("shop", "/home", kinds or ("mousemove",), start, end)
    assert cells(body) == expected
    assert body["total"] == sum(expected.values())
    assert body["max"] == max(expected.values(), default=0)
    assert (body["client_id"], body["screen_id"]) == ("shop", "/home")
    assert body["event_types"] == list(kinds or ["mousemove"])
    assert (body["from"], body["to"]) == (api_time(start), api_time(end))
    assert (body["complete"], body["stale"], body["pending"], body["tiled_until"]) == (True, False, 0, api_time(end))


@pytest.mark.parametrize("screen", ["/home", "/dense"])
@pytest.mark.parametrize(
    ("path", "when"), [("/heatmap/daily", {"dt": "2026-02-09"}), ("/v1/heatmap", {"from": str(WEEK), "to": str(NEXT)})]
)
def test_columns_hold_the_same_numbers(api: Any, world: Any, path: str, when: dict[str, str], screen: str) -> None:
    asked = ASK | when | {"screen_id": screen}
    objects, columns = api.get(path, params=asked), api.get(path, params=asked | {"cells": "columns"})
    expected = world.expected("shop", screen, ("mousemove",), WEEK, NEXT)
    body = columns.json()
    assert body["cell"] == sorted(expected)
    assert dict(zip(body["cell"], body["count"], strict=True)) == expected == cells(objects.json())
    rest = objects.json()
    assert rest.keys() - {"cells"} == body.keys() - {"cell", "count"}
    assert all(body[name] == rest[name] for name in rest.keys() - {"cells"})
    assert columns.headers["etag"] != objects.headers["etag"]
    again = api.get(path, params=asked | {"cells": "columns"}, headers={"if-none-match": columns.headers["etag"]})
    assert again.status_code == 304


def test_columns_of_a_map_without_events_are_empty(api: Any) -> None:
    asked = ASK | {"dt": "2026-02-10", "event_type": "scroll", "cells": "columns"}
    assert api.get("/heatmap/daily", params=asked).json() == {"grid_w": 100, "grid_h": 200, "cell": [], "count": []}
    wrong = api.get("/heatmap/daily", params=asked | {"cells": "rows"})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "cells")


def test_kinds_by_comma_equal_kinds_repeated(api: Any) -> None:
    asked = ASK | {"from": str(WEEK), "to": str(WEEK + DAY_MS)}
    comma = api.get("/v1/heatmap", params=asked | {"event_type": "mousemove,click"})
    repeated = api.get("/v1/heatmap", params=asked | {"event_type": ["click", "mousemove", "click"]})
    assert comma.json() == repeated.json()


def test_a_range_names_the_buckets_it_used(api: Any) -> None:
    asked = ASK | {"from": str(WEEK - 7 * DAY_MS), "to": str(WEEK + DAY_MS)}
    assert api.get("/v1/heatmap", params=asked).json()["buckets"] == [
        {"level": "week", "start": "2026-02-02T00:00:00.000Z"},
        {"level": "day", "start": "2026-02-09T00:00:00.000Z"},
    ]


def test_a_dirty_hour_shows_as_pending_and_its_day_is_read_from_hours(api: Any, world: Any) -> None:
    hour = WEEK + 15 * HOUR_MS
    world.mark("hour", hour, "shop")
    world.mark("day", WEEK, "shop")
    body = api.get("/v1/heatmap", params=ASK | {"from": str(WEEK), "to": str(WEEK + DAY_MS)}).json()
    assert (body["complete"], body["pending"], body["tiled_until"]) == (False, 1, api_time(hour))
    assert {bucket["level"] for bucket in body["buckets"]} == {"hour"}
    assert cells(body) == world.expected("shop", "/home", ("mousemove",), WEEK, WEEK + DAY_MS)
    daily = api.get("/heatmap/daily", params=ASK | {"dt": "2026-02-09"})
    assert list(daily.json()) == ["grid_w", "grid_h", "cells"]
    assert daily.headers["isotherm-complete"] == "false"
    assert daily.headers["isotherm-pending-hours"] == "1"
    assert daily.headers["isotherm-tiled-until"] == api_time(hour)


def test_an_empty_bucket_of_a_known_screen_has_no_cells(api: Any) -> None:
    answer = api.get("/heatmap/hourly", params=ASK | {"dt": "2026-02-15", "hour": "00"})
    assert answer.status_code == 200
    assert answer.json() == {"grid_w": 100, "grid_h": 200, "cells": []}


def test_a_kind_that_never_happened_has_no_cells(api: Any) -> None:
    asked = ASK | {"dt": "2026-02-10", "event_type": "scroll"}
    assert api.get("/heatmap/daily", params=asked).json()["cells"] == []


def test_an_expired_hour_is_422_with_the_nearest_bounds(api: Any, world: Any) -> None:
    world.clock.advance(200 * DAY_MS)
    answer = api.get("/v1/heatmap", params=ASK | {"from": str(WEEK + HOUR_MS), "to": str(WEEK + DAY_MS)})
    assert answer.status_code == 422
    assert answer.json()["nearest"] == {"from": api_time(WEEK), "to": api_time(WEEK + DAY_MS)}
    hourly = api.get("/heatmap/hourly", params=ASK | {"dt": "2026-02-09", "hour": "03"})
    assert hourly.status_code == 422


def test_a_changed_day_whose_hours_expired_is_used_and_called_stale(api: Any, world: Any) -> None:
    world.mark("day", WEEK, "shop")
    world.clock.advance(200 * DAY_MS)
    body = api.get("/v1/heatmap", params=ASK | {"from": str(WEEK), "to": str(WEEK + DAY_MS)}).json()
    assert (body["stale"], body["complete"]) == (True, False)
    assert cells(body) == world.expected("shop", "/home", ("mousemove",), WEEK, WEEK + DAY_MS)


def test_counts_beyond_32_and_53_bits_are_exact(api: Any, world: Any) -> None:
    world.put("shop", "/huge", WEEK, {5: 2**53 + 1, 6: 2**62})
    world.publish()
    body = api.get("/heatmap/hourly", params=ASK | {"screen_id": "/huge", "dt": "2026-02-09", "hour": "0"}).json()
    assert cells(body) == {5: 2**53 + 1, 6: 2**62}
