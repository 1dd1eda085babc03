"""What the program serves, in a real browser: the tag of the set-up page on another site, and no request elsewhere."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from browser.browsing import PHONE, Site, Window
from playwright.sync_api import Page
from system_helpers import System, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("pages") / "data")
    running.start()
    yield running
    running.stop()


def site_with(site: Site, system: System, snippet: str) -> str:
    """The address of a page of another origin with this tag, isolated and with a policy that names the collector."""
    policy = f"default-src 'none'; script-src {system.collect_url}; connect-src {system.collect_url}"
    headers = {"content-security-policy": policy, "cross-origin-embedder-policy": "require-corp"}
    return site.put("/home", f"<!doctype html><title>A shop</title>{snippet}<p>Welcome", headers)


def move(page: Page) -> None:
    page.mouse.move(200, 200)
    page.mouse.move(400, 300, steps=10)


def received(system: System, client_id: str) -> int:
    return system.get("/v1/freshness", client_id=client_id)["received"]


def test_the_tag_works_on_another_site_as_it_is_pasted(
    system: System, site: Site, open_window: Callable[..., Window]
) -> None:
    snippet = system.get("/v1/sdk")["snippet"].replace("YOUR-CLIENT", "pasted")
    page = open_window().open(site_with(site, system, snippet))
    assert page.evaluate("typeof window.isotherm.init") == "function"
    move(page)
    wait_for("the page's events", lambda: received(system, "pasted") > 1, 60)


def test_a_script_that_was_changed_does_not_run(system: System, site: Site, open_window: Callable[..., Window]) -> None:
    facts = system.get("/v1/sdk")
    other = "sha384-" + "A" * 64
    snippet = facts["snippet"].replace("YOUR-CLIENT", "changed").replace(facts["integrity"], other)
    page = open_window(expected=["integrity"]).open(site_with(site, system, snippet))
    assert page.evaluate("typeof window.isotherm") == "undefined"


def demo_pages(system: System) -> list[str]:
    """Every page of the demo site that its pages lead to."""
    found, todo = set[str](), ["/demo/"]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        with urlopen(system.app_url + path, timeout=30) as answer:
            text = answer.read().decode()
        todo += [urlsplit(link).path for link in re.findall(r'<a [^>]*href="(/demo/[^"]*)"', text)]
    return sorted(found)


@pytest.mark.parametrize("phone", [False, True])
def test_no_page_asks_another_host_or_breaks_its_own_rules(
    system: System, open_window: Callable[..., Window], phone: bool
) -> None:
    hosts = {urlsplit(url).netloc for url in (system.app_url, system.collect_url)}
    asked: list[str] = []
    # Errors on the console, a refusal by the policy among them, fail the test when the window is closed.
    opened = open_window(PHONE, phone=True) if phone else open_window()
    opened.context.on("request", lambda request: asked.append(request.url))
    demo = demo_pages(system)
    assert len(demo) >= 3
    for path in ["/", "/setup", "/docs", *demo]:
        page = opened.open(system.app_url + path)
        page.wait_for_load_state("networkidle" if path.startswith("/d") else "load")
        assert page.title()
        page.close()
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} <= hosts
    assert any(url.startswith(f"{system.collect_url}/events/batch") for url in asked)


def test_the_page_s_files_are_asked_for_once(system: System, open_window: Callable[..., Window]) -> None:
    opened = open_window()
    page = opened.open(f"{system.app_url}/setup")
    page.wait_for_selector("h1")
    page.reload()
    page.wait_for_selector("h1")
    again = page.evaluate(
        "JSON.stringify(performance.getEntriesByType('resource')"
        ".filter(one => one.name.includes('/assets/')).map(one => [one.name, one.transferSize]))"
    )
    sizes = dict(json.loads(again))
    assert sizes
    assert not any(sizes.values()), "assets are immutable: the browser has them"


def test_what_is_built_is_what_is_served(system: System) -> None:
    built = Path(__file__).parents[2] / "src" / "isotherm" / "view" / "static"
    for path, file in (("/", "dashboard/index.html"), ("/isotherm.js", "sdk/isotherm.js")):
        with urlopen(system.app_url + path, timeout=30) as answer:
            assert answer.read() == (built / file).read_bytes()
