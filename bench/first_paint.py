"""How long a person waits for a map: from the start of the navigation until its heat is drawn.

Simulated visitors of the demo are counted, the page's screenshot is stored; then Chromium opens the map of seven days
again and again: with an empty cache, as on the first visit, and with the files kept from the visit before. WebGL runs
in software.
"""

import http.client
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext

from bench.browser import SOFTWARE_WEBGL, chromium
from bench.ingest.isotherm import environment
from bench.noise import wait_quiet
from bench.sizes import Sizes
from bench.system import System, up
from isotherm.errors import IsothermError
from isotherm.view.demo import PAGES, backgrounds

CLIENT: Final = "paint-simulated"
SCREEN: Final = PAGES["home"]
IDLE_SECONDS: Final = 120
DRAWN_SECONDS: Final = 60
WATCH: Final = """
window.drawn = new Promise((resolve) => {
  const draw = WebGL2RenderingContext.prototype.drawArrays;
  WebGL2RenderingContext.prototype.drawArrays = function (...given) {
    draw.apply(this, given);
    WebGL2RenderingContext.prototype.drawArrays = draw;
    // The frame that shows it is done when the next one begins.
    requestAnimationFrame(() => resolve(performance.now()));
  };
});
"""
"""The page draws triangles only when it has a map; the time is milliseconds since the navigation began."""
FOUND: Final = """async (patience) => {
  const late = new Promise((resolve) => setTimeout(resolve, patience, null));
  const heat = await Promise.race([window.drawn, late]);
  const resources = performance.getEntriesByType("resource");
  const sum = (each) => resources.reduce((all, one) => all + each(one), 0);
  const [page] = performance.getEntriesByType("navigation");
  return {
    heat_ms: heat,
    words_ms: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? heat,
    requests: 1 + resources.length,
    bytes: page.transferSize + sum((one) => one.transferSize),
  };
}"""


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Best and median of the visits. Raises IsothermError when there is no Chromium or no map appears."""
    with up(folder / "data") as system:
        _fill(system, sizes.paint_visitors)
        with chromium(*SOFTWARE_WEBGL) as browser:
            if sizes.paint_rounds > 2:
                wait_quiet()
            found = _visits(browser, system, sizes.paint_rounds)
    return {"rounds": sizes.paint_rounds} | {name: _summary(visits) for name, visits in found.items()}


def _fill(system: System, visitors: int) -> None:
    command = [sys.executable, "-m", "isotherm", "simulate", "--to", system.collect_url, "--client", CLIENT]
    command += ["--visitors", str(visitors), "--days", "6", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise IsothermError(f"bench: isotherm simulate failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    path = f"/v1/background?{urlencode({'client_id': CLIENT, 'screen_id': SCREEN})}"
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=60)
    try:
        connection.request("PUT", path, backgrounds()[SCREEN].read_bytes(), {"content-type": "image/webp"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.client.OK:
        raise IsothermError(f"bench: the background was answered by {status}")
    system.wait_idle(IDLE_SECONDS)


def _visits(browser: Browser, system: System, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Visits with an empty cache and with a filled one, in turns; the first of each warms up the server only."""
    address = f"http://127.0.0.1:{system.port}/c/{CLIENT}/map?{urlencode({'screen': SCREEN})}"
    found: dict[str, list[dict[str, float]]] = {"empty_cache": [], "filled_cache": []}
    for _ in range(rounds + 1):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        try:
            context.add_init_script(WATCH)
            for visits in found.values():
                visits.append(_visit(context, address))
        finally:
            context.close()
    return {name: visits[1:] for name, visits in found.items()}


def _visit(context: BrowserContext, address: str) -> dict[str, float]:
    page = context.new_page()
    try:
        page.goto(address, wait_until="commit")
        found = page.evaluate(FOUND, DRAWN_SECONDS * 1000)
    finally:
        page.close()
    if found["heat_ms"] is None:
        raise IsothermError(f"bench: no map was drawn within {DRAWN_SECONDS} s: {address}")
    return found


def _summary(visits: list[dict[str, float]]) -> dict[str, Any]:
    heat = [one["heat_ms"] for one in visits]
    return {
        "heat_best_ms": round(min(heat)),
        "heat_median_ms": round(statistics.median(heat)),
        "heat_worst_ms": round(max(heat)),
        "words_median_ms": round(statistics.median(one["words_ms"] for one in visits)),
        "requests": round(statistics.median(one["requests"] for one in visits)),
        "bytes": round(statistics.median(one["bytes"] for one in visits)),
    }
