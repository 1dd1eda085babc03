"""Appending to Kafka: a call returns when the brokers have confirmed each of its records.

Kafka takes records one by one: when a call fails, some of its records may stand on the log all the same. The caller
gets Backpressure and the sender comes again, so those are there twice; landing drops the second ones.
"""

from collections.abc import Sequence
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from isotherm.errors import Backpressure
from isotherm.eventlog.kafka_client import Target, make, unavailable
from isotherm.eventlog.kafka_topic import MESSAGE_BYTES
from isotherm.eventlog.port import Position, Record

DELIVERY_S: Final = 8.0
"""How long a record may take until it is confirmed: long enough for a broker's restart, shorter than senders wait."""
PROBE_S: Final = 2.0
ID_HEADER: Final = "id"
_WAIT_S: Final = 0.2
_GRACE_S: Final = 4.0
_QUEUED_KBYTES: Final = 512 << 10


def producer_options(target: Target) -> dict[str, Any]:
    """librdkafka's options of the producer."""
    options = target.client(
        compression_type="lz4",
        partitioner="murmur2_random",
        linger_ms=5,
        batch_size=1 << 20,
        message_max_bytes=MESSAGE_BYTES,
        message_timeout_ms=int(DELIVERY_S * 1000),
        request_timeout_ms=int(DELIVERY_S * 1000),
        queue_buffering_max_kbytes=_QUEUED_KBYTES,
        topic_metadata_refresh_interval_ms=30_000,
    )
    return options | {"enable.idempotence": True, "acks": "all"}


class Writer:
    """One idempotent producer; several threads may append."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = Lock()
        self._producer = self._make()
        self._failing = False

    def _make(self) -> Producer:
        return make(Producer, producer_options(self._target))

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        """Write the records and wait until all are confirmed. Raises Backpressure, see the module."""
        if self._failing:
            # The brokers were away a moment ago: find out before anything waits for them.
            self.probe()
        call = _Call(len(records))
        producer, end = self._producer, monotonic() + DELIVERY_S + _GRACE_S
        try:
            for index, record in enumerate(records):
                self._hand_over(producer, record, partial(call.done, index), end)
            while call.waiting and monotonic() < end:
                # Not poll: flush sends what is queued without waiting for the linger time.
                producer.flush(_WAIT_S)
        except (KafkaException, BufferError) as error:
            self._failed(producer, error)
            raise unavailable(self._target, "take the records", error) from error
        if call.error is not None or call.waiting:
            self._failed(producer, call.error)
            said = call.error.str() if call.error else "no answer"
            raise unavailable(self._target, f"take {len(records)} records", said)
        self._failing = False
        return list(call.positions)

    def _hand_over(self, producer: Producer, record: Record, done: "partial[None]", end: float) -> None:
        headers: dict[str, str | bytes | None] | None = None if record.id is None else {ID_HEADER: record.id}
        while True:
            try:
                producer.produce(
                    self._target.topic,
                    record.value,
                    record.key.encode(),
                    on_delivery=done,
                    timestamp=record.timestamp,
                    headers=headers,
                )
            except BufferError:
                if monotonic() > end:
                    raise
                producer.poll(_WAIT_S)
            else:
                return

    def _failed(self, producer: Producer, error: "BaseException | KafkaError | None") -> None:
        """A producer that met an error it cannot get over is replaced."""
        self._failing = True
        inner = error.args[0] if isinstance(error, KafkaException) else error
        if isinstance(inner, KafkaError) and (inner.fatal() or inner.code() == KafkaError._FATAL):
            with self._lock:
                if self._producer is producer:
                    self._producer = self._make()

    def probe(self) -> None:
        """Return when every partition could take a record now; raise Backpressure with the reason otherwise."""
        name = self._target.topic
        try:
            topic = self._producer.list_topics(name, timeout=PROBE_S).topics[name]
        except KafkaException as error:
            raise unavailable(self._target, "be reached", error) from error
        if topic.error is not None:
            raise unavailable(self._target, f"give topic {name}", topic.error.str())
        headless = [number for number, partition in topic.partitions.items() if partition.leader < 0]
        if headless:
            raise Backpressure(
                f"no broker leads partition {headless[0]} of topic {name} (and {len(headless) - 1} more)"
            )

    def close(self) -> None:
        self._producer.flush(_WAIT_S)
        self._producer.close()


class _Call:
    """What became of the records of one append; filled by the producer's thread of callbacks."""

    def __init__(self, size: int) -> None:
        self.waiting = size
        self.positions: list[Position | None] = [None] * size
        self.error: KafkaError | None = None
        self._lock = Lock()

    def done(self, index: int, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        with self._lock:
            self.waiting -= 1
            if error is not None:
                self.error = error
            elif partition is not None and offset is not None:
                self.positions[index] = Position(partition, offset)
