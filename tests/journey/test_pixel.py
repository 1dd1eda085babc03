"""From a finger to a pixel: a real Chromium moves and clicks on the demo shop, and the map shows exactly that.

The oracle is what Chromium itself put on the network, counted here once more; what the program counted is not looked
at on the way. The clicks must also be where the script put them.
"""

import csv
import gzip
import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import numpy.typing as npt
import pytest
from browser.browsing import LAPTOP, PHONE, chromium, window
from PIL import Image
from playwright.sync_api import Browser, Page, Request
from services.deployment import STORES, settings_for, swapping
from system_helpers import System, fetch, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow, pytest.mark.xdist_group("browser")]

GRID_W, GRID_H = 100, 200
HOME, PHONE_HOME = "/demo/", "/demo/@under-700"
Cell = tuple[int, int]
Pixels = npt.NDArray[np.float64]


def cell_of(x_norm: float, y_norm: float) -> Cell:
    """The cell as DESIGN defines it, written out again: this is the other side of the comparison."""
    return min(math.floor(x_norm * GRID_W), GRID_W - 1), min(math.floor(y_norm * GRID_H), GRID_H - 1)


@dataclass
class Played:
    """What a browser sent, by (screen, event type), and where the script clicked or tapped."""

    cells: dict[tuple[str, str], Counter[Cell]] = field(default_factory=dict)
    script: dict[tuple[str, str], list[Cell]] = field(default_factory=dict)
    batches: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    def record(self, request: Request) -> None:
        """Count a batch the first time it goes over the network; a repeated one has the same id."""
        if request.method != "POST" or urlsplit(request.url).path != "/events/batch":
            return
        body = request.post_data_buffer
        if not body:
            self.unread.append(request.url)
            return
        batch = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        if batch["batch_id"] in self.batches:
            return
        self.batches.add(batch["batch_id"])
        assert batch["client_id"] == "demo"
        for event in batch["events"]:
            if event.get("x_norm") is not None:
                key = (batch["screen_id"], event["event_type"])
                self.cells.setdefault(key, Counter())[cell_of(event["x_norm"], event["y_norm"])] += 1

    @property
    def events(self) -> int:
        return sum(counts.total() for counts in self.cells.values())

    def hit(self, page: Page, screen: str, kind: str, x: float, y: float) -> None:
        """The script's own idea of the cell at a point of the window, from the document's size and scroll."""
        at = page.evaluate(
            "() => { const d = document.documentElement; return [scrollX, scrollY, d.scrollWidth, d.scrollHeight]; }"
        )
        cell = cell_of((x + at[0]) / at[2], (y + at[1]) / at[3])
        self.script.setdefault((screen, kind), []).append(cell)


def play_with_a_mouse(page: Page, played: Played) -> None:
    """Strokes across the page, clicks on things that lead nowhere, a scroll, and one spot that is visited most."""

    def stroke(*points: tuple[int, int]) -> None:
        for x, y in points:
            page.mouse.move(x, y)
            page.wait_for_timeout(60)

    def click(x: int, y: int) -> None:
        stroke((x, y))
        played.hit(page, HOME, "click", x, y)
        page.mouse.click(x, y)

    stroke(*((60 + 60 * i, 90 + 30 * i) for i in range(20)))
    for _ in range(3):
        click(640, 560)
    click(180, 620)
    page.mouse.wheel(0, 700)
    page.wait_for_timeout(400)
    stroke((300, 300), (500, 420), (800, 350), (1100, 600))
    click(1000, 120)
    for x in range(905, 915):
        stroke((x, 405), (x, 407), (x, 409))
    page.wait_for_timeout(1500)


def play_with_a_finger(page: Page, played: Played) -> None:
    """Taps on text of the phone's layout."""
    for x, y in ((195, 300), (195, 300), (120, 640), (300, 700)):
        played.hit(page, PHONE_HOME, "touch", x, y)
        page.touchscreen.tap(x, y)
        page.wait_for_timeout(250)
    page.wait_for_timeout(1500)


