"""Several collector processes on one port tell of all of them, whichever is asked and whichever dies."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from collecting import DEADLINE_S, RunningCollector, batch, event, until

from isotherm.collect import shared
from isotherm.metrics import SHARED_VARIABLES

WORKERS = 3
CLOSE = {"connection": "close"}
"""Each request over a connection of its own, of which any worker may have it."""
Sums = dict[str, float]


def scrape(client: httpx.Client, running: RunningCollector) -> Sums:
    """Every series, by its name with labels."""
    answer = client.get(running.url + "/metrics", headers=CLOSE)
    assert answer.status_code == 200
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    assert len({name for name, _, _ in lines}) == len(lines)
    return {name: float(value) for name, _, value in lines}


def counts(found: Sums) -> dict[str, float]:
    parts = {
        name: re.fullmatch(r'isotherm_component_events_total\{component="collect",outcome="(\w+)"\}', name)
        for name in found
    }
    return {match[1]: found[name] for name, match in parts.items() if match}


class Sender:
    """Sends batches of five events of which one is bad, every second one twice, over new connections."""

    def __init__(self, client: httpx.Client, running: RunningCollector) -> None:
        self.client = client
        self._running = running
        self._number = 0
        self.sums: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.unanswered = 0

    def send(self, batches: int) -> None:
        for _ in range(batches):
            self._number += 1
            body = batch([event() for _ in range(4)] + [event(x_norm=7)], batch_id=f"b{self._number}")
            for _ in range(1 + self._number % 2):
                self._post(body)

    def _post(self, body: object) -> None:
        try:
            answer = self.client.post(self._running.url + "/events/batch", json=body, headers=CLOSE)
        except httpx.TransportError:
            self.unanswered += 1
            return
        self.answers[answer.status_code] += 1
        said = answer.json()
        assert answer.status_code == 202
        self.sums["received"] += 5
        self.sums["sent"] += said["accepted"]
        self.sums["dropped"] += 5 - said["accepted"]
        self.sums["failed"] += 0

    def right(self, found: Sums) -> bool:
        told = counts(found)
        return told == dict(self.sums) and found['isotherm_collect_answers_total{status="202"}'] == self.answers[202]


def folder_of(running: RunningCollector) -> Path:
    """The folder that this collector's workers share. Other tests have theirs beside it meanwhile."""
    pid = running.workers()[0]
    name = f"{SHARED_VARIABLES[0]}="
    [found] = [one for one in Path(f"/proc/{pid}/environ").read_text().split("\0") if one.startswith(name)]
    return Path(found.removeprefix(name))


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as made:
        yield made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningCollector]:
    made = RunningCollector(tmp_path / "data", collect_workers=WORKERS)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.mark.system
def test_a_scrape_tells_of_all_workers_and_no_count_goes_back(running: RunningCollector, client: httpx.Client) -> None:
    running.start()
    sender = Sender(client, running)
    until(lambda: len(running.workers()) == WORKERS, "all workers run")
    sender.send(40)
    found = [scrape(client, running) for _ in range(2 * WORKERS)]
    assert all(map(sender.right, found)), (sender.sums, found[0])
    assert not [name for name in found[0] if "pid=" in name]
    assert [name for name in found[0] if name.startswith("isotherm_build_info{")]
    steps = {name: value for name, value in found[0].items() if "step_seconds" in name and value}
    assert len(steps) > 5

    victim = running.workers()[0]
    started = found[-1]["process_start_time_seconds"]
    seen = [counts(found[-1])]
    os.kill(victim, 9)
    again: Sums | None = None
    end = time.monotonic() + DEADLINE_S
    # The new one is a process before it counts: it does when the newest start is its own.
    while again is None or again["process_start_time_seconds"] <= started:
        assert time.monotonic() < end, again
        sender.send(1)
        again = scrape_or_none(client, running, seen)
    assert len(set(running.workers()) - {victim}) == WORKERS
    sender.send(20)
    until(running.ready, "the collector answers")
    last = scrape(client, running)
    seen.append(counts(last))
    for earlier, later in pairwise(seen):
        assert all(later[name] >= earlier[name] for name in earlier), (earlier, later)
    # What was sent to the dead one and not answered may have been taken or not.
    in_doubt = 5 * sender.unanswered
    for name, least in sender.sums.items():
        assert least <= seen[-1][name] <= least + in_doubt, (name, sender.sums, seen[-1], sender.unanswered)
    assert last["process_cpu_seconds_total"] >= found[-1]["process_cpu_seconds_total"]

    mine = folder_of(running)
    assert len(list(mine.glob("*.pid"))) == WORKERS
    running.kill()
    assert mine.exists()
    running.start()
    assert counts(scrape(client, running)) == {"received": 0, "sent": 0, "failed": 0, "dropped": 0}
    assert not mine.exists()
    mine = folder_of(running)
    assert mine.exists()
    running.stop()
    assert not mine.exists()


def scrape_or_none(client: httpx.Client, running: RunningCollector, seen: list[dict[str, float]]) -> Sums | None:
    """None when the connection went to the process that just died."""
    with suppress(httpx.TransportError):
        found = scrape(client, running)
        seen.append(counts(found))
        return found
    return None


def test_a_folder_of_the_dead_is_taken_away_and_one_of_the_living_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_MEMORY", tmp_path / "no such place")
    data = tmp_path / "data"
    dead, other = data / "isotherm-collectors-dead", data / "isotherm-collectors-new"
    for one in (dead, other):
        one.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "counter_0.db").write_bytes(b"old")
    with shared.folder(data) as first:
        assert {os.environ[name] for name in SHARED_VARIABLES} == {str(first)}
        assert first.stat().st_mode & 0o777 == 0o700
        assert not dead.exists()
        # It may be one that is being made.
        assert other.exists()
        with shared.folder(data) as second:
            assert first.exists()
        assert not second.exists()
    assert not first.exists()
    assert not any(name in os.environ for name in SHARED_VARIABLES)
