"""Every page and every state of it, on a laptop and a phone, light and dark: looked over, and kept as a picture.

The pictures are `build/screenshots/<page>-<state>-<theme>-<width>.png`.
"""

import io
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from browser.browsing import LAPTOP, PHONE, Window, window
from browser.test_dashboard_frame import TOKEN, batch, started, unlock
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from system_helpers import System, isotherm

from isotherm.view.demo import PAGES, UNDER_700, backgrounds

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

OUT = Path(__file__).parents[2] / "build" / "screenshots"
PEOPLE = "demo-simulated"
LOOKS = tuple(product(("light", "dark"), (LAPTOP, PHONE)))
MAP = f"/c/{PEOPLE}/map"


def nothing(page: Page) -> None:
    """What is done on most pages."""


@dataclass(frozen=True)
class State:
    """One thing to look at: where it is, the heading that it must show, and what tells that it is all there."""

    name: str
    path: str
    heading: str | None
    ready: str
    act: Callable[[Page], None] = nothing
    expected: tuple[str, ...] = ()
    """Parts of lines on the console that belong to the state."""


def on_map(**query: str) -> str:
    return f"{MAP}?{urlencode(query)}"


def as_table(page: Page) -> None:
    page.get_by_text("Table", exact=True).locator("xpath=..").click()
    expect(page.get_by_role("table", name="Events over time")).to_be_visible()


