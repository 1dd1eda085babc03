"""The ledger's page, its mark on a map and the System page, in a real Chromium on the running program."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from browser.browsing import PHONE, looks
from browser.test_dashboard_frame import SMALL_TARGETS, OpenWindow, batch, heading, started, violations, visit
from playwright.sync_api import Page, expect
from system_helpers import System

expect.set_options(timeout=60_000)

MOVES, VIEWS, LOST, SENT_TWICE = 50, 4, 7, 20
"""Of client `books`: events with a place, without one, numbered ones that never come, and those of a batch sent twice.
"""
ACCEPTED = MOVES + VIEWS + SENT_TWICE
REJECTED = 3
RECEIVED = ACCEPTED + SENT_TWICE + REJECTED


def numbered(screen: str, first: int, count: int, kind: str = "mousemove") -> dict[str, Any]:
    """A batch of one page view whose events have the numbers [first, first + count)."""
    body = batch("books", screen, count, kind)
    return body | {"batch_id": str(uuid4()), "sequence": {"view": "one-view", "batch": first, "first_event": first}}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose client `books` has some of everything that can become of an event."""
    with started(tmp_path_factory.mktemp("books") / "data") as running:
        moves = numbered("/", 0, MOVES)
        old = (datetime.now(UTC) - timedelta(days=300)).isoformat(timespec="milliseconds")
        bad = [{**moves["events"][0], "event_time": old}, *({**moves["events"][0], "x_norm": 1.7} for _ in range(2))]
        moves["events"] += bad
        running.post(moves)
        views = numbered("/", MOVES + REJECTED + LOST, VIEWS, "pageview")
        for event in views["events"]:
            del event["x_norm"], event["y_norm"]
        running.post(views)
        again = batch("books", "/list", SENT_TWICE) | {"batch_id": str(uuid4())}
        running.post(again)
        running.post(again)
        running.post(batch("other", "/", 11))
        running.wait_idle()
        yield running


def counted(page: Page) -> dict[str, int]:
    """The figures of the picture by the key of their stage or loss."""
    parts = page.locator("[data-stage], [data-loss]")
    expect(parts.first).to_be_visible()
    found: list[list[str]] = parts.evaluate_all(
        "parts => parts.map((part) => [part.dataset.stage ?? part.dataset.loss,"
        " part.querySelector('.flow-count, b').textContent])"
    )
    return {key: int(text.replace(",", "")) for key, text in found}


EXPECTED = {
    "sent": RECEIVED + LOST,
    "unknown": LOST,
    "received": RECEIVED,
    "rejected outside the screen": 2,
    "rejected too old": 1,
    "duplicate": SENT_TWICE,
    "accepted": ACCEPTED,
    "landed": ACCEPTED,
    "no_position": VIEWS,
    "tiled": ACCEPTED - VIEWS,
}


def test_the_ledger_shows_what_became_of_every_event(books: System, open_window: OpenWindow) -> None:
    _, page = visit(books, open_window, "/c/books/ledger?period=24h")
    expect(page).to_have_title("Ledger of books · Isotherm")
    expect(page.get_by_role("heading", name="Every event is accounted for")).to_be_visible()
    assert counted(page) == EXPECTED
    page.locator("[data-loss=duplicate]").focus()
    expect(page.locator(".flow-reading")).to_contain_text(f"Sent again: {SENT_TWICE}")
    expect(page.locator(".flow-reading")).to_contain_text("They count once")

    page.get_by_text("Table", exact=True).locator("xpath=..").click()
    rows = page.get_by_role("table", name="From browser to cell").locator("tbody tr")
    said = {row.split("\t")[0]: row.split("\t")[1] for row in rows.all_inner_texts()}
    assert said["Did not arrive"] == str(LOST)
    assert said["Wait to be counted"] == "0"

    hour = page.get_by_role("table", name="Events by hour").locator("tbody tr").first
    expect(hour).to_contain_text("counted")


def test_a_view_of_the_ledger_is_restored_from_its_address(books: System, open_window: OpenWindow) -> None:
    _, page = visit(books, open_window, "/c/books/ledger")
    page.get_by_text("30 d", exact=True).click()
    page.wait_for_url("**/c/books/ledger?period=30d")
    page.reload()
    expect(page.get_by_role("radio", name="30 d")).to_be_checked()
    assert counted(page)["received"] == RECEIVED

    page.goto(f"{books.app_url}/c/books/ledger?from=2026-01-05T10:00Z&to=2026-01-05T12:00Z")
    expect(page.get_by_role("heading", name="Nothing came in this range")).to_be_visible()
    page.get_by_role("button", name="The range after").click()
    page.wait_for_url(re.compile("from=2026-01-05T12:00Z&to=2026-01-05T14:00Z"))
    page.get_by_role("button", name="Look at the last year").click()
    assert counted(page)["received"] == RECEIVED


