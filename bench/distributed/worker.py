"""Floors, and the lander, each in a process of its own: `python -m bench.distributed.worker WHAT ARGUMENTS`.

Settings come from the environment. Prints one JSON line: what was done, the seconds, and this process's CPU seconds;
programs are loaded and the topic is made before the clock starts.

    produce SAMPLES SECONDS GROUP  librdkafka alone: the records again and again, as fast as the brokers confirm them;
                              with a GROUP, so many at a time, all confirmed before the next ones
    fill SAMPLES COUNT FIRST  COUNT records, each a batch of its own, with ids from the number FIRST on
    land TOPIC                the lander, from the first record to the last, after those of another topic
    move RECORDS PREFIX       the lander's floor: read as many records, put the bytes of the lake's files under PREFIX
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import obstore
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from obstore.store import S3Store

from bench.distributed.samples import Sample, load
from isotherm.cli.roles import Parts
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.kafka_client import Target, target_of
from isotherm.eventlog.kafka_writer import ID_HEADER, producer_options
from isotherm.eventlog.port import open_log
from isotherm.land.lake import S3Place, open_lake

READ_SECONDS: Final = 60
BOUNDED: Final = {"queue.buffering.max.messages": 2_000, "message.timeout.ms": 60_000}
"""A flood fills any queue: with a longer one, records would only wait in it until they are given up."""


def produce(samples: str, seconds: str, group: str = "0") -> dict[str, Any]:
    """One thread hands over records; the clock stops when the last one is confirmed."""
    records = load(Path(samples))
    # Headers are made beforehand: hashing ids is no work of librdkafka's.
    ids = {record.batch_id: record.id for record in records}
    _make_topic()

    def until_end() -> Iterator[Sample]:
        end = time.perf_counter() + float(seconds)
        for record in cycle(records):
            if time.perf_counter() >= end:
                return
            yield record

    return _timed(lambda: _produce(until_end(), ids, int(group)))


def fill(samples: str, count: str, first: str = "0") -> dict[str, Any]:
    """Records for landing to read; no two have the same batch id."""
    turn = cycle(load(Path(samples)))
    _make_topic()
    return _timed(lambda: _produce((next(turn).renamed(int(first) + number) for number in range(int(count))), {}))


def _make_topic() -> None:
    """As the collector makes it."""
    log = open_log(Settings(), SystemClock())
    try:
        log.healthy()
    finally:
        log.close()


def _produce(records: Iterator[Sample], ids: dict[str, bytes], group: int = 0) -> dict[str, Any]:
    target = _target()
    producer = Producer(producer_options(target) | BOUNDED)
    failed: list[KafkaError] = []

    def done(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    events = number = 0
    for record in records:
        headers: dict[str, Any] = {ID_HEADER: ids.get(record.batch_id) or record.id}
        while True:
            try:
                producer.produce(target.topic, record.value, record.key, headers=headers, on_delivery=done)
            except BufferError:
                producer.poll(0.01)
            else:
                break
        producer.poll(0)
        number, events = number + 1, events + record.events
        if group and number % group == 0:
            producer.flush(READ_SECONDS)
    left = producer.flush(READ_SECONDS)
    producer.close()
    if failed or left:
        raise IsothermError(f"bench: {len(failed)} records were refused and {left} not confirmed")
    return {"records": number, "events": events}


def land(warm: str) -> dict[str, Any]:
    """Land all that is on the log, after a few records of the topic `warm`, which load what a lander loads late."""
    settings = Settings()
    first, second = (settings.url(name) for name in ("log", "lake"))
    aside = {"log": f"{first.partition('?')[0]}?topic={warm}", "lake": second.replace("/lake?", "/warm?")}
    with Parts(settings.model_copy(update=aside)) as parts:
        parts.lander.drain()
    with Parts(settings) as parts:
        lander, log = parts.lander, parts.log
        log.heads(log.partitions())
        parts.manifest.progress(log.identity)
        return _timed(lambda: {"events": lander.drain()})


def move(records: str, prefix: str) -> dict[str, Any]:
    """Read with confluent-kafka alone, then put with obstore alone."""
    settings = Settings()
    lake, target = open_lake(settings.url("lake"), settings), _target()
    place = lake.place
    if not isinstance(place, S3Place):
        raise IsothermError("bench: the lake is not on S3")
    files = [lake.get(path) for path, _ in lake.list()]
    store = S3Store(
        place.bucket,
        prefix=prefix,
        region=place.region,
        endpoint=place.endpoint,
        access_key_id=place.access_key_id,
        secret_access_key=place.secret_access_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def work() -> dict[str, Any]:
        size = _read(target, int(records))
        for number, data in enumerate(files):
            obstore.put(store, f"part-{number}", data)
        return {"record_bytes": size, "files": len(files), "file_bytes": sum(map(len, files))}

    return _timed(work)


def _read(target: Target, records: int) -> int:
    """Bytes of the topic's first records."""
    consumer = Consumer(
        target.client(fetch_message_max_bytes=4 << 20)
        | {"group.id": "floor", "enable.auto.commit": False, "check.crcs": True}
    )
    try:
        partitions = consumer.list_topics(target.topic, READ_SECONDS).topics[target.topic].partitions
        consumer.assign([TopicPartition(target.topic, partition, 0) for partition in partitions])
        size = count = 0
        end = time.perf_counter() + READ_SECONDS
        while count < records:
            # It waits for all of them, or for the whole time.
            found = consumer.consume(200, 0.02)
            if time.perf_counter() > end:
                raise IsothermError(f"bench: the topic has {count} records and not {records}")
            count += len(found)
            size += sum(len(message.value() or b"") for message in found)
    finally:
        consumer.close()
    return size


def _target() -> Target:
    settings = Settings()
    return target_of(settings.url("log"), settings)


def _timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    cpu, start = time.process_time(), time.perf_counter()
    found = work()
    return found | {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps({"produce": produce, "fill": fill, "land": land, "move": move}[sys.argv[1]](*sys.argv[2:])))
