"""Kafka Connect as the lander: collector, topic, a sink's files, scanner, lake and maps, with the real worker."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pandas as pd
import pytest
import recount
from collecting import RunningCollector, now_ms, until
from confluent_kafka import Consumer, TopicPartition
from journey.truth import assert_books_close, assert_every_map_is_exact, import_file
from obstore.store import S3Store
from recount import DATA
from system_helpers import System

from isotherm.clock import HOUR_MS, MINUTE_MS, SystemClock
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.land.scan_watch import standing_still
from services.connect import Connect
from services.kafka import Kafka
from services.kafka_world import KafkaWorld

DEVIZ = DATA / "mouse" / "deviz.jsonl.gz"
SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "kafka-connect"
BY_EVENT = {"log_key": "client", "log_timestamp": "event"}
TEMPLATE = "raw/dt={at:%Y-%m-%d}/hour={at:%H}/client_id={key}/{topic}-{partition}-{offset:020d}.jsonl.gz"

Worker = Callable[..., Connect]


def shipped(file_name: str, /, **replaced: object) -> dict[str, object]:
    """The settings of deploy/kafka-connect, with what a test needs otherwise (underscores for dots)."""
    lines = (SHIPPED / file_name).read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs} | {key.replace("_", "."): one for key, one in replaced.items()}


@pytest.fixture
def connect(kafka: Kafka, connect_worker: Worker) -> Callable[..., Connect]:
    """Starts the shipped worker with the shipped file sink on a topic; `name` and `flush_ms` may differ."""

    def start(topic: str, file: Path, name: str = "isotherm-raw", flush_ms: int = 1000) -> Connect:
        sink = shipped("file-sink.properties", topics=topic, file=file, name=name)
        given = shipped("worker.properties", offset_flush_interval_ms=flush_ms)
        ours = {key: one for key, one in given.items() if key not in ("bootstrap.servers", "listeners")}
        return connect_worker(kafka.bootstrap, sink, worker={k: v for k, v in ours.items() if "filename" not in k})

    return start


def batches(now: int, count: int = 12) -> list[dict[str, Any]]:
    """Batches of two clients, whose events lie in three hours each."""
    times = [now - MINUTE_MS - step * 40 * MINUTE_MS for step in range(4)]
    events = [{"event_time": at, "event_type": "click", "x_norm": 0.1 * n, "y_norm": 0.5} for n, at in enumerate(times)]
    shared = {"screen_id": "home", "events": events}
    return [{"client_id": f"client-{n % 2}", "batch_id": f"b{n}"} | shared for n in range(count)]


def send(world: KafkaWorld, bodies: list[dict[str, Any]]) -> None:
    """By the real collector; every third batch comes twice, the second time from a clock that is 30 minutes off.

    The cache at the door is the collector's own memory, so the second one goes to another collector.
    """
    told = {name: one for name, one in world.told.items() if name not in ("data", "scan")}
    for attempt, skew_ms in enumerate((0, 30 * MINUTE_MS)):
        collector = RunningCollector(world.settings.data / f"collector-{attempt}", **told).start()
        try:
            for body in bodies[:: 3 if attempt else 1]:
                query = f"?sent_at={now_ms() - skew_ms}" if skew_ms else ""
                answer = collector._client.post(f"{collector.url}/events/batch{query}", json=body)
                assert answer.status_code == 202, answer.text
                assert answer.json()["accepted"] == len(body["events"])
        finally:
            collector.stop()


def expected(bodies: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return sorted((b["client_id"], b["batch_id"], n) for b in bodies for n in range(len(b["events"])))


@pytest.fixture
def world(kafka: Kafka, tmp_path: Path) -> Iterator[KafkaWorld]:
    root = tmp_path / "sink"
    root.mkdir()
    made = KafkaWorld(kafka.bootstrap, tmp_path / "data", scan=root.as_uri(), **BY_EVENT)
    yield made
    made.close()


def scanner(world: KafkaWorld, **replaced: Any) -> Scanner:
    settings = world.settings.model_copy(update=replaced)
    return Scanner(settings, world.log, open_source(settings), world.lake, world.manifest, SystemClock())


def on_the_topic(kafka: Kafka, world: KafkaWorld) -> list[Any]:
    """All records by a consumer of the test's own."""
    consumer = Consumer({**kafka.client_settings(), "group.id": uuid4().hex, "enable.auto.commit": False})
    topic = world.told["log"].rpartition("=")[2]
    try:
        found = []
        for partition, head in world.log.heads(world.log.partitions()).items():
            consumer.assign([TopicPartition(topic, partition, 0)])
            end = time.monotonic() + 30
            mine: list[Any] = []
            while len(mine) < head and time.monotonic() < end:
                mine += consumer.consume(head - len(mine), timeout=1)
            found += mine
        return found
    finally:
        consumer.close()


