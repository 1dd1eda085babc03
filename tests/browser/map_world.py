"""A running program with exactly known events for tests of the map page, and an independent recount of them."""

import io
import re
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

from browser.browsing import Window
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from system_helpers import System

HOUR = 3_600_000
DAY = 24 * HOUR
CLIENT = "acme"
SIZE = (1200, 3000)
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
# How fast a busy machine answers is not what these tests are about.
expect.set_options(timeout=60_000)

NETWORK_ERRORS = ["Failed to load resource"]
"""The console's line for an answer that is an error: some tests ask for one."""

Counts = Counter[tuple[int, int]]
Open = Callable[..., Window]


@dataclass
class World:
    """A running program and every event that it was sent: (screen, kind, time) and the cell of the contract's rule."""

    system: System
    hour: int
    sent: list[tuple[str, str, int, tuple[int, int]]] = field(default_factory=list)

    def send(self, screen: str, kind: str, at: int, places: list[tuple[float, float]]) -> None:
        events: list[dict[str, Any]] = []
        for index, (x, y) in enumerate(places):
            events.append({"event_time": at + index, "event_type": kind, "x_norm": x, "y_norm": y})
            cell = (min(int(x * 100), 99), min(int(y * 200), 199))
            self.sent.append((screen, kind, at + index, cell))
        document = {"w": SIZE[0], "h": SIZE[1]}
        batch = {"client_id": CLIENT, "screen_id": screen, "document": document, "viewport": {"w": 1200, "h": 800}}
        assert self.system.post(batch | {"events": events})["accepted"] == len(events)

    def count(self, screen: str, kinds: set[str], start: int, end: int) -> Counts:
        """The recount: events per cell of what was sent."""
        return Counter(
            cell for where, kind, at, cell in self.sent if where == screen and kind in kinds and start <= at < end
        )

    def address(self, path: str = "map", **query: Any) -> str:
        return f"{self.system.app_url}/c/{CLIENT}/{path}?{urlencode(query)}"


@contextmanager
def running_world(folder: Path) -> Generator[World]:
    """The program on this folder, with events of several hours, kinds and screens counted; stopped at the end."""
    system = System(folder)
    system.start()
    made = World(system, int(time.time() * 1000) // HOUR * HOUR)
    draw = Random(4)

    def around(x: float, y: float, count: int) -> list[tuple[float, float]]:
        near = [(draw.gauss(x, 0.03), draw.gauss(y, 0.02)) for _ in range(count)]
        return [(round(min(max(a, 0.0), 1.0), 4), round(min(max(b, 0.0), 1.0), 4)) for a, b in near]

    # Ends of the unit square, and a hot cell that no chance can outdo.
    made.send("/", "mousemove", made.hour - 50 * HOUR, [(0.0, 0.0), (1.0, 1.0), (0.999, 0.5)])
    for hours, count in ((50, 300), (26, 200), (25, 120), (3, 400), (2, 90)):
        made.send("/", "mousemove", made.hour - hours * HOUR + 1000, around(0.5, 0.1, count))
        made.send("/", "click", made.hour - hours * HOUR + 2000, around(0.3, 0.12, count // 10))
    made.send("/", "mousemove", made.hour - 3 * HOUR + 90_000, [(0.405, 0.0525)] * 150)
    made.send("/", "wish.add", made.hour - 3 * HOUR, around(0.7, 0.2, 7))
    made.send("/about", "touch", made.hour - 3 * HOUR, around(0.2, 0.3, 60))
    system.wait_idle()
    yield made
    system.stop()


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def span(start: int, end: int) -> dict[str, str]:
    return {"from": iso(start), "to": iso(end)}


def shown_range(page: Page) -> tuple[int, int]:
    """What the address says."""
    query = parse_qs(urlsplit(page.url).query)
    start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
    return int(start.timestamp() * 1000), int(end.timestamp() * 1000)


def fact(page: Page, name: str) -> Locator:
    return page.locator(f"[data-fact={name}]")


def expect_counts(page: Page, counts: Counts) -> None:
    """The legend and the table say what the recount says."""
    expect(fact(page, "total")).to_have_text(f"{counts.total():,}")
    expect(fact(page, "max")).to_have_text(f"{max(counts.values(), default=0):,}")
    expect(fact(page, "hit")).to_contain_text(re.compile(rf"^{len(counts):,} of 20,000"))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0][1], item[0][0]))[:10]
    rows = page.locator(".cells tbody tr:has(button)")
    expect(rows).to_have_count(len(ranked))
    said = [row.split("\t") for row in rows.evaluate_all("rows => rows.map(row => row.innerText)")]
    assert [(row[1].strip(), row[3].strip()) for row in said] == [
        (f"{x}, {y}", f"{count:,}") for (x, y), count in ranked
    ]


def cell_place(page: Page, cell: tuple[int, int]) -> tuple[float, float]:
    """The middle of a cell in the window."""
    box = page.locator(".heat-page").bounding_box()
    assert box is not None
    return box["x"] + (cell[0] + 0.5) / 100 * box["width"], box["y"] + (cell[1] + 0.5) / 200 * box["height"]


def whole(world: World) -> tuple[int, int]:
    return world.hour - 60 * HOUR, world.hour + HOUR


def picture(form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (600, 1500), (40, 90, 160)).save(out, form)
    return out.getvalue()


def stored(world: World, screen: str) -> int:
    """Status of the screen's background."""
    try:
        with urlopen(
            world.address().split("/c/")[0] + f"/v1/background?{urlencode({'client_id': CLIENT, 'screen_id': screen})}"
        ) as found:
            return found.status
    except HTTPError as error:
        with error:
            return error.code


def violations(page: Page) -> list[str]:
    """What axe finds wrong: rule, element and why."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]
