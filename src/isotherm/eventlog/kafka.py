"""The log at scale: one Kafka topic, `kafka://host:port,host:port?topic=NAME`.

Around this file stand: `kafka_client.py` (addresses, options, errors), `kafka_topic.py` (making and checking the
topic), `kafka_writer.py`, `kafka_reader.py` and `kafka_group.py` (who reads which partitions).

Kafka keeps no ids: `knows_ids` is False, an id that was appended is stored again, and landing drops it. Retention is
the brokers', by time: a record that was not landed within `log_retention_days` is gone, whatever consumers committed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from threading import RLock
from time import monotonic
from typing import Any, Final, TypeVar

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.kafka_client import Target, ask, target_of
from isotherm.eventlog.kafka_group import Member
from isotherm.eventlog.kafka_reader import Reader
from isotherm.eventlog.kafka_topic import Topic
from isotherm.eventlog.kafka_writer import Writer
from isotherm.eventlog.port import (
    MAX_RECORD_BYTES,
    LogStatus,
    Position,
    Record,
    Stored,
    check_commit,
    check_records,
)

_SPOT: Final = "spot"
"""Reads without a consumer's name."""
_COMMIT_S: Final = 3.0
_COMMIT_PAUSE_S: Final = 30.0
"""After a commit that failed, none is tried for so long."""
_log = structlog.get_logger("isotherm.eventlog")
T = TypeVar("T")


