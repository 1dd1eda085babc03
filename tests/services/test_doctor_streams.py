"""The doctor against Kafka, what lies behind it (Kafka Connect, Flink), and Spark."""

import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from isotherm.cli.doctor import spark
from isotherm.cli.doctor.findings import Finding
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.kafka_topic import wanted_config
from isotherm.rollup.engines.flink.topic import Topic
from services.doctor import examine, healthy, lake_of, log_of, said, unwell
from services.flink import Flink
from services.kafka import Kafka
from services.named import NamedFlink, NamedKafka, NamedS3, NamedSpark
from services.s3 import Versitygw
from services.spark import Spark

DAY_MS = 86_400_000


# --- Kafka


def test_doctor_finds_a_healthy_log_and_makes_no_topic(kafka: Kafka | NamedKafka, tmp_path: Path) -> None:
    topic = f"doctor-{secrets.token_hex(4)}"
    found = examine(tmp_path, **log_of(kafka, topic))
    healthy(found, "log")
    assert "is made at the first start: 12 partitions" in said(found)
    settings = Settings(data=tmp_path, **log_of(kafka, topic))
    kafka.create_topic(topic, 3, **{name.replace(".", "_"): value for name, value in wanted_config(settings).items()})
    found = examine(tmp_path, **log_of(kafka, topic))
    healthy(found, "log")
    assert "3 partitions, 1 copies" in said(found)


def test_doctor_says_what_is_wrong_with_a_topic(kafka: Kafka | NamedKafka, tmp_path: Path) -> None:
    topic = kafka.create_topic(f"small-{secrets.token_hex(4)}", 1, max_message_bytes=1000, retention_ms=DAY_MS)
    found = examine(tmp_path, **log_of(kafka, topic))
    unwell(found, "log", "max.message.bytes is 1000")
    assert "retention.ms is 86400000" in said(found)


def test_doctor_looks_at_the_topic_of_dead_letters(kafka: Kafka | NamedKafka, tmp_path: Path) -> None:
    name = f"doctor-{secrets.token_hex(4)}"
    found = examine(tmp_path, **log_of(kafka, f"{name}.raw"))
    healthy(found, "dead_log")
    assert f"topic {name}.dead is made with the first dead letter: 1 partitions" in said(found)
    kafka.create_topic(f"{name}.dead", 1, retention_ms=DAY_MS)
    found = [one for one in examine(tmp_path, **log_of(kafka, f"{name}.raw")) if one.check == "dead_log"]
    unwell(found, "dead_log", "(dead_retention_days) or more")
    assert f"topic {name}.dead cannot be used as it is" in said(found)


def test_doctor_counts_brokers_against_copies(own_kafka: Kafka, tmp_path: Path) -> None:
    found = examine(tmp_path, **log_of(own_kafka, "not-there", kafka_replication=3))
    unwell(found, "log", "set kafka_replication to 1 at most")
    own_kafka.cut()
    try:
        unwell(examine(tmp_path, **log_of(own_kafka, "not-there")), "log", "could not be asked")
    finally:
        own_kafka.resume()
    own_kafka.kill9()
    unwell(examine(tmp_path, **log_of(own_kafka, "not-there")), "log", "could not be asked")


def test_doctor_says_when_kafka_refuses_the_password(own_kafka: Kafka, tmp_path: Path) -> None:
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": own_kafka.sasl_user,
        "sasl.password": own_kafka.sasl_password,
    }
    settings = {"log": f"kafka://{own_kafka.sasl_bootstrap}", "kafka_replication": 1}
    healthy(examine(tmp_path, **settings, kafka_options=options), "log")
    wrong = options | {"sasl.password": "hidden-in-every-finding"}
    found = examine(tmp_path, **settings, kafka_options=wrong)
    unwell(found, "log", "uthentication")
    assert "hidden-in-every-finding" not in said(found)


