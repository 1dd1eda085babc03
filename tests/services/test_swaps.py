"""The same events on every mixture of stores and engines: the same maps, to the last count."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import recount
from journey.truth import assert_books_close, assert_every_map_is_exact, import_file
from recount import DATA, Recording
from system_helpers import System, fetch, wait_for

from services.deployment import STORES, Roles, settings_for, swapping

DEVIZ = DATA / "mouse" / "deviz.jsonl.gz"
DAYS_AGO = 9
EVENTS = 14_251

pytestmark = [
    pytest.mark.skipif(not DEVIZ.exists(), reason="shared data is absent"),
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def shift_days() -> int:
    return recount.days_into_horizon(DEVIZ, DAYS_AGO)


@pytest.fixture(scope="module")
def deviz(shift_days: int) -> Recording:
    return recount.read(DEVIZ, shift_days)


@pytest.fixture
def deployed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., System]]:
    running: list[System] = []

    def deploy(*names: str, kind: type[System] = System, **settings: Any) -> System:
        system = kind(tmp_path / "data", **settings_for(request, names) | settings)
        running.append(system)
        system.start()
        return system

    yield deploy
    for system in running:
        system.stop()


def check(system: System, deviz: Recording, shift_days: int) -> None:
    report = import_file(system, DEVIZ, shift_days)
    assert (report["accepted"], report["rejected"], report["duplicate"]) == (EVENTS, 0, 0)
    system.wait_idle()
    assert_every_map_is_exact(system, deviz)
    assert_books_close(system, deviz)
    files = system.run_json("lake", "ls", "--json")
    assert sum(file["rows"] for file in files) == EVENTS
    check_windows(system)


def check_windows(system: System) -> None:
    """Five clicks of now are in the windows, and no event of the recording, which is days old."""
    place = {"client_id": "live", "screen_id": "now"}
    click = {"event_time": int(time.time() * 1000), "event_type": "click", "x_norm": 0.5, "y_norm": 0.5}
    body = json.dumps(place | {"batch_id": "b", "events": [click] * 5}).encode()
    sent = Request(f"{system.collect_url}/events/batch", body, {"content-type": "application/json"})
    with urlopen(sent, timeout=30) as answer:
        assert answer.status == 202

    def shown() -> bool:
        found = fetch(f"{system.app_url}/v1/live/windows?{urlencode(place | {'size': '1h'})}")
        return bool(found and found["degraded"] is None and sum(w["total"] for w in found["windows"]) == 5)

    wait_for("five clicks in the windows", shown, 120)


MIXTURES = [
    pytest.param(
        names,
        marks=(swapping(*names), pytest.mark.drill) if len(names) < 5 else swapping(*names),
        id="+".join(names) if len(names) < 5 else "all",
    )
    for names in [*((name,) for name in (*STORES, "engine")), ("log", "stream"), (*STORES, "engine", "stream")]
]
"""Less than everything on servers is a drill: the contracts and the tests of each server show its parts one by one."""


@pytest.mark.parametrize("names", MIXTURES)
def test_every_mixture_gives_the_same_maps(
    names: tuple[str, ...], deployed: Callable[..., System], deviz: Recording, shift_days: int
) -> None:
    check(deployed(*names), deviz, shift_days)


@pytest.mark.drill
@swapping("lake", "olap")
def test_jsonl_in_s3_through_the_server(deployed: Callable[..., System], deviz: Recording, shift_days: int) -> None:
    check(deployed("lake", "olap", land_formats="jsonl"), deviz, shift_days)


@swapping(*STORES)
def test_roles_on_machines_of_their_own(deployed: Callable[..., System], deviz: Recording, shift_days: int) -> None:
    system = deployed(*STORES, kind=Roles)
    check(system, deviz, shift_days)

    # Landers are processes of their own: who serves knows what they read from the counters in Redis.
    # What changed hands before it was landed may have been read twice.
    def told() -> bool:
        status = fetch(f"{system.app_url}/v1/status")
        return status is not None and status["intake"]["events"] >= EVENTS + 5

    wait_for("what the landers read", told, 60)
