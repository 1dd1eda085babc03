"""On which screen something is recorded: regions, layouts, routes, and names that the page gives."""

from collections.abc import Callable
from typing import Any

import pytest
from browser.browsing import Site, Window
from browser.misbehaving import MisbehavingCollector
from browser.sdk_pages import STYLE, check, flush, publish, types
from playwright.sync_api import Page

OpenWindow = Callable[..., Window]


def events(collector: MisbehavingCollector, page: Page, *kinds: str) -> list[dict[str, Any]]:
    """All that the page recorded so far; of these kinds, or all."""
    flush(page)
    check(collector)
    return collector.events(*kinds)


def position(event: dict[str, Any]) -> tuple[int, int]:
    return event["x_px"], event["y_px"]


REGION = (
    "<!doctype html>" + STYLE + '<div style="height:300px"></div>'
    '<div id="board" style="margin-left:100px;width:800px;height:400px;background:#ccc"></div><p style="height:2000px">'
)


def test_a_region_has_its_own_coordinates(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector, REGION, region="#board"))
    page.wait_for_timeout(100)
    page.mouse.click(300, 400)
    page.mouse.click(50, 50)
    page.evaluate("scrollTo(0, 250)")
    page.wait_for_function("scrollY === 250")
    page.mouse.click(500, 250)
    clicks = events(collector, page, "click")
    assert [(c["x_norm"], c["y_norm"]) for c in clicks] == [(0.25, 0.25), (0.5, 0.5)], "and what is outside is left out"
    assert [position(c) for c in clicks] == [(300, 400), (500, 500)]
    assert all(
        a.body["region"] == {"w": 800, "h": 400} for a in collector.attempts if a.events[-1]["event_type"] == "click"
    )


def test_a_region_that_comes_later(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector, REGION.replace('id="board"', 'class="later"'), region="#board"))
    page.mouse.click(300, 400)
    assert events(collector, page, "click") == [], "there is nothing yet to be a fraction of"
    page.evaluate("document.querySelector('.later').id = 'board'")
    page.mouse.move(310, 400)
    flush(page)
    page.mouse.click(300, 400)
    (click,) = events(collector, page, "click")
    assert (click["x_norm"], click["y_norm"]) == (0.25, 0.25)


def test_layouts_have_screens_of_their_own(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector, breakpoints="700,1000"))
    page.mouse.click(150, 210)
    flush(page)
    for width in (1000, 999, 700, 699):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        page.mouse.click(150, 210)
        flush(page)
    check(collector)
    screens = [
        (a.body["screen_id"], a.body["viewport"]["w"])
        for a in collector.attempts
        for e in a.events
        if e["event_type"] == "click"
    ]
    assert screens == [
        ("/", 1440),
        ("/", 1000),
        ("/@under-1000", 999),
        ("/@under-1000", 700),
        ("/@under-700", 699),
    ]
    assert types(collector)["pageview"] == 1, "turning a phone is no page view"


@pytest.mark.parametrize("old", [False, True], ids=["navigation api", "wrapped history"])
def test_a_route_is_a_screen(open_window: OpenWindow, site: Site, collector: MisbehavingCollector, old: bool) -> None:
    opened = open_window()
    if old:
        opened.context.add_init_script("Object.defineProperty(window, 'navigation', {value: undefined})")
    page = opened.open(publish(site, collector))
    page.evaluate(
        """() => {
          const push = history.pushState, calls = [];
          history.pushState = function (...given) { calls.push(given[2]); return push.apply(this, given); };
          window.calls = calls;
        }"""
    )
    steps = [
        ("history.pushState({a: 1}, '', '/users/4711')", "/users/:id"),
        ("history.pushState({}, '', '/users/4712?tab=2#top')", "/users/:id"),
        ("history.replaceState({}, '', '/users/4712?tab=3')", None),
        ("history.replaceState({}, '', '/about')", "/about"),
        ("location.hash = 'not-a-route'", None),
        ("location.hash = '#/inner/7?x=1'", "/about#/inner/:id"),
        ("history.back()", "/about"),
    ]
    wanted = ["/"]
    page.evaluate("isotherm.track('at', {step: 0})")
    for number, (step, screen) in enumerate(steps, 1):
        before = page.evaluate("location.href")
        page.evaluate(step)
        page.wait_for_function("(before) => location.href !== before", arg=before)
        page.wait_for_timeout(50)
        page.evaluate(f"isotherm.track('at', {{step: {number}}})")
        wanted.append(screen or wanted[-1])
    flush(page)
    check(collector)
    seen = {e["attrs"]["step"]: a.body["screen_id"] for a in collector.attempts for e in a.events if "attrs" in e}
    assert [seen[n] for n in range(len(wanted))] == wanted
    assert types(collector)["pageview"] == 1 + sum(screen is not None for _, screen in steps)
    assert page.evaluate("calls") == ["/users/4711", "/users/4712?tab=2#top"], "the page's own wrapper still works"
    for attempt in collector.attempts:
        assert "?" not in attempt.body["url"]
        assert "#" not in attempt.body["url"]


def test_what_waits_at_a_route_change_goes_out_under_the_old_screen(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate("() => { buy.onclick = () => history.pushState({}, '', '/thanks'); }")
    page.mouse.move(150, 205)
    page.mouse.move(150, 210)
    page.mouse.down()
    page.mouse.up()
    flush(page)
    check(collector)
    by_screen = {a.body["screen_id"]: [e["event_type"] for e in a.events] for a in collector.attempts}
    assert by_screen["/"][0] == "pageview"
    assert by_screen["/"][-2:] == ["mousemove", "click"]
    assert by_screen["/thanks"] == ["pageview"]


def test_a_named_screen_and_one_by_function(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector, screen="home"))
    flush(page)
    assert {a.body["screen_id"] for a in collector.attempts} == {"home"}
    page.evaluate(
        "(endpoint) => { isotherm.stop(); isotherm.init({endpoint, client: 'by-function',"
        " screen: (location) => 'at|' + location.pathname + 'é'.repeat(300)}); }",
        collector.url,
    )
    flush(page)
    check(collector)
    screen = collector.attempts[-1].body["screen_id"]
    assert screen.startswith("at_/é")
    assert len(screen.encode()) in (235, 236)