def test_doctor_names_rights_on_kafka_that_are_missing(tmp_path: Path) -> None:
    authoriser = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    with Kafka(authorizer_class_name=authoriser, super_users="User:ANONYMOUS") as server:
        options = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": server.sasl_user,
            "sasl.password": server.sasl_password,
        }
        settings = {"log": f"kafka://{server.sasl_bootstrap}?topic=closed", "kafka_replication": 1}
        server.create_topic("closed", 1)
        # What a user may not describe, is not there for it; so it would want to make it.
        unwell(examine(tmp_path, **settings, kafka_options=options), "log", "could not be made")
        principal = f"User:{server.sasl_user}"
        allow(server, principal, "closed", AclOperation.DESCRIBE)
        allow(server, principal, "closed", AclOperation.DESCRIBE_CONFIGS)
        found = examine(tmp_path, **settings, kafka_options=options)
        unwell(found, "log", "may not READ, WRITE on topic closed")
        assert "may not READ on group closed.land -> kafka-acls.sh --add" in said(found)
        # The rights that reading, writing and joining take are not enough to delete what is landed, or to watch a sink.
        for operation in (AclOperation.READ, AclOperation.WRITE):
            allow(server, principal, "closed", operation)
        allow(server, principal, "closed.", AclOperation.READ, ResourceType.GROUP, ResourcePatternType.PREFIXED)
        for more in ({}, {"log_timestamp": "event"}, {"scan": "file:///sink"}):
            found = examine(tmp_path, **settings, kafka_options=options, **more)
            assert ("may not DELETE on topic closed" in said(found)) == ("log_timestamp" in more)
            assert ("may not DESCRIBE on group connect-isotherm-raw" in said(found)) == ("scan" in more)
        allow(server, principal, "closed", AclOperation.DELETE)
        allow(server, principal, "connect-isotherm-raw", AclOperation.DESCRIBE, ResourceType.GROUP)
        found = examine(tmp_path, **settings, kafka_options=options, log_timestamp="event", scan="file:///sink")
        assert "may not" not in said(found)


def allow(
    server: Kafka,
    principal: str,
    name: str,
    operation: AclOperation,
    kind: ResourceType = ResourceType.TOPIC,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> None:
    binding = AclBinding(kind, name, pattern, principal, "*", operation, AclPermissionType.ALLOW)
    admin = AdminClient(server.client_settings())
    [done] = admin.create_acls([binding]).values()
    done.result(10)


# --- Kafka Connect


def produce(server: Kafka | NamedKafka, topic: str) -> None:
    producer = Producer(server.client_settings())
    producer.produce(topic, b"{}")
    assert producer.flush(30) == 0


def commit(server: Kafka | NamedKafka, topic: str, group: str, offset: int) -> None:
    admin = AdminClient(server.client_settings())
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, offset)])
    [done] = admin.alter_consumer_group_offsets([wanted]).values()
    done.result(30)


def test_doctor_looks_at_the_offsets_of_the_sink(kafka: Kafka | NamedKafka, tmp_path: Path) -> None:
    topic = f"sink-{secrets.token_hex(4)}"
    folder = tmp_path / "sink"
    settings = log_of(kafka, topic, scan=folder.as_uri(), scan_group=f"connect-{topic}")
    unwell(examine(tmp_path, **settings), "scan", "there is no folder")
    folder.mkdir()
    found = examine(tmp_path, **settings)
    healthy(found, "scan")
    assert "no file in it yet" in said(found)
    wanted = wanted_config(Settings(data=tmp_path, **settings))
    kafka.create_topic(topic, 1, **{name.replace(".", "_"): value for name, value in wanted.items()})
    unwell(examine(tmp_path, **settings), "scan", f"offsets as connect-{topic} yet", "warning")
    produce(kafka, topic)
    commit(kafka, topic, f"connect-{topic}-other", 1)
    found = examine(tmp_path, **settings)
    unwell(found, "scan", f"no sink has committed offsets as connect-{topic}, and 1 records wait")
    assert f"connect-{topic}-other" in said(found)
    commit(kafka, topic, f"connect-{topic}", 1)
    (folder / "part.json").write_text("{}\n")
    found = examine(tmp_path, **settings)
    healthy(found, "scan")
    assert "0 records wait for it" in said(found)
    assert "can be listed and read (part.json)" in said(found)


