"""Kafka: brokers answer, the topic is as landing needs it, and this user may describe, write and read it."""

from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.kafka_client import Target, ask, make, reason, target_of
from isotherm.eventlog.kafka_topic import differences

PATIENCE_S: Final = 6.0


def check(settings: Settings) -> Iterator[Finding]:
    """Ask only: nothing is made, written or joined. Raises ConfigError for a wrong setting."""
    target = target_of(settings.url("log"), settings)
    heard: list[str] = []

    def hear(error: KafkaError) -> None:
        heard.append(error.str())

    options = target.client() | {"error_cb": hear}
    admin = make(AdminClient, options)
    try:
        described = ask(target, "be asked", lambda s: _cluster(admin, s), PATIENCE_S)
    except Backpressure as error:
        admin.poll(0)
        # What librdkafka met on its way says more than that it found no broker in time.
        why = next((text for text in heard if "uthentication" in text or "SSL" in text), heard[-1] if heard else "")
        yield Finding("log", "error", str(error), f"{why + '; ' if why else ''}{_ADVICE}")
        return
    yield Finding("log", "ok", f"{len(described.nodes)} brokers at {target.servers} answer")
    yield from _topic(admin, target, settings, described)


_ADVICE: Final = "see whether the brokers run and advertise an address that this machine reaches, and kafka_options"


def _cluster(admin: AdminClient, seconds: float) -> Any:
    return admin.describe_cluster(include_authorized_operations=True, request_timeout=seconds).result(seconds)


def _topic(admin: AdminClient, target: Target, settings: Settings, cluster: Any) -> Iterator[Finding]:
    name = target.topic
    names = ask(target, "list topics", lambda s: set(admin.list_topics(timeout=s).topics))
    if name not in names:
        yield from _missing(target, settings, cluster)
        return

    def describe(seconds: float) -> Any:
        asked = admin.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=seconds
        )
        return asked[name].result(seconds)

    described = ask(target, f"describe topic {name}", describe)
    yield from _rights(described, name, "topic", {"READ", "WRITE", "DESCRIBE"})
    yield from _copies(described, len(cluster.nodes), name)
    yield from _settings(admin, target, settings)


def _missing(target: Target, settings: Settings, cluster: Any) -> Iterator[Finding]:
    brokers, copies = len(cluster.nodes), settings.kafka_replication
    if copies > brokers:
        yield Finding(
            "log", "error", f"topic {target.topic} is to have {copies} copies, and there are {brokers} brokers",
            f"set kafka_replication to {brokers} at most",
        )  # fmt: skip
        return
    found = list(_rights(cluster, target.topic, "cluster", {"CREATE"}))
    yield from found
    if not found:
        text = (
            f"topic {target.topic} is made at the first start: {settings.kafka_partitions} partitions, {copies} copies"
        )
        yield Finding("log", "ok", text)


def _rights(described: Any, topic: str, what: str, needed: set[str]) -> Iterator[Finding]:
    """A cluster without an authoriser says nothing, or that all is allowed."""
    allowed = {operation.name for operation in described.authorized_operations or ()}
    if lacking := sorted(needed - allowed - ({"CREATE"} if not allowed else set())):
        if not allowed:
            return
        yield Finding(
            "log", "error", f"this user may not {', '.join(lacking)} on the {what}",
            f"kafka-acls.sh --add --allow-principal User:NAME --operation {lacking[0].title()} --topic {topic}",
        )  # fmt: skip


def _copies(described: Any, brokers: int, name: str) -> Iterator[Finding]:
    partitions = described.partitions
    copies = min(len(partition.replicas) for partition in partitions)
    behind = [partition.id for partition in partitions if len(partition.isr) < len(partition.replicas)]
    leaderless = [partition.id for partition in partitions if partition.leader is None]
    text = f"topic {name}: {len(partitions)} partitions, {copies} copies"
    if leaderless:
        yield Finding("log", "error", f"{text}; {len(leaderless)} have no leader", "bring the missing brokers back")
    elif behind:
        yield Finding("log", "warning", f"{text}; {len(behind)} lack copies in sync", "see which broker is behind")
    elif copies < 2 <= brokers:
        yield Finding("log", "warning", text, "have 3 copies: a broker that is lost takes acknowledged events with it")
    else:
        yield Finding("log", "ok", text)


def _settings(admin: AdminClient, target: Target, settings: Settings) -> Iterator[Finding]:
    def question(seconds: float) -> dict[str, Any]:
        resource = ConfigResource(ResourceType.TOPIC, target.topic)
        asked = admin.describe_configs([resource], request_timeout=seconds)
        return {entry.name: entry.value for entry in asked[resource].result(seconds).values()}

    try:
        config = ask(target, f"show the settings of topic {target.topic}", question)
    except Backpressure as error:
        cause = error.__cause__
        said = reason(cause) if isinstance(cause, KafkaException) else str(error)
        advice = "allow DescribeConfigs on the topic: it is checked at every start"
        yield Finding("log", "error", f"the topic's settings cannot be read ({said})", advice)
        return
    wrong = differences(config, settings)
    for one in wrong:
        yield Finding("log", "error", f"topic {target.topic} cannot be used as it is", one)
    if not wrong:
        yield Finding(
            "log", "ok", f"retention.ms {config['retention.ms']}, max.message.bytes {config['max.message.bytes']}"
        )