def play(page: Page) -> None:
    page.get_by_role("button", name="Time-lapse").click()
    page.locator(".frame-time").wait_for()
    # With less motion it does not start by itself.
    expect(page.locator(".play-progress")).to_have_count(0)
    frame = page.get_by_role("slider", name="Frame")
    # The simulated days are the last three of the seven.
    frame.fill(str(int(frame.get_attribute("max") or 0) * 3 // 4))


def pick_screen(page: Page) -> None:
    page.locator("#screen-picker").click()
    expect(page.get_by_role("option")).to_have_count(2 * len(PAGES))
    expect(page.locator(".screens-thumb img").nth(4)).to_be_visible()


def cut_off(page: Page) -> None:
    page.context.set_offline(True)
    expect(page.get_by_text("Isotherm does not answer")).to_be_visible()


def ledger_table(page: Page) -> None:
    page.get_by_text("Table", exact=True).locator("xpath=..").click()
    expect(page.get_by_role("table", name="From browser to cell")).to_be_visible()


def point_at_stage(page: Page) -> None:
    page.locator("[data-stage=landed]").focus()
    expect(page.locator(".flow-reading")).to_contain_text("Rows in the lake")


def dead_letters(page: Page) -> None:
    expect(page.get_by_role("table", name="Dead letters that wait")).to_contain_text("unreadable")
    page.locator(".system-letters").evaluate("(box) => box.closest('section').scrollIntoView({block: 'center'})")


SHOP_LEDGER = "/c/shop/ledger"
LONG_AGO = "from=2026-01-05T10:00Z&to=2026-01-05T12:00Z"
NOT_FOUND = ("status of 404",)
WITH_CELLS = "table.cells tbody button"
WITH_PICTURE = ".map-page:has(table.cells tbody button) .heat-page img"

OPEN = [
    State("home-populated", "/", "Overview", ".chart-real, .chart-simulated"),
    State("home-table", "/?span=30d", "Overview", ".chart-bars", as_table),
    State("screens-populated", "/c/shop", "shop", ".sheet-heat"),
    State("screens-simulated", f"/c/{PEOPLE}", PEOPLE, ".sheet-heat >> nth=1"),
    State("screens-no-match", "/c/shop?q=zzz", "No screen matches “zzz”", ".empty"),
    State("screens-unknown-client", "/c/nobody", "Nothing has come from nobody yet", ".empty"),
    State("map-screenshot", on_map(screen=PAGES["home"]), None, WITH_PICTURE),
    State("map-phone-layout", on_map(screen=PAGES["home"] + UNDER_700), None, WITH_PICTURE),
    State("map-blank", "/c/shop/map?screen=%2Fpricing", None, WITH_CELLS),
    State("map-picker", on_map(screen=PAGES["lamp"]), None, WITH_PICTURE, pick_screen),
    State("map-time-lapse", on_map(screen=PAGES["home"]), None, WITH_PICTURE, play),
    State(
        "map-no-events",
        on_map(screen=PAGES["home"], **{"from": "2026-01-05T00:00Z", "to": "2026-01-06T00:00Z", "kind": "click"}),
        None,
        ".notice h2",
        expected=("status of 422",),
    ),
    State("map-unknown-screen", on_map(screen="/nowhere"), "No such screen here", ".notice", expected=NOT_FOUND),
    State(
        "map-untouched", "/c/demo/map?screen=%2Fdemo%2Fcellar%2F", "Your heat goes here", ".notice", expected=NOT_FOUND
    ),
    State("map-unknown-client", "/c/nobody/map", "nobody has no screens yet", ".empty", expected=NOT_FOUND),
    State("ledger-flow", f"/c/{PEOPLE}/ledger", f"Ledger of {PEOPLE}", ".flow-stage"),
    State("ledger-table", f"{SHOP_LEDGER}?period=24h", "Ledger of shop", ".flow-stage", ledger_table),
    State("ledger-reading", f"{SHOP_LEDGER}?screen=/pricing", "Ledger of shop", ".flow-stage", point_at_stage),
    State("ledger-no-events", f"{SHOP_LEDGER}?{LONG_AGO}", "Nothing came in this range", ".empty"),
    State("ledger-unknown", "/c/nobody/ledger", "Nothing of nobody has landed yet", ".empty", expected=NOT_FOUND),
    State("system", "/system", "System", ".system-fact"),
    State("system-dead", "/system", "System", ".system-letters", dead_letters),
    State("setup-waiting", "/setup?client=new-shop", "Set up a site", "[data-state=waiting]"),
    State("setup-green", "/setup?client=shop", "Set up a site", "[data-state=received]"),
    State("missing-page", "/c/x/y/z", "There is no page at this address", ".empty"),
    State("offline-home", "/", "Overview", ".chart-bars", cut_off, expected=("net::ERR_INTERNET_DISCONNECTED",)),
    State("docs-api", "/docs", None, "h1"),
]
LOCKED = [
    # Here, where nothing lands: what they send must not become the other system's heat.
    *(State(f"demo-{name}", path, None, "h1") for name, path in PAGES.items()),
    State("token-asked", "/", "This Isotherm asks for a token", ".token input", expected=("status of 401",)),
    State("system-token", "/system", "System", ".system-fact", unlock, ("status of 401",)),
    State("home-nothing", "/", "Waiting for the first event", ".code >> nth=1", unlock, ("status of 401",)),
    State(
        "map-nothing-tiled",
        "/c/early/map?screen=%2F",
        "40 events are on their way",
        ".notice",
        unlock,
        ("status of 401", "status of 404"),
    ),
]


MAIN = {
    "home-populated", "screens-populated", "map-screenshot", "map-blank", "map-time-lapse", "ledger-flow", "system",
    "setup-waiting", "docs-api", "demo-home", "token-asked", "home-nothing",
}  # fmt: skip


def views(states: list[State]) -> list[Any]:
    """Every state in the dark on a phone, where words fit worst, and the main ones on a light laptop as well; all
    states in all looks are drills."""
    assert {state.name for state in (*OPEN, *LOCKED)} >= MAIN
    return [
        pytest.param(
            look,
            state,
            id=f"{look[0]}-{look[1][0]}-{state.name}",
            marks=[]
            if look == ("dark", PHONE) or (look == ("light", LAPTOP) and state.name in MAIN)
            else pytest.mark.drill,
        )
        for look in LOOKS
        for state in states
    ]


def scattered(body: dict[str, Any], draw: Random) -> dict[str, Any]:
    """The same batch with its events around some places, as on a real page."""
    places = [(draw.uniform(0.15, 0.85), draw.uniform(0.03, 0.5)) for _ in range(5)]
    for event in body["events"]:
        x, y = draw.choice(places)
        near = {"x_norm": draw.gauss(x, 0.04), "y_norm": draw.gauss(y, 0.02)}
        event |= {name: round(min(max(at, 0.0), 1.0), 4) for name, at in near.items()}
    return body


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Made-up visitors of the demo with pictures of its pages, and a client of a few screens without any."""
    with started(tmp_path_factory.mktemp("look") / "data") as running:
        arguments = ("--client", PEOPLE, "--visitors", "150", "--days", "3", "--seed", "5")
        done = subprocess.run(isotherm("simulate", "--to", running.collect_url, *arguments), capture_output=True)
        assert done.returncode == 0, done.stderr
        draw = Random(7)
        for screen, events in {"/": 190, "/pricing": 160, "/journal": 60, "/checkout": 30}.items():
            running.post(scattered(batch("shop", screen, events), draw))
            running.post(scattered(batch("shop", screen, events // 8, "click", 390), draw))
        for screen, picture in backgrounds().items():
            query = urlencode({"client_id": PEOPLE, "screen_id": screen})
            asked = Request(f"{running.app_url}/v1/background?{query}", picture.read_bytes(), method="PUT")
            asked.add_header("content-type", "image/webp")
            urlopen(asked, timeout=30).close()
        for _ in range(3):
            bad = batch("shop", "/pricing", 2)
            bad["events"][1]["x_norm"] = 7
            assert running.post(bad)["rejected"] == 1
        named = b'{"client_id": "a-client-whose-name-is-as-long-as-names-may-be.on-any-screen", "events": 1}'
        for body in (named, b"nonsense"):
            refused = Request(f"{running.collect_url}/events/batch", body, {"content-type": "application/json"})
            with pytest.raises(HTTPError):
                urlopen(refused, timeout=30)
        running.wait_idle()
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with a token whose events stay on their way: it lands nothing in the time of the tests."""
    settings = {"token": TOKEN, "land_flush_seconds": "600"}
    with started(tmp_path_factory.mktemp("locked") / "data", **settings) as running:
        running.post(batch("early", "/", 40))
        yield running


@pytest.fixture(scope="module")
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[Window, str]]:
    """A window of one width and theme, and what the names of its pictures end in."""
    theme, viewport = request.param
    opened = window(browser, viewport, colour_scheme=theme, phone=viewport == PHONE, reduced_motion=True)
    yield opened, f"{theme}-{viewport[0]}"
    opened.context.close()


ASTRAY = """() => [...document.querySelectorAll(
    'h1, h2, h3, p, dt, dd, a:not(.skip), button, label, th, td, code, summary'
  )].filter((each) => {
    if (!each.checkVisibility({opacityProperty: true, visibilityProperty: true})) return false;
    const box = each.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || (box.left >= -1 && box.right <= innerWidth + 1)) return false;
    for (let up = each.parentElement; up; up = up.parentElement)
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(up).overflowX) && up !== document.body) return false;
    return true;
  }).map((each) => `${each.tagName} ${each.className}: ${each.textContent.trim().slice(0, 60)}`)"""
"""Words that reach over an edge of the window, and not inside of something that scrolls."""

CUT = """() => [...document.querySelectorAll('main h1, main h2, main h3, main button, main .button, main dd')]
  .filter((each) => {
    if (!each.checkVisibility({visibilityProperty: true}) || each.getBoundingClientRect().width < 2) return false;
    const style = getComputedStyle(each);
    if (style.overflowX === 'visible' || style.textOverflow === 'ellipsis') return false;
    return each.scrollWidth > each.clientWidth + 1;
  }).map((each) => `${each.tagName} ${each.className}: ${each.textContent.trim().slice(0, 60)}`)"""
"""Headings, figures and buttons whose words do not fit and are cut without an ellipsis."""

WAITING = ".skeleton:visible, .sheet-wait:visible, .strip-wait, .map-progress:visible"


def settled(page: Page, state: State) -> None:
    """Everything of the state is there."""
    if state.heading is not None:
        expect(page.get_by_role("heading", name=state.heading).first).to_be_visible(timeout=60_000)
    expect(page.locator(state.ready).first).to_be_visible(timeout=60_000)
    at_rest(page)


def at_rest(page: Page) -> None:
    """Nothing is on its way any more: no skeleton, every picture and letter."""
    expect(page.locator(WAITING)).to_have_count(0, timeout=60_000)
    page.evaluate("""async () => {
      await document.fonts.ready;
      await Promise.all([...document.images].filter((one) => one.loading !== 'lazy' || one.complete).map(
        (one) => one.decode().catch(() => undefined)));
      for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame);
    }""")


def kept(page: Page, name: str) -> None:
    """Write the picture; it must show something."""
    shot = page.screenshot()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.png").write_bytes(shot)
    with Image.open(io.BytesIO(shot)) as image:
        grey: Any = image.convert("L").getextrema()
        colours: Any = image.convert("RGB").getcolors(1 << 20)
    assert grey[1] - grey[0] > 100, "the picture has no contrast"
    assert len(colours) > 30, "the picture is blank"


def look_over(look: tuple[Window, str], system: System, state: State) -> None:
    opened, suffix = look
    for before in opened.context.pages:
        before.close()
    opened.context.set_offline(False)
    page = opened.context.new_page()
    heard = opened.complaints.heard
    heard.clear()
    page.goto(f"{system.app_url}{state.path}")
    if state.act is unlock:
        unlock(page)
    settled(page, state)
    if state.act not in (unlock, nothing):
        state.act(page)
        at_rest(page)
    kept(page, f"{state.name}-{suffix}")
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], f"the page is {width[0]} px wide in a window of {width[1]}"
    assert page.evaluate(ASTRAY) == []
    assert page.evaluate(CUT) == []
    complaints = [line for line in heard if not any(part in line for part in state.expected)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("look", "state"), views(OPEN), indirect=["look"])
def test_a_page_looks_right(look: tuple[Window, str], populated: System, state: State) -> None:
    look_over(look, populated, state)


@pytest.mark.parametrize(("look", "state"), views(LOCKED), indirect=["look"])
def test_a_page_of_a_system_that_asks_for_a_token_looks_right(
    look: tuple[Window, str], locked: System, state: State
) -> None:
    look_over(look, locked, state)
