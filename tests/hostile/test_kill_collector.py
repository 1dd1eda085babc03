"""202 means durable: kill -9 in the middle of a load loses nothing that was acknowledged, and stores nothing twice."""

import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest
from collecting import RunningCollector, batch, until

pytestmark = pytest.mark.system

SENDERS = 4


class Load:
    """A few threads that send small batches and remember which got their 202."""

    def __init__(self, collector: RunningCollector, name: str) -> None:
        self.collector = collector
        self.tried: list[str] = []
        self.acknowledged: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(f"{name}-{n}",)) for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self, name: str) -> None:
        with httpx.Client(timeout=10) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                batch_id = f"{name}-{number}"
                self.tried.append(batch_id)
                try:
                    reply = client.post(f"{self.collector.url}/events/batch", json=batch(3, batch_id=batch_id))
                except httpx.TransportError:
                    return
                if reply.status_code == 202:
                    self.acknowledged.append(batch_id)

    def finish(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stored(collector: RunningCollector) -> Counter[str]:
    return Counter(envelope.batch_id for envelope in collector.envelopes() if envelope.batch)


def test_kill_9_under_load(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data")
    acknowledged: list[str] = []
    for round_ in range(3):
        running.start()
        load = Load(running, f"round{round_}")
        until(lambda load=load: len(load.acknowledged) > 40, "some batches are acknowledged")
        running.kill()
        load.finish()
        acknowledged += load.acknowledged
        counts = stored(running)
        assert set(acknowledged) <= set(counts)
        assert set(counts.values()) == {1}

    running.start()
    for batch_id in acknowledged:
        answer = running.post(batch(3, batch_id=batch_id)).json()
        assert (answer["accepted"], answer["duplicate"]) == (0, 3)
    assert running.stop() == 0
    assert set(stored(running).values()) == {1}
    duplicates = sum(envelope.counts.duplicate for envelope in running.envelopes())
    assert duplicates == 3 * len(acknowledged)


def test_duplicates_are_known_across_a_clean_restart_and_per_client(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data").start()
    assert running.post(batch(3, batch_id="b")).json()["accepted"] == 3
    assert running.post(batch(3, batch_id="b", screen_id="other")).json()["duplicate"] == 3
    assert running.post(batch(3, batch_id="b", client_id="other")).json()["accepted"] == 3
    assert running.stop() == 0
    running.start()
    assert running.post(batch(3, batch_id="b")).json()["duplicate"] == 3
    assert running.stop() == 0
    assert stored(running) == {"b": 2}
    totals = Counter[str]()
    for envelope in running.envelopes():
        totals["accepted"] += sum(envelope.counts.accepted.values())
        totals["duplicate"] += envelope.counts.duplicate
    assert totals == {"accepted": 6, "duplicate": 6}