@dataclass
class Journey:
    system: System
    browser: Browser
    played: Played


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="embedded"),
        pytest.param(STORES, marks=(swapping(*STORES), pytest.mark.drill), id="distributed"),
    ],
)
def journey(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Journey]:
    """One visit with a mouse and one with a finger, and everything they sent in the maps."""
    system = System(tmp_path_factory.mktemp("journey") / "data", **settings_for(request, request.param))
    system.start()
    played = Played()
    try:
        with chromium() as browser:
            for size, phone, play in ((LAPTOP, False, play_with_a_mouse), (PHONE, True, play_with_a_finger)):
                opened = window(browser, size, phone=phone)
                opened.context.on("request", played.record)
                page = opened.open(f"{system.app_url}{HOME}")
                page.wait_for_function("() => 'isotherm' in window")
                play(page, played)
                page.goto("about:blank")
                opened.close()
            assert not played.unread
            wait_for("every event to be in a map", lambda: _arrived(system, played), 60)
            yield Journey(system, browser, played)
    finally:
        system.stop()


def _arrived(system: System, played: Played) -> bool:
    found = fetch(f"{system.app_url}/v1/freshness?client_id=demo")
    waits = found["waiting"]["lander"] or found["waiting"]["tiles"]
    return found["received"] >= played.events and not waits


def map_url(journey: Journey, screen: str, kind: str, **look: Any) -> str:
    query = {"screen": screen, "kind": kind, "now": "day", **look}
    return f"{journey.system.app_url}/c/demo/map?{urlencode(query)}"


def shown_cells(page: Page) -> Counter[Cell]:
    """Every cell that the dashboard offers as CSV."""
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    rows = csv.DictReader(io.StringIO(Path(download.value.path()).read_text()))
    return Counter({(int(row["cell_x"]), int(row["cell_y"])): int(row["count"]) for row in rows})


def table_rows(page: Page) -> list[tuple[Cell, int]]:
    """The rows of the table of top cells, as a person reads them."""
    texts = page.locator("table.cells tbody tr").all_inner_texts()
    found: list[tuple[Cell, int]] = []
    for text in texts:
        _, cell, _, count, _ = [part.strip() for part in text.split("\t")]
        x, y = cell.split(",")
        found.append(((int(x), int(y)), int(count.replace(",", ""))))
    return found


@pytest.mark.parametrize(("screen", "kind"), [(HOME, "mousemove"), (HOME, "click"), (PHONE_HOME, "touch")])
def test_the_dashboard_shows_the_cells_that_chromium_sent(journey: Journey, screen: str, kind: str) -> None:
    expected = journey.played.cells[screen, kind]
    opened = window(journey.browser, accept_downloads=True)
    page = opened.open(map_url(journey, screen, kind))
    page.locator("table.cells tbody button").first.wait_for()

    assert shown_cells(page) == expected
    rows = table_rows(page)
    assert rows == [(cell, expected[cell]) for cell, _ in rows]
    assert [count for _, count in rows] == sorted(expected.values(), reverse=True)[: len(rows)]
    opened.close()


@pytest.mark.parametrize(("screen", "kind"), [(HOME, "click"), (PHONE_HOME, "touch")])
def test_clicks_and_taps_are_where_the_script_put_them(journey: Journey, screen: str, kind: str) -> None:
    assert Counter(journey.played.script[screen, kind]) == journey.played.cells[screen, kind]


