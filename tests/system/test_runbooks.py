"""The commands of the runbooks, as they stand there, on a deployment that is well; and what it tells of itself."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import OUTCOMES, components
from runbooks import Command, commands, pages
from services.programs import Missing, program
from system_helpers import System, environment, fetch, wait_for

DATA_STORES = {"log", "lake", "tiles", "database", "dead"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One deployment for all pages, with events that are landed and tiled."""
    system = System(tmp_path_factory.mktemp("runbooks") / "data")
    system.start()
    now = int(time.time() * 1000)
    event = {"event_time": now, "event_type": "mousemove", "x_norm": 0.25, "y_norm": 0.5}
    assert system.post({"client_id": "shop", "screen_id": "home", "events": [event] * 5})["accepted"] == 5
    system.wait_idle()
    yield system
    system.stop()


def execute(system: System, text: str) -> "subprocess.CompletedProcess[str]":
    """A command in a shell that stops at the first failure, with the variables that the index names."""
    given = environment(**system.settings, data=system.data) | {"APP": system.app_url, "COLLECT": system.collect_url}
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), given["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], env=given, capture_output=True, text=True, timeout=240
    )


def everywhere() -> dict[Command, list[str]]:
    """Commands with the pages that name them: one that stands on many pages is run once."""
    found: dict[Command, list[str]] = {}
    for name, page in sorted(pages().items()):
        for command in commands(page):
            found.setdefault(command, []).append(name)
    return found


@pytest.mark.parametrize("command", list(everywhere()), ids=lambda command: command.text[:60])
def test_a_command_of_the_runbooks_works_and_prints_what_the_page_says(running: System, command: Command) -> None:
    done = execute(running, command.text)
    where = everywhere()[command]
    assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"
    for said in command.prints:
        assert said in done.stdout, f"{where}: {said!r} is not in {done.stdout}"


@pytest.mark.parametrize("role", ["app", "collect"])
def test_what_is_scraped_is_in_order(running: System, role: str) -> None:
    try:
        tool = program("promtool")
    except Missing as error:
        pytest.skip(str(error))
    url = running.app_url if role == "app" else running.collect_url
    done = execute(running, f'curl -s "{url}/metrics" | "{tool}" check metrics')
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    named = execute(running, f'curl -s "{url}/metrics" | grep "^isotherm_build_info"').stdout
    assert f'role="{role}"' in named


def test_every_component_tells_its_four_counts(running: System) -> None:
    app, collector = (
        components(execute(running, f'curl -s "{url}/metrics"').stdout)
        for url in (running.app_url, running.collect_url)
    )
    assert collector.keys() == {"collect", "eventlog"}
    assert app.keys() == {
        "land", "rollup", "days", "weeks", "stream", "serve", "archive", "retention", "retention_maps",
    }  # fmt: skip
    for name, found in (collector | app).items():
        assert found.keys() == set(OUTCOMES), name
        assert found["failed"] == 0, name
        if name != "serve":
            assert found["received"] == found["sent"] + found["dropped"], (name, found)
    assert collector["collect"]["sent"] == app["land"]["sent"] == app["stream"]["sent"] == 5
    assert collector["eventlog"]["sent"] == 1
    assert app["rollup"]["sent"] >= 5
    assert app["serve"]["sent"] > 0


def test_the_status_has_what_an_operator_asks_for(running: System) -> None:
    status = wait_for(
        "the first measurements",
        lambda: (said := fetch(f"{running.app_url}/v1/status")) and said["measured_at"] and said,
        60,
    )
    assert status["problems"] == []
    assert status["ledger"]["differing"] == 0
    assert status["freshness"].keys() == {"hour", "day", "week"}
    assert status["stores"].keys() == DATA_STORES
    assert status["stores"]["dead"].keys() == {"log", "folder"}
    assert {disk["store"] for disk in status["disks"]} == {"data", "log", "lake"}
    assert all(0 < disk["free"] <= disk["size"] for disk in status["disks"])
    assert status["lander"]["oldest_unlanded_ms"] == 0