def laid_out(records: list[Any]) -> dict[str, bytes]:
    """Objects as the S3 sink makes them of these records: by record time and key, one value a line, gzip."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for one in records:
        at = datetime.fromtimestamp(one.timestamp()[1] // 1000 // 3600 * 3600, UTC)
        groups.setdefault((at, one.key().decode(), one.partition()), []).append(one)
    objects = {}
    for (at, key, partition), mine in groups.items():
        path = TEMPLATE.format(at=at, key=key, topic=mine[0].topic(), partition=partition, offset=mine[0].offset())
        # Between records a newline, none after the last.
        objects[path] = gzip.compress(b"\n".join(one.value() for one in mine))
    return objects


@pytest.mark.parametrize("place", ["folder", pytest.param("versitygw", marks=pytest.mark.services("versitygw"))])
def test_files_as_the_s3_sink_lays_them_out_land_once(
    kafka: Kafka, world: KafkaWorld, place: str, request: pytest.FixtureRequest
) -> None:
    bodies = batches(now_ms())
    send(world, bodies)
    objects = laid_out(on_the_topic(kafka, world))
    # A sink that starts again writes some of its files a second time, with other boundaries.
    first = min(objects)
    objects[first.replace(".jsonl.gz", "-again.jsonl.gz")] = objects[first]
    replaced = {}
    if place == "folder":
        root = world.settings.data.parent / "sink"
        for path, data in objects.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
    else:
        server = request.getfixturevalue("versitygw")
        bucket = server.make_bucket()
        keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
        store = S3Store(
            bucket, endpoint=server.endpoint, region=server.region, client_options={"allow_http": True}, **keys
        )
        for path, data in objects.items():
            obstore.put(store, path, io.BytesIO(data))
        replaced = {
            "scan": f"s3://{bucket}?endpoint={server.endpoint}&region={server.region}",
            "s3_access_key_id": server.access_key,
            "s3_secret_access_key": server.secret_key,
        }
    one = scanner(world, **replaced)
    assert one.drain() == len(expected(bodies))
    assert world.landed() == expected(bodies)
    # Every record lay in the folder of its client, and its events in the folder's hour.
    assert one.status().misplaced == 0
    for path, data in objects.items():
        hour = int(datetime.fromisoformat(path[7:17] + f"T{path[23:25]}:00+00:00").timestamp() * 1000)
        for line in gzip.decompress(data).splitlines():
            envelope = json.loads(line)
            times = {e["event_time"] + envelope["skew_ms"] for e in envelope["batch"]["events"]}
            assert {at // HOUR_MS * HOUR_MS for at in times} == {hour}
    sums = world.sums()
    assert sums["landed"] == len(expected(bodies))
    assert sums["accepted"] == sums["landed"] + sums["landing_duplicate"]
    assert one.drain() == 0


_SCAN = """
import json, os, signal, sys
from isotherm.clock import SystemClock
from isotherm.config import load_settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.store.db import open_db

told = json.loads(sys.argv[1])
settings, clock = load_settings(**told["settings"]), SystemClock()

def reached(name):
    if name == told["at"]:
        os.kill(os.getpid(), signal.SIGKILL)

