"""Pages that are hidden and shown, kept and brought back, duplicated, prepared, or short of what the SDK needs."""

from collections.abc import Callable

import pytest
from browser.browsing import Site, Window
from browser.misbehaving import Hang, Hold, MisbehavingCollector, Pass
from browser.sdk_pages import arrive, check, flush, made, make, publish, types
from collecting import until
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

OpenWindow = Callable[..., Window]

# Headless browsers neither hide tabs nor keep pages: the listeners hear what a browser would tell them.
TELL = """(() => {
  const heard = [];
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    heard.push([type, listener, options]);
    return add.call(this, type, listener, options);
  };
  window.tell = (type, more) => {
    for (const [of, listener, options] of heard)
      if (of === type && !options?.signal?.aborted) listener({type, isTrusted: true, ...more});
  };
  let state = 'visible';
  Object.defineProperty(document, 'visibilityState', {get: () => state});
  window.show = (now) => { state = now; tell('visibilitychange'); };
})();"""


def told(opened: Window, url: str) -> Page:
    opened.context.add_init_script(TELL)
    return opened.open(url)


def test_a_tab_that_is_hidden_and_shown_again(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = told(open_window(), publish(site, collector))
    for first in (0, 5, 10):
        make(page, first, 5)
        page.evaluate("show('hidden')")
        arrive(collector, lambda last=first + 5: len(made(collector)) == last, page, "what there was left at once")
        page.evaluate("show('visible')")
    page.evaluate("() => { show('hidden'); tell('pagehide'); }")
    flush(page)
    check(collector)
    assert made(collector) == list(range(15))
    assert types(collector)["pageview"] == 1
    assert collector.totals().duplicate == 0
    assert len({a.body["sequence"]["view"] for a in collector.attempts}) == 1


def test_a_page_that_is_brought_back_is_a_page_view(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = told(open_window(), publish(site, collector))
    make(page, 0, 3)
    page.evaluate("() => { tell('pagehide', {persisted: true}); tell('pageshow', {persisted: true}); }")
    make(page, 3, 3)
    page.evaluate("tell('pageshow', {persisted: false})")
    flush(page)
    arrive(collector, lambda: len(made(collector)) == 6, page, "everything counted")
    assert types(collector)["pageview"] == 2
    assert len({a.body["sequence"]["view"] for a in collector.attempts}) == 2
    assert len({a.body["session_id"] for a in collector.attempts}) == 1


def test_a_page_that_is_brought_back_after_an_opt_out_elsewhere_is_silent(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = told(open_window(), publish(site, collector))
    flush(page)
    seen = len(collector.attempts)
    # Pages that are kept hear of no change of the storage.
    page.evaluate("() => { localStorage.setItem('isotherm.optout', '1'); tell('pageshow', {persisted: true}); }")
    make(page, 0, 3)
    flush(page)
    page.evaluate("tell('pagehide')")
    until(lambda: page.evaluate("indexedDB.databases().then((all) => all.length)") == 0, "the queue is gone")
    assert page.evaluate("sessionStorage.length") == 0
    assert len(collector.attempts) == seen


def test_a_duplicated_tab_is_the_same_session_and_another_view(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window()
    page = opened.open(publish(site, collector))
    flush(page)
    with opened.context.expect_page() as opening:
        page.evaluate("() => { window.open(location.href); }")
    other = opening.value
    other.wait_for_function("window.isotherm")
    make(page, 0, 20)
    make(other, 20, 20)
    flush(page)
    flush(other)
    arrive(collector, lambda: len(made(collector)) == 40, page, "everything of both counted")
    assert made(collector) == list(range(40))
    assert len({a.body["session_id"] for a in collector.attempts}) == 1
    assert len({a.body["sequence"]["view"] for a in collector.attempts}) == 2
    assert collector.totals().duplicate == 0


def test_a_page_that_needs_its_keepalive_itself(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    """A browser refuses more than 64 kB of such requests: what failed so goes as any other request."""
    page = open_window(expected=["Failed to load resource"]).open(publish(site, collector))
    flush(page)
    own = MisbehavingCollector(collector.real_port)
    try:
        own.behave(Hang())
        page.evaluate(
            "(url) => { fetch(url, {method: 'POST', keepalive: true, body: JSON.stringify('x'.repeat(65000))})"
            ".catch(() => {}); }",
            f"{own.url}/own",
        )
        until(lambda: page.evaluate("0") or own.attempts, "the page uses it up")
        # More than is left of it, also packed.
        page.evaluate(
            "() => { for (let n = 0; n < 20; n++)"
            " isotherm.track('made', {n, x: Array.from({length: 200}, Math.random)}); }"
        )
        arrive(collector, lambda: len(made(collector)) == 20, page, "everything counted all the same")
        assert made(collector) == list(range(20))
    finally:
        own.close()


def test_what_leaves_with_a_page_outlives_it(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    """The answer is held back until the page is long gone: other requests would have been given up with it."""
    opened = open_window()
    page = opened.open(publish(site, collector))
    flush(page)
    collector.behave(Hold())
    make(page, 0, 5)
    page.goto(site.put("/bare", "<!doctype html><title>bare</title>"))
    until(lambda: collector.attempts[-1].events[0]["event_type"] == "made", "the last events are on their way")
    page.wait_for_timeout(1000)
    collector.behave(Pass())
    until(lambda: made(collector) == list(range(5)), "they counted")
    assert not any(a.hung_up for a in collector.attempts)


def test_stopped_while_the_page_is_prepared(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window()
    opened.context.add_init_script("Object.defineProperty(document, 'prerendering', {get: () => true});")
    page = opened.open(publish(site, collector))
    activate = "() => { document.dispatchEvent(new Event('prerenderingchange')); return isotherm.flush(); }"
    page.evaluate("isotherm.stop()")
    page.evaluate(activate)
    assert collector.attempts == []
    page.reload()
    flush(page)
    assert collector.attempts == [], "not while it is prepared"
    page.evaluate(activate)
    assert types(collector) == {"pageview": 1}


def test_a_page_with_old_ideas_about_json(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    opened = open_window()
    opened.context.add_init_script("Array.prototype.toJSON = function () { return '[' + this.join() + ']'; };")
    page = opened.open(publish(site, collector))
    make(page, 0, 3)
    page.mouse.click(150, 210)
    flush(page)
    check(collector)
    assert types(collector) == {"pageview": 1, "made": 3, "click": 1, "mousemove": 1}