class Picture:
    """The stage of a map as pixels, with and without heat, and where the screen lies in it.

    `camera` is (x, y, zoom) as in the page's address: the screen's fraction at the stage's middle, and the screen's
    width as a multiple of the stage's.
    """

    def __init__(self, page: Page, url: str, camera: tuple[float, float, float], scale: float) -> None:
        at = ",".join(map(str, camera))
        self.cold = self._shot(page, f"{url}&at={at}&opacity=0")
        self.hot = self._shot(page, f"{url}&at={at}&opacity=1")
        box = page.locator(".heat-canvas").bounding_box()
        assert box is not None
        shape = page.evaluate("() => fetch('/v1/screens?client_id=demo').then((answer) => answer.json())")
        row = next(row for row in shape["screens"] if row["screen_id"] == HOME)
        self.w = box["width"] * scale * camera[2]
        self.h = self.w * row["shape"]["h"] / row["shape"]["w"]
        self.x = box["width"] * scale / 2 - camera[0] * self.w
        self.y = box["height"] * scale / 2 - camera[1] * self.h

    @staticmethod
    def _shot(page: Page, url: str) -> Pixels:
        page.goto(url)
        page.locator("table.cells tbody button").first.wait_for()
        page.wait_for_timeout(500)
        # What floats over the map is no part of it.
        page.evaluate(
            "() => { for (const e of document.querySelectorAll('.map-stage > :not(.heat-stage, :has(.heat-stage))'))"
            " e.style.visibility = 'hidden'; }"
        )
        return np.asarray(Image.open(io.BytesIO(page.locator(".heat-stage").screenshot())).convert("RGB"), np.float64)

    @property
    def heat(self) -> Pixels:
        """How far heat has changed each pixel, shape (height, width)."""
        return np.abs(self.hot - self.cold).max(axis=2)

    def rectangle(self, cell: Cell) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a cell in pixels of the picture; may lie outside."""
        w, h = self.w / GRID_W, self.h / GRID_H
        return self.x + cell[0] * w, self.y + cell[1] * h, self.x + (cell[0] + 1) * w, self.y + (cell[1] + 1) * h


@pytest.mark.parametrize("scale", [1, 2])
def test_pixels_are_coloured_where_cells_have_events_and_nowhere_else(journey: Journey, scale: int) -> None:
    counts = journey.played.cells[HOME, "mousemove"]
    opened = window(journey.browser, colour_scheme="dark", scale=scale, bypass_csp=True)
    page = opened.context.new_page()
    picture = Picture(page, map_url(journey, HOME, "mousemove", radius=0), (0.5, 0.1, 1), scale)
    heat = picture.heat
    height, width = heat.shape
    seen: Counter[str] = Counter()
    for cell in ((x, y) for y in range(GRID_H) for x in range(GRID_W)):
        left, top, right, bottom = picture.rectangle(cell)
        if left < 0 or top < 0 or right > width or bottom > height:
            continue
        # One pixel of each edge belongs to two cells.
        inside = heat[math.ceil(top) + 1 : math.floor(bottom) - 1, math.ceil(left) + 1 : math.floor(right) - 1]
        if counts[cell]:
            assert inside.min() > 8, f"cell {cell} has {counts[cell]} events and is not coloured throughout"
            seen["coloured"] += 1
        else:
            assert inside.max() == 0, f"cell {cell} has no events and is coloured"
            seen["blank"] += 1
    assert seen["coloured"] > 15
    assert seen["blank"] > 2_000
    opened.close()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("zoom", [0.7, 1, 3])
def test_the_hottest_pixel_lies_in_the_hottest_cell(journey: Journey, zoom: float, scale: int) -> None:
    counts = journey.played.cells[HOME, "mousemove"]
    (hottest, most), (_, second) = counts.most_common(2)
    assert most > second
    centre = ((hottest[0] + 0.5) / GRID_W, (hottest[1] + 0.5) / GRID_H)
    camera = (0.5 if zoom <= 1 else centre[0], centre[1], zoom)
    opened = window(journey.browser, colour_scheme="dark", scale=scale, bypass_csp=True)
    page = opened.context.new_page()
    picture = Picture(page, map_url(journey, HOME, "mousemove", scale="linear", radius=1.5), camera, scale)
    # Inferno grows lighter with the count: over a dark page the lightest pixel that heat changed is the hottest.
    light = np.where(picture.heat > 0, picture.hot.sum(axis=2), 0)
    ys, xs = np.nonzero(light == light.max())
    left, top, right, bottom = picture.rectangle(hottest)
    assert left - 0.5 <= xs.mean() <= right + 0.5
    assert top - 0.5 <= ys.mean() <= bottom + 0.5
    opened.close()