class KafkaLog:
    """An EventLog on a topic; see the module. Clients are made when they are first needed."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target = target
        self._settings = settings
        self._pid = os.getpid()
        self._lock = RLock()
        self._topic = Topic(target, settings)
        self._writer: Writer | None = None
        self._readers: dict[str, Reader] = {}
        self._members: dict[str, Member] = {}
        self._commit_again = 0.0
        self._closed = False

    @property
    def max_record_bytes(self) -> int:
        return MAX_RECORD_BYTES

    @property
    def knows_ids(self) -> bool:
        return False

    @property
    def retention_ms(self) -> int | None:
        """The topic's, as far as it was asked: None before the brokers were reached."""
        return self._topic.retention_ms

    @property
    def identity(self) -> str:
        self._check_usable()
        return self._topic.identity

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        """Return when every record is confirmed by all replicas in sync. No position is ever None.

        After Backpressure some of the records may be on the log nevertheless, unlike on other logs.
        """
        self._check_usable()
        check_records(records)
        if not records:
            return []
        self._topic.ensure()
        return self._write().append(records)

    def partitions(self) -> Sequence[int]:
        self._check_usable()
        return self._topic.partitions()

    def assigned(self, consumer: str) -> Sequence[int]:
        """What the group `TOPIC.CONSUMER` gives this process; it is a member from the first question on."""
        self._check_usable()
        self._topic.ensure()
        with self._lock:
            member = self._members.get(consumer)
            if member is None or not member.alive():
                member = self._members[consumer] = Member(self._target, consumer)
        return member.partitions()

    def read(
        self, partition: int, offset: int, *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        """For a look here and there; whoever follows the log uses `read_some`."""
        self._check_partition(partition)
        return self._reader(_SPOT).read({partition: offset}, max_records, max_bytes)

    def read_some(
        self, consumer: str, positions: Mapping[int, int], *, max_records: int = 10_000, max_bytes: int = 64 << 20
    ) -> list[Stored]:
        self._check_usable()
        return self._reader(consumer).read(positions, max_records, max_bytes)

    def head(self, partition: int) -> int:
        self._check_partition(partition)
        return self.heads([partition])[partition]

    def heads(self, partitions: Sequence[int]) -> dict[int, int]:
        self._check_usable()
        heads = self._topic.heads(partitions)
        with self._lock:
            for reader in self._readers.values():
                reader.know(heads)
        return heads

    def commit(self, consumer: str, partition: int, offset: int) -> None:
        """Set the offset of group `TOPIC.CONSUMER`, if that can be done now. It only shows lag: landing waits for no
        coordinator that is away, and the next commit says all that this one would have said."""
        self._check_partition(partition)
        check_commit(consumer, offset)
        member = self._members.get(consumer)
        if member is not None and member.alive():
            member.commit(partition, offset)
        elif monotonic() > self._commit_again:
            self._commit(consumer, partition, offset)

    def _commit(self, consumer: str, partition: int, offset: int) -> None:
        wanted = ConsumerGroupTopicPartitions(
            self._target.group(consumer), [TopicPartition(self._target.topic, partition, offset)]
        )

        def question(seconds: float) -> None:
            self._one(self._topic.admin.alter_consumer_group_offsets([wanted], request_timeout=seconds), seconds)

        try:
            ask(self._target, f"remember the offset of consumer {consumer}", question, _COMMIT_S)
        except Backpressure as error:
            self._commit_again = monotonic() + _COMMIT_PAUSE_S
            _log.info("an offset was not committed", reason=str(error))

    def healthy(self) -> None:
        self._check_usable()
        self._topic.ensure()
        self._write().probe()

    def expire(self, now_ms: int, landed: Mapping[int, int]) -> list[str]:
        """Nothing, as a rule: retention is the topic's. Where records bear event times (`log_timestamp`), which no
        retention by time can go by, what is landed and all consumers have committed is deleted."""
        self._check_usable()
        if self._settings.log_timestamp != "event":
            return []
        tails = self._topic.tails(self.partitions())
        consumers = self._consumers()
        committed = {p: min((done.get(p, 0) for done in consumers.values()), default=0) for p in tails}
        floors = {p: min(floor, landed.get(p, 0)) for p, floor in committed.items()}
        wanted = {p: floor for p, floor in floors.items() if floor > tails[p]}
        self.delete_below(wanted)
        return [f"{self._target.topic}-{p} up to {floor - 1}" for p, floor in wanted.items()]

    def delete_below(self, offsets: Mapping[int, int]) -> None:
        """Delete the records below an offset per partition, for good and for everybody."""
        if offsets:
            self._topic.delete_below(offsets)

    def ids_since(self, since_ms: int) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def status(self) -> LogStatus:
        """Sizes are 0: the brokers do not tell clients."""
        partitions = self.partitions()
        return LogStatus(
            url=self._target.url,
            head=self.heads(partitions),
            tail=self._topic.tails(partitions),
            bytes=0,
            max_bytes=0,
            consumers=self._consumers(),
            segments=[],
            set_aside=[],
        )

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for member in self._members.values():
            member.close()
        for reader in self._readers.values():
            reader.close()
        if self._writer is not None:
            self._writer.close()

    def _consumers(self) -> dict[str, dict[int, int]]:
        """Committed offsets by the consumers' names: of groups `TOPIC.CONSUMER` and, by full name, of Kafka Connect."""

        def names(seconds: float) -> list[str]:
            found = self._topic.admin.list_consumer_groups(request_timeout=seconds).result(seconds)
            return [group.group_id for group in found.valid]

        own = self._target.group("")
        groups = [g for g in ask(self._target, "list consumer groups", names) if g.startswith((own, "connect-"))]
        offsets = {group.removeprefix(own): self._committed(group) for group in groups}
        return {name: found for name, found in sorted(offsets.items()) if found}

    def _committed(self, group: str) -> dict[int, int]:
        def question(seconds: float) -> dict[int, int]:
            asked = self._topic.admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=seconds
            )
            found = self._one(asked, seconds).topic_partitions
            return {at.partition: at.offset for at in found if at.topic == self._target.topic and at.offset >= 0}

        return ask(self._target, f"show the offsets of group {group}", question)

    def _write(self) -> Writer:
        with self._lock:
            self._writer = self._writer or Writer(self._target)
            return self._writer

    def _reader(self, name: str) -> Reader:
        with self._lock:
            if name not in self._readers:
                self._readers[name] = Reader(self._target, self._topic, name)
            return self._readers[name]

    @staticmethod
    def _one(asked: "Mapping[Any, Future[T]]", seconds: float) -> T:
        (future,) = asked.values()
        return future.result(seconds)

    def _check_partition(self, partition: int) -> None:
        if partition not in self.partitions():
            raise ValueError(f"topic {self._target.topic} has no partition {partition}")

    def _check_usable(self) -> None:
        if self._closed:
            raise ValueError(f"the event log {self._target.url} is closed")
        if os.getpid() != self._pid:
            raise RuntimeError("an event log does not survive fork: open it in the new process")


def open_kafka(url: str, settings: Settings, clock: Clock) -> KafkaLog:
    """Open the log, and make or check its topic if the brokers can be reached now; otherwise when they can.

    Raises ConfigError for a wrong URL or option and for a topic that cannot be used as it is.
    """
    log = KafkaLog(target_of(url, settings), settings)
    try:
        log.partitions()
    except Backpressure:
        # Whoever appends is told, again and again, until the brokers are there.
        pass
    except BaseException:
        log.close()
        raise
    return log
