"""The topic: made as the settings say, or checked when it is there, and asked where it begins and ends."""

from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import Any, Final
from uuid import UUID

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.eventlog.kafka_client import OLD_LEADERS, Target, ask, code, make, reason, unavailable
from isotherm.eventlog.port import MAX_RECORD_BYTES

MESSAGE_BYTES: Final = MAX_RECORD_BYTES + (64 << 10)
"""A record with its key, its header and the batch around it."""
_AHEAD_MS: Final = 25 * HOUR_MS
"""The collector lets events lie a day ahead; where they are the record's time, the broker has to take them."""
_REFRESH_S: Final = 10.0
"""A raised number of partitions is noticed within this time."""


class Topic:
    """What is known of one topic. Any thread may ask; every question has a time limit and raises Backpressure."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target = target
        self._settings = settings
        self._admin = make(AdminClient, target.client())
        self._lock = Lock()
        self._identity: UUID | None = None
        self._partitions = range(0)
        self._due = 0.0
        self.retention_ms: int | None = None

    @property
    def admin(self) -> AdminClient:
        return self._admin

    def ensure(self) -> None:
        """Make the topic, or check it, unless that was done. Raises ConfigError for a topic that cannot be used."""
        with self._lock:
            if self._identity is None:
                self._describe(create=True)

    @property
    def identity(self) -> str:
        """The topic's own id: one of the same name that is made again has another."""
        self.ensure()
        return str(self._identity)

    def partitions(self) -> Sequence[int]:
        """All partitions. Raises IsothermError when the topic was deleted, or deleted and made again."""
        with self._lock:
            if self._identity is None or monotonic() > self._due:
                self._describe(create=self._identity is None)
            return self._partitions

    def heads(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where the next records will stand, with one question."""
        return self._offsets(partitions, OffsetSpec.latest())

    def tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where the first records stand that are still there."""
        return self._offsets(partitions, OffsetSpec.earliest())

    def delete_below(self, offsets: Mapping[int, int]) -> None:
        """Have the brokers delete what stands below these offsets."""
        wanted = [TopicPartition(self.target.topic, p, offset) for p, offset in offsets.items()]

        def question(seconds: float) -> None:
            self._of_leaders(self._admin.delete_records(wanted, request_timeout=seconds), seconds)

        ask(self.target, "delete what is landed", question)

    def _offsets(self, partitions: Sequence[int], spec: OffsetSpec | None) -> dict[int, int]:
        if not partitions:
            return {}
        assert spec is not None
        wanted = {TopicPartition(self.target.topic, p): spec for p in partitions}

        def question(seconds: float) -> dict[int, int]:
            asked = self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=seconds
            )
            return {at.partition: found.offset for at, found in self._of_leaders(asked, seconds).items()}

        return ask(self.target, f"say where topic {self.target.topic} ends", question)

    def _of_leaders(self, asked: Mapping[Any, "Future[Any]"], seconds: float) -> dict[Any, Any]:
        """What the partitions' leaders answered."""
        try:
            return _results(asked, seconds)
        except KafkaException as error:
            if code(error) in OLD_LEADERS:
                # librdkafka's admin client does not look again by itself, and would be refused for ever.
                self._admin.list_topics(self.target.topic, timeout=seconds)
            raise

    def _describe(self, *, create: bool) -> None:
        described = self._ask_description()
        if described is None and create:
            self._create()
            described = ask(self.target, "find the new topic", self._present)
        if described is None:
            raise IsothermError(f"the topic {self.target.topic} was deleted while it was in use; restart this program")
        identity, partitions = described
        if self._identity is not None and identity != self._identity:
            raise IsothermError(
                f"the topic {self.target.topic} was deleted and made again while it was in use; restart this program"
            )
        if self._identity is None and (wrong := self._differences()):
            raise ConfigError(f"log: the topic {self.target.topic} cannot be used as it is: {'; '.join(wrong)}")
        self._identity, self._partitions = identity, range(partitions)
        self._due = monotonic() + _REFRESH_S

    def _ask_description(self) -> tuple[UUID, int] | None:
        return ask(self.target, f"describe topic {self.target.topic}", self._description)

    def _present(self, seconds: float) -> tuple[UUID, int]:
        found = self._description(seconds)
        if found is None:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return found

    def _description(self, seconds: float) -> tuple[UUID, int] | None:
        """The topic's id and its number of partitions; None when there is no such topic."""
        name = self.target.topic
        try:
            asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=seconds)
            found = asked[name].result(seconds)
        except KafkaException as error:
            if code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        identity = UUID(bytes=urlsafe_b64decode(str(found.topic_id) + "=="))
        if not identity.int:
            raise ConfigError(f"log: the brokers at {self.target.servers} give topics no id; Kafka 3.1 or newer does")
        return identity, len(found.partitions)

    def _create(self) -> None:
        name, settings = self.target.topic, self._settings
        new = NewTopic(name, settings.kafka_partitions, settings.kafka_replication, config=wanted_config(settings))
        try:
            self._admin.create_topics([new], operation_timeout=5, request_timeout=10)[name].result(10)
        except TimeoutError:
            raise unavailable(self.target, f"make topic {name}", "no answer") from None
        except KafkaException as error:
            if code(error) == KafkaError.INVALID_REPLICATION_FACTOR:
                raise ConfigError(
                    f"kafka_replication: the brokers cannot keep {settings.kafka_replication} copies of topic {name} "
                    f"({reason(error)}); set it to the number of brokers at most"
                ) from None
            if code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise unavailable(self.target, f"make topic {name}", error) from error

    def _differences(self) -> list[str]:
        """What is wrong with the topic, each with what to do. Also learns how long it keeps records."""

        def question(seconds: float) -> dict[str, Any]:
            resource = ConfigResource(ResourceType.TOPIC, self.target.topic)
            found = _results(self._admin.describe_configs([resource], request_timeout=seconds), seconds)
            return {entry.name: entry.value for entry in found[resource].values()}

        config = ask(self.target, f"show the settings of topic {self.target.topic}", question)
        retention = int(config["retention.ms"])
        self.retention_ms = None if retention < 0 else retention
        return differences(config, self._settings)