def test_doctor_says_what_is_wrong_with_the_sinks_bucket(versitygw: Versitygw | NamedS3, tmp_path: Path) -> None:
    def sink(bucket: str, **more: str) -> list[Finding]:
        return examine(tmp_path, **{**lake_of(versitygw, bucket), "scan": lake_of(versitygw, bucket)["lake"], **more,
            "lake": (tmp_path / "lake").as_uri(), "log": "memory://"})  # fmt: skip

    bucket = versitygw.make_bucket()
    healthy(sink(bucket), "scan")
    unwell(sink("there-is-no-such-bucket"), "scan", "scan: bucket 'there-is-no-such-bucket'")
    found = sink(bucket, s3_secret_access_key="hidden-in-every-finding")
    unwell(found, "scan", "the right to list")
    assert "hidden-in-every-finding" not in said(found)


def test_doctor_does_not_wait_for_a_bucket_of_a_sink_that_hangs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"s3://bucket?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"s3_access_key_id": "key", "s3_secret_access_key": "secret", "s3_timeout_seconds": 0.5}
        found = examine(tmp_path, scan=url, log="memory://", **keys)
    unwell(found, "scan", "cannot be listed and read")
    assert "scan: bucket 'bucket'" in said(found)


# --- Flink and Spark


def test_doctor_finds_a_healthy_flink_and_looks_at_its_topic(
    flink_cluster: Flink | NamedFlink, kafka: Kafka | NamedKafka, tmp_path: Path
) -> None:
    topic = f"windows-{secrets.token_hex(4)}"
    url = f"flink://{urlsplit(flink_cluster.gateway).netloc}"
    settings = log_of(kafka, "doctor-flink", stream=url, windows_topic=topic)
    found = examine(tmp_path, **settings)
    healthy(found, "stream")
    assert "the SQL gateway of Flink 2." in said(found)
    assert f"topic {topic} is made at the first start" in said(found)
    kafka.create_topic(topic, 1, cleanup_policy="delete", retention_ms=60_000)
    found = examine(tmp_path, **settings)
    unwell(found, "stream", "cleanup.policy is delete, set it to compact,delete")
    assert "retention.ms is 60000" in said(found)
    made = f"{topic}-made"
    Topic(Settings(data=tmp_path, **settings | {"windows_topic": made}), SystemClock()).ensure()
    found = examine(tmp_path, **settings | {"windows_topic": made})
    healthy(found, "stream")
    assert f"topic {made}: cleanup.policy compact,delete" in said(found)


@pytest.mark.drill
def test_doctor_finds_a_healthy_spark(spark_cluster: Spark | NamedSpark, tmp_path: Path) -> None:
    submit = spark_cluster.submit
    found = examine(tmp_path, engine=spark_cluster.master, spark_submit=submit)
    healthy(found, "engine")
    assert "takes connections" in said(found)
    assert f"jobs are submitted by {submit}, Spark 4." in said(found)
    named = {"spark.master": spark_cluster.master}
    bare = examine(tmp_path, engine="spark", spark_submit=submit, spark_options=named)
    healthy(bare, "engine")
    assert f"to {spark_cluster.master}" in said(bare)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'version 3.5.1' >&2", "is of Spark 3.5.1 -> install Apache Spark 4"),
        ("echo 'JAVA_HOME is not set'; exit 1", "does not tell its version (JAVA_HOME is not set)"),
        ("sleep 600 & wait", "does not tell its version within"),
    ],
)
def test_a_spark_that_does_not_start_is_named(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in text:
        monkeypatch.setattr(spark, "VERSION_S", 1.0)
    program = tmp_path / "spark-submit"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    unwell(examine(tmp_path, engine="spark+local", spark_submit=str(program)), "engine", words)
    unwell(examine(tmp_path, engine="spark", spark_submit=str(program)), "engine", "write spark+local, spark://host")
