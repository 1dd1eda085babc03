"""`isotherm simulate` and `isotherm demo` against the real program: what was made is what is counted, everywhere."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from system_helpers import QUICK, STOP_SECONDS, System, alive, environment, fetch, isotherm, wait_for

from isotherm.cli.simulation.crowd import Crowd
from isotherm.cli.simulation.layout import read_layout
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.view.demo import LAYOUT, backgrounds

POSITIONAL = ("mousemove", "click", "touch")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("simulate") / "data")
    running.start()
    yield running
    running.stop()


def simulate(system: System, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        isotherm("simulate", "--to", system.collect_url, *arguments),
        env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def generated(client: str, seed: int, visitors: int, since: int, until: int) -> Counter[tuple[str, str]]:
    """Events by screen and type, made here."""
    crowd = Crowd(read_layout(LAYOUT), client, seed)
    return Counter(
        (body["screen_id"], event["event_type"])
        for _, load in crowd.history(visitors, since, until)
        for body in [json.loads(load.content)]
        for event in body["events"]
    )


def test_what_visitors_did_is_accepted_landed_and_on_the_maps(system: System) -> None:
    until = SystemClock().now_ms() // HOUR_MS * HOUR_MS
    arguments = ("--client", "sum-simulated", "--visitors", "40", "--days", "2", "--seed", "9", "--json")
    done = simulate(system, *arguments, "--until", str(until))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    made = generated("sum-simulated", 9, 40, until - 2 * DAY_MS, until)
    assert report["accepted"] == made.total() > 2_000
    assert (report["rejected"], report["duplicate"], report["interrupted"]) == (0, 0, False)
    assert report["latency_ms"]["p50"] > 0

    again = json.loads(simulate(system, *arguments, "--until", str(until)).stdout)
    assert (again["accepted"], again["duplicate"]) == (0, made.total()), "the same run never counts twice"

    system.wait_idle()
    for (screen_id, event_type), count in made.items():
        if event_type in POSITIONAL:
            query = {"from": until - 2 * DAY_MS - HOUR_MS, "to": until + HOUR_MS, "event_type": event_type}
            answer = system.get("/v1/heatmap", client_id="sum-simulated", screen_id=screen_id, **query)
            assert sum(cell["count"] for cell in answer["cells"]) == answer["total"] == count, (screen_id, event_type)
    ledger = system.run_json("ledger", "--client", "sum-simulated", "--json")
    assert ledger["totals"]["accepted"] == made.total()
    assert system.run("ledger").returncode == 0, "the sums close"
    clients = {row["client_id"]: row["simulated"] for row in system.get("/v1/clients")["clients"]}
    assert clients["sum-simulated"] is True


def test_no_other_client_gets_simulated_visitors(system: System) -> None:
    done = simulate(system, "--client", "shop", "--visitors", "1")
    assert done.returncode == 1
    assert "shop-simulated" in done.stderr
    assert "shop" not in {row["client_id"] for row in system.get("/v1/clients")["clients"]}


def test_live_visitors_keep_coming_until_interrupted(system: System) -> None:
    command = isotherm("simulate", "--to", system.collect_url, "--client", "live-simulated", "--visitors", "0")
    with subprocess.Popen(
        [*command, "--live", "--rate", "300", "--json"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as program:
        wait_for("three screens with people", lambda: screens(system, "live-simulated") >= 3, 120)
        program.send_signal(signal.SIGINT)
        said = program.communicate(timeout=STOP_SECONDS)[0]
    assert program.returncode == 0
    report = json.loads(said)
    assert report["rejected"] == report["duplicate"] == 0
    system.wait_idle()
    freshness = system.get("/v1/freshness", client_id="live-simulated")
    assert freshness["received"] == report["accepted"] > 0


def screens(system: System, client_id: str) -> int:
    found = fetch(f"{system.app_url}/v1/screens?client_id={client_id}", nothing=(404, 503))
    return len(found["screens"]) if found else 0


def test_a_collector_that_is_not_there_is_explained(tmp_path: Path) -> None:
    done = subprocess.run(
        isotherm("simulate", "--to", "http://127.0.0.1:9", "--visitors", "1", "--patience", "0.2"),
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "isotherm up" in done.stderr


DEMO = ("demo", "--port", "0", "--collect-port", "0", "--visitors", "30", "--days", "2")


def test_the_demo_once_shows_heat_and_goes_on_next_time(tmp_path: Path) -> None:
    command = isotherm(*DEMO, "--once", "--data", str(tmp_path / "data"))
    first = subprocess.run(command, env=environment(**QUICK), capture_output=True, text=True, timeout=280)
    assert first.returncode == 0, first.stderr
    assert "simulated visits" in first.stdout
    assert "/c/demo-simulated/map?screen=%2Fdemo%2F" in first.stdout
    assert "/c/demo/map?screen=%2Fdemo%2F" in first.stdout
    again = subprocess.run(command, env=environment(**QUICK), capture_output=True, text=True, timeout=280)
    assert again.returncode == 0, again.stderr
    assert "still there" in again.stdout


def test_the_demo_stays_up_with_pictures_and_people_and_stops_on_a_signal(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        isotherm(*DEMO, "--no-open", "--data", str(data)), env=environment(**QUICK), stdout=subprocess.PIPE, text=True
    ) as program:
        app = wait_for("the program", lambda: (found := running(data)) and found["ready"] and found["app"], 120)
        wait_for("every picture", lambda: pictures(app) == 2 * len(backgrounds()), 240)
        before = received(app)
        wait_for("people who keep coming", lambda: received(app) > before, 60)
        with urlopen(f"{app}/demo/", timeout=30) as page:
            assert "Lamps for the hours after work" in page.read().decode()
        family = [running(data)["pid"], *running(data)["pids"].values()]
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=STOP_SECONDS)
    assert program.returncode == 0
    assert not any(map(alive, family)), "processes were left behind"


def running(data: Path) -> Any:
    try:
        return json.loads((data / "run.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def received(app: str) -> int:
    found = fetch(f"{app}/v1/freshness?client_id=demo-simulated")
    return found["received"] if found else 0


def pictures(app: str) -> int:
    """How many backgrounds are there for both clients."""
    count = 0
    for client_id in ("demo", "demo-simulated"):
        for screen_id in backgrounds():
            name = screen_id.replace("/", "%2F").replace("@", "%40")
            try:
                with urlopen(f"{app}/v1/background?client_id={client_id}&screen_id={name}", timeout=30) as answer:
                    count += answer.headers["content-type"] == "image/webp"
            except OSError:
                return count
    return count