def wanted_config(settings: Settings) -> dict[str, str]:
    """The settings of a topic that is made here."""
    config = {
        "cleanup.policy": "delete",
        "max.message.bytes": str(MESSAGE_BYTES),
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": str(max(1, min(2, settings.kafka_replication - 1))),
        "retention.ms": str(settings.log_retention_days * DAY_MS),
        # Else it is the brokers' log.retention.bytes, by which records go that are younger and not landed.
        "retention.bytes": "-1",
    }
    if settings.log_timestamp == "event":
        # Time retention would delete old events at once; what is landed is deleted by offset instead.
        config |= {"retention.ms": "-1", "message.timestamp.after.max.ms": str(_AHEAD_MS)}
    return config


def differences(config: Mapping[str, Any], settings: Settings) -> list[str]:
    """What of a topic's settings makes it unfit; one sentence each that says what to set."""
    wanted = wanted_config(settings)
    retention, least = int(config["retention.ms"]), int(wanted["retention.ms"])
    found: list[str] = []
    if int(config["max.message.bytes"]) < MESSAGE_BYTES:
        found.append(f"max.message.bytes is {config['max.message.bytes']}, set it to {MESSAGE_BYTES} or more")
    if config["cleanup.policy"] != "delete":
        found.append(f"cleanup.policy is {config['cleanup.policy']}, set it to delete: compaction loses events")
    if config["message.timestamp.type"] != "CreateTime":
        found.append("message.timestamp.type is not CreateTime, set it so")
    if int(config["min.insync.replicas"]) < int(wanted["min.insync.replicas"]):
        found.append(
            f"min.insync.replicas is {config['min.insync.replicas']}, set it to {wanted['min.insync.replicas']}: else "
            "what is acknowledged may stand on one broker only (kafka_replication says how many copies there are)"
        )
    if retention >= 0 and (least < 0 or retention < least):
        kept = "-1 (log_timestamp is event)" if least < 0 else f"{least} (log_retention_days) or more"
        found.append(f"retention.ms is {retention}, set it to {kept}")
    if int(config["retention.bytes"]) >= 0:
        found.append(
            f"retention.bytes is {config['retention.bytes']}, set it to -1: by size Kafka deletes what is not landed"
        )
    if settings.log_timestamp == "event" and int(config["message.timestamp.after.max.ms"]) < _AHEAD_MS:
        found.append(f"message.timestamp.after.max.ms is too small, set it to {_AHEAD_MS} (log_timestamp is event)")
    return found


def _results(asked: Mapping[Any, "Future[Any]"], seconds: float) -> dict[Any, Any]:
    end = monotonic() + seconds
    return {key: future.result(max(end - monotonic(), 0)) for key, future in asked.items()}
