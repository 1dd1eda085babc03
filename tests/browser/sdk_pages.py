"""Pages with the SDK on them, and what must hold of everything that arrived from them."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
from browser.browsing import Site
from browser.misbehaving import MisbehavingCollector
from collecting import until
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SDK = ROOT / "web" / "sdk" / "dist"
BATCH = jsonschema_rs.validator_for(json.loads((ROOT / "contract" / "batch.schema.json").read_text()))
BUILD = "web/npm run build --workspace sdk"

STYLE = "<style>body{margin:0;font:16px sans-serif} #tall{height:3000px} button{position:absolute}</style>"
BODY = (
    '<!doctype html><html><head><meta name="viewport" content="width=device-width,initial-scale=1"><title>t</title>'
    + STYLE
    + '</head><body><main><section id="tall"><button id="buy" style="left:100px;top:200px;width:200px;height:40px">'
    "Buy</button></section></main>"
)


def script() -> str:
    """The built SDK; AssertionError that says how to build it."""
    path = SDK / "isotherm.js"
    assert path.is_file(), f"the SDK is not built: {BUILD}"
    return path.read_text()


def client() -> str:
    """A client id of its own for every test."""
    return f"t-{uuid.uuid4().hex[:12]}"


def tag(collector: MisbehavingCollector, client_id: str, **data: str) -> str:
    """The snippet that people paste, for this collector."""
    more = "".join(f' data-{name}="{value}"' for name, value in data.items())
    return f'<script src="/isotherm.js" data-endpoint="{collector.url}" data-client="{client_id}"{more}></script>'


def publish(site: Site, collector: MisbehavingCollector, body: str = BODY, path: str = "/", **data: str) -> str:
    """Serve the SDK and a page that carries it; the page's address. Each call is a client of its own."""
    site.put("/isotherm.js", script(), {"content-type": "text/javascript"})
    return site.put(path, body + tag(collector, client(), **data))


def make(page: Page, first: int, number: int) -> None:
    """Custom events numbered from `first`, one call each."""
    page.evaluate(
        "([first, number]) => { for (let n = first; n < first + number; n++) isotherm.track('made', {n}); }",
        [first, number],
    )


def flush(page: Page) -> None:
    page.evaluate("() => isotherm.flush()")


def made(collector: MisbehavingCollector) -> list[int]:
    """Numbers of the custom events that counted, sorted."""
    return sorted(event["attrs"]["n"] for event in collector.events("made"))


def arrive(collector: MisbehavingCollector, condition: Callable[[], Any], page: Page | None, what: str) -> Any:
    """Wait for it, checking every batch on the way; the page's events are handled meanwhile."""

    def ready() -> Any:
        if page is not None:
            page.evaluate("0")
        return condition()

    found = until(ready, what)
    check(collector)
    return found


def check(collector: MisbehavingCollector) -> None:
    """Every body follows the contract, nothing was rejected, attempts of one batch are alike, and the numbers of
    each view's batches leave no gap and do not overlap."""
    bodies: dict[str, dict[str, Any]] = {}
    for attempt in list(collector.attempts):
        BATCH.validate(attempt.body)
        assert bodies.setdefault(attempt.batch_id, attempt.body) == attempt.body, "a batch changed between attempts"
        assert len(attempt.body["screen_id"].encode()) <= 256
        assert "sent_at" in attempt.query
    assert collector.totals().rejected == 0
    views: dict[str, list[tuple[int, int]]] = {}
    for attempt in collector.counted().values():
        sequence = attempt.body["sequence"]
        views.setdefault(sequence["view"], []).append((sequence["first_event"], len(attempt.events)))
    for ranges in views.values():
        taken = Counter(n for first, events in ranges for n in range(first, first + events))
        assert max(taken.values()) == 1, "two batches claim the same events"


def types(collector: MisbehavingCollector) -> Counter[str]:
    """How many events of each type counted."""
    return Counter(event["event_type"] for event in collector.events())
