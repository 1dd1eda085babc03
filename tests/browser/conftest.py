"""Fixtures of everything that is tested in a browser: one Chromium, windows, sites, and a collector that misbehaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.browsing import Site, Window, chromium, window
from browser.misbehaving import MisbehavingCollector
from collecting import RunningCollector
from playwright.sync_api import Browser

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests share one worker: one Chromium is enough for two cores. Pictures for people come last."""
    for item in items:
        if HERE in item.path.parents:
            picture = item.path.stem == "test_screenshots" and item.get_closest_marker("drill")
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("screenshots" if picture else "browser"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium per file, not per session: while Playwright runs, no other test in the process can run a loop."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def open_window(browser: Browser, site: Site) -> Iterator[Callable[..., Window]]:
    """Opens contexts (`browsing.window`); at the end they are closed, and errors on their pages fail the test.

    The site is still there when they are closed: a page that was half loaded has nothing to complain of.
    """
    opened: list[Window] = []

    def open_one(*arguments: Any, **options: Any) -> Window:
        opened.append(window(browser, *arguments, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()
    yield served
    served.close()


@pytest.fixture(scope="session")
def real_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """One real collector for all browser tests; each test uses its own client."""
    running = RunningCollector(tmp_path_factory.mktemp("collector") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def collector(real_collector: RunningCollector) -> Iterator[MisbehavingCollector]:
    """A recording, scriptable door in front of the real collector."""
    door = MisbehavingCollector(real_collector.port)
    yield door
    door.close()
