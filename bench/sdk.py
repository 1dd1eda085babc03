"""What the browser SDK costs a page: main-thread time and long tasks with it and without it, and its size.

A page of 10,000 elements in Chromium, slowed down four times. It is loaded and left alone until it is calm; then the
tag is put in, or a tag of an empty script, and ten seconds of moves, clicks and scrolls follow, the same in both.
"""

import gzip
import json
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, CDPSession, Page, Response

import isotherm
from bench.browser import chromium
from bench.ingest.isotherm import serve
from bench.noise import Others, quiet, wait_quiet
from bench.sizes import Sizes
from isotherm.errors import IsothermError

SCRIPT: Final = Path(isotherm.__file__).parent / "view" / "static" / "sdk" / "isotherm.js"
SLOWDOWN: Final = 4
NODES: Final = 10_000
LONG_MS: Final = 50
STEP_SECONDS: Final = 1 / 60
VARIANTS: Final = ("with", "without")
ADD_TAG: Final = """([src, endpoint]) => new Promise((resolve) => {
  const tag = document.createElement('script');
  Object.assign(tag, {async: true, src, onload: resolve});
  Object.assign(tag.dataset, {endpoint, client: 'bench'});
  document.head.append(tag);
})"""


@dataclass(frozen=True)
class Setting:
    """Where the browser finds the page and the collector."""

    browser: Browser
    site: str
    collector: str
    seconds: int


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Rounds with and without the SDK in turns; medians of the rounds that nothing else disturbed.

    Raises IsothermError when the SDK is not built, there is no Chromium, or events got lost.
    """
    script = _script()
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    with serve(folder) as target, _site(script) as site, chromium() as browser:
        setting = Setting(browser, site, target.url, sizes.sdk_seconds)
        for _ in range(sizes.sdk_rounds):
            for name in VARIANTS:
                if sizes.sdk_rounds > 1:
                    wait_quiet()
                rounds[name].append(_round(setting, name))
    return {
        "bytes": len(script),
        "gzip_bytes": len(gzip.compress(script, 9)),
        "nodes": NODES,
        "slowdown": SLOWDOWN,
        "seconds": sizes.sdk_seconds,
        "rounds": sizes.sdk_rounds,
    } | {name: _medians(quiet(found)) for name, found in rounds.items()}


def _script() -> bytes:
    if not SCRIPT.is_file():
        raise IsothermError("bench: the SDK is not built; run: make web")
    return SCRIPT.read_bytes()


@contextmanager
def _site(script: bytes) -> Generator[str]:
    """A site with the page, the SDK, and an empty script; its address."""
    served = {
        "/": ("text/html; charset=utf-8", _page().encode()),
        "/with.js": ("text/javascript", script),
        "/without.js": ("text/javascript", b""),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = served.get(self.path, ("text/plain", b""))
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page() -> str:
    """Sections of cards, ten elements each, with the usual mixture of links, buttons and fields."""
    card = (
        '<article><h3>A card</h3><p>Some words <b>of</b> text, <a href="#">a link</a></p>'
        "<button>Buy</button><label>Name <input></label><span>more</span></article>"
    )
    elements = 10
    sections = "".join(f"<section>{card * 20}</section>" for _ in range(NODES // elements // 20))
    style = "section{display:grid;grid-template-columns:repeat(5,1fr)}article{padding:8px;border:1px solid #ddd}"
    return f"<!doctype html><title>Many</title><style>{style}</style><main>{sections}</main>"


def _round(setting: Setting, variant: str) -> dict[str, Any]:
    context = setting.browser.new_context(viewport={"width": 1440, "height": 900})
    answers: list[Response] = []
    try:
        page = context.new_page()
        page.on("response", lambda answer: answers.append(answer) if "/events/batch" in answer.url else None)
        page.goto(setting.site)
        session = context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
        session.send("Performance.enable")
        page.wait_for_timeout(1000)
        setting.browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
        others = Others()
        before = _metrics(session)
        page.evaluate(ADD_TAG, [f"{setting.site}/{variant}.js", setting.collector])
        _use(page, setting.seconds)
        page.wait_for_timeout(1500)
        after = _metrics(session)
        found = {name: round((after[name] - before[name]) * 1000) for name in before}
        tasks = _tasks(setting.browser.stop_tracing())
        accepted = sum(answer.json()["accepted"] for answer in answers)
    finally:
        context.close()
    if (variant == "with") != (accepted > 0):
        raise IsothermError(f"bench: {accepted} events arrived {variant} the SDK")
    return {
        "main_thread_ms": round(sum(tasks)),
        "script_ms": found["ScriptDuration"],
        "layout_ms": found["LayoutDuration"] + found["RecalcStyleDuration"],
        "tasks": len(tasks),
        "long_tasks": sum(ms > LONG_MS for ms in tasks),
        "longest_task_ms": round(max(tasks), 1),
        "events": accepted,
        "requests": len(answers),
        "others_cores": others.cores(),
    }


def _metrics(session: CDPSession) -> dict[str, float]:
    """Seconds the main thread has spent so far, in all and on what."""
    wanted = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {name: found[name] for name in wanted}


def _tasks(trace: bytes) -> list[float]:
    """CPU milliseconds of each task of the page's main thread. Not wall time: other programs do not count."""
    threads: dict[tuple[int, int], list[float]] = defaultdict(list)
    mains: set[tuple[int, int]] = set()
    for event in json.loads(trace)["traceEvents"]:
        thread = event["pid"], event["tid"]
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain":
            mains.add(thread)
        elif event["name"] in ("RunTask", "ThreadControllerImpl::RunTask") and event["ph"] == "X":
            threads[thread].append(event.get("tdur", 0) / 1000)
    found = max((threads[main] for main in mains), key=sum, default=[])
    if not found:
        raise IsothermError("bench: the trace of Chromium names no task of the page's main thread")
    return found


def _use(page: Page, seconds: int) -> None:
    """Moves at 60 Hz along a fixed path; a click every half second, a turn of the wheel every second."""
    start = time.monotonic()
    for step in range(int(seconds / STEP_SECONDS)):
        page.mouse.move(200 + (step * 7) % 1000, 150 + (step * 5) % 600)
        if step % 30 == 15:
            page.mouse.click(200 + (step * 7) % 1000, 150 + (step * 5) % 600)
        if step % 60 == 45:
            page.mouse.wheel(0, 400)
        time.sleep(max(0.0, start + (step + 1) * STEP_SECONDS - time.monotonic()))


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; of the longest task, the longest."""
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return found | {"longest_task_ms": max(one["longest_task_ms"] for one in rounds)}
