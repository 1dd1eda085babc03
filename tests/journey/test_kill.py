"""kill -9, again and again: what was acknowledged is in the lake exactly once, what was sent twice counts once."""

import http.client
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from system_helpers import System

SENDERS = 4
EVENTS = 25

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(1500)]


class Sender(threading.Thread):
    """Sends batches until told to stop; one that got no answer is sent again, some that got one too."""

    def __init__(self, system: System, name: str, seed: int) -> None:
        super().__init__(name=name)
        self.system = system
        self.chance = random.Random(seed)
        self.stopping = threading.Event()
        self.acknowledged: set[str] = set()
        self.accepted = self.duplicate = self.sent = 0

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            batch_id = f"{self.name}-{number}"
            number += 1
            if self.deliver(batch_id) and self.chance.random() < 0.1:
                self.deliver(batch_id)

    def deliver(self, batch_id: str) -> bool:
        """Try until there is a 202 or the round is over."""
        body = self.body(batch_id)
        while not self.stopping.is_set():
            answer = self.post(body)
            if answer is None:
                self.stopping.wait(0.05)
                continue
            assert answer["accepted"] + answer["duplicate"] == EVENTS
            self.acknowledged.add(batch_id)
            self.accepted += answer["accepted"]
            self.duplicate += answer["duplicate"]
            return True
        return False

    def body(self, batch_id: str) -> bytes:
        now = int(time.time() * 1000)
        events = [
            {"event_time": now + i, "event_type": "mousemove", "x_norm": self.chance.random(), "y_norm": 0.5}
            for i in range(EVENTS)
        ]
        return json.dumps({"client_id": "kill", "screen_id": "s", "batch_id": batch_id, "events": events}).encode()

    def post(self, body: bytes) -> dict[str, int] | None:
        target = urlsplit(self.system.collect_url)
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=10)
        try:
            connection.request("POST", "/events/batch", body, {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        self.sent += 1
        assert response.status in (202, 503), (response.status, content)
        return json.loads(content) if response.status == 202 else None


def rows_per_batch(data: Path) -> Counter[str]:
    """Read past our own code: the manifest by sqlite3, the files by pyarrow."""
    with sqlite3.connect(data / "isotherm.db") as connection:
        listed = connection.execute("SELECT path FROM files WHERE state = 'listed'").fetchall()
    rows: Counter[str] = Counter()
    for (path,) in listed:
        table = pq.read_table(data / "lake" / path, columns=["batch_id", "position"])
        pairs = list(zip(table["batch_id"].to_pylist(), table["position"].to_pylist(), strict=True))
        assert len(set(pairs)) == len(pairs), f"a row stands twice in {path}"
        rows.update(batch_id for batch_id, _ in pairs)
    return rows


@pytest.mark.parametrize("rounds", [6, pytest.param(50, marks=pytest.mark.drill)])
def test_kills_lose_nothing_and_double_nothing(rounds: int, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    system = System(tmp_path / "data")
    system.start()
    senders: list[Sender] = []
    killed: Counter[str] = Counter()
    try:
        for number in range(rounds):
            crew = [Sender(system, f"{number}-{i}", chance.randrange(2**32)) for i in range(SENDERS)]
            senders += crew
            for sender in crew:
                sender.start()
            threading.Event().wait(chance.uniform(0.2, 1.2))
            role = chance.choices(("collect", "app", "group"), (4, 4, 2))[0]
            system.kill(role)
            killed[role] += 1
            if role == "group":
                system.start()
            threading.Event().wait(chance.uniform(0.0, 0.3))
            for sender in crew:
                sender.stopping.set()
            for sender in crew:
                sender.join(timeout=60)
                assert not sender.is_alive()
        system.wait_idle()
        ledger = system.run_json("ledger", "--json")
    finally:
        for sender in senders:
            sender.stopping.set()
        system.stop()

    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    rows = rows_per_batch(tmp_path / "data")
    lost = [b for b in acknowledged if rows[b] != EVENTS]
    torn = {b: n for b, n in rows.items() if n != EVENTS}
    print(f"killed {dict(killed)}; acknowledged {len(acknowledged)} batches; in the lake {len(rows)}")
    assert len(acknowledged) > rounds
    assert not lost
    assert not torn
    assert ledger["differences"] == []
    assert ledger["totals"]["landed"] == EVENTS * len(rows)
    # A 202 lost with its process hides an acceptance or a duplicate from the sender, never from the ledger.
    assert ledger["totals"]["accepted"] >= sum(sender.accepted for sender in senders)
    assert ledger["totals"]["duplicate"] >= sum(sender.duplicate for sender in senders)
