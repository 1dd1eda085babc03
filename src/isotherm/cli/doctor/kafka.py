"""Kafka: brokers answer, the topic is as landing needs it, and this user may do with it what is done with it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.kafka_client import Target, ask, code, make, reason, target_of
from isotherm.eventlog.kafka_topic import differences, wanted_config

PATIENCE_S: Final = 6.0


def check(settings: Settings) -> Iterator[Finding]:
    """Ask only: nothing is made, written or joined; a topic that is missing is asked for as a trial.

    Raises ConfigError for a wrong setting.
    """
    yield from examine(settings, group=True, made="at the first start")


def examine(settings: Settings, *, group: bool, made: str) -> Iterator[Finding]:
    """`check` of the topic that these settings name; `group` says that a group reads it, `made` when it is made."""
    target = target_of(settings.url("log"), settings)
    heard: list[str] = []

    def hear(error: KafkaError) -> None:
        heard.append(error.str())

    options = target.client() | {"error_cb": hear}
    admin = make(AdminClient, options)

    def cluster(seconds: float) -> Any:
        return admin.describe_cluster(request_timeout=seconds).result(seconds)

    try:
        described = ask(target, "be asked", cluster, PATIENCE_S)
    except Backpressure as error:
        admin.poll(0)
        # What librdkafka met on its way says more than that it found no broker in time.
        why = next((text for text in heard if "uthentication" in text or "SSL" in text), heard[-1] if heard else "")
        yield Finding("log", "error", str(error), f"{why + '; ' if why else ''}{_ADVICE}")
        return
    yield Finding("log", "ok", f"{len(described.nodes)} brokers at {target.servers} answer")
    yield from _topic(admin, target, settings, described, group=group, made=made)


_ADVICE: Final = "see whether the brokers run and advertise an address that this machine reaches, and kafka_options"


def _topic(
    admin: AdminClient, target: Target, settings: Settings, cluster: Any, *, group: bool, made: str
) -> Iterator[Finding]:
    name = target.topic
    names = ask(target, "list topics", lambda s: set(admin.list_topics(timeout=s).topics))
    if name not in names:
        yield from _missing(admin, target, settings, cluster, made)
        return

    def describe(seconds: float) -> Any:
        asked = admin.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=seconds
        )
        return asked[name].result(seconds)

    described = ask(target, f"describe topic {name}", describe)
    yield from _rights(described, name, settings)
    if group:
        yield from _group_rights(admin, target, settings)
    yield from _copies(described, len(cluster.nodes), name)
    yield from _settings(admin, target, settings)


def _missing(admin: AdminClient, target: Target, settings: Settings, cluster: Any, made: str) -> Iterator[Finding]:
    brokers, copies = len(cluster.nodes), settings.kafka_replication
    if copies > brokers:
        yield Finding(
            "log", "error", f"topic {target.topic} is to have {copies} copies, and there are {brokers} brokers",
            f"set kafka_replication to {brokers} at most",
        )  # fmt: skip
        return
    new = NewTopic(target.topic, settings.kafka_partitions, copies, config=wanted_config(settings))
    try:
        admin.create_topics([new], validate_only=True, request_timeout=PATIENCE_S)[target.topic].result(PATIENCE_S)
    except KafkaException as error:
        yield Finding(
            "log", "error", f"topic {target.topic} is not there for this user, and could not be made ({reason(error)})",
            "allow Create, Describe, DescribeConfigs, Read and Write on the topic (and Delete where log_timestamp is "
            "event); or make it, and allow the rest",
        )  # fmt: skip
        return
    shape = f"{settings.kafka_partitions} partitions, {copies} copies"
    yield Finding("log", "ok", f"topic {target.topic} is made {made}: {shape}")


def _rights(described: Any, topic: str, settings: Settings) -> Iterator[Finding]:
    # What is landed is deleted by us only where no retention by time can go by the records.
    wanted = {"READ", "WRITE", "DESCRIBE"} | ({"DELETE"} if settings.log_timestamp == "event" else set())
    yield from lacking_rights(described.authorized_operations, wanted, f"topic {topic}", f"--topic {topic}")


def _group_rights(admin: AdminClient, target: Target, settings: Settings) -> Iterator[Finding]:
    """Of the group that landing joins, or whose offsets it watches; the brokers say it of one that is not there too."""
    if settings.scan:
        group, wanted, which = settings.scan_group, "DESCRIBE", f"--group {settings.scan_group}"
    else:
        prefixed = f"--group {target.group('')} --resource-pattern-type prefixed"
        group, wanted, which = target.group("land"), "READ", prefixed

    def describe(seconds: float) -> Any:
        asked = admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=seconds)
        return asked[group].result(seconds)

    try:
        allowed = ask(target, f"describe group {group}", describe, PATIENCE_S).authorized_operations
    except Backpressure as error:
        cause = error.__cause__
        if not isinstance(cause, KafkaException) or code(cause) != KafkaError.GROUP_AUTHORIZATION_FAILED:
            yield Finding("log", "error", str(error), "see whether the brokers' topic __consumer_offsets has leaders")
            return
        allowed = []
    yield from lacking_rights(allowed, {wanted}, f"group {group}", which)


def lacking_rights(
    allowed: Iterable[Any] | None, wanted: set[str], on: str, which: str, part: str = "log"
) -> Iterator[Finding]:
    """Brokers that ask nobody for rights say that all is allowed, or nothing (None)."""
    if allowed is None:
        return
    lacking = sorted(wanted - {operation.name for operation in allowed})
    if lacking:
        operations = " ".join(f"--operation {name.title()}" for name in lacking)
        yield Finding(
            part, "error", f"this user may not {', '.join(lacking)} on {on}",
            f"kafka-acls.sh --add --allow-principal User:NAME {operations} {which}",
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
