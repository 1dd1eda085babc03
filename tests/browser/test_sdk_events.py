"""What the SDK records: positions, kinds, anchors, screens. The oracle is what the test did and what the page saw."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from browser.browsing import PHONE, Site, Window
from browser.misbehaving import MisbehavingCollector
from browser.sdk_pages import BODY, arrive, check, flush, publish
from playwright.sync_api import Page

OpenWindow = Callable[..., Window]


def events(collector: MisbehavingCollector, page: Page, *kinds: str) -> list[dict[str, Any]]:
    """All that the page recorded so far; of these kinds, or all."""
    flush(page)
    check(collector)
    return collector.events(*kinds)


def size(page: Page) -> tuple[int, int]:
    width, height = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    return width, height


def position(event: dict[str, Any]) -> tuple[int, int]:
    return event["x_px"], event["y_px"]


def test_a_click_is_where_it_was(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector))
    width, height = size(page)
    page.mouse.click(150, 210)
    page.mouse.click(900, 800)
    page.mouse.wheel(0, 500)
    page.wait_for_function("scrollY === 500")
    page.mouse.click(720, 700)
    clicks = events(collector, page, "click")
    assert [position(c) for c in clicks] == [(150, 210), (900, 800), (720, 1200)]
    assert [c["scroll_y"] for c in clicks] == [0, 0, 500]
    assert clicks[0]["anchor"] == "#buy"
    assert (clicks[0]["ax"], clicks[0]["ay"]) == (0.25, 0.25)
    assert clicks[1]["anchor"] == "#tall"
    for click in clicks:
        x, y = position(click)
        assert 0 <= x / width - click["x_norm"] < 1e-5
        assert 0 <= y / height - click["y_norm"] < 1e-5
    heads = [a.body for a in collector.attempts if any(e["event_type"] == "click" for e in a.events)]
    for head in heads:
        assert head["viewport"] == {"w": 1440, "h": 900}
        assert head["document"] == {"w": width, "h": height}
        assert head["device_pixel_ratio"] == 1
        assert "region" not in head
        assert head["screen_id"] == "/"


def test_moves_are_thinned_and_the_resting_place_is_always_there(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate(
        "() => { window.seen = []; addEventListener('pointermove', (e) => seen.push([Math.round(e.pageX),"
        " Math.round(e.pageY), Date.now()])); }"
    )
    for stop in ((400, 300), (700, 500), (705, 502)):
        page.mouse.move(*stop, steps=40)
        page.wait_for_timeout(150)
    seen = page.evaluate("seen")
    moves = events(collector, page, "mousemove")
    places = [position(m) for m in moves]
    assert {(400, 300), (700, 500), (705, 502)} <= set(places), "where it came to rest"
    assert set(places) <= {(x, y) for x, y, _ in seen}, "nowhere else"
    rests = {(x, y) for (x, y, time), (_, _, later) in pairwise(seen) if later - time >= 45}
    rests.add((705, 502))
    for earlier, later in pairwise(moves):
        assert position(later) in rests or later["event_time"] - earlier["event_time"] >= 50


def test_a_keyboard_click_is_at_the_centre_of_its_element(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.focus("#buy")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    clicks = events(collector, page, "click")
    assert [position(c) for c in clicks] == [(200, 220)] * 2
    assert [(c["ax"], c["ay"]) for c in clicks] == [(0.5, 0.5)] * 2


def test_a_keyboard_click_on_what_is_gone_is_counted_as_dropped(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate("() => { buy.onclick = () => buy.remove(); buy.focus(); }")
    page.keyboard.press("Enter")
    assert events(collector, page, "click") == []
    arrive(collector, lambda: collector.totals().dropped == {"no_position": 1}, page, "the drop is told")


def test_a_clicked_element_may_go_at_once(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate("() => { buy.addEventListener('click', (e) => { e.stopImmediatePropagation(); buy.remove(); }); }")
    page.mouse.click(150, 210)
    (click,) = events(collector, page, "click")
    assert position(click) == (150, 210)
    assert click["anchor"] == "#buy"
    assert "ax" not in click


ODD = """<div class=x aria-label='Say "hi" \\ there'></div><div class=x id="a.b#c"></div><svg class=x></svg>
<div class=x id="7up" aria-label="two&#10;lines"></div><x-y class=x></x-y><form><input class=x name='a"]b'>
<div class=x></div><div class=x></div></form>"""


def test_every_anchor_finds_its_element(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    style = "<style>.x{display:block;position:static;width:200px;height:20px;margin:0;padding:0;border:0}</style>"
    page = open_window().open(publish(site, collector, "<!doctype html><body style=margin:0>" + style + ODD))
    number = page.evaluate("document.querySelectorAll('.x').length")
    for at in range(number):
        box = page.locator(".x").nth(at).bounding_box()
        assert box
        page.mouse.click(box["x"] + 50, box["y"] + 10)
    clicks = events(collector, page, "click")
    assert len(clicks) == number == 8
    found = page.evaluate(
        "(all) => all.map((one) => [...document.querySelectorAll('.x')].indexOf(document.querySelector(one)))",
        [c["anchor"] for c in clicks],
    )
    assert found == list(range(number))
    assert {c["ax"] for c in clicks} == {0.25}


def test_one_click_on_a_label_is_one_click(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    body = BODY + '<label id="news" style="position:absolute;left:500px;top:100px;width:100px;height:40px">'
    body += "News <input type=checkbox id=news-box style='display:none'></label>"
    page = open_window().open(publish(site, collector, body))
    page.mouse.click(510, 110)
    page.mouse.click(510, 110)
    assert page.is_checked("#news-box") is False
    clicks = events(collector, page, "click")
    assert [position(c) for c in clicks] == [(510, 110)] * 2
    assert {c["anchor"] for c in clicks} == {"#news"}


def test_events_that_scripts_make_up_are_not_recorded(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate(
        "() => { buy.click(); buy.dispatchEvent(new MouseEvent('click', {bubbles: true}));"
        " dispatchEvent(new PointerEvent('pointermove', {clientX: 5, clientY: 5})); }"
    )
    assert events(collector, page, "click", "mousemove") == []


def test_a_finger(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window(PHONE, phone=True, scale=3).open(publish(site, collector))
    page.touchscreen.tap(120, 220)
    page.touchscreen.tap(300, 600)
    found = events(collector, page)
    assert [position(e) for e in found if e["event_type"] == "touch"] == [(120, 220), (300, 600)]
    assert [position(e) for e in found if e["event_type"] == "click"] == [(120, 220), (300, 600)]
    assert not [e for e in found if e["event_type"] == "mousemove"], "a tap is no mouse"
    assert collector.attempts[-1].body["device_pixel_ratio"] == 3
    assert collector.attempts[-1].body["viewport"] == {"w": 390, "h": 844}


def test_scrolling_tells_how_far(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector))
    height = size(page)[1]
    for to in (300, 1200, 1200 + 333):
        page.evaluate(f"scrollTo(0, {to})")
        page.wait_for_timeout(400)
        flush(page)
    scrolls = events(collector, page, "scroll")
    assert [s["scroll_y"] for s in scrolls] == [300, 1200, 1533]
    for scroll in scrolls:
        assert abs(scroll["attrs"]["depth"] - (scroll["scroll_y"] + 900) / height) <= 1e-5
        assert "x_norm" not in scroll


def test_scrolling_inside_the_page_is_not_scrolling_the_page(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    box = '<div id="box" style="height:50px;overflow:auto;position:absolute;top:0"><p style="height:900px">x</p></div>'
    page = open_window().open(publish(site, collector, BODY + box))
    page.evaluate("box.scrollTop = 300")
    page.wait_for_timeout(400)
    assert events(collector, page, "scroll") == []


def test_events_of_the_page_itself(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate(
        """() => {
          const attrs = {sum: 12.5, of: ['a', {b: null}]};
          isotherm.track('cart.add', attrs);
          attrs.sum = 0;
          isotherm.track('plain');
          isotherm.track('Not A Name');
          isotherm.track('click');
          const loop = {}; loop.loop = loop;
          isotherm.track('loop', loop);
          isotherm.track('large', {x: 'x'.repeat(40000)});
          isotherm.track();
        }"""
    )
    found = events(collector, page)
    assert [(e["event_type"], e.get("attrs")) for e in found] == [
        ("pageview", None),
        ("cart.add", {"sum": 12.5, "of": ["a", {"b": None}]}),
        ("plain", None),
    ]
    assert collector.totals().dropped == {"bad_event_type": 3, "bad_attrs": 2}


FORCING = """() => {
  window.forced = [];
  let inListener = 0;
  const bad = (owner, name) => {
    const found = Object.getOwnPropertyDescriptor(owner, name);
    const wrap = (work) => function (...given) {
      if (inListener) forced.push(name);
      return work.apply(this, given);
    };
    const how = found.get ? {get: wrap(found.get)} : {value: wrap(found.value)};
    Object.defineProperty(owner, name, {...found, ...how});
  };
  for (const name of ['getBoundingClientRect', 'getClientRects', 'scrollWidth', 'scrollHeight', 'scrollTop',
    'scrollLeft', 'clientWidth', 'clientHeight', 'clientTop', 'checkVisibility']) bad(Element.prototype, name);
  for (const name of ['offsetWidth', 'offsetHeight', 'offsetTop', 'offsetLeft', 'offsetParent', 'innerText'])
    bad(HTMLElement.prototype, name);
  for (const name of ['offsetX', 'offsetY', 'layerX', 'layerY']) bad(MouseEvent.prototype, name);
  for (const name of ['scrollX', 'scrollY', 'pageXOffset', 'pageYOffset', 'innerWidth', 'innerHeight',
    'getComputedStyle', 'visualViewport']) bad(window, name);
  bad(Document.prototype, 'elementFromPoint');
  const add = EventTarget.prototype.addEventListener;
  window.listeners = [];
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    listeners.push([type, options && options.passive === true]);
    return add.call(this, type, (event) => {
      inListener++;
      try { return listener.call(this, event); } finally { inListener--; }
    }, options);
  };
}"""


def test_listeners_are_passive_and_read_no_layout(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(PHONE, phone=True)
    opened.context.add_init_script(f"({FORCING})()")
    page = opened.open(publish(site, collector))
    page.wait_for_timeout(100)
    page.evaluate("buy.style.left = '101px'")
    page.touchscreen.tap(150, 210)
    page.mouse.move(30, 40, steps=5)
    page.mouse.click(150, 220)
    page.mouse.wheel(0, 300)
    page.focus("#buy")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    page.evaluate("history.pushState({}, '', '/next')")
    page.mouse.click(150, 220)
    assert page.evaluate("forced") == []
    kinds = {e["event_type"] for e in events(collector, page)}
    assert {"touch", "click", "mousemove", "scroll", "pageview"} <= kinds
    listeners = dict(page.evaluate("listeners"))
    del listeners["abort"]
    assert {"pointermove", "touchstart", "click", "scroll"} <= listeners.keys()
    assert all(listeners.values()), "all passive"
    page.evaluate("() => { window.innerWidth; document.body.getBoundingClientRect(); }")
    page.evaluate(
        "() => { addEventListener('trap', () => document.body.scrollHeight); dispatchEvent(new Event('trap')); }"
    )
    assert page.evaluate("forced") == ["scrollHeight"], "the trap works"
