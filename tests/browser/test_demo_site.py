"""The demo shop in a real Chromium on the running program: clean, usable, where layout.json says it is, and heard."""

import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser.browsing import LAPTOP, PHONE, Window, looks
from PIL import Image
from playwright.sync_api import Browser, Error, Page, Request, Response, expect
from system_helpers import System, wait_for

from isotherm.view.demo import LAYOUT, PAGES, UNDER_700, backgrounds

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
TOLERANCE_PX = 2.0
OpenWindow = Callable[..., Window]
WIDTHS = pytest.mark.parametrize(("viewport", "phone"), [(LAPTOP, False), (PHONE, True)], ids=["laptop", "phone"])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("demo") / "data")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    """The script that wrote layout.json."""
    spec = util.spec_from_file_location("measure_demo", ROOT / "docs" / "measure_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["measure_demo"] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def violations(page: Page) -> list[str]:
    """What axe finds wrong. Its script goes in through the debugger: the page's policy allows no inline script."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)")
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]} {one['help']}" for one in found]


@looks("scheme")
@pytest.mark.parametrize("address", PAGES.values())
def test_axe_finds_nothing_and_nothing_sticks_out(
    system: System, open_window: OpenWindow, address: str, viewport: tuple[int, int], scheme: str
) -> None:
    page = open_window(viewport, phone=viewport == PHONE, colour_scheme=scheme, reduced_motion=True).open(
        system.app_url + address
    )
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == viewport[0], "the page scrolls sideways"
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part < 60)")
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("name", ["desktop", "laptop", "large", "phone", "small phone", "large phone"])
def test_everything_is_where_the_layout_says(browser: Browser, measuring: ModuleType, name: str) -> None:
    device = next(device for device in measuring.DEVICES if device["name"] == name)
    found = measuring.measure(browser, [device])["screens"]
    written = json.loads(LAYOUT.read_bytes())
    assert device in written["devices"]
    held = [screen for screen in written["screens"] if screen["device"] == name]
    again = "run docs/measure_demo.py"
    assert [(s["screen_id"], len(s["targets"])) for s in found] == [(s["screen_id"], len(s["targets"])) for s in held]
    for new, old in zip(found, held, strict=True):
        assert new["document"] == pytest.approx(old["document"], abs=TOLERANCE_PX), again
        for here, there in zip(new["targets"], old["targets"], strict=True):
            assert here["box"] == pytest.approx(there["box"], abs=TOLERANCE_PX), f"{there['anchor']}: {again}"
            assert {**here, "box": 0, "jump": 0} == {**there, "box": 0, "jump": 0}, again


def test_the_pictures_under_the_maps_have_the_shape_of_the_pages() -> None:
    documents = {
        screen["screen_id"]: screen["document"]
        for screen in json.loads(LAYOUT.read_bytes())["screens"]
        if screen["device"] in ("desktop", "phone")
    }
    assert backgrounds().keys() == documents.keys()
    for screen_id, file in backgrounds().items():
        with Image.open(file) as image:
            width, height = image.size
        assert height / width == pytest.approx(documents[screen_id][1] / documents[screen_id][0], rel=1e-3), screen_id
        assert file.stat().st_size < 200_000


class Heard:
    """The batches that left a window's pages, and the collector's answers."""

    def __init__(self, window: Window) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.responses: list[Response] = []
        self.hosts: Counter[str] = Counter()
        window.context.on("request", self._asked)
        window.context.on("response", self._answered)

    def _asked(self, request: Request) -> None:
        self.hosts.update([urlsplit(request.url).netloc])
        if is_batch(request):
            raw = request.post_data_buffer or b""
            self.bodies.append(json.loads(gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw))

    def _answered(self, response: Response) -> None:
        if is_batch(response.request):
            self.responses.append(response)

    def answers(self) -> list[dict[str, Any]]:
        """What the collector said, as far as the browser still has it: a page that has gone takes its answers along."""
        found: list[dict[str, Any]] = []
        for response in self.responses:
            with suppress(Error):
                found.append(response.json())
        return found

    def events(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Screen id and event, of this type."""
        return [(b["screen_id"], e) for b in self.bodies for e in b["events"] if e["event_type"] == kind]


def is_batch(request: Request) -> bool:
    return request.method == "POST" and urlsplit(request.url).path == "/events/batch"


@WIDTHS
def test_a_visit_is_heard_and_accepted_whole(
    system: System, open_window: OpenWindow, viewport: tuple[int, int], phone: bool
) -> None:
    before = received(system)
    window = open_window(viewport, phone=phone, scale=2)
    heard = Heard(window)
    page = window.open(f"{system.app_url}/demo/")
    press = (lambda selector: page.locator(selector).tap()) if phone else page.click
    suffix = UNDER_700 if phone else ""

    expect(page.locator("#see-heatmap")).to_have_attribute(
        "href", re.compile(rf"%2Fdemo%2F{re.escape(suffix.replace('@', '%40'))}$")
    )
    wait_for("the page view", lambda: page.wait_for_timeout(50) or heard.events("pageview"), 20)
    press("#lamp-ida")
    page.wait_for_url("**/demo/lamp/")
    press("label:has(#size-medium)")
    expect(page.locator("#price")).to_have_text("€ 308")
    press("#add-to-bag")
    expect(page.locator("#added-what")).to_have_text("Ida is in your bag.")
    expect(page.locator(".bag-count")).to_have_text("4")
    press("#bag-link")
    page.wait_for_url("**/demo/bag/")
    page.fill("#email", "somebody@example.com")
    press("#place-order")
    expect(page.locator("#placed")).to_contain_text("nothing was ordered")
    ids = {address + suffix for address in ("/demo/", "/demo/lamp/", "/demo/bag/")}
    unheard = set(ids)

    def all_heard() -> bool:
        page.wait_for_timeout(100)
        unheard.difference_update(screen for screen, _ in heard.events("click"))
        return not unheard

    with suppress(AssertionError):
        wait_for("all screens to be heard", all_heard, 60)
    assert not unheard, heard.bodies

    assert {screen for screen, _ in heard.events("pageview")} == ids
    assert ("#add-to-bag", "/demo/lamp/" + suffix) in {
        (event["anchor"], screen) for screen, event in heard.events("click")
    }
    assert bool(heard.events("touch")) == phone
    assert "somebody@example.com" not in json.dumps(heard.bodies), "what is typed is never read"
    assert {response.status for response in heard.responses} == {202}
    answers = heard.answers()
    assert answers
    assert sum(answer["rejected"] for answer in answers) == 0
    assert {body["client_id"] for body in heard.bodies} == {"demo"}
    assert heard.hosts.keys() == {urlsplit(system.app_url).netloc, urlsplit(system.collect_url).netloc}
    sent = {body["batch_id"]: len(body["events"]) for body in heard.bodies}
    wait_for("everything to be counted as received", lambda: received(system) >= before + sum(sent.values()), 60)
    assert system.run_json("ledger", "--client", "demo", "--json")["totals"]["rejected"] == 0


def received(system: System) -> int:
    """Events of the pages that were ever accepted."""
    return system.get("/v1/freshness", client_id="demo")["received"]


def test_the_phone_s_menu_and_the_link_to_the_map(system: System, open_window: OpenWindow) -> None:
    page = open_window(PHONE, phone=True).open(f"{system.app_url}/demo/")
    expect(page.locator("#nav-journal")).to_be_hidden()
    page.locator("#menu").tap()
    expect(page.locator("#menu")).to_have_attribute("aria-expanded", "true")
    page.locator("#nav-journal").tap()
    page.wait_for_url("**/demo/journal/")
    link = page.locator("#see-heatmap")
    expect(link).to_have_attribute("href", "/c/demo/map?screen=%2Fdemo%2Fjournal%2F%40under-700")


def test_the_shop_works_by_keyboard(system: System, open_window: OpenWindow) -> None:
    page = open_window().open(f"{system.app_url}/demo/lamp/?lamp=sol")
    expect(page.locator("#lamp-name")).to_have_text("Sol")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.locator("#thumb-3").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#picture")).to_have_attribute("src", re.compile("ida-detail"))
    page.locator("#size-small").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#price")).to_have_text("€ 338")
    page.locator("#plus").press("Enter")
    page.locator("#add-to-bag").press("Enter")
    expect(page.locator(".bag-count")).to_have_text("5")
    page.goto(f"{system.app_url}/demo/bag/")
    for _ in range(3):
        page.locator("#remove-1").press("Enter")
    expect(page.locator("#items")).to_contain_text("Nothing here yet")
    expect(page.locator("#total")).to_have_text("€ 0")
