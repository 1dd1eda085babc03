"""A client that sends 100,000 screens within the hour; 10 million events of one screen in a minute; a million maps.

The sizes are those of ISOTHERM_TEST_SCREENS, ISOTHERM_TEST_MILLIONS (of events) and ISOTHERM_TEST_MAPS.
"""

import http.client
import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drilling import books_close, database, say, tiled
from landing import event, record
from system_helpers import System, fetch, wait_for
from watching import MB, watched

from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3 * 3600)]

SENDERS = 4
SCREENS = int(os.environ.get("ISOTHERM_TEST_SCREENS", "100000"))
MILLIONS = float(os.environ.get("ISOTHERM_TEST_MILLIONS", "10"))
MAPS = int(os.environ.get("ISOTHERM_TEST_MAPS", "1000000"))
CLIENTS = 10
GROUP = 2_000
"""Records that share one commit while the log is filled."""
LARGE = 2_500
"""Events of a large batch: a body may have 512 KiB."""


WAIT = 3600


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data", land_flush_seconds=5, retile_min_seconds=5) as made:
        yield made


def send(system: System, count: int, body: Callable[[int], bytes]) -> Counter[int]:
    """Send bodies 0 to `count` over a few connections, each until it gets its 202; gives the answers."""
    numbers, guard, answers, faults = itertools.count(), threading.Lock(), Counter[int](), list[Exception]()
    target = urlsplit(system.collect_url)

    def run() -> None:
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=120)
        try:
            while (number := next(numbers)) < count and not faults:
                text, status = body(number), 0
                while status != 202:
                    connection.request("POST", "/events/batch", text, {"content-type": "application/json"})
                    response = connection.getresponse()
                    said = response.read()
                    status = response.status
                    assert status in (202, 503), (status, said)
                    with guard:
                        answers[status] += 1
                    if status == 503:
                        time.sleep(0.2)
        except Exception as error:  # noqa: BLE001 - the test fails by it
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    return answers


def landed(data: Path, client_id: str) -> pd.DataFrame:
    """Batch and position of all rows: the list by sqlite3, the files by pyarrow."""
    with database(data) as connection:
        asked = "SELECT path FROM files WHERE state = 'listed' AND client_id = ?"
        listed = connection.execute(asked, (client_id,)).fetchall()
    tables = [pq.read_table(data / "lake" / path, columns=["batch_id", "position"]) for (path,) in listed]
    whole = pa.concat_tables(tables).unify_dictionaries()
    return whole.to_pandas()


def close(system: System, name: str, acknowledged: int, began: float, sent: float) -> None:
    """Wait until all is tiled, print the account, and let the program prove it."""
    waiting = time.monotonic()
    system.wait_idle(WAIT)
    recovered = time.monotonic() - waiting
    rows, in_cells = landed(system.data, name), tiled(system.data, name)
    twice = int(rows.duplicated().sum())
    say(name, acknowledged=acknowledged, landed=len(rows), tiled=in_cells, lost=acknowledged - len(rows) + twice,
        duplicated=twice, seconds=f"{recovered:.0f} after {sent - began:.0f} of sending")  # fmt: skip
    assert (len(rows), in_cells, twice) == (acknowledged, acknowledged, 0)
    books_close(system, name)


def test_a_hundred_thousand_screens_of_one_client(system: System) -> None:
    name, began, now = "many-screens", time.monotonic(), int(time.time() * 1000)

    def body(number: int) -> bytes:
        chance = random.Random(number)
        events = [
            {"event_time": now + n, "event_type": "click", "x_norm": chance.random(), "y_norm": chance.random()}
            for n in range(2)
        ]
        return json.dumps({
            "client_id": name, "screen_id": f"/page/{number}", "batch_id": f"b{number}", "events": events,
        }).encode()  # fmt: skip

    answers = send(system, SCREENS, body)
    assert answers[202] == SCREENS
    close(system, name, 2 * SCREENS, began, time.monotonic())


def test_ten_million_events_of_one_screen(system: System) -> None:
    name, began, now = "busy-screen", time.monotonic(), int(time.time() * 1000)
    chance = random.Random(1)
    events = [
        {"event_time": now + n, "event_type": "mousemove", "x_norm": chance.random(), "y_norm": chance.random()}
        for n in range(LARGE)
    ]
    rest = json.dumps(events).encode()
    head = b'{"client_id":"%s","screen_id":"home","batch_id":"b%%d","events":' % name.encode()
    batches = int(MILLIONS * 1e6) // LARGE
    answers = send(system, batches, lambda number: head % number + rest + b"}")
    assert answers[202] == batches
    close(system, name, batches * LARGE, began, time.monotonic())


