"""Who does not want to be tracked is not: no request, no storage, no listener. And fields are never read."""

import json
from collections.abc import Callable

import pytest
from browser.browsing import Site, Window
from browser.misbehaving import MisbehavingCollector, Pass, Refuse
from browser.sdk_pages import BODY, check, flush, make, publish, types
from collecting import until
from playwright.sync_api import Page

OpenWindow = Callable[..., Window]

COUNT = """(() => {
  const add = EventTarget.prototype.addEventListener;
  window.listeners = 0;
  EventTarget.prototype.addEventListener = function (...given) { listeners++; return add.apply(this, given); };
})();"""
WISHES = {
    "do not track": "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'});",
    "global privacy control": "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true});",
    "opted out": "if (location.protocol === 'http:') localStorage.setItem('isotherm.optout', '1');",
}


def stored(page: Page) -> dict[str, list[str]]:
    """Names of everything that the page's origin stores."""
    return page.evaluate(
        """async () => ({
          local: Object.keys(localStorage), session: Object.keys(sessionStorage),
          databases: (await indexedDB.databases()).map((one) => one.name),
          cookies: document.cookie.split(';').filter(Boolean),
        })"""
    )


NOTHING = {"local": [], "session": [], "databases": [], "cookies": []}
OPTED_OUT = NOTHING | {"local": ["isotherm.optout"]}


def act(page: Page) -> None:
    """Everything that would be recorded."""
    page.mouse.move(300, 300, steps=3)
    page.mouse.click(150, 210)
    page.mouse.wheel(0, 300)
    make(page, 0, 3)
    page.evaluate("history.pushState({}, '', '/next')")
    flush(page)
    page.wait_for_timeout(1200)


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_not_to_be_tracked(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector, wish: str
) -> None:
    opened = open_window()
    opened.context.add_init_script(COUNT + WISHES[wish])
    page = opened.open(publish(site, collector))
    act(page)
    assert stored(page) == (OPTED_OUT if wish == "opted out" else NOTHING)
    assert page.evaluate("listeners") == 0
    page.close(run_before_unload=True)
    assert collector.attempts == []


def test_doing_without_the_wish_is_seen(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    """The counterpart of the test above: the same acts leave traces where nobody minds."""
    opened = open_window()
    opened.context.add_init_script(COUNT)
    page = opened.open(publish(site, collector))
    act(page)
    found = stored(page)
    assert found["session"] == ["isotherm.session"]
    assert len(found["databases"]) == 1
    assert found["local"] == found["cookies"] == []
    assert page.evaluate("listeners") > 5
    assert {"click", "made", "mousemove", "scroll", "pageview"} == types(collector).keys()


def test_opting_out_forgets_all_that_waits_and_can_be_taken_back(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=["503"])
    url = publish(site, collector)
    page = opened.open(url)
    flush(page)
    seen = len(collector.attempts)
    collector.behave(Refuse(503, "1"))
    make(page, 0, 5)
    flush(page)
    other = opened.open(url)
    make(other, 5, 5)
    page.evaluate("isotherm.optOut()")
    until(lambda: stored(page) == OPTED_OUT, "nothing is stored")
    until(lambda: stored(other) == OPTED_OUT, "in the other tab neither")
    # What was on its way by then may still arrive.
    opted_out = other.evaluate("Date.now()")
    act(page)
    act(other)
    page.goto(url)
    act(page)
    assert [sent for attempt in collector.attempts if (sent := int(attempt.query["sent_at"])) > opted_out] == []
    assert stored(page) == OPTED_OUT
    collector.behave(Pass())
    page.evaluate("isotherm.optOut(false)")
    make(page, 100, 2)
    flush(page)
    check(collector)
    assert {e["attrs"]["n"] for e in collector.events("made")} == {100, 101}
    assert len(collector.attempts) > seen
    assert stored(page)["local"] == []


FIELDS = (
    BODY + "<form><input id='mail' name='mail' placeholder='MARK-place' value='MARK-default'><input id='word'"
    " type='password'><textarea id='note'></textarea><select id='choice'><option>MARK-b</option></select>"
    "<p id='text' contenteditable>MARK-text</p><button type='button' id='go' value='MARK-go'>MARK-label</button>"
    "</form>"
)


def test_what_is_typed_and_written_is_in_no_body(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window()
    page = opened.open(publish(site, collector, FIELDS) + "?token=MARK-query#MARK-fragment")
    page.click("#mail", position={"x": 5, "y": 5})
    page.keyboard.type("MARK-typed@example.org")
    page.click("#word")
    page.keyboard.type("MARK-secret")
    page.keyboard.press("Tab")
    page.keyboard.type("MARK-note")
    page.select_option("#choice", index=0)
    page.click("#text")
    page.keyboard.type("MARK-more")
    page.click("#go")
    page.focus("#go")
    page.keyboard.press("Enter")
    flush(page)
    check(collector)
    anchors = {e.get("anchor") for e in collector.events("click")}
    assert anchors == {"#mail", "#word", "#text", "#go"}
    for attempt in collector.attempts:
        text = json.dumps([attempt.body, attempt.headers, attempt.query])
        assert "MARK" not in text
    assert types(collector)["click"] == 5
