"""Thumbnails: the hottest pixel lies in the hottest cell, the rest is transparent, and the work is bounded."""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from litestar.testing import TestClient
from PIL import Image
from serving import WEEK, World, stamp

from isotherm.store import tables
from isotherm.store.db import writing
from isotherm.view import routes
from isotherm.view.palettes import BEGIN, STOPS, table
from isotherm.view.render import MAX_HEIGHT, WIDTH, size_of, thumbnail

HOUR = 3_600_000
PALETTES_TS = Path(__file__).parents[3] / "web" / "dashboard" / "src" / "heat" / "palettes.ts"
ASKED = {"client_id": "shop", "screen_id": "/home"}


def pixels(body: bytes) -> np.ndarray:
    """RGBA, shape (height, width, 4)."""
    image = Image.open(BytesIO(body))
    assert (image.format, image.mode) == ("PNG", "P")
    return np.asarray(image.convert("RGBA")).astype(int)


def levels(body: bytes) -> np.ndarray:
    """Palette index per pixel."""
    return np.asarray(Image.open(BytesIO(body)))


@pytest.mark.parametrize("size", [(160, 320), (160, 100), (160, 640), (40, 640), (160, 60), (100, 200), (33, 77)])
@pytest.mark.parametrize("seed", range(6))
def test_the_hottest_pixel_is_in_the_hottest_cell(size: tuple[int, int], seed: int) -> None:
    numbers = np.random.default_rng(seed)
    counts = np.zeros((200, 100), np.uint64)
    counts[numbers.integers(0, 200, 900), numbers.integers(0, 100, 900)] = numbers.integers(1, 500, 900)
    hot = (int(numbers.integers(200)), int(numbers.integers(100)))
    counts[hot] = 501
    shown = levels(thumbnail(counts.ravel(), size, "inferno", "light"))
    assert shown.shape == (size[1], size[0])
    ((y, x),) = np.argwhere(shown == shown.max())
    assert shown[y, x] == 255
    # The pixel covers the centre of the cell.
    assert y / size[1] <= (hot[0] + 0.5) / 200 <= (y + 1) / size[1]
    assert x / size[0] <= (hot[1] + 0.5) / 100 <= (x + 1) / size[0]


def test_hotter_cells_are_never_drawn_cooler() -> None:
    counts = np.zeros((200, 100), np.uint64)
    at = [(20, 15), (60, 35), (100, 55), (140, 75), (180, 95)]
    for place, count in zip(at, (1, 10, 100, 1_000, 10_000), strict=True):
        counts[place] = count
    shown = levels(thumbnail(counts.ravel(), (200, 400), "inferno", "light"))
    found = [int(shown[y * 2 : y * 2 + 2, x * 2 : x * 2 + 2].max()) for y, x in at]
    assert found == sorted(found)
    assert len(set(found)) == 5
    # On a logarithmic scale equal factors are about equal steps.
    assert np.ptp(np.diff(found)) < 25


def test_nothing_is_transparent_everywhere_else() -> None:
    counts = np.zeros(20_000, np.uint64)
    counts[50 * 100 + 50] = 9
    rgba = pixels(thumbnail(counts, (160, 320), "viridis", "dark"))
    touched = np.argwhere(rgba[..., 3] > 0)
    assert len(touched) > 4
    assert np.abs(touched - (50.5 * 1.6, 50.5 * 1.6)).max() < 8
    assert not pixels(thumbnail(np.zeros(20_000, np.uint64), (160, 320), "inferno", "light"))[..., 3].any()


@pytest.mark.parametrize("top", [1, 2**53, 2**64 - 1])
def test_any_count_can_be_drawn(top: int) -> None:
    counts = np.zeros(20_000, np.uint64)
    counts[0] = top
    assert levels(thumbnail(counts, (160, 320), "magma", "light"))[0, 0] == 255


def test_the_colours_are_the_dashboard_s() -> None:
    source = PALETTES_TS.read_text()
    found = re.findall(r"(\w+): \{\s*stops:\s*\"([0-9a-f]+)\",\s*from: ([0-9.]+),?\s*\}", source)
    assert {name: stops for name, stops, _ in found} == STOPS
    assert {name: float(begin) for name, _, begin in found} == BEGIN
    for name in STOPS:
        colours = table(name, "light")
        assert colours.shape == (256, 4)
        assert colours[0, 3] == 0
        assert np.all(np.diff(colours[:, 3].astype(int)) >= 0)
        assert tuple(colours[255, :3]) == tuple(bytes.fromhex(STOPS[name][-6:]))


def luminance(colour: np.ndarray) -> float:
    linear = (colour / 255) ** 2.2
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("name", ["inferno", "magma", "viridis", "cividis"])
def test_more_is_lighter(name: Any) -> None:
    for theme in ("light", "dark"):
        light = [luminance(colour) for colour in table(name, theme)[:, :3]]
        assert np.all(np.diff(light) > -0.005)
    assert luminance(table(name, "dark")[0, :3]) > luminance(table(name, "light")[0, :3])