def fill(data: Path, screens: int, first: int) -> None:
    """Put one batch of each screen on the log, as the collector would: two clicks, in the hour `first` and the next."""
    log = open_log(Settings(data=data, log_segment_bytes=64 << 20), SystemClock())
    chance, now = random.Random(4), int(time.time() * 1000)
    try:
        for begin in range(0, screens, GROUP):
            log.append([
                record(
                    f"client-{n % CLIENTS}",
                    f"b{n}",
                    [event(at + n, chance.random(), chance.random(), "click") for at in (first, first + HOUR_MS)],
                    screen_id=f"/page/{n}",
                    received_at=now,
                )
                for n in range(begin, min(begin + GROUP, screens))
            ])  # fmt: skip
    finally:
        log.close()


def published(data: Path) -> dict[str, tuple[int, int]]:
    """Maps and events in cells of the published buckets, by level."""
    with database(data) as connection:
        asked = "SELECT level, sum(maps), sum(tiled) FROM buckets GROUP BY level"
        return {level: (maps, events) for level, maps, events in connection.execute(asked)}


def timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    said = ask()
    return time.monotonic() - began, said


def test_a_million_maps(tmp_path: Path) -> None:
    """A quarter of a million screens of ten clients, each used in two hours: two hours, a day and a week of each.

    Their events are on the log when the program starts; it lands and tiles them as always.
    """
    screens, now = MAPS // 4, int(time.time() * 1000)
    # Two hours of a day in the week before: all that is to be summed is over.
    first = now // DAY_MS * DAY_MS - 8 * DAY_MS + 10 * HOUR_MS
    system = System(tmp_path / "data", land_flush_seconds=5, retile_min_seconds=5)
    fill(system.data, screens, first)
    began = time.monotonic()
    with system:
        with watched(system, memory_every=1) as samples:
            system.wait_idle(2 * WAIT)
            recovered = time.monotonic() - began
            found = {name: landed(system.data, name) for name in (f"client-{n}" for n in range(CLIENTS))}
            rows, twice = sum(map(len, found.values())), sum(int(one.duplicated().sum()) for one in found.values())
            maps = published(system.data)
            say("million-maps", acknowledged=2 * screens, landed=rows, tiled=maps["hour"][1],
                lost=2 * screens - rows + twice, duplicated=twice, seconds=f"{recovered:.0f}")  # fmt: skip
            assert (rows, twice) == (2 * screens, 0)
            assert maps == {
                "hour": (2 * screens, 2 * screens),
                "day": (screens, 2 * screens),
                "week": (screens, 2 * screens),
            }
            usable(system, screens, first)
            checked, _ = timed(lambda: books_close(system))
            print(f"ledger --check and verify {checked:.0f} s")
        most = {name: samples.most(name) // MB for name in samples.memory[-1].sizes}
        print(f"most MB: {most}; disk {samples.disk[-1].sizes['all'] // MB} MB")


def usable(system: System, screens: int, first: int) -> None:
    """What people ask is answered, rightly; prints how long each takes."""
    whose: dict[str, Any] = {"client_id": "client-0"}
    span = {"from": first, "to": first + 2 * HOUR_MS}
    seconds: dict[str, float] = {}
    seconds["status"], _ = timed(lambda: system.get("/v1/status"))
    seconds["clients"], clients = timed(lambda: system.get("/v1/clients"))
    assert [one["screens"] for one in clients["clients"]] == [screens // CLIENTS] * CLIENTS
    seconds["screens"], page = timed(lambda: system.get("/v1/screens", **whose))
    assert len(page["screens"]) == 100
    seconds["next screens"], after = timed(lambda: system.get("/v1/screens", **whose, cursor=page["next_cursor"]))
    assert {one["screen_id"] for one in after["screens"]}.isdisjoint(one["screen_id"] for one in page["screens"])
    seconds["search"], searched = timed(lambda: system.get("/v1/screens", **whose, q="/page/10"))
    assert any(one["screen_id"] == "/page/10" for one in searched["screens"])
    asked = {**whose, "screen_id": "/page/10", "event_type": "click"}
    seconds["map"], drawn = timed(lambda: system.get("/v1/heatmap", **asked, **span))
    assert sum(cell["count"] for cell in drawn["cells"]) == 2
    late = first - HOUR_MS
    system.post({**whose, "screen_id": "/page/10", "batch_id": "late", "events": [event(late, kind="click")]})

    def seen() -> bool:
        told = fetch(f"{system.app_url}/v1/heatmap?client_id=client-0&screen_id=/page/10&event_type=click"
                     f"&from={late}&to={first}")  # fmt: skip
        return told is not None and sum(cell["count"] for cell in told["cells"]) == 1

    seconds["a late event on its map"], _ = timed(lambda: wait_for("the late event", seen, WAIT))
    seconds["everything tiled again"], _ = timed(lambda: system.wait_idle(WAIT))
    print("seconds: " + ", ".join(f"{name} {took:.2f}" for name, took in seconds.items()))
