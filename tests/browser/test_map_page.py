"""The map page over the real program: what it shows is what was sent, counted again without Isotherm's code."""

import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser.map_world import (
    HOUR,
    NETWORK_ERRORS,
    SIZE,
    Counts,
    Open,
    World,
    cell_place,
    expect_counts,
    fact,
    iso,
    running_world,
    shown_range,
    span,
    whole,
)
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("map") / "data") as made:
        yield made


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
    expect(fact(page, "total")).to_have_text("3")
    page.evaluate("window.untouched = true")
    world.send("/live", "click", int(time.time() * 1000), [(0.5, 0.5), (0.1, 0.1)])
    expect(fact(page, "total")).to_have_text("5")
    expect(fact(page, "max")).to_have_text("4")
    assert page.evaluate("window.untouched")


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
