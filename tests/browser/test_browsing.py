"""The helpers that other browser tests lean on: they see errors, and the door does what it is told."""

from collections.abc import Callable

import pytest
from browser.browsing import PHONE, Site, Window, window
from browser.misbehaving import Cut, MisbehavingCollector, Pass, Refuse, TearAnswer
from collecting import batch, now_ms, until
from playwright.sync_api import Browser

SEND = """async ([url, body]) => {
  try {
    const answer = await fetch(url, {method: 'POST', body: JSON.stringify(body)});
    return [answer.status, answer.headers.get('retry-after')];
  } catch { return null; }
}"""


@pytest.mark.parametrize(
    ("script", "said"),
    [("throw new Error('loud')", "loud"), ("console.error('bad thing')", "bad thing")],
)
def test_errors_of_a_page_fail_unless_declared(browser: Browser, site: Site, script: str, said: str) -> None:
    url = site.put("/", f"<script>{script}</script>")
    failing = window(browser)
    failing.open(url)
    with pytest.raises(AssertionError, match=said):
        failing.close()
    declared = window(browser, expected=[said])
    declared.open(url)
    declared.close()


def test_a_window_is_the_device_it_was_asked_for(open_window: Callable[..., Window], site: Site) -> None:
    page = open_window(PHONE, phone=True, scale=3, colour_scheme="dark", reduced_motion=True).open(
        site.put("/", '<meta name="viewport" content="width=device-width">')
    )
    seen = page.evaluate(
        "[innerWidth, devicePixelRatio, navigator.maxTouchPoints > 0,"
        " matchMedia('(prefers-color-scheme: dark)').matches, matchMedia('(prefers-reduced-motion: reduce)').matches]"
    )
    assert seen == [390, 3, True, True, True]


def test_headers_of_a_site_count(open_window: Callable[..., Window], site: Site) -> None:
    opened = open_window(expected=["Content Security Policy"])
    url = site.put("/", "<script>document.title = 'ran'</script>", {"Content-Security-Policy": "script-src 'self'"})
    assert opened.open(url).title() == ""


def test_the_door_refuses_cuts_tears_and_passes(
    open_window: Callable[..., Window], site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=["Failed to load resource"]).open(site.put("/", "<p>x</p>"))
    body = batch(3, client_id="door", batch_id=f"door-{now_ms()}", sequence={"view": "v", "batch": 0, "first_event": 0})

    def send() -> list[object] | None:
        return page.evaluate(SEND, [f"{collector.url}/events/batch", body])

    collector.behave(Refuse(429, "7"))
    assert send() == [429, "7"]
    collector.behave(Cut())
    assert send() is None
    collector.behave(TearAnswer())
    assert send() is None
    collector.leave()
    assert send() is None
    collector.listen()
    collector.behave(Pass())
    until(lambda: send() == [202, None], "the door is open again")
    totals = collector.totals()
    assert (totals.accepted, totals.rejected) == (3, 0)
    assert totals.duplicate >= 3
    assert list(collector.counted()) == [body["batch_id"]]
    assert len(collector.events("click")) == 3