def test_a_client_without_events_is_taught_what_the_ledger_is(books: System, open_window: OpenWindow) -> None:
    opened, page = visit(books, open_window, "/c/nobody/ledger")
    opened.complaints.expect("status of 404")
    expect(page.get_by_role("heading", name="Nothing of nobody has landed yet")).to_be_visible()
    page.get_by_role("link", name="Get its snippet").click()
    expect(heading(page)).to_have_text("Set up a site")


def test_a_map_is_marked_after_it_is_drawn_and_the_mark_leads_to_the_ledger(
    books: System, open_window: OpenWindow
) -> None:
    opened = open_window()
    page = opened.context.new_page()
    order: list[str] = []
    page.on("requestfinished", lambda request: order.append(urlsplit(request.url).path))
    page.on("request", lambda request: order.append(f"asks {urlsplit(request.url).path}"))
    page.goto(f"{books.app_url}/c/books/map?screen=%2F")
    mark = page.locator(".map-mark")
    expect(mark).to_have_text(f"Complete · {REJECTED} rejected")
    assert order.index("asks /v1/ledger") > order.index("/v1/heatmap")

    mark.click()
    page.wait_for_url("**/c/books/ledger?**")
    query = parse_qs(urlsplit(page.url).query)
    assert query["screen"] == ["/"]
    assert set(query) == {"screen", "from", "to"}
    assert counted(page) == {
        "accepted": MOVES + VIEWS,
        "landed": MOVES + VIEWS,
        "no_position": VIEWS,
        "tiled": MOVES,
    }
    expect(page.locator(".ledger-reasons")).to_contain_text(f"{REJECTED} rejected, 0 sent again")
    page.get_by_role("button", name="All screens").click()
    expect(page.locator("[data-stage=received]")).to_contain_text(str(RECEIVED))


def test_every_small_map_is_marked_by_one_question(books: System, open_window: OpenWindow) -> None:
    opened = open_window()
    page = opened.context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{books.app_url}/c/books")
    cards = page.locator(".screen-item")
    expect(cards.filter(has_text="/list").locator(".small-mark")).to_have_text("Complete")
    marks = page.locator(".small-mark")
    expect(marks).to_have_count(2)
    expect(marks.filter(has_text=f"Complete · {REJECTED} rejected")).to_have_count(1)
    questions = {url for url in asked if urlsplit(url).path == "/v1/ledger/marks"}
    assert questions
    assert all(sorted(parse_qs(urlsplit(url).query)["screen_id"]) == ["/", "/list"] for url in questions)
    assert not [url for url in asked if urlsplit(url).path == "/v1/ledger"]


def test_the_system_page_says_what_the_status_says(books: System, open_window: OpenWindow) -> None:
    _, page = visit(books, open_window, "/")
    page.get_by_role("link", name="System").click()
    expect(heading(page)).to_have_text("System")
    status = books.get("/v1/status")
    problems = page.locator(".system-verdict li")
    expect(problems).to_have_count(len(status["problems"]))
    if not status["problems"]:
        expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    running = page.get_by_role("region", name="Running")
    expect(running).to_contain_text("Answers")
    expect(page.get_by_role("region", name="How true the maps are")).to_contain_text("Ledger")
    stores = page.get_by_role("region", name="Stores").locator("li")
    expect(stores).to_have_count(len(status["stores"] or {}))


PAGES = {
    "/c/books": ".small-mark",
    "/c/books/ledger?period=24h": ".flow-stage",
    "/c/books/ledger?screen=/&period=24h": ".flow-stage",
    "/c/books/ledger?from=2026-01-05T10:00Z&to=2026-01-05T12:00Z": ".empty",
    "/c/books/map?screen=%2F": ".map-mark",
    "/system": ".system-fact",
}


@looks("colour_scheme")
def test_these_pages_are_accessible_and_fit_a_phone(
    books: System, open_window: OpenWindow, viewport: tuple[int, int], colour_scheme: str
) -> None:
    phone = viewport == PHONE
    options = {"phone": phone, "colour_scheme": colour_scheme, "reduced_motion": True}
    _, page = visit(books, open_window, "/setup", viewport, **options)
    for path, ready in PAGES.items():
        page.goto(f"{books.app_url}{path}")
        expect(page.locator(ready).first).to_be_visible()
        assert violations(page) == [], path
        if phone:
            # Once it is at rest: a map's parts come one after the other.
            page.wait_for_function(f"() => document.documentElement.scrollWidth <= {PHONE[0]}")
            if "/map" not in path:
                assert page.evaluate(SMALL_TARGETS) == [], path
