"""Where the SDK must work: frames, strict policies, pages that change the browser's functions, blocked storage."""

from collections.abc import Callable

import pytest
from browser.browsing import Site, Window
from browser.misbehaving import Hang, MisbehavingCollector, Pass, Refuse
from browser.sdk_pages import BODY, SDK, arrive, check, client, flush, made, make, publish, script, tag, types
from collecting import until

OpenWindow = Callable[..., Window]


def test_the_page_gets_one_global(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    opened = open_window()
    names = "() => Object.getOwnPropertyNames(window)"
    bare = opened.open(site.put("/bare", BODY)).evaluate(names)
    page = opened.open(publish(site, collector))
    page.mouse.click(150, 210)
    flush(page)
    assert set(page.evaluate(names)) - set(bare) == {"isotherm"}
    assert page.evaluate("Object.keys(isotherm).sort()") == ["flush", "init", "optOut", "stop", "track"]


def test_two_tags_on_a_page_count_once(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    body = BODY + tag(collector, client())
    page = open_window().open(publish(site, collector, body))
    page.mouse.click(150, 210)
    make(page, 0, 1)
    flush(page)
    check(collector)
    assert types(collector)["click"] == types(collector)["pageview"] == types(collector)["made"] == 1


def test_the_endpoint_is_the_scripts_origin_by_default(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    """Served by another host, as a collector does: asynchronous, in the head."""
    other = Site()
    try:
        other.put("/isotherm.js", script(), {"content-type": "text/javascript"})
        snippet = f'<script async src="{other.url}/isotherm.js" data-client="shop"></script>'
        opened = open_window(expected=["Failed to load resource", "CORS"])
        page = opened.open(site.put("/", BODY.replace("<title>", snippet + "<title>")))
        with page.expect_request(lambda request: "/events/batch" in request.url) as asked:
            flush(page)
        assert asked.value.url.startswith(f"{other.url}/events/batch?sent_at=")
    finally:
        other.close()


def test_a_page_in_a_frame(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    publish(site, collector, path="/inner")
    url = site.put("/", '<body style="margin:0"><iframe src="/inner" width=800 height=600 style="border:0"></iframe>')
    page = open_window().open(url)
    page.mouse.click(150, 210)
    frame = page.frames[1]
    frame.evaluate("isotherm.flush()")
    check(collector)
    (click,) = collector.events("click")
    assert (click["x_px"], click["y_px"]) == (150, 210)
    assert collector.attempts[-1].body["viewport"] == {"w": 800, "h": 600}
    assert collector.attempts[-1].body["screen_id"] == "/inner"


def test_a_frame_without_storage_works_from_memory(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    publish(site, collector, path="/inner")
    url = site.put("/", '<iframe src="/inner" sandbox="allow-scripts" width=800 height=600></iframe>')
    page = open_window(expected=["503"]).open(url)
    frame = page.frames[1]
    frame.wait_for_function("window.isotherm")
    collector.behave(Refuse(503, "1"))
    frame.evaluate("() => { for (let n = 0; n < 5; n++) isotherm.track('made', {n}); return isotherm.flush(); }")
    collector.behave(Pass())
    arrive(collector, lambda: made(collector) == [0, 1, 2, 3, 4], page, "sent again, from memory")
    assert frame.evaluate("(() => { try { return !!localStorage } catch { return 'blocked' } })()") == "blocked"


def test_without_indexeddb_nothing_is_lost_but_by_leaving(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=["503", "403"])
    opened.context.add_init_script(
        "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }"
    )
    page = opened.open(publish(site, collector))
    flush(page)
    collector.behave(Refuse(403))
    make(page, 100, 4)
    flush(page)
    collector.behave(Refuse(503, "1"))
    make(page, 0, 450)
    flush(page)
    collector.behave(Pass())
    arrive(collector, lambda: len(made(collector)) == 450, page, "all from memory")
    assert made(collector) == list(range(450))
    assert collector.totals().dropped == {"refused": 4}


def test_storage_that_breaks_on_the_way(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window(expected=["503"]).open(publish(site, collector))
    flush(page)
    page.evaluate(
        "() => { IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); }; }"
    )
    collector.behave(Refuse(503, "1"))
    make(page, 0, 5)
    flush(page)
    collector.behave(Pass())
    arrive(collector, lambda: made(collector) == list(range(5)), page, "sent from memory")


def test_a_strict_policy(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    """The two lines that the README gives, and nothing else allowed."""
    other = Site()
    try:
        other.put("/isotherm.js", script(), {"content-type": "text/javascript"})
        policy = f"default-src 'none'; script-src {other.url}; connect-src {collector.url}"
        snippet = f'<script async src="{other.url}/isotherm.js" data-endpoint="{collector.url}" data-client="csp">'
        headers = {"content-security-policy": f"{policy}; require-trusted-types-for 'script'"}
        page = open_window().open(
            site.put("/", f"<!doctype html><title>t</title>{snippet}</script><main><h1>Hello</h1></main>", headers)
        )
        page.wait_for_function("window.isotherm")
        page.mouse.click(300, 300)
        flush(page)
        page.close(run_before_unload=True)
        until(lambda: types(collector)["click"] == 1, "the click counted")
        check(collector)
    finally:
        other.close()


BREAK = """(() => {
  window.asked = 0;
  window.fetch = function () { asked++; return Promise.reject(new Error('not yours')); };
})();"""


def test_a_page_that_redefines_fetch_later(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window().open(publish(site, collector))
    page.evaluate(BREAK)
    page.evaluate("() => { Window.prototype.fetch = XMLHttpRequest.prototype.send = null; }")
    make(page, 0, 5)
    flush(page)
    check(collector)
    assert made(collector) == list(range(5))
    assert page.evaluate("asked") == 0


def test_a_page_that_redefined_fetch_before(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=["503", "Failed to load resource"])
    opened.context.add_init_script(BREAK)
    url = publish(site, collector)
    page = opened.open(url)
    make(page, 0, 5)
    flush(page)
    assert made(collector) == list(range(5))
    collector.behave(Refuse(503, "2"))
    make(page, 5, 5)
    flush(page)
    seen = len(collector.attempts)
    collector.behave(Pass())
    arrive(collector, lambda: len(made(collector)) == 10, page, "it honours what it was told")
    assert collector.attempts[seen].at - collector.attempts[seen - 1].at >= 2
    make(page, 10, 5)
    page.close(run_before_unload=True)
    until(lambda: len(made(collector)) == 15, "a beacon took the last ones")
    again = opened.open(url)
    flush(again)
    check(collector)
    assert made(collector) == list(range(15))
    assert again.evaluate("asked") == 0
    assert collector.preflights == 0


def test_the_module(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    site.put("/isotherm.mjs", (SDK / "isotherm.mjs").read_text(), {"content-type": "text/javascript"})
    page = open_window().open(
        site.put(
            "/",
            BODY + '<script type="module">import {init, track, flush, optOut, stop} from "/isotherm.mjs";'
            f'init({{endpoint: "{collector.url}/", client: "module", screen: () => "s", breakpoints: [2000]}});'
            "window.own = {track, flush, optOut, stop};</script>",
        )
    )
    page.evaluate("() => { own.track('made', {n: 1}); return own.flush(); }")
    check(collector)
    assert made(collector) == [1]
    assert collector.attempts[0].body["screen_id"] == "s@under-2000"
    assert page.evaluate("typeof isotherm") == "undefined"
    page.evaluate("() => { own.stop(); own.track('made', {n: 2}); return own.flush(); }")
    page.mouse.click(10, 10)
    page.wait_for_timeout(1200)
    assert made(collector) == [1]


@pytest.mark.parametrize("call", ["init()", "init({})", "init({client: 'x'})", "track('a')", "flush()", "stop()"])
def test_nothing_is_thrown_into_the_page(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector, call: str
) -> None:
    site.put("/isotherm.js", script(), {"content-type": "text/javascript"})
    page = open_window().open(site.put("/", BODY + '<script src="/isotherm.js"></script>'))
    page.evaluate(f"() => isotherm.{call}")
    page.mouse.click(10, 10)
    page.wait_for_timeout(50)


def test_stop_keeps_what_was_recorded_for_the_next_start(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=["Failed to load resource"])
    url = publish(site, collector)
    page = opened.open(url)
    flush(page)
    collector.behave(Hang())
    make(page, 0, 5)
    page.evaluate("isotherm.stop()")
    page.mouse.click(150, 210)
    collector.behave(Pass())
    page.wait_for_timeout(1500)
    assert made(collector) == []
    page.reload()
    arrive(collector, lambda: made(collector) == list(range(5)), page, "sent by the next start")
    assert types(collector)["click"] == 0
