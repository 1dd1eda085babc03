"""The topic that the job writes: made compacted, or checked, and read by whoever fills the cache.

A row is the absolute state of one window, so reading one twice, or an older one after a newer one of a job that
recovers, changes nothing: counts only grow. Rows older than the longest life of a window need not be read at all.
"""

from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from msgspec import Struct

from isotherm.clock import DAY_MS, MINUTE_MS, Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError, IsothermError
from isotherm.rollup.windows.minutes import Window
from isotherm.rollup.windows.rule import BY_MS, LONGEST_TTL_MS

CONFIG: Final = {"cleanup.policy": "compact,delete", "retention.ms": str(DAY_MS), "segment.ms": str(60 * MINUTE_MS)}
_ASK_S: Final = 10.0
_AGAIN_S: Final = 0.2
_SOON: Final = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART}
)
"""What brokers say of a topic that was just made, or whose leader moves."""
_DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_AT_ONCE: Final = 5_000
_DISORDER_MS: Final = 5 * MINUTE_MS
"""Flink's machines write by their own clocks."""


class Row(Struct):
    """The state of one window as Flink writes it; times in ms."""

    client_id: str
    screen_id: str
    event_type: str
    size_ms: int
    start: int
    events: int
    newest: int

    @property
    def window(self) -> Window:
        """As every engine tells it."""
        return Window((self.client_id, self.screen_id, self.event_type), BY_MS[self.size_ms], self.start, self.events,
            self.newest)  # fmt: skip


_decoder: Final = msgspec.json.Decoder(Row)


