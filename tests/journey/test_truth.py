"""The promise itself: every recorded pointer event, from file to tile, against an independent recount."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import recount
from journey.truth import assert_books_close, assert_every_map_is_exact, import_file
from recount import DATA, Recording
from system_helpers import System

SAPIMOUSE = DATA / "mouse" / "sapimouse.jsonl.gz"
DEVIZ = DATA / "mouse" / "deviz.jsonl.gz"
DAYS_AGO = 9

pytestmark = [
    pytest.mark.skipif(not SAPIMOUSE.exists(), reason="shared data is absent"),
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def shift() -> int:
    return recount.days_into_horizon(SAPIMOUSE, DAYS_AGO)


@pytest.fixture(scope="module")
def recording(shift: int) -> Recording:
    return recount.read(SAPIMOUSE, shift)


@pytest.fixture
def system(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    started = System(tmp_path / "data", **getattr(request, "param", {}))
    started.start()
    yield started
    started.stop()


def test_every_recorded_event_reaches_its_cell(system: System, recording: Recording, shift: int) -> None:
    report = import_file(system, SAPIMOUSE, shift)
    assert (report["accepted"], report["rejected"], report["duplicate"]) == (len(recording.events), 0, 0)
    assert len(recording.events) == 1_175_136
    system.wait_idle()
    assert_every_map_is_exact(system, recording)
    assert_books_close(system, recording)


@pytest.mark.parametrize("system", [{"land_formats": "parquet,jsonl"}], indirect=True)
def test_deviz_with_its_equal_times_and_scrolls_in_both_formats(system: System) -> None:
    shift_days = recount.days_into_horizon(DEVIZ, DAYS_AGO)
    expected = recount.read(DEVIZ, shift_days)
    assert import_file(system, DEVIZ, shift_days)["accepted"] == len(expected.events) == 14_251
    system.wait_idle()
    assert_every_map_is_exact(system, expected)
    assert_books_close(system, expected)
    compared = system.run_json("lake", "compare", "--json")
    assert compared["rows"] == 14_251
    assert compared["differences"] == []
    assert_nothing_counts_twice(system, DEVIZ, expected, shift_days)


def assert_nothing_counts_twice(system: System, path: Path, recording: Recording, shift_days: int) -> None:
    """The whole recording once more changes no map."""
    again = import_file(system, path, shift_days)
    assert (again["accepted"], again["duplicate"]) == (0, len(recording.events))
    system.wait_idle()
    assert_every_map_is_exact(system, recording)
    assert system.run_json("ledger", "--json")["differences"] == []


@pytest.mark.drill
@pytest.mark.parametrize("system", [{"land_formats": "jsonl"}], indirect=True)
def test_every_event_by_way_of_jsonl(system: System, recording: Recording, shift: int) -> None:
    import_file(system, SAPIMOUSE, shift)
    system.wait_idle()
    assert_every_map_is_exact(system, recording)
    assert_books_close(system, recording)
    assert_nothing_counts_twice(system, SAPIMOUSE, recording, shift)


@pytest.mark.drill
def test_every_event_while_processes_are_killed(system: System, recording: Recording, shift: int) -> None:
    """kill -9 of each process at random moments while the import runs; the import is not restarted."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    finished = threading.Event()
    kills: list[str] = []

    def killer() -> None:
        while not finished.wait(chance.uniform(0.3, 2.5)):
            role = chance.choice(("collect", "app"))
            if system.kill(role):
                kills.append(role)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        report = import_file(system, SAPIMOUSE, shift)
    finally:
        finished.set()
        thread.join()
    print(f"seed {seed}: killed {kills}")
    assert kills
    assert report["accepted"] + report["duplicate"] == len(recording.events)
    system.wait_idle()
    assert_every_map_is_exact(system, recording)
    assert_books_close(system, recording)


def test_recount_agrees_with_hand_counted_weeks() -> None:
    """The oracle's own edges: weeks start on Monday, the last instant of Sunday belongs to the week before."""
    times = pd.to_datetime(["2026-02-01T23:59:59.999Z", "2026-02-02T00:00:00.000Z"])
    events = pd.DataFrame({"client_id": "a", "screen_id": "b", "event_type": "c", "event_time": times, "cell": [1, 2]})
    starts = sorted(str(key[3].date()) for key in Recording(events).maps("week"))
    assert starts == ["2026-01-26", "2026-02-02"]
