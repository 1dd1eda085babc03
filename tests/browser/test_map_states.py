"""The map page when there is little or nothing to show, its screenshots, files, keys, and who can use it."""

import json
import re
from collections.abc import Iterator

import pytest
from browser.browsing import PHONE, looks
from browser.map_world import (
    CLIENT,
    DAY,
    HOUR,
    NETWORK_ERRORS,
    SIZE,
    Open,
    World,
    expect_counts,
    fact,
    picture,
    running_world,
    shown_range,
    span,
    stored,
    violations,
    whole,
)
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("map") / "data") as made:
        yield made


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


DROP = """([bytes, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "page.png", { type: "image/png" }));
  document.querySelector(".map-stage").dispatchEvent(
    new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


def test_a_screenshot_is_dropped_onto_the_page(world: World, open_window: Open) -> None:
    page = open_window(expected=NETWORK_ERRORS).open(
        world.address(screen="/dropped", kind="click", **span(*whole(world)))
    )
    world.send("/dropped", "click", world.hour - HOUR, [(0.5, 0.5)])
    expect(fact(page, "total")).to_have_text("1")
    page.evaluate(DROP, [list(picture()), "dragover"])
    expect(page.get_by_text("Drop the screenshot here")).to_be_visible()
    page.evaluate(DROP, [list(picture()), "drop"])
    expect(page.get_by_text("Drop the screenshot here")).to_have_count(0)
    expect(page.locator(".heat-page img")).to_be_visible()
    assert stored(world, "/dropped") == 200


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


@looks("scheme")
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
