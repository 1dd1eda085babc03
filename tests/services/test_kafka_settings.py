"""Topics and settings of the log on Kafka: what is refused, and with which words; passwords and TLS."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collecting import until
from confluent_kafka.admin import AdminClient

from isotherm.clock import DAY_MS, SystemClock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError, IsothermError
from isotherm.eventlog.port import Record, open_log
from services.kafka import Kafka
from services.kafka_world import Make, making

pytestmark = pytest.mark.services


@pytest.fixture
def make(kafka: Kafka, tmp_path: Path) -> Iterator[Make]:
    with making(kafka.bootstrap, tmp_path) as new:
        yield new


WRONG = [
    ({"max.message.bytes": 1_000_000}, "max.message.bytes is 1000000"),
    ({"retention.ms": 60_000}, "retention.ms is 60000"),
    ({"retention.bytes": 1 << 30}, "retention.bytes is 1073741824"),
    ({"min.insync.replicas": 1}, "min.insync.replicas is 1, set it to 2"),
    ({"cleanup.policy": "compact"}, "cleanup.policy is compact"),
    ({"message.timestamp.type": "LogAppendTime"}, "CreateTime"),
]


@pytest.mark.parametrize(("config", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_topic_with_wrong_settings_is_refused(kafka: Kafka, config: dict[str, Any], said: str) -> None:
    fit = {"max.message.bytes": 4 << 20, "retention.ms": 30 * DAY_MS}
    name = f"wrong-{time.time_ns()}"
    kafka.create_topic(name, 1, **{key.replace(".", "_"): value for key, value in (fit | config).items()})
    with pytest.raises(ConfigError, match=said):
        open_log(Settings(log=f"kafka://{kafka.bootstrap}?topic={name}"), SystemClock())


def test_more_copies_than_brokers_are_refused(kafka: Kafka) -> None:
    with pytest.raises(ConfigError, match="kafka_replication"):
        open_log(Settings(log=f"kafka://{kafka.bootstrap}?topic=copies-{time.time_ns()}"), SystemClock())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"log": "kafka://"}, "kafka://host:port"),
        ({"log": "kafka://h:1/path"}, "kafka://host:port"),
        ({"log": "kafka://h:1?group=x"}, "kafka://host:port"),
        ({"log": "kafka://me:secret@h:1"}, "sasl.username"),
        ({"log": "kafka://h:1", "kafka_options": {"acks": "1"}}, "acks cannot be set"),
        ({"log": "kafka://h:1", "kafka_options": {"no.such.option": "1"}}, "no.such.option"),
    ],
)
def test_wrong_kafka_settings_say_what_to_write(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        open_log(Settings(**changes), SystemClock())
    assert "secret" not in str(refused.value)


def test_a_topic_that_is_made_again_is_not_taken_for_the_old_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.eventlog.kafka_topic._REFRESH_S", 0.0)
    world = make()
    name = world.settings.log.partition("topic=")[2]
    old = world.log.identity
    servers = world.settings.log.removeprefix("kafka://").partition("?")[0]
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([name])[name].result(10)

    def made_again() -> bool:
        # The brokers need a moment until the name is free.
        with contextlib.suppress(Backpressure):
            return world.open().identity != old
        return False

    until(made_again, "a topic of the same name has another identity")
    with pytest.raises(IsothermError, match="deleted"):
        world.log.partitions()


@pytest.mark.drill
def test_brokers_that_cannot_be_reached_are_backpressure(tmp_path: Path) -> None:
    log = open_log(Settings(log="kafka://127.0.0.1:9"), SystemClock())
    try:
        for call in (log.healthy, log.partitions, lambda: log.append([Record("k", b"{}", 1)]), lambda: log.identity):
            with pytest.raises(Backpressure, match=r"127\.0\.0\.1:9"):
                call()
    finally:
        log.close()


def test_passwords_and_tls_go_through_the_options(kafka: Kafka, make: Make) -> None:
    if not isinstance(kafka, Kafka):
        pytest.skip("needs listeners of our own")
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": kafka.sasl_user}
    tls = {"security.protocol": "SSL", "ssl.ca.location": str(kafka.ca_file)}
    ways = (
        (kafka.sasl_bootstrap, login | {"sasl.password": kafka.sasl_password}),
        (kafka.tls_bootstrap, tls),
    )
    for servers, options in ways:
        topic = f"secure-{time.time_ns()}"
        world = make(log=f"kafka://{servers}?topic={topic}", kafka_options=options)
        world.append(["a", "b", "c", "d", "e"])
        assert world.lander().drain() == 15
        assert sorted(world.log.assigned("land")) == [0, 1, 2, 3]
    refused = make(log=f"kafka://{kafka.sasl_bootstrap}", kafka_options=login | {"sasl.password": "not this one"})
    with pytest.raises(Backpressure) as error:
        refused.log.healthy()
    assert "not this one" not in str(error.value)
