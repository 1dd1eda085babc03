"""The map page over the real program: what it shows is what was sent, counted again here without Isotherm's code."""

import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from browser.browsing import LAPTOP, PHONE, Window
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from system_helpers import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

HOUR = 3_600_000
DAY = 24 * HOUR
CLIENT = "acme"
SIZE = (1200, 3000)
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
NETWORK_ERRORS = ["Failed to load resource"]
"""The console's line for an answer that is an error: some tests ask for one."""

Counts = Counter[tuple[int, int]]
Open = Callable[..., Window]


@dataclass
class World:
    """A running program and every event that it was sent: (screen, kind, time) and the cell of the contract's rule."""

    system: System
    hour: int
    sent: list[tuple[str, str, int, tuple[int, int]]] = field(default_factory=list)

    def send(self, screen: str, kind: str, at: int, places: list[tuple[float, float]]) -> None:
        events: list[dict[str, Any]] = []
        for index, (x, y) in enumerate(places):
            events.append({"event_time": at + index, "event_type": kind, "x_norm": x, "y_norm": y})
            cell = (min(int(x * 100), 99), min(int(y * 200), 199))
            self.sent.append((screen, kind, at + index, cell))
        document = {"w": SIZE[0], "h": SIZE[1]}
        batch = {"client_id": CLIENT, "screen_id": screen, "document": document, "viewport": {"w": 1200, "h": 800}}
        assert self.system.post(batch | {"events": events})["accepted"] == len(events)

    def count(self, screen: str, kinds: set[str], start: int, end: int) -> Counts:
        """The recount: events per cell of what was sent."""
        return Counter(
            cell for where, kind, at, cell in self.sent if where == screen and kind in kinds and start <= at < end
        )

    def address(self, path: str = "map", **query: Any) -> str:
        return f"{self.system.app_url}/c/{CLIENT}/{path}?{urlencode(query)}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    system = System(tmp_path_factory.mktemp("map") / "data")
    system.start()
    made = World(system, int(time.time() * 1000) // HOUR * HOUR)
    draw = Random(4)

    def around(x: float, y: float, count: int) -> list[tuple[float, float]]:
        near = [(draw.gauss(x, 0.03), draw.gauss(y, 0.02)) for _ in range(count)]
        return [(round(min(max(a, 0.0), 1.0), 4), round(min(max(b, 0.0), 1.0), 4)) for a, b in near]

    # Ends of the unit square, and a hot cell that no chance can outdo.
    made.send("/", "mousemove", made.hour - 50 * HOUR, [(0.0, 0.0), (1.0, 1.0), (0.999, 0.5)])
    for hours, count in ((50, 300), (26, 200), (25, 120), (3, 400), (2, 90)):
        made.send("/", "mousemove", made.hour - hours * HOUR + 1000, around(0.5, 0.1, count))
        made.send("/", "click", made.hour - hours * HOUR + 2000, around(0.3, 0.12, count // 10))
    made.send("/", "mousemove", made.hour - 3 * HOUR + 90_000, [(0.405, 0.0525)] * 150)
    made.send("/", "wish.add", made.hour - 3 * HOUR, around(0.7, 0.2, 7))
    made.send("/about", "touch", made.hour - 3 * HOUR, around(0.2, 0.3, 60))
    system.wait_idle()
    yield made
    system.stop()


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def span(start: int, end: int) -> dict[str, str]:
    return {"from": iso(start), "to": iso(end)}


def shown_range(page: Page) -> tuple[int, int]:
    """What the address says."""
    query = parse_qs(urlsplit(page.url).query)
    start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
    return int(start.timestamp() * 1000), int(end.timestamp() * 1000)


def fact(page: Page, name: str) -> Locator:
    return page.locator(f"[data-fact={name}]")


def expect_counts(page: Page, counts: Counts) -> None:
    """The legend and the table say what the recount says."""
    expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
    expect(fact(page, "max")).to_have_text(f"{max(counts.values(), default=0):,}")
    expect(fact(page, "hit")).to_contain_text(re.compile(rf"^{len(counts):,} of 20,000"))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0][1], item[0][0]))[:10]
    rows = page.locator(".cells tbody tr:has(button)")
    expect(rows).to_have_count(len(ranked))
    said = [row.split("\t") for row in rows.evaluate_all("rows => rows.map(row => row.innerText)")]
    assert [(row[1].strip(), row[3].strip()) for row in said] == [
        (f"{x}, {y}", f"{count:,}") for (x, y), count in ranked
    ]


