"""kill -9 of the collector and the app while a real browser sends: every event is in the lake once, or was dropped."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow.dataset as ds
import pytest
from browser.browsing import chromium, window
from playwright.sync_api import Page
from system_helpers import System, fetch, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.slow, pytest.mark.xdist_group("browser")]

ROUNDS = 12
NUMBERED = "numbered"
AWAY = ("Failed to load resource", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
NUMBER_EVENTS = f"""() => {{
  window.made = 0;
  window.numbering = setInterval(() => isotherm.track('{NUMBERED}', {{n: window.made++}}), 20);
}}"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    running = System(tmp_path / "data")
    running.start()
    yield running
    running.stop()


def landed(system: System) -> Counter[int]:
    """How often each number stands in the lake's files, read by Arrow alone."""
    files = [row["path"] for row in system.run_json("lake", "ls", "--json")]
    rows = ds.dataset([str(system.data / "lake" / path) for path in files], format="parquet")
    table = rows.to_table(columns=["attrs"], filter=ds.field("event_type") == NUMBERED)
    return Counter(json.loads(text)["n"] for text in table["attrs"].to_pylist())


def kill_while_it_sends(system: System, page: Page, random: Random) -> Counter[str]:
    killed: Counter[str] = Counter()
    for _ in range(ROUNDS):
        page.wait_for_timeout(random.uniform(300, 1500))
        role = random.choice(("collect", "collect", "app"))
        killed[role] += system.kill(role)
    return killed


def test_a_browser_loses_nothing_when_the_collector_is_killed(system: System) -> None:
    with chromium() as browser:
        opened = window(browser, expected=AWAY)
        page = opened.open(f"{system.app_url}/demo/")
        page.wait_for_function("() => 'isotherm' in window")
        page.evaluate(NUMBER_EVENTS)
        killed = kill_while_it_sends(system, page, Random(20))
        # Events go on for a while, so that the queue has something to follow.
        page.wait_for_timeout(1_000)
        made = page.evaluate("() => { clearInterval(window.numbering); return window.made; }")

        def arrived() -> bool:
            page.evaluate("() => isotherm.flush()")
            found = fetch(f"{system.app_url}/v1/freshness?client_id=demo")
            # The page view is one more.
            return found is not None and found["received"] >= made + 1

        wait_for("every event to be received", arrived, 120)
        opened.close()
    system.wait_idle()
    assert killed["collect"] >= 3
    found = landed(system)
    print(f"killed {dict(killed)}; {made} events made, {found.total()} in the lake")
    assert found == Counter(range(made))
    totals = system.run_json("ledger", "--json")
    assert totals["differences"] == []
    assert totals["totals"]["sender_dropped"] == 0
