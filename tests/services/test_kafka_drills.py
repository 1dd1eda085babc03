"""The collector on Kafka while brokers die, hang and come back, and while what the cache remembers goes away."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from collecting import RunningCollector, batch, now_ms, until

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import Record, open_log
from services.kafka import Kafka
from services.kafka_world import KafkaWorld, rows_of
from services.redis import Redis

pytestmark = pytest.mark.services

Start = Callable[..., tuple[RunningCollector, KafkaWorld]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A collector on a topic, and the stores that its records land in."""
    running: list[tuple[RunningCollector, KafkaWorld]] = []

    def new(kafka: Kafka, **settings: Any) -> tuple[RunningCollector, KafkaWorld]:
        world = KafkaWorld(kafka.bootstrap, tmp_path / "data", **settings)
        collector = RunningCollector(tmp_path / "data", **{k: v for k, v in world.told.items() if k != "data"})
        running.append((collector, world))
        return collector.start(), world

    yield new
    for collector, world in running:
        collector.stop()
        world.close()


def body(name: str) -> dict[str, Any]:
    at = now_ms()
    events = [{"event_time": at - n, "event_type": "mousemove", "x_norm": 0.5, "y_norm": 0.25} for n in range(3)]
    return batch(events, batch_id=name, screen_id=f"s-{name}")


class Senders:
    """Threads that send batches as the SDK does: again, with the same id, until there is a 202."""

    def __init__(self, collector: RunningCollector, threads: int = 8) -> None:
        self.acknowledged: list[str] = []
        self._url = f"{collector.url}/events/batch"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        with httpx.Client(timeout=40) as client:
            count = 0
            while not self._stop.is_set():
                name = f"b{number}-{count}"
                while self._post(client, name) != 202:
                    time.sleep(0.1)
                self.acknowledged.append(name)
                count += 1

    def _post(self, client: httpx.Client, name: str) -> int:
        try:
            return client.post(self._url, json=body(name)).status_code
        except httpx.TransportError:
            return 0

    def end(self) -> list[str]:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        return self.acknowledged


def check(world: KafkaWorld, sent: list[str]) -> dict[str, int]:
    """Everything acknowledged is in the lake once, and the ledger closes."""
    world.lander().drain()
    assert world.landed() == rows_of(sent)
    return world.sums()


@pytest.mark.drill
def test_a_broker_killed_under_load_loses_and_doubles_nothing(own_kafka: Kafka, start: Start) -> None:
    collector, world = start(own_kafka)
    senders = Senders(collector)
    for _ in range(2):
        before = len(senders.acknowledged)
        until(lambda before=before: len(senders.acknowledged) > before + 100, "batches are acknowledged", 60)
        own_kafka.kill9()
        time.sleep(1)
        own_kafka.start()
    after = len(senders.acknowledged)
    until(lambda: len(senders.acknowledged) > after + 50, "it goes on by itself", 60)
    assert check(world, senders.end())["landed"] == 3 * len(senders.acknowledged)


def test_a_broker_that_hangs_is_503_and_recovery_needs_nobody(own_kafka: Kafka, start: Start) -> None:
    collector, world = start(own_kafka)
    assert collector.post(body("before")).status_code == 202
    own_kafka.cut()
    try:
        for name in ("first", "second"):
            refused = collector.post(body(name))
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{collector.url}/v1/healthz", timeout=10).status_code == 503
    finally:
        own_kafka.resume()
    sent = ["before"]
    for name in ("first", "second", "third"):
        until(lambda name=name: collector.post(body(name)).status_code == 202, "it takes batches again", 60)
        sent.append(name)
    check(world, sent)


def test_a_reader_goes_on_when_leaders_were_elected_again(own_kafka: Kafka) -> None:
    """A broker that stood still for longer than its session leads again with a new epoch, which clients must learn."""
    settings = Settings(log=f"kafka://{own_kafka.bootstrap}?topic=led", kafka_replication=1, kafka_partitions=4)
    log = open_log(settings, SystemClock())
    try:
        log.append([Record(f"key-{n}", b"{}", now_ms()) for n in range(40)])
        before = log.heads(log.partitions())
        own_kafka.cut()
        time.sleep(14)
        own_kafka.resume()
        # It notices that it was away, and is elected.
        time.sleep(5)
        positions = dict.fromkeys(before, 0)

        def read() -> bool:
            for stored in log.read_some("reader", positions):
                positions[stored.partition] = stored.offset + 1
            return positions == before == log.heads(list(before))

        until(read, "all is read", 60)
    finally:
        log.close()


@pytest.mark.drill
def test_a_collector_that_starts_before_the_brokers_waits_for_them(own_kafka: Kafka, tmp_path: Path) -> None:
    own_kafka.halt()
    settings = {"log": f"kafka://{own_kafka.bootstrap}?topic=later", "kafka_replication": 1, "kafka_partitions": 4}
    collector = RunningCollector(tmp_path / "data", **settings)
    ready, collector.ready = collector.ready, lambda: _answers(collector)  # type: ignore[method-assign]
    try:
        collector.start()
        assert collector.post(body("early")).status_code == 503
        own_kafka.start()
        until(lambda: collector.post(body("early")).status_code == 202, "the topic is there", 60)
        until(ready, "it says that it is ready", 60)
    finally:
        collector.stop()
    world = KafkaWorld(own_kafka.bootstrap, tmp_path / "data", topic="later")
    try:
        check(world, ["early"])
    finally:
        world.close()


def _answers(collector: RunningCollector) -> bool:
    try:
        return httpx.get(f"{collector.url}/v1/healthz", timeout=10).status_code in (200, 503)
    except httpx.TransportError:
        return False


def test_a_topic_that_cannot_be_used_ends_the_collector_with_the_reason(kafka: Kafka, tmp_path: Path) -> None:
    name = kafka.create_topic(f"small-{time.time_ns()}", 1, max_message_bytes=1000)
    collector = RunningCollector(tmp_path / "data", log=f"kafka://{kafka.bootstrap}?topic={name}")
    with pytest.raises(AssertionError):
        collector.start()
    collector.stop()
    assert "max.message.bytes is 1000, set it to" in collector.output.read_text()


@pytest.mark.parametrize("loss", ["none", "flushed", "gone"])
def test_a_batch_sent_again_lands_once_whatever_the_cache_knows(
    kafka: Kafka, own_redis: Redis, start: Start, loss: str
) -> None:
    collector, world = start(kafka, cache=own_redis.url)
    names = [f"b{n}" for n in range(20)]
    assert {collector.post(body(name)).json()["duplicate"] for name in names} == {0}
    if loss == "flushed":
        import redis

        with redis.Redis.from_url(own_redis.url) as client:
            client.flushall()
    elif loss == "gone":
        own_redis.kill9()
    again = [collector.post(body(name)) for name in names]
    assert {answer.status_code for answer in again} == {202}
    assert {answer.json()["duplicate"] for answer in again} == ({3} if loss == "none" else {0})
    sums = check(world, names)
    assert sums["received"] == 120
    assert sums["landed"] == 60
    assert sums.get("duplicate", 0) + sums.get("landing_duplicate", 0) == 60