def cell_place(page: Page, cell: tuple[int, int]) -> tuple[float, float]:
    """The middle of a cell in the window."""
    box = page.locator(".heat-page").bounding_box()
    assert box is not None
    return box["x"] + (cell[0] + 0.5) / 100 * box["width"], box["y"] + (cell[1] + 0.5) / 200 * box["height"]


def whole(world: World) -> tuple[int, int]:
    return world.hour - 60 * HOUR, world.hour + HOUR


def test_the_table_and_the_legend_say_what_was_sent(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    expect_counts(page, world.count("/", {"mousemove"}, *whole(world)))
    expect(page.locator(".stage-blank")).to_contain_text("1200 × 3000 px")


def test_kinds_are_summed(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    expect_counts(page, world.count("/", {"mousemove"}, *whole(world)))
    page.get_by_role("checkbox", name="Clicks").check()
    expect_counts(page, world.count("/", {"mousemove", "click"}, *whole(world)))
    page.get_by_role("checkbox", name="Mouse moves").uncheck()
    expect_counts(page, world.count("/", {"click"}, *whole(world)))
    assert "kind=click" in page.url
    # The last kind stays, since a map of nothing says nothing.
    page.get_by_role("checkbox", name="Clicks").click()
    expect(page.get_by_role("checkbox", name="Clicks")).to_be_checked()
    page.go_back()
    expect_counts(page, world.count("/", {"mousemove", "click"}, *whole(world)))


def test_the_mouse_reads_a_cell(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    counts = world.count("/", {"mousemove"}, *whole(world))
    expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
    for cell in ((40, 10), (50, 20), (90, 3)):
        page.mouse.move(*cell_place(page, cell), steps=3)
        readout = page.locator("[data-readout]")
        expect(readout).to_contain_text(f"Cell {cell[0]}, {cell[1]}")
        expect(readout.locator("strong")).to_have_text(f"{counts[cell]:,}")
        left, top = cell[0] * SIZE[0] // 100, cell[1] * SIZE[1] // 200
        expect(readout).to_contain_text(f"x {left}–{left + 12}, y {top}–{top + 15} px")
    share = 100 * counts[(40, 10)] / counts.total()
    page.mouse.move(*cell_place(page, (40, 10)), steps=3)
    expect(page.locator("[data-readout]")).to_contain_text(f"{share:.1f} %")


def test_the_keyboard_reads_cells_aloud(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    counts = world.count("/", {"mousemove"}, *whole(world))
    expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
    page.locator(".heat-stage").focus()
    page.keyboard.press("Shift+ArrowRight")
    hottest = counts.most_common(1)[0][0]
    said = page.locator("[data-announcer]")
    expect(said).to_contain_text(f"Cell {hottest[0]}, {hottest[1]}: {counts[hottest]:,} events")
    page.keyboard.press("Shift+ArrowDown")
    below = (hottest[0], hottest[1] + 1)
    expect(said).to_contain_text(f"Cell {below[0]}, {below[1]}: {counts[below]:,} event")


def test_the_table_points_at_the_map(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    row = page.locator(".cells tbody tr").first
    row.get_by_role("button").focus()
    mark = page.locator(".heat-cell")
    expect(mark).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("at="))
    expect(mark).to_be_in_viewport()


def test_a_drag_on_the_strip_chooses_a_range(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(world.hour - 3 * HOUR, world.hour - 2 * HOUR)))
    expect_counts(page, world.count("/", {"mousemove"}, world.hour - 3 * HOUR, world.hour - 2 * HOUR))
    strip = page.locator(".strip-box").bounding_box()
    assert strip is not None
    y = strip["y"] + 20
    page.mouse.move(strip["x"] + strip["width"] * 0.2, y)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * 0.6, y, steps=6)
    page.mouse.up()
    expect(page).not_to_have_url(re.compile(quote(iso(world.hour - 3 * HOUR), safe=":")))
    start, end = shown_range(page)
    assert end - start > 12 * HOUR
    expect_counts(page, world.count("/", {"mousemove"}, start, end))
    # Pulled at its end, then moved as a whole: the length stays.
    edge = page.locator("[data-grip=to]").bounding_box()
    assert edge is not None
    page.mouse.move(edge["x"] + edge["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(edge["x"] + 150, y, steps=4)
    page.mouse.up()
    expect(page).not_to_have_url(re.compile(quote(iso(end), safe=":")))
    longer = shown_range(page)
    assert longer[0] == start
    assert longer[1] > end
    expect_counts(page, world.count("/", {"mousemove"}, *longer))
    thumb = page.locator("[data-grip=move]").bounding_box()
    assert thumb is not None
    page.mouse.move(thumb["x"] + thumb["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(thumb["x"] + thumb["width"] / 2 - 120, y, steps=4)
    page.mouse.up()
    expect(page).not_to_have_url(re.compile(quote(iso(longer[0]), safe=":")))
    moved = shown_range(page)
    assert moved[1] - moved[0] == longer[1] - longer[0]
    expect_counts(page, world.count("/", {"mousemove"}, *moved))


def test_arrow_keys_move_and_resize_the_range(world: World, open_window: Open) -> None:
    first = (world.hour - 3 * HOUR, world.hour - 2 * HOUR)
    page = open_window().open(world.address(screen="/", **span(*first)))
    expect_counts(page, world.count("/", {"mousemove"}, *first))
    thumb = page.get_by_role("slider", name="Time range")
    thumb.focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(re.escape(quote(iso(first[1]), safe=":"))))
    second = (first[0] + HOUR, first[1] + HOUR)
    expect_counts(page, world.count("/", {"mousemove"}, *second))
    expect(thumb).to_have_attribute("aria-valuetext", re.compile("1 hour, 90 events"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    expect_counts(page, world.count("/", {"mousemove"}, first[0], second[1]))
    assert shown_range(page) == (first[0], second[1])


def test_a_press_on_a_bar_takes_its_range(world: World, open_window: Open) -> None:
    first = (world.hour - 2 * HOUR, world.hour - HOUR)
    page = open_window().open(world.address(screen="/", **span(*first)))
    expect_counts(page, world.count("/", {"mousemove"}, *first))
    strip = page.locator(".strip-box").bounding_box()
    assert strip is not None
    page.mouse.click(strip["x"] + strip["width"] * 0.4, strip["y"] + 30)
    expect(page).not_to_have_url(re.compile(quote(iso(first[0]), safe=":")))
    chosen = shown_range(page)
    assert chosen[0] < first[0]
    if total := world.count("/", {"mousemove"}, *chosen).total():
        expect(fact(page, "total")).to_have_text(f"{total:,}")
    else:
        expect(page.get_by_role("heading", name="No mouse moves in this range")).to_be_visible()


def test_the_frames_of_a_time_lapse_add_up(world: World, open_window: Open) -> None:
    period = (world.hour - 4 * HOUR, world.hour)
    page = open_window(reduced_motion=True).open(world.address(screen="/", **span(*period)))
    total = world.count("/", {"mousemove"}, *period)
    expect_counts(page, total)
    page.get_by_role("button", name="Time-lapse").click()
    frames = page.get_by_role("slider", name="Frame", exact=True)
    seen = Counts()
    for index in range(4):
        start = period[0] + index * HOUR
        counts = world.count("/", {"mousemove"}, start, start + HOUR)
        expect(frames).to_have_attribute("aria-valuetext", re.compile(f"^Frame {index + 1} of 4"))
        expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
        seen += counts
        if index < 3:
            page.get_by_role("button", name="Next frame").click()
    assert seen == total
    page.get_by_text("Adding up").click()
    expect_counts(page, total)
    page.get_by_role("button", name="End the time-lapse").click()
    expect(page.locator(".frame-time")).to_have_count(0)
    expect_counts(page, total)


def test_a_time_lapse_plays_to_its_end_and_returns_to_the_sum(world: World, open_window: Open) -> None:
    period = (world.hour - 4 * HOUR, world.hour)
    page = open_window().open(world.address(screen="/", **span(*period)))
    total = world.count("/", {"mousemove"}, *period)
    expect_counts(page, total)
    page.get_by_role("button", name="Time-lapse").click()
    expect(page.locator(".frame-time")).to_be_visible()
    expect(page.locator(".frame-time")).to_have_count(0)
    expect_counts(page, total)


def test_the_running_hour_grows_while_one_looks(world: World, open_window: Open) -> None:
    # Before its first event the screen is unknown, and the browser says so on the console.
    opened = open_window(expected=NETWORK_ERRORS)
    page = opened.open(world.address(screen="/live", now="hour", kind="click"))
    expect(page.get_by_role("heading", name="No such screen here")).to_be_visible()
    world.send("/live", "click", int(time.time() * 1000), [(0.5, 0.5)] * 3)
    expect(fact(page, "total")).to_have_text("3", timeout=60_000)
    page.evaluate("window.untouched = true")
    world.send("/live", "click", int(time.time() * 1000), [(0.5, 0.5), (0.1, 0.1)])
    expect(fact(page, "total")).to_have_text("5", timeout=60_000)
    expect(fact(page, "max")).to_have_text("4")
    assert page.evaluate("window.untouched")


def picture(form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (600, 1500), (40, 90, 160)).save(out, form)
    return out.getvalue()


def stored(world: World, screen: str) -> int:
    """Status of the screen's background."""
    try:
        with urlopen(
            world.address().split("/c/")[0] + f"/v1/background?{urlencode({'client_id': CLIENT, 'screen_id': screen})}"
        ) as found:
            return found.status
    except HTTPError as error:
        with error:
            return error.code


def test_a_screenshot_is_added_and_removed(world: World, open_window: Open) -> None:
    page = open_window(expected=NETWORK_ERRORS).open(world.address(screen="/about", **span(*whole(world))))
    expect(fact(page, "total")).to_have_text("60")
    chooser = page.locator(".map-panel input[type=file]")
    chooser.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(page.get_by_role("alert")).to_contain_text("“notes.txt” is no PNG, JPEG or WebP image")
    chooser.set_input_files({"name": "broken.png", "mimeType": "image/png", "buffer": picture()[:200]})
    expect(page.get_by_role("alert")).not_to_contain_text("notes.txt")
    expect(page.get_by_role("alert")).to_be_visible()
    assert stored(world, "/about") == 404
    chooser.set_input_files({"name": "page.png", "mimeType": "image/png", "buffer": picture()})
    image = page.locator(".heat-page img")
    expect(image).to_be_visible()
    assert image.evaluate("one => one.decode().then(() => [one.naturalWidth, one.naturalHeight])") == [600, 1500]
    assert stored(world, "/about") == 200
    expect(page.get_by_role("slider", name="Dimming")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(image).to_have_count(0)
    expect(page.locator(".stage-blank")).to_be_visible()
    assert stored(world, "/about") == 404


def test_a_reload_restores_what_was_seen(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    page.get_by_role("checkbox", name="Clicks").check()
    page.get_by_text("Cividis").click()
    page.get_by_text("Linear").click()
    page.get_by_role("switch", name="Isotherms").check()
    page.get_by_role("slider", name="Radius").fill("3.5")
    page.get_by_role("slider", name="Opacity").fill("60")
    page.get_by_role("button", name="Zoom in", exact=True).click()
    expect(page).to_have_url(re.compile("at="))
    place = page.locator(".heat-page").bounding_box()
    address = page.url
    counts = world.count("/", {"mousemove", "click"}, *whole(world))
    for again in (page.reload, lambda: page.goto(address)):
        again()
        expect_counts(page, counts)
        assert page.url == address
        expect(page.get_by_role("radio", name="Cividis")).to_be_checked()
        expect(page.get_by_role("radio", name="Linear")).to_be_checked()
        expect(page.get_by_role("switch", name="Isotherms")).to_be_checked()
        expect(page.get_by_role("slider", name="Radius")).to_have_value("3.5")
        expect(page.get_by_role("slider", name="Opacity")).to_have_value("60")
        now = page.locator(".heat-page").bounding_box()
        assert place is not None
        assert now is not None
        assert all(abs(now[side] - place[side]) < 0.5 for side in ("x", "y", "width", "height"))


def test_screens_are_found_by_their_name(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    page.locator("#screen-picker").click()
    page.get_by_role("combobox", name="Search screens").fill("abo")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    # A screen without a mouse shows what people point with there.
    expect_counts(page, world.count("/about", {"touch"}, *whole(world)))
    page.go_back()
    expect_counts(page, world.count("/", {"mousemove"}, *whole(world)))


def test_without_a_screen_the_busiest_is_shown(world: World, open_window: Open) -> None:
    page = open_window().open(world.address())
    expect(page).to_have_url(re.compile("screen=/(?:&|$)"))
    expect(page.locator(".screen-name")).to_have_text("/")
    expect(fact(page, "total")).to_have_text(re.compile(r"^[\d,]+$"))


def test_an_empty_range_leads_to_one_with_events(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(world.hour - 10 * HOUR, world.hour - 9 * HOUR)))
    expect(page.get_by_role("heading", name="No mouse moves in this range")).to_be_visible()
    page.get_by_role("button", name="Go to").click()
    nearest = (world.hour - 3 * HOUR, world.hour - 2 * HOUR)
    expect_counts(page, world.count("/", {"mousemove"}, *nearest))
    assert shown_range(page) == nearest


def test_an_empty_kind_leads_to_one_with_events(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/about", kind="click", **span(*whole(world))))
    page.get_by_role("button", name="Show touches (60)").click()
    expect_counts(page, world.count("/about", {"touch"}, *whole(world)))


def test_an_expired_range_leads_to_what_is_kept(world: World, open_window: Open) -> None:
    old = (world.hour - 200 * DAY) // DAY * DAY + 5 * HOUR
    page = open_window(expected=NETWORK_ERRORS).open(world.address(screen="/", **span(old, old + HOUR)))
    expect(page.get_by_role("heading", name="The tiles of this range have expired")).to_be_visible()
    page.locator(".notice").get_by_role("button", name="Show ").click()
    expect(page.get_by_role("heading", name="No mouse moves in this range")).to_be_visible()
    assert shown_range(page) == (old - 5 * HOUR, old + 19 * HOUR)


def test_what_is_unknown_says_so(world: World, open_window: Open) -> None:
    opened = open_window(expected=NETWORK_ERRORS)
    page = opened.open(world.address(screen="/nowhere"))
    expect(page.get_by_role("heading", name="No such screen here")).to_be_visible()
    expect(page.get_by_role("link", name=f"All screens of {CLIENT}")).to_have_attribute("href", f"/c/{CLIENT}")
    page = opened.open(f"{world.system.app_url}/c/nobody/map")
    expect(page.get_by_role("heading", name="nobody has no screens yet")).to_be_visible()


def test_an_app_that_is_gone_is_told_and_found_again(world: World, open_window: Open) -> None:
    opened = open_window(expected=NETWORK_ERRORS)
    page = opened.context.new_page()
    page.route(
        "**/v1/heatmap?*", lambda route: route.fulfill(status=503, body=json.dumps({"detail": "a store sleeps"}))
    )
    page.goto(world.address(screen="/", **span(*whole(world))))
    expect(page.get_by_role("alert")).to_contain_text("A store sleeps")
    page.unroute("**/v1/heatmap?*")
    page.get_by_role("button", name="Try again").click()
    expect_counts(page, world.count("/", {"mousemove"}, *whole(world)))


def test_files_hold_every_cell(world: World, open_window: Open) -> None:
    page = open_window(accept_downloads=True).open(world.address(screen="/", **span(*whole(world))))
    counts = world.count("/", {"mousemove"}, *whole(world))
    expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV", exact=True).click()
    lines = waiting.value.path().read_text().splitlines()[1:]
    rows = [list(map(int, line.split(",")[:3])) for line in lines]
    assert {(x, y): count for x, y, count in rows} == dict(counts)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="PNG").click()
    with Image.open(waiting.value.path()) as image:
        assert image.format == "PNG"
        assert image.width >= SIZE[0]


def test_keys_do_what_the_dialog_says_and_can_be_turned_off(world: World, open_window: Open) -> None:
    page = open_window().open(world.address(screen="/", **span(*whole(world))))
    expect(fact(page, "total")).to_have_text(re.compile(r"^[\d,]+$"))
    page.keyboard.press("l")
    expect(page.get_by_role("radio", name="Linear")).to_be_checked()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    dialog.get_by_role("switch").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("l")
    expect(page.get_by_role("radio", name="Linear")).to_be_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE])
def test_nobody_is_shut_out(world: World, open_window: Open, viewport: tuple[int, int], scheme: str) -> None:
    opened = open_window(viewport, colour_scheme=scheme, phone=viewport == PHONE, reduced_motion=True)
    page = opened.open(world.address(screen="/", **span(*whole(world))))
    expect(fact(page, "total")).to_have_text(re.compile(r"^[\d,]+$"))
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "something is cut off"
    page.locator("#screen-picker").click()
    expect(page.get_by_role("option").first).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Time-lapse").click()
    expect(page.locator(".frame-time")).to_be_visible()
    assert violations(page) == []
    empty = opened.open(world.address(screen="/", **span(world.hour - 10 * HOUR, world.hour - 9 * HOUR)))
    expect(empty.get_by_role("heading", name="No mouse moves in this range")).to_be_visible()
    assert violations(empty) == []


def violations(page: Page) -> list[str]:
    """What axe finds wrong: rule, element and why."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]