def test_a_screen_s_shape_never_makes_a_large_picture() -> None:
    assert size_of(None) == (160, 320)
    assert size_of((1440, 900)) == (WIDTH, 100)
    for shape in ((1e-9, 1e9), (1e9, 1e-9), (1, 1), (390, 12_000), (1e300, 1e-300)):
        width, height = size_of(shape)
        assert 1 <= width <= WIDTH
        assert 1 <= height <= MAX_HEIGHT


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.put("shop", "/home", WEEK, {0: 3, 12_345: 40})
    world.put("shop", "/home", WEEK + 30 * HOUR, {777: 60, 12_345: 30})
    world.put("shop", "/home", WEEK, {500: 9}, "click")
    world.put("bank", "/home", WEEK, {19_999: 900})
    world.publish()
    return world


@pytest.fixture
def api(world: World) -> Iterator[TestClient[Any]]:
    with world.client(routes.described()) as client:
        yield client


def hottest(answer: Any) -> tuple[int, int]:
    """Row and column of the grid under the one hottest pixel."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    shown = levels(answer.content)
    ((y, x),) = np.argwhere(shown == 255)
    return int((y + 0.5) * 200 / shown.shape[0]), int((x + 0.5) * 100 / shown.shape[1])


@pytest.mark.parametrize(
    ("query", "cell"),
    [
        ({}, 12_345),
        ({"from": stamp(WEEK), "to": stamp(WEEK + HOUR)}, 12_345),
        ({"from": stamp(WEEK + 24 * HOUR)}, 777),
        ({"to": stamp(WEEK + HOUR)}, 12_345),
        ({"event_type": "click"}, 500),
        ({"event_type": "click,mousemove"}, 12_345),
        ({"client_id": "bank"}, 19_999),
    ],
)
def test_the_map_of_the_range_is_summed(api: TestClient[Any], query: dict[str, str], cell: int) -> None:
    assert hottest(api.get("/v1/thumbnail", params=ASKED | query)) == divmod(cell, 100)


def test_the_shape_is_the_one_most_events_saw(api: TestClient[Any], world: World) -> None:
    assert Image.open(BytesIO(api.get("/v1/thumbnail", params=ASKED).content)).size == (160, 320)
    common = {"client_id": "shop", "screen_id": "/home", "source": "document", "seen_at": 1}
    with writing(world.engine) as connection:
        for device, w, h, events in (("phone", 390.0, 3000.0, 10), ("desktop", 1440.0, 1440.0, 11)):
            row = {"device": device, "w": w, "h": h, "events": events}
            connection.execute(sa.insert(tables.screen_shapes).values(**common, **row))
    answer = api.get("/v1/thumbnail", params=ASKED)
    assert Image.open(BytesIO(answer.content)).size == (160, 160)
    assert hottest(answer) == divmod(12_345, 100)


def test_the_tag_follows_what_is_drawn(api: TestClient[Any], world: World) -> None:
    first = api.get("/v1/thumbnail", params=ASKED)
    tag = first.headers["etag"]
    again = api.get("/v1/thumbnail", params=ASKED, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    others = [{"palette": "viridis"}, {"theme": "dark"}, {"event_type": "click"}, {"client_id": "bank"}]
    tags = {api.get("/v1/thumbnail", params=ASKED | other).headers["etag"] for other in others}
    assert len(tags | {tag}) == 5
    world.put("shop", "/home", WEEK + HOUR, {1: 500})
    world.publish()
    changed = api.get("/v1/thumbnail", params=ASKED, headers={"if-none-match": tag})
    assert hottest(changed) == (0, 1)
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"client_id": "nobody"}, 404),
        ({"screen_id": "/nowhere"}, 404),
        ({"client_id": "' OR 1=1 --"}, 400),
        ({"palette": "rainbow"}, 400),
        ({"theme": "blue"}, 400),
        ({"from": "2026-02-09T00:30:00Z"}, 400),
        ({"from": stamp(WEEK + HOUR), "to": stamp(WEEK)}, 400),
        ({"from": "2020-01-01T01:00:00Z", "to": "2020-01-01T02:00:00Z"}, 422),
        ({"event_type": "NO"}, 400),
    ],
)
def test_what_cannot_be_drawn_is_a_problem(api: TestClient[Any], query: dict[str, str], status: int) -> None:
    answer = api.get("/v1/thumbnail", params=ASKED | query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_kind_without_events_is_an_empty_picture(api: TestClient[Any]) -> None:
    answer = api.get("/v1/thumbnail", params=ASKED | {"event_type": "scroll"})
    assert not pixels(answer.content)[..., 3].any()