class Topic:
    """The windows topic of one deployment. Not thread-safe."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._servers = urlsplit(settings.url("log")).netloc
        self._consumer: Consumer | None = None
        self._behind: dict[int, int] = {}

    def ensure(self) -> None:
        """Make the topic if there is none, else check it. Raises ConfigError for one that cannot be used, and
        Backpressure when the brokers do not answer."""
        # Kept by name: a client that is collected ends what it was asked.
        admin = AdminClient(self._options())
        try:
            if self._exists(admin):
                self._check(admin)
            else:
                self._create(admin)
        except KafkaException as error:
            raise self._refused(error.args[0]) from None
        except TimeoutError:
            raise self._away("no answer") from None

    def _exists(self, admin: AdminClient) -> bool:
        name = self._settings.windows_topic
        try:
            admin.describe_topics(TopicCollection([name]), request_timeout=_ASK_S)[name].result(_ASK_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return False
            raise
        return True

    def _create(self, admin: AdminClient) -> None:
        name, settings = self._settings.windows_topic, self._settings
        new = NewTopic(name, settings.kafka_partitions, settings.kafka_replication, config=CONFIG)
        try:
            asked = admin.create_topics([new], operation_timeout=_ASK_S, request_timeout=_ASK_S)
            asked[name].result(_ASK_S)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise ConfigError(
                    f"kafka_replication: the brokers cannot keep {settings.kafka_replication} copies of topic {name}; "
                    "set it to the number of brokers at most"
                ) from None
            if code in _DENIED:
                raise ConfigError(
                    f"windows_topic: the topic {name} is not there and may not be made: grant CREATE on it, or make it "
                    f"with {', '.join(f'{key}={value}' for key, value in CONFIG.items())}"
                ) from None
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            # Of another process, or one that the broker which was asked has not heard of yet.
            self._check(admin)

    def _check(self, admin: AdminClient) -> None:
        name = self._settings.windows_topic
        resource = ConfigResource(ResourceType.TOPIC, name)
        found = admin.describe_configs([resource], request_timeout=_ASK_S)[resource].result(_ASK_S)
        if wrong := differences({entry.name: entry.value for entry in found.values()}):
            raise ConfigError(f"windows_topic: the topic {name} cannot be used as it is: {'; '.join(wrong)}")

    def _refused(self, error: KafkaError) -> IsothermError:
        if error.code() in _DENIED:
            name = self._settings.windows_topic
            return ConfigError(f"windows_topic: grant DESCRIBE and DESCRIBE_CONFIGS on topic {name} ({error.str()})")
        return self._away(error.str())

    def begin(self) -> None:
        """Read all partitions from where the oldest living window may stand."""
        self.close()
        own = {
            "group.id": f"{self._settings.windows_topic}.isotherm",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
        }
        consumer = self._consumer = Consumer(self._options() | own)
        name, since = self._settings.windows_topic, self._clock.now_ms() - LONGEST_TTL_MS - _DISORDER_MS
        starts = self._starts(consumer, name, since)
        # Where nothing is so new there is nothing to read before what comes next.
        behind = [start for start in starts if start.offset not in (OFFSET_END, -1)]
        self._behind = {start.partition: self._end(consumer, start) for start in behind}
        consumer.assign(starts)

    def _starts(self, consumer: Consumer, name: str, since: int) -> list[TopicPartition]:
        """Where records from `since` (ms) on begin; a topic that was just made has no leaders for a moment."""
        end = monotonic() + _ASK_S
        while True:
            try:
                partitions = consumer.list_topics(name, _ASK_S).topics[name].partitions
                asked = [TopicPartition(name, partition, since) for partition in partitions]
                return list(consumer.offsets_for_times(asked, _ASK_S))
            except KafkaException as error:
                if monotonic() > end or error.args[0].code() not in _SOON:
                    raise self._away(error.args[0].str()) from None
                sleep(_AGAIN_S)

    def _end(self, consumer: Consumer, at: TopicPartition) -> int:
        try:
            return consumer.get_watermark_offsets(at, _ASK_S)[1]
        except KafkaException as error:
            raise self._away(error.args[0].str()) from None

    def read(self, seconds: float) -> list[Window]:
        """Windows as they changed, waiting so long for the first. Raises Backpressure when the brokers are away."""
        assert self._consumer is not None
        found: list[Window] = []
        end = monotonic() + seconds
        for message in self._consumer.consume(_AT_ONCE, seconds):
            error = message.error()
            if error is None:
                found += _windows(message.value())
                self._passed(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                self._passed(message)
            elif monotonic() >= end:
                raise self._away(error.str())
        return found

    def _passed(self, message: Message) -> None:
        """A row, or the word that there are no more."""
        partition = message.partition()
        at_end = message.error() is not None or (message.offset() or 0) + 1 >= self._behind.get(partition or 0, 0)
        if at_end and partition is not None:
            self._behind.pop(partition, None)

    @property
    def caught_up(self) -> bool:
        """Whether everything was read that stood there at the beginning."""
        return not self._behind

    def lag(self) -> int:
        """Rows that are not read, as far as the client has heard."""
        if self._consumer is None:
            return 0
        lag = 0
        for at in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(at, cached=True)
            lag += max(high - at.offset, 0) if at.offset >= 0 else 0
        return lag

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _options(self) -> dict[str, Any]:
        common = {"client.id": "isotherm", "log_level": 2, "reconnect.backoff.max.ms": 2_000}
        return common | self._settings.kafka_options | {"bootstrap.servers": self._servers}

    def _away(self, why: str) -> Backpressure:
        return Backpressure(f"Kafka at {self._servers} could not give topic {self._settings.windows_topic}: {why}")


def differences(config: Mapping[str, Any]) -> list[str]:
    """What of the topic's settings makes it unfit; one sentence each that says what to set."""
    policies = {policy.strip() for policy in str(config["cleanup.policy"]).split(",")}
    retention, least = int(config["retention.ms"]), LONGEST_TTL_MS + _DISORDER_MS
    found: list[str] = []
    if "compact" not in policies:
        found.append(f"cleanup.policy is {config['cleanup.policy']}, set it to {CONFIG['cleanup.policy']}")
    if "delete" in policies and 0 <= retention < least:
        found.append(f"retention.ms is {retention}, set it to {least} or more: a window lives as long")
    return found


def _windows(value: bytes | None) -> list[Window]:
    """The window of one row; none for a deletion or a row that is not ours."""
    try:
        row = _decoder.decode(value or b"")
    except msgspec.MsgspecError:
        return []
    return [row.window] if row.size_ms in BY_MS else []