manifest = Manifest(open_db(settings.url("db")), clock)
log, lake = open_log(settings, clock), open_lake(settings.url("lake"), settings)
Scanner(settings, log, open_source(settings), lake, manifest, clock, reached).drain()
"""


def test_a_scanner_killed_at_each_step_lands_each_record_once(
    world: KafkaWorld, connect: Callable[..., Connect]
) -> None:
    bodies = batches(now_ms())
    send(world, bodies)
    file = world.settings.data.parent / "sink" / "events.jsonl"
    connect(world.told["log"].rpartition("=")[2], file)
    records = sum(world.log.heads(world.log.partitions()).values())
    until(lambda: file.exists() and file.read_bytes().count(b"\n") == records, "the sink has written all", 60)
    # The first half, then all of it: two landings of one growing file, and a copy of the first.
    lines = file.read_bytes().splitlines(keepends=True)
    copy = file.with_name("copy.jsonl")
    for part in (lines[: len(lines) // 2], lines):
        copy.write_bytes(b"".join(part))
        for step in ("dead", "pending", "written", "landed"):
            told = json.dumps({"settings": world.told, "at": step})
            child = subprocess.run([sys.executable, "-c", _SCAN, told], env={**os.environ, "TZ": "UTC"}, timeout=120)
            # At the last step there may be nothing left to do.
            assert child.returncode == -signal.SIGKILL
            file.touch()
            copy.touch()
    scanner(world).drain()
    assert world.landed() == expected(bodies)
    assert world.sums()["landed"] == len(expected(bodies))


def test_a_sink_that_says_running_and_commits_nothing_is_told(
    world: KafkaWorld, connect: Callable[..., Connect]
) -> None:
    send(world, batches(now_ms(), 3))
    topic, file = world.told["log"].rpartition("=")[2], world.settings.data.parent / "sink" / "events.jsonl"
    name = f"still-{uuid4().hex}"
    worker = connect(topic, file, name, flush_ms=3_600_000)
    until(lambda: file.exists() and file.stat().st_size, "the sink writes", 60)
    assert worker.status(name)["connector"]["state"] == "RUNNING"
    assert {task["state"] for task in worker.status(name)["tasks"]} == {"RUNNING"}
    said = standing_still(world.log, f"connect-{name}", SystemClock(), 4, time.sleep)
    assert said is not None
    assert "committed" in said
    # When it is stopped it commits.
    worker.halt()
    assert standing_still(world.log, f"connect-{name}", SystemClock(), 4, time.sleep) is None


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.skipif(not DEVIZ.exists(), reason="shared data is absent")
def test_every_map_is_exact_through_connect(kafka: Kafka, connect: Callable[..., Connect], tmp_path: Path) -> None:
    shift = recount.days_into_horizon(DEVIZ, 9)
    deviz = recount.read(DEVIZ, shift)
    root, topic = tmp_path / "sink", f"events-{uuid4().hex}"
    root.mkdir()
    group = f"raw-{uuid4().hex}"
    system = System(
        tmp_path / "data",
        log=f"kafka://{kafka.bootstrap}?topic={topic}",
        kafka_partitions=4,
        kafka_replication=1,
        scan=root.as_uri(),
        scan_group=f"connect-{group}",
        **BY_EVENT,
    )
    with system:
        worker = connect(topic, root / "events.jsonl", group)
        import_file(system, DEVIZ, shift)
        system.kill("app")
        worker.kill9()
        worker.start()
        import_file(system, DEVIZ, shift)
        until(lambda: system.get("/v1/status")["lander"]["files"] >= 1, "the scanner has landed the file", 120)
        system.wait_idle()
        assert_every_map_is_exact(system, deviz)
        (root / "delivered-twice.jsonl.gz").write_bytes(gzip.compress((root / "events.jsonl").read_bytes()))
        until(lambda: system.get("/v1/status")["lander"]["files"] == 2, "the second copy is scanned", 120)
        system.wait_idle()
        assert_every_map_is_exact(system, deviz)
        assert_books_close(system, deviz)
        # Only what is listed: files that were merged stay on the disk for a while.
        listed = system.run_json("lake", "ls", "--json")
        frame = pd.concat(pd.read_parquet(tmp_path / "data" / "lake" / file["path"]) for file in listed)
        assert len(frame) == len(deviz.events)
        assert not frame.duplicated(["client_id", "batch_id", "position"]).any()
