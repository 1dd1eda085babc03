"""The dashboard's frame and its pages but the map, in a real Chromium on the running program."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser.browsing import PHONE, Window, looks
from playwright.sync_api import Page, expect
from system_helpers import System

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
OpenWindow = Callable[..., Window]

SCREENS = {"/": 40, "/pricing": 25, "/journal": 10, "/checkout": 5}
"""Events of client `shop`, by screen."""
SIMULATED = 17
TOKEN = "a-long-secret"
TOTAL = sum(SCREENS.values()) + SIMULATED


def batch(client: str, screen: str, events: int, kind: str = "mousemove", viewport: int = 1440) -> dict[str, Any]:
    """A batch of now, its events on a line down the screen."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "client_id": client,
        "screen_id": screen,
        "viewport": {"w": viewport, "h": 900},
        "document": {"w": viewport, "h": 3000},
        "events": [
            {"event_time": now, "event_type": kind, "x_norm": 0.3, "y_norm": each / (events + 1)}
            for each in range(events)
        ],
    }


@contextmanager
def started(data: Path, **settings: Any) -> Generator[System]:
    running = System(data, **settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with a client, and simulated visitors of it."""
    with started(tmp_path_factory.mktemp("shop") / "data") as running:
        for screen, events in SCREENS.items():
            running.post(batch("shop", screen, events))
        running.post(batch("shop-simulated", "/", SIMULATED, viewport=390))
        running.wait_idle()
        yield running


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system for tests that send; each uses clients of its own."""
    with started(tmp_path_factory.mktemp("spare") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that asks for a token and that nothing is ever sent to."""
    with started(tmp_path_factory.mktemp("locked") / "data", token=TOKEN) as running:
        yield running


def visit(system: System, open_window: OpenWindow, path: str, *arguments: Any, **options: Any) -> tuple[Window, Page]:
    """A page of the dashboard in a window of its own; a request to any other host fails the test."""
    opened = open_window(*arguments, **options)
    host = urlsplit(system.app_url).netloc

    def asked(request: Any) -> None:
        if urlsplit(request.url).scheme in ("http", "https") and urlsplit(request.url).netloc != host:
            opened.complaints.heard.append(f"asked another host: {request.url}")

    opened.context.on("request", asked)
    return opened, opened.open(f"{system.app_url}{path}")


def heading(page: Page) -> Any:
    return page.get_by_role("heading", level=1)


def at(page: Page) -> str:
    """Path and query of the page's address."""
    parts = urlsplit(page.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def figure(page: Page, label: str) -> Any:
    return page.locator(".figure").filter(has=page.get_by_text(label, exact=True))


def test_the_overview_tells_what_was_counted(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/")
    expect(page).to_have_title("Overview · Isotherm")
    expect(figure(page, "All events")).to_contain_text(f"{TOTAL}")
    expect(figure(page, "All events")).to_contain_text(re.compile("5.screens, 2.clients"))
    expect(figure(page, "Maps")).to_contain_text("Everything is in the maps")
    expect(figure(page, "Lake")).to_contain_text(f"{TOTAL} rows")
    rows = page.locator(".client")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("shop")
    expect(rows.nth(0)).not_to_contain_text("Simulated")
    expect(rows.nth(1)).to_contain_text("shop-simulated")
    expect(rows.nth(1)).to_contain_text("Simulated")


def test_the_chart_is_read_by_keys_and_as_a_table(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/")
    chart = page.get_by_role("slider", name=re.compile("Events over time"))
    chart.focus()
    read: list[int] = []
    page.keyboard.press("Home")
    for _ in range(24):
        said = chart.get_attribute("aria-valuetext") or ""
        assert "UTC" in said
        read.append(int(said.rpartition(": ")[2].split()[0].replace(",", "")))
        page.keyboard.press("ArrowRight")
    assert sum(read) == TOTAL
    page.get_by_text("Table", exact=True).locator("xpath=..").click()
    cells = page.get_by_role("table", name="Events over time").locator("tbody td.numeric")
    expect(cells).to_have_count(48)
    counts = [int(text.replace(",", "")) for text in cells.all_inner_texts()]
    assert (sum(counts[::2]), sum(counts[1::2])) == (sum(SCREENS.values()), SIMULATED)


def test_the_span_of_the_chart_stands_in_the_address(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/")
    page.get_by_text("30 days", exact=True).click()
    page.wait_for_url("**/?span=30d")
    page.reload()
    expect(page.get_by_role("radio", name="30 days")).to_be_checked()
    expect(page.get_by_role("slider", name=re.compile("Events over time"))).to_have_attribute("aria-valuemax", "29")


def unlock(page: Page) -> None:
    """Give the token."""
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")


def test_an_empty_overview_teaches(locked: System, open_window: OpenWindow) -> None:
    opened, page = visit(locked, open_window, "/")
    opened.complaints.expect("status of 401")
    unlock(page)
    expect(heading(page)).to_have_text("Waiting for the first event")
    expect(page.get_by_text(f"curl {locked.collect_url}/events/batch")).to_be_visible()
    expect(page.get_by_role("link", name="Open the demo")).to_have_attribute("href", "/demo/")
    page.get_by_role("link", name="Get your snippet").click()
    expect(heading(page)).to_have_text("Set up a site")


def test_set_up_turns_green_at_the_first_event(spare: System, open_window: OpenWindow) -> None:
    opened, page = visit(spare, open_window, "/setup")
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    field = page.get_by_label("Client id")
    field.fill("no such!")
    expect(page.get_by_text("cannot be in it")).to_be_visible()
    field.fill("first-site")
    page.wait_for_url("**/setup?client=first-site")
    expect(page.get_by_role("heading", name="Waiting for the first event of first-site")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    snippet = page.evaluate("() => navigator.clipboard.readText()")
    assert f'data-endpoint="{spare.collect_url}"' in snippet
    assert 'data-client="first-site"' in snippet
    assert 'data-breakpoints="700"' in snippet

    spare.post(batch("first-site", "/", 3, kind="click"))
    panel = page.locator("[data-state=received]")
    expect(panel).to_contain_text("first-site is sending", timeout=30_000)
    expect(panel).to_contain_text("3 events received")
    spare.wait_idle()
    panel.get_by_role("link", name="See its screens").click()
    expect(heading(page)).to_contain_text("first-site")
    expect(page.locator("a.screen")).to_have_count(1, timeout=30_000)
    expect(page.locator("a.screen")).to_contain_text(re.compile("3.clicks"))


def test_the_copied_snippet_really_sends(spare: System, open_window: OpenWindow, site: Any) -> None:
    _, page = visit(spare, open_window, "/setup?client=pasted")
    code = page.get_by_role("region", name="HTML").inner_text()
    other = open_window()
    address = site.put("/", f"<!doctype html><title>x</title>{code}<main style='height:2000px'>hello</main>")
    visitor = other.open(address)
    visitor.wait_for_function("() => 'isotherm' in window")
    visitor.mouse.click(200, 300)
    visitor.evaluate("() => window.isotherm.flush()")
    expect(page.locator("[data-state=received]")).to_contain_text("pasted is sending", timeout=30_000)


def test_screens_are_searched_sorted_and_restored_from_the_address(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop")
    ids = page.locator(".screen-id")
    expect(ids).to_have_text(["/", "/pricing", "/journal", "/checkout"])
    expect(page.locator("a.screen").first).to_contain_text(re.compile("40.moves"))
    pictures = page.locator(".sheet-heat")
    expect(pictures).to_have_count(4)
    page.wait_for_function("() => [...document.querySelectorAll('.sheet-heat')].every((each) => each.naturalWidth > 0)")

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search screens")).to_be_focused()
    page.keyboard.type("pric")
    expect(ids).to_have_text(["/pricing"])
    page.wait_for_url("**/c/shop?q=pric")
    page.keyboard.press("Escape")
    expect(ids).to_have_count(4)

    page.get_by_label("Order").select_option("name")
    expect(ids).to_have_text(["/", "/checkout", "/journal", "/pricing"])
    page.get_by_text("24 h", exact=True).click()
    page.wait_for_url(re.compile("period=24h"))
    page.reload()
    expect(ids).to_have_text(["/", "/checkout", "/journal", "/pricing"])
    expect(page.get_by_role("radio", name="24 h")).to_be_checked()


def test_a_screen_leads_to_its_map(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop")
    page.locator("a.screen").nth(1).click()
    page.wait_for_url(re.compile(r"/c/shop/map\?screen=/pricing"))
    page.go_back()
    expect(heading(page)).to_contain_text("shop")


def test_a_search_without_an_answer_says_how_to_go_on(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop?q=zzz")
    expect(page.get_by_role("heading", name="No screen matches “zzz”")).to_be_visible()
    page.get_by_role("button", name="Clear the search").click()
    expect(page.locator("a.screen")).to_have_count(4)


def test_simulated_visitors_are_called_so_on_every_page(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop-simulated")
    expect(heading(page)).to_contain_text("Simulated")
    expect(page.locator(".switcher")).to_contain_text("Simulated")
    page.locator(".switcher").click()
    expect(page.get_by_role("menuitem", name=re.compile("shop-simulated"))).to_contain_text("Simulated")
    expect(page.get_by_role("menuitem", name=re.compile("^shop [0-9]"))).not_to_contain_text("Simulated")


def test_a_client_that_never_sent_is_no_error(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/nobody")
    expect(page.get_by_role("heading", name="Nothing has come from nobody yet")).to_be_visible()
    page.get_by_role("link", name="Get its snippet").click()
    expect(page.get_by_label("Client id")).to_have_value("nobody")


def test_an_unknown_address_leads_back(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop/no/such/page")
    expect(page).to_have_title("Page not found · Isotherm")
    page.get_by_role("link", name="Go to the overview").click()
    expect(heading(page)).to_have_text("Overview")


def test_the_token_is_asked_for_once(locked: System, open_window: OpenWindow) -> None:
    opened, page = visit(locked, open_window, "/setup?client=acme")
    opened.complaints.expect("status of 401")
    expect(heading(page)).to_have_text("This Isotherm asks for a token")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is not the token of this Isotherm.")).to_be_visible()
    unlock(page)
    expect(heading(page)).to_have_text("Set up a site")
    expect(page.get_by_label("Client id")).to_have_value("acme")
    page.reload()
    expect(heading(page)).to_have_text("Set up a site")
    assert page.evaluate("() => localStorage.getItem('isotherm-token')") is None


def test_it_recovers_by_itself_when_the_program_is_back(shop: System, open_window: OpenWindow) -> None:
    opened, page = visit(shop, open_window, "/c/shop")
    opened.complaints.expect("ERR_INTERNET_DISCONNECTED")
    expect(page.locator("a.screen")).to_have_count(4)
    opened.context.set_offline(True)
    expect(page.get_by_text("Isotherm does not answer")).to_be_visible(timeout=30_000)
    expect(page.locator("a.screen")).to_have_count(4)
    opened.context.set_offline(False)
    expect(page.get_by_text("Isotherm does not answer")).to_have_count(0, timeout=60_000)


def test_everything_is_reached_by_keys(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/")
    expect(page.locator(".client")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    switcher = page.locator(".switcher")
    switcher.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="All clients")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("a.menu-item[href='/c/shop']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(heading(page)).to_contain_text("shop")
    expect(heading(page)).to_be_focused()
    expect(page.locator("a.screen")).to_have_count(4)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.matches('a.screen')"):
            break
    expect(page.locator("a.screen").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/c/shop/map\?"))


def test_the_theme_is_chosen_and_remembered(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/", colour_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("radio", name="Dark").check(force=True)
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


def test_a_phone_has_all_pages_in_its_menu_and_never_scrolls_sideways(shop: System, open_window: OpenWindow) -> None:
    _, page = visit(shop, open_window, "/c/shop", PHONE, phone=True)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Set up").click()
    expect(heading(page)).to_have_text("Set up a site")
    for path in ("/", "/c/shop", "/setup?client=shop", "/c/nobody"):
        page.goto(f"{shop.app_url}{path}")
        expect(heading(page)).to_be_visible()
        page.wait_for_load_state("networkidle")
        width = page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE[0], f"{path} is {width} px wide"
        small = page.evaluate(SMALL_TARGETS)
        assert not small, f"{path}: targets below 40 px: {small}"


TARGETS = ".bar a, .bar button, main button, main .button, main select, main input.text, main .segment"
SMALL_TARGETS = f"""() => [...document.querySelectorAll('{TARGETS}')].filter((each) => {{
  const box = each.getBoundingClientRect();
  return box.width > 1 && getComputedStyle(each).visibility !== 'hidden' && box.height < 39.5;
}}).map((each) => each.className + ' ' + each.getBoundingClientRect().height)"""


def violations(page: Page) -> list[str]:
    """What axe finds wrong. Its script goes in through the debugger: the page's policy allows no inline script."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text()})
    run = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"
    found = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    assert "exceptionDetails" not in found, found
    return [
        f"{each['id']}: {node['target']} {node['html'][:160]}: {node['failureSummary']}"
        for each in found["result"]["value"]
        for node in each["nodes"]
    ]


@looks("colour_scheme")
def test_axe_finds_nothing(
    shop: System, open_window: OpenWindow, viewport: tuple[int, int], colour_scheme: str
) -> None:
    phone = viewport == PHONE
    options = {"phone": phone, "colour_scheme": colour_scheme, "reduced_motion": True}
    _, page = visit(shop, open_window, "/", viewport, **options)
    expect(page.locator(".client")).to_have_count(2)
    expect(page.locator(".chart-plot")).to_be_visible()
    assert violations(page) == []
    page.locator(".switcher").click()
    expect(page.get_by_role("menu", name="Clients")).to_be_visible()
    assert violations(page) == []
    for path, ready in {
        "/c/shop": ".sheet-heat",
        "/c/shop-simulated": ".badge-simulated >> visible=true",
        "/c/shop?q=zzz": ".empty",
        "/c/nobody": ".empty",
        "/setup": ".code",
        "/setup?client=shop": "[data-state=received]",
        "/setup?client=a b": ".field-error",
        "/c/x/y/z": ".empty",
    }.items():
        page.goto(f"{shop.app_url}{path}")
        expect(page.locator(ready).first).to_be_visible()
        assert violations(page) == [], path


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_axe_finds_nothing_before_the_first_event_and_without_a_token(
    locked: System, open_window: OpenWindow, colour_scheme: str
) -> None:
    opened, page = visit(locked, open_window, "/", PHONE, colour_scheme=colour_scheme, reduced_motion=True)
    opened.complaints.expect("status of 401")
    expect(page.get_by_label("Token")).to_be_visible()
    assert violations(page) == []
    unlock(page)
    expect(heading(page)).to_have_text("Waiting for the first event")
    expect(page.locator(".code")).to_have_count(2)
    assert violations(page) == []
