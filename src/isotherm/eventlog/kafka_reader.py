"""Reading from Kafka: one consumer per name follows any number of partitions and fetches ahead.

No group decides what is read from where: positions come from the caller, who has them from the manifest.
"""

from collections import deque
from collections.abc import Mapping
from threading import Lock
from time import monotonic
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from isotherm.eventlog.kafka_client import Target, make, unavailable
from isotherm.eventlog.kafka_topic import Topic
from isotherm.eventlog.port import Stored

READ_S: Final = 10.0
"""Records that are there come within this time, or the read fails."""
_POLL_S: Final = 0.2
_AT_ONCE: Final = 64
"""Records taken from the consumer at a time; what is more than the caller wants waits here for the next call."""


class Reader:
    """Follows partitions for one consumer; calls go one at a time."""

    def __init__(self, target: Target, topic: Topic, name: str) -> None:
        self._target = target
        self._topic = topic
        self._name = name
        self._lock = Lock()
        self._consumer: Consumer | None = None
        self._given: dict[int, int] = {}
        self._fetched: dict[int, int] = {}
        self._heads: dict[int, int] = {}
        self._ready = deque[Stored]()
        self._said = "no answer"

    def read(self, positions: Mapping[int, int], max_records: int, max_bytes: int) -> list[Stored]:
        """See EventLog.read_some. Raises Backpressure when the brokers do not give what they have."""
        with self._lock:
            self._aim(positions)
            end = monotonic() + READ_S
            while not self._ready:
                self._pull(0)
                if self._ready or not self._behind():
                    break
                if monotonic() > end:
                    raise unavailable(self._target, f"give records of topic {self._target.topic}", self._said)
                self._pull(_POLL_S)
            return self._take(max_records, max_bytes)

    def know(self, heads: Mapping[int, int]) -> None:
        """Where the partitions end, as somebody has just asked. Waits for no read."""
        self._heads = {**self._heads, **heads}

    def close(self) -> None:
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
            self._consumer = None

    def _aim(self, positions: Mapping[int, int]) -> None:
        """Follow these partitions from these offsets; what goes on where it was keeps what was fetched ahead."""
        moved = {p: offset for p, offset in positions.items() if self._given.get(p) != offset}
        dropped = [p for p in self._given if p not in positions or p in moved]
        if not moved and not dropped:
            return
        consumer = self._consumer = self._consumer or self._open()
        topic = self._target.topic
        if dropped:
            consumer.incremental_unassign([TopicPartition(topic, p) for p in dropped])
            for p in dropped:
                del self._given[p], self._fetched[p]
            self._ready = deque(stored for stored in self._ready if stored.partition in self._given)
        if moved:
            consumer.incremental_assign([TopicPartition(topic, p, offset) for p, offset in moved.items()])
            self._given |= moved
            self._fetched |= moved

    def _open(self) -> Consumer:
        options = self._target.client(
            check_crcs=True,
            fetch_queue_backoff_ms=10,
            fetch_wait_max_ms=100,
            fetch_message_max_bytes=4 << 20,
            topic_metadata_refresh_interval_ms=30_000,
        )
        own = {
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "group.id": self._target.group(self._name),
            "isolation.level": "read_committed",
        }
        return make(Consumer, options | own)

    def _pull(self, timeout_s: float) -> None:
        """Take what the consumer has, waiting for the first record at most so long."""
        if self._consumer is None:
            return
        found = self._consumer.consume(_AT_ONCE, 0) if timeout_s == 0 else self._consumer.consume(1, timeout_s)
        for message in found:
            self._note(message)

    def _note(self, message: Message) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF and partition in self._fetched and offset is not None:
                # Beyond the last record there may be marks of transactions, which no consumer is given.
                self._fetched[partition] = max(offset, self._fetched[partition])
            else:
                self._said = error.str()
        elif partition in self._fetched and offset is not None and offset >= self._fetched[partition]:
            self._fetched[partition] = offset + 1
            self._ready.append(Stored(partition, offset, message.timestamp()[1], message.value() or b""))

    def _behind(self) -> bool:
        """Whether some partition has records that were not given. Asks only when it looks as if none had."""
        if not any(self._fetched[p] < self._heads.get(p, 0) for p in self._fetched):
            self.know(self._topic.heads(list(self._fetched)))
        return any(self._fetched[p] < self._heads.get(p, 0) for p in self._fetched)

    def _take(self, max_records: int, max_bytes: int) -> list[Stored]:
        found: list[Stored] = []
        while len(found) < max_records:
            if not self._ready:
                self._pull(0)
            if not self._ready or (found and len(self._ready[0].value) > max_bytes):
                break
            stored = self._ready.popleft()
            max_bytes -= len(stored.value)
            self._given[stored.partition] = stored.offset + 1
            found.append(stored)
        return found
