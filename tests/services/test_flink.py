"""Live windows by Flink on real servers: equal to pandas and to the built-in consumer, and exact through failures."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from landing import event
from sqlalchemy.engine import Engine
from windows import SIZES, Counts, again, living, many, sent, windows

from isotherm.clock import HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.eventlog.port import EventLog, Record, open_log
from isotherm.rollup.engines.flink.gateway import FlinkError, Session
from isotherm.rollup.engines.flink.progress import progress
from isotherm.rollup.engines.flink.stream import FlinkStream
from isotherm.rollup.engines.flink.topic import Topic
from isotherm.rollup.leases import Busy
from isotherm.rollup.windows.builtin import Builtin
from isotherm.rollup.windows.port import Stream, open_stream
from isotherm.rollup.windows.read import degraded, read_windows
from isotherm.store.cache import Cache
from isotherm.store.cache_memory import MemoryCache
from isotherm.store.db import open_db
from services.http import ask
from services.server import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]

WAIT_S = 240


@dataclass
class Deployment:
    """A deployment on Kafka and Flink with topics of its own."""

    settings: Settings
    log: EventLog
    database: Engine
    rest: str
    clock: SystemClock = field(default_factory=SystemClock)

    def stream(self, cache: Cache, **changed: Any) -> Stream:
        settings = self.settings.model_copy(update=changed)
        return open_stream(settings, self.log, cache, self.database, self.clock)

    def flink(self) -> FlinkStream:
        made = self.stream(MemoryCache(self.clock))
        assert isinstance(made, FlinkStream)
        return made

    def jobs(self) -> list[dict[str, Any]]:
        """Jobs on the cluster that read this deployment's topic, by the dashboard's own words."""
        family = self.flink()._job._job.family
        return [job for job in ask(f"{self.rest}/jobs/overview")["jobs"] if job["name"].startswith(family)]

    def running(self) -> list[str]:
        return [job["jid"] for job in self.jobs() if job["state"] in ("RUNNING", "RESTARTING", "CREATED")]

    def written(self) -> Counts:
        """The last row of every window in the topic, read by a plain consumer."""
        name, bootstrap = self.settings.windows_topic, self.settings.log.removeprefix("kafka://").split("?")[0]
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid4().hex, "enable.partition.eof": True})
        names = {ms: size for size, ms in SIZES.items()}
        found: Counts = {}
        try:
            partitions = set(consumer.list_topics(name, 10).topics[name].partitions)
            consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
            while partitions:
                message = consumer.poll(10)
                assert message is not None
                if message.error() is not None:
                    partitions.discard(message.partition())
                elif message.value() is not None:
                    row = json.loads(message.value())
                    key = (row["client_id"], row["screen_id"], row["event_type"], names[row["size_ms"]], row["start"])
                    found[key] = row["events"]
        finally:
            consumer.close()
        return found

    def await_written(self, expected: Counts) -> None:
        """Wait until the topic says this; the last look's difference is shown when it never does."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.written()) != expected and time.monotonic() < deadline:
            time.sleep(0.5)
        assert found == expected


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Deployments; their jobs are stopped at the end."""
    made: list[Deployment] = []

    def make(kafka: Any, flink: Any, **settings: Any) -> Deployment:
        topic = f"events-{uuid4().hex[:8]}"
        given = {
            "data": tmp_path,
            "log": f"kafka://{kafka.bootstrap}?topic={topic}",
            "windows_topic": f"{topic}.windows",
            "stream": f"flink://{flink.gateway.removeprefix('http://')}",
            "kafka_partitions": 3,
            "kafka_replication": 1,
        }
        built = Settings(**given | settings)
        made.append(
            Deployment(
                built,
                open_log(built, SystemClock()),
                open_db(f"sqlite://{tmp_path / f'{len(made)}.db'}"),
                flink.rest,
            )
        )
        return made[-1]

    yield make
    for one in made:
        with Session(one.settings.stream) as session:
            for job in one.running():
                session.run(f"STOP JOB '{job}'")
        one.log.close()
        one.database.dispose()


def shown(cache: Cache, records: Sequence[Record], now: int) -> Counts:
    found: Counts = {}
    for client_id, screen_id in {tuple(record.key.split("|")) for record in records}:
        for size in SIZES:
            for window in read_windows(cache, client_id, screen_id, size, now):
                found |= {(client_id, screen_id, kind, size, window.start): n for kind, n in window.counts.items()}
    return found


@pytest.mark.parametrize("log_timestamp", ["received", "event"])
def test_flink_and_the_built_in_consumer_show_what_pandas_counts(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment], log_timestamp: str
) -> None:
    deployment = deploy(kafka, flink_cluster, log_timestamp=log_timestamp)
    records = many(11, deployment.clock.now_ms(), 120)
    deployment.log.append(records)
    split = log_timestamp == "event"
    caches = {"builtin": MemoryCache(deployment.clock), deployment.settings.stream: MemoryCache(deployment.clock)}
    streams = [deployment.stream(cache, stream=engine) for engine, cache in caches.items()]
    assert [type(stream) for stream in streams] == [Builtin, FlinkStream]
    stop = threading.Event()
    with ThreadPoolExecutor(len(streams)) as threads:
        try:
            for stream in streams:
                threads.submit(stream.run, stop)
            deployment.await_written(windows(records, split=split))
            deadline = time.monotonic() + WAIT_S
            for cache in caches.values():
                now = deployment.clock.now_ms()
                while shown(cache, records, now) != living(records, now, split=split):
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
                    now = deployment.clock.now_ms()
                assert len(shown(cache, records, now)) > 30
                assert degraded(cache, deployment.settings, "1m", now) is None
            assert [stream.status().state for stream in streams] == ["counting", "counting"]
            assert [stream.status().last_error for stream in streams] == [None, None]
        finally:
            stop.set()


def test_submitted_twice_and_by_two_processes_there_is_one_job(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, flink_cluster)
    said: list[str] = []

    def submit() -> None:
        try:
            said.append(deployment.flink().ensure())
        except Busy as error:
            said.append(str(error))

    together = [threading.Thread(target=submit) for _ in range(2)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    submit()
    (job,) = deployment.running()
    assert len(deployment.jobs()) == 1
    deadline = time.monotonic() + WAIT_S
    while said[-1] != f"job {job} runs":
        # Its tasks may still be on their way.
        assert time.monotonic() < deadline
        time.sleep(0.5)
        submit()
    assert deployment.running() == [job]
    assert f"job {job} starts from the log" in said
    # A join would keep all events as state, and repeat them after a recovery.
    vertices = [vertex["name"] for vertex in ask(f"{deployment.rest}/jobs/{job}")["vertices"]]
    assert len(vertices) == 3
    assert not [name for name in vertices if "Join" in name]


def test_a_restart_goes_on_from_a_savepoint_and_knows_what_it_counted(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, flink_cluster)
    now = deployment.clock.now_ms()
    first = [sent("shop", f"a{i}", [event(now - 1000 * i - j) for j in range(9)], received_at=now) for i in range(50)]
    deployment.log.append(first)
    deployment.flink().ensure()
    deployment.await_written(windows(first))
    (before,) = deployment.running()
    said = deployment.flink().restart()
    (after,) = deployment.running()
    assert after != before
    assert f"job {after} goes on from " in said
    assert "savepoint" in said
    restored = ask(f"{deployment.rest}/jobs/{after}/checkpoints")["latest"]["restored"]
    assert restored["external_path"] in said
    assert restored["is_savepoint"]
    copies = [again(one, now + 5000) for one in first[::3]]
    more = [sent("shop", f"b{i}", [event(now - 700 * i)], received_at=now + 6000) for i in range(50)]
    deployment.log.append(copies + more)
    deployment.await_written(windows([*first, *copies, *more]))


def test_a_changed_job_takes_over_from_the_old_one(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, flink_cluster)
    now = deployment.clock.now_ms()
    records = [sent("shop", f"a{i}", [event(now - 1000 * i)], received_at=now) for i in range(50)]
    deployment.log.append(records)
    deployment.flink().ensure()
    deployment.await_written(windows(records))
    (before,) = deployment.running()
    # Another client name is another SQL text, with the same plan.
    changed = deployment.settings.model_copy(update={"kafka_options": {"client.dns.lookup": "use_all_dns_ips"}})
    deployment.settings = changed
    said = deployment.flink().ensure()
    (after,) = deployment.running()
    assert after != before
    assert f"job {after} goes on from " in said
    more = [sent("shop", f"b{i}", [event(now - 1000 * i)], received_at=now) for i in range(50)]
    deployment.log.append(more)
    deployment.await_written(windows(records + more))


def test_a_job_that_was_cancelled_by_hand_goes_on_from_its_last_checkpoint(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, flink_cluster)
    now = deployment.clock.now_ms()
    records = [sent("shop", f"a{i}", [event(now - 1000 * i)], received_at=now) for i in range(50)]
    deployment.log.append(records)
    deployment.flink().ensure()
    deployment.await_written(windows(records))
    (job,) = deployment.running()
    deadline = time.monotonic() + WAIT_S
    while not ask(f"{deployment.rest}/jobs/{job}/checkpoints")["counts"]["completed"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    ask(f"{deployment.rest}/jobs/{job}?mode=cancel", method="PATCH")
    while [one["state"] for one in deployment.jobs()] != ["CANCELED"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    more = [sent("shop", f"b{i}", [event(now - 1000 * i)], received_at=now) for i in range(50)]
    deployment.log.append(more)
    said = deployment.flink().ensure()
    assert "goes on from" in said
    assert "/chk-" in said
    deployment.await_written(windows(records + more))


@pytest.mark.drill
def test_a_killed_task_manager_loses_and_doubles_nothing(
    kafka: Any, own_flink: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, own_flink)
    deployment.flink().ensure()
    (job,) = deployment.running()
    now = deployment.clock.now_ms()
    records: list[Record] = []
    done = threading.Event()

    def send() -> None:
        number = 0
        while not done.is_set():
            events = [event(now - (number * 37 + j * 911) % HOUR_MS) for j in range(40)]
            one = sent(f"c{number % 3}", f"b{number}", events, screen_id=f"s{number % 7}", received_at=now)
            batch = [one, again(records[-5], now)] if number % 10 == 9 else [one]
            deployment.log.append(batch)
            records.extend(batch)
            number += 1
            time.sleep(0.01)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        deadline = time.monotonic() + WAIT_S
        while ask(f"{deployment.rest}/jobs/{job}/checkpoints")["counts"]["completed"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        own_flink.kill_task_manager()
        watcher = deployment.flink()
        said = ""
        while "counts nothing" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            said = looked_at(watcher)
        assert said.startswith(f"job {job} is ")
        own_flink.start_task_manager()
        while ask(f"{deployment.rest}/jobs/{job}/checkpoints")["counts"]["restored"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        done.set()
        sender.join()
    assert len(records) > 500
    deployment.await_written(windows(records))
    assert deployment.running() == [job]
    # What the job commits with its checkpoints says how far it is.
    while progress(deployment.log, deployment.clock.now_ms()) != (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert watcher.ensure() == f"job {job} runs"


def looked_at(stream: FlinkStream) -> str:
    try:
        return stream.ensure()
    except FlinkError as error:
        return str(error)


def test_the_windows_topic_is_compacted(kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(kafka, flink_cluster)
    deployment.flink()._topic.ensure()
    resource = ConfigResource(ResourceType.TOPIC, deployment.settings.windows_topic)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    config = admin.describe_configs([resource])[resource].result(10)
    assert "compact" in config["cleanup.policy"].value


def test_a_windows_topic_that_keeps_too_little_is_refused_and_says_what_to_set(kafka: Any) -> None:
    name = f"w-{uuid4().hex[:8]}"
    settings = Settings(log=f"kafka://{kafka.bootstrap}", windows_topic=name, kafka_replication=1)
    topic = Topic(settings, SystemClock())
    topic.ensure()
    wait_until("the topic to be found", lambda: _ensured(topic), 30)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    other = f"{name}-other"
    new = NewTopic(other, 1, 1, config={"cleanup.policy": "delete", "retention.ms": "60000"})
    admin.create_topics([new])[other].result(30)
    unfit = Topic(settings.model_copy(update={"windows_topic": other}), SystemClock())
    said = r"set it to compact,delete; retention\.ms is 60000, set it to 7500000 or more"
    with pytest.raises(ConfigError, match=said):
        wait_until("the broker to know the topic that it has just made", lambda: _ensured(unfit), 30)


def _ensured(topic: Topic) -> bool:
    try:
        topic.ensure()
    except Backpressure:
        return False
    return True


def test_the_reader_of_the_topic_has_caught_up_at_what_stood_there_in_the_beginning(kafka: Any) -> None:
    name = f"w-{uuid4().hex[:8]}"
    settings = Settings(log=f"kafka://{kafka.bootstrap}", windows_topic=name, kafka_replication=1, kafka_partitions=1)
    topic = Topic(settings, SystemClock())
    topic.ensure()
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    row = {"client_id": "shop", "screen_id": "s", "event_type": "click", "size_ms": 60_000, "start": 0, "newest": 1}
    for events in range(3):
        producer.produce(name, json.dumps(row | {"events": events}), "k")
    producer.flush()
    topic.begin()
    try:
        assert not topic.caught_up
        found: list[int] = []
        while not topic.caught_up:
            found += [window.events for window in topic.read(1.0)]
        assert found == [0, 1, 2]
    finally:
        topic.close()


def test_what_flink_refuses_is_told_by_its_cause(kafka: Any, flink_cluster: Any) -> None:
    with Session(f"flink://{flink_cluster.gateway.removeprefix('http://')}", ["s3cret"]) as session:
        with pytest.raises(FlinkError, match=r"(?i)encountered"):
            session.run("SELEKT 1")
        with pytest.raises(FlinkError, match="nowhere"):
            session.run("INSERT INTO nowhere SELECT 1")
        with pytest.raises(FlinkError) as told:
            session.run("SELECT * FROM `s3cret`")
    assert "s3cret" not in str(told.value)


def test_without_a_gateway_the_stream_says_so_and_goes_on_reading(
    kafka: Any, flink_cluster: Any, deploy: Callable[..., Deployment]
) -> None:
    deployment = deploy(kafka, flink_cluster)
    cache = MemoryCache(deployment.clock)
    stream = deployment.stream(cache, stream="flink://127.0.0.1:1")
    stop = threading.Event()
    thread = threading.Thread(target=stream.run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + WAIT_S
        while stream.status().state != "counting" or stream.status().last_error is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while "does not answer" not in (degraded(cache, deployment.settings, "1m", deployment.clock.now_ms()) or ""):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()


def test_flink_needs_a_log_on_kafka(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, stream="flink://127.0.0.1:8083", log="memory://")
    clock = SystemClock()
    log, database = open_log(settings, clock), open_db(settings.url("db"))
    try:
        with pytest.raises(ConfigError, match="set `log` to kafka"):
            open_stream(settings, log, MemoryCache(clock), database, clock)
    finally:
        log.close()
        database.dispose()
