"""The doctor against real servers: healthy, refused, gone, hung, and set up in a way that cannot work."""

import json
import secrets
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import redis as redis_client
import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from isotherm.cli import run
from isotherm.cli.doctor import services, spark
from isotherm.cli.doctor.findings import Finding, clock
from isotherm.cli.processes import free_port
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.kafka_topic import wanted_config
from isotherm.rollup.engines.flink.topic import Topic
from isotherm.store.olap import open_olap
from services.clickhouse import ClickHouseFront, NamedClickHouse
from services.flink import Flink
from services.kafka import Kafka
from services.named import NamedFlink, NamedKafka, NamedPostgres, NamedRedis, NamedS3, NamedSpark
from services.postgres import Postgres
from services.redis import Redis
from services.s3 import Minio, Versitygw
from services.spark import Spark

DAY_MS = 86_400_000


def examine(tmp_path: Path, **settings: Any) -> list[Finding]:
    return list(services.examine_services(Settings(data=tmp_path / "data", **settings)))


def worst(found: list[Finding], check: str) -> str:
    grades = {finding.grade for finding in found if finding.check == check}
    return next((grade for grade in ("error", "warning", "ok") if grade in grades), "nothing")


def said(found: list[Finding]) -> str:
    return "\n".join(f"{finding.finding} -> {finding.advice}" for finding in found)


def healthy(found: list[Finding], check: str) -> None:
    assert worst(found, check) == "ok", said(found)
    assert all(not finding.advice for finding in found)


def unwell(found: list[Finding], check: str, words: str, grade: str = "error") -> None:
    assert worst(found, check) == grade, said(found)
    assert words in said(found)
    assert all(finding.advice for finding in found if finding.grade != "ok")


def lake_of(server: Versitygw | Minio | NamedS3, bucket: str, **more: Any) -> dict[str, Any]:
    return {
        "lake": f"s3://{bucket}/raw?endpoint={server.endpoint}&region={server.region}",
        "s3_access_key_id": server.access_key,
        "s3_secret_access_key": server.secret_key,
        **more,
    }


# --- PostgreSQL


def test_doctor_finds_a_healthy_database_and_leaves_no_trace(
    postgres: Postgres | NamedPostgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    found = examine(tmp_path, db=url)
    # The server of the tests runs without fsync, which the doctor is right to mention.
    assert {f.finding.partition(":")[0] for f in found if f.grade != "ok"} <= {"fsync is off"}
    assert "may make, write and read tables" in said(found)
    with psycopg.connect(url) as connection:
        count = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert count == (0,)


def test_doctor_knows_the_schema_of_another_version(postgres: Postgres | NamedPostgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    unwell(examine(tmp_path, db=url), "db", "another version (9999)")


def test_doctor_names_rights_that_are_missing(postgres: Postgres | NamedPostgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    user = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x'".encode())
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    parts = urlsplit(url)
    limited = parts._replace(netloc=f"{user}:x@{parts.hostname}:{parts.port}").geturl()
    unwell(examine(tmp_path, db=limited), "db", "GRANT CREATE, USAGE ON SCHEMA public")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {user}".encode())
        connection.execute(f"DROP ROLE {user}".encode())


def test_doctor_says_which_database_is_missing_and_hides_the_password(
    postgres: Postgres | NamedPostgres, tmp_path: Path
) -> None:
    base = postgres.new_database()
    parts = urlsplit(base)
    password = "hidden-in-every-finding"
    url = parts._replace(netloc=f"nobody:{password}@{parts.hostname}:{parts.port}").geturl()
    found = examine(tmp_path, db=url)
    unwell(found, "db", "nobody")
    assert password not in said(found)


@pytest.mark.timeout(120)
def test_doctor_does_not_wait_for_a_database_that_hangs(own_postgres: Postgres, tmp_path: Path) -> None:
    url = own_postgres.new_database()
    own_postgres.cut()
    try:
        unwell(examine(tmp_path, db=url), "db", "connection timeout expired")
    finally:
        own_postgres.resume()
    own_postgres.kill9()
    unwell(examine(tmp_path, db=url), "db", "refused")


# --- Redis


def test_doctor_finds_a_healthy_cache(redis_server: Redis | NamedRedis, tmp_path: Path) -> None:
    for protocol in (2, 3):
        healthy(examine(tmp_path, cache=f"{redis_server.url}?protocol={protocol}"), "cache")


def test_a_cache_that_is_gone_hung_or_full_is_a_warning(own_redis: Redis, tmp_path: Path) -> None:
    with redis_client.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "64mb")
        unwell(examine(tmp_path, cache=own_redis.url), "cache", "allkeys-lru", "warning")
        client.config_set("requirepass", "hidden-in-every-finding")
    unwell(examine(tmp_path, cache=own_redis.url), "cache", "HELLO", "warning")
    wrong = own_redis.url.replace("redis://", "redis://:not-the-hidden-one@")
    found = examine(tmp_path, cache=wrong)
    unwell(found, "cache", "cannot be reached", "warning")
    assert "not-the-hidden-one" not in said(found)
    own_redis.cut()
    try:
        unwell(examine(tmp_path, cache=own_redis.url), "cache", "cannot be reached", "warning")
    finally:
        own_redis.resume()
    own_redis.kill9()
    unwell(examine(tmp_path, cache=own_redis.url), "cache", "cannot be reached", "warning")


# --- S3


@pytest.mark.parametrize("name", ["versitygw", "minio"])
def test_doctor_finds_a_healthy_lake_and_leaves_it_empty(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(name)
    bucket = server.make_bucket()
    found = examine(tmp_path, **lake_of(server, bucket))
    healthy(found, "lake")
    assert "its clock agrees" in said(found)
    assert b"<Key>" not in server.requests().ask("GET", f"/{bucket}")[1]


def test_doctor_says_what_is_wrong_with_a_lake(versitygw: Versitygw | NamedS3, tmp_path: Path) -> None:
    bucket = versitygw.make_bucket()
    unwell(examine(tmp_path, **lake_of(versitygw, "there-is-no-such-bucket")), "lake", "does not exist")
    found = examine(tmp_path, **lake_of(versitygw, bucket, s3_secret_access_key="hidden-in-every-finding"))
    unwell(found, "lake", "s3_secret_access_key")
    assert "hidden-in-every-finding" not in said(found)


@pytest.mark.timeout(120)
def test_doctor_does_not_wait_for_a_lake_that_hangs(own_versitygw: Versitygw, tmp_path: Path) -> None:
    settings = lake_of(own_versitygw, own_versitygw.make_bucket())
    own_versitygw.cut()
    try:
        unwell(examine(tmp_path, **settings), "lake", "s3_timeout_seconds")
    finally:
        own_versitygw.resume()
    own_versitygw.kill9()
    unwell(examine(tmp_path, **settings), "lake", "cannot be used")


# --- ClickHouse: a front over chDB unless a server is named


def test_doctor_finds_a_healthy_tile_store(
    clickhouse_server: ClickHouseFront | NamedClickHouse, tmp_path: Path
) -> None:
    url = clickhouse_server.new_database()
    found = examine(tmp_path, olap=url)
    healthy(found, "olap")
    assert "the first start makes it" in said(found)
    olap = open_olap(url, Settings(data=tmp_path / "data", olap=url))
    try:
        before = olap.query("SELECT name FROM system.tables WHERE database = currentDatabase()").to_pylist()
        found = examine(tmp_path, olap=url)
        healthy(found, "olap")
        assert "may make, fill and read" in said(found)
        after = olap.query("SELECT name FROM system.tables WHERE database = currentDatabase()").to_pylist()
    finally:
        olap.close()
    assert before == after


def test_doctor_says_what_is_wrong_with_a_tile_store(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    url = own_clickhouse.url(user="isotherm")
    found = examine(tmp_path, olap=url, clickhouse_password="hidden-in-every-finding")
    unwell(found, "olap", "clickhouse_password")
    assert "hidden-in-every-finding" not in said(found)
    unwell(examine(tmp_path, olap=own_clickhouse.url(), clickhouse_cluster="nowhere"), "olap", "no cluster nowhere")
    own_clickhouse.cut()
    try:
        unwell(examine(tmp_path, olap=own_clickhouse.url()), "olap", "takes connections but does not answer")
    finally:
        own_clickhouse.resume()
    own_clickhouse.kill9()
    unwell(examine(tmp_path, olap=own_clickhouse.url()), "olap", "cannot be reached")


def tables_of(server: ClickHouseFront) -> bytes:
    sql = "SELECT name FROM system.tables WHERE database = 'default'"
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/?query={quote(sql)}") as answer:
        return answer.read()


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("CREATE TABLE isotherm_doctor", "may not make tables in default"),
        ("INSERT INTO", "may not insert in default"),
        ("SELECT count() AS n FROM isotherm_doctor", "may not read in default"),
        ("MODIFY TTL", "may not alter tables in default"),
        ("DROP PARTITION", "may not drop partitions in default"),
        ("CREATE VIEW", "may not make views in default"),
        ("DROP TABLE", "cannot be dropped and may be left"),
    ],
)
def test_doctor_names_rights_on_clickhouse_that_are_missing(
    own_clickhouse: ClickHouseFront, tmp_path: Path, refused: str, words: str
) -> None:
    own_clickhouse.faults({"match": refused, "do": "fail", "code": 497, "text": "Not enough privileges"})
    found = examine(tmp_path, olap=own_clickhouse.url())
    assert own_clickhouse.hits() == 1
    unwell(found, "olap", words)
    assert "GRANT CREATE TABLE, CREATE VIEW, ALTER" in said(found)
    assert (b"isotherm_doctor" in tables_of(own_clickhouse)) == (refused == "DROP TABLE")


def test_doctor_says_when_the_clusters_cannot_be_seen(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    settings = {"olap": own_clickhouse.url(), "clickhouse_cluster": own_clickhouse.cluster}
    healthy(examine(tmp_path, **settings), "olap")
    own_clickhouse.faults({"match": "system.clusters", "do": "fail", "code": 497, "text": "Not enough privileges"})
    found = examine(tmp_path, **settings)
    unwell(found, "olap", "GRANT SELECT ON system.clusters", "warning")
    assert "may make, fill and read" in said(found)


def test_doctor_has_the_server_read_a_folder(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    url = own_clickhouse.url()
    assert "folder is not there yet" in said(examine(tmp_path, olap=url))
    lake = tmp_path / "data" / "lake"
    assert not lake.exists()
    lake.mkdir(parents=True)
    found = examine(tmp_path, olap=url)
    healthy(found, "olap")
    assert f"the server reads the lake at {lake}" in said(found)
    assert not list(lake.iterdir())
    assert "reads the lake" not in said(examine(tmp_path, olap=url, engine="spark+local")), "Spark reads it there"
    own_clickhouse.faults({"match": "file('", "do": "fail", "code": 291, "text": "not inside user_files"})
    unwell(examine(tmp_path, olap=url), "olap", "below its user_files_path")
    assert not list(lake.iterdir())


def test_doctor_has_the_server_read_a_bucket(
    own_clickhouse: ClickHouseFront, versitygw: Versitygw | NamedS3, tmp_path: Path
) -> None:
    settings = {"olap": own_clickhouse.url(), **lake_of(versitygw, versitygw.make_bucket())}
    found = examine(tmp_path, **settings)
    healthy(found, "olap")
    assert "the server reads the lake at s3://" in said(found)
    denied = {"match": "s3('", "do": "fail", "code": 497, "text": "Not enough privileges: s3('x', 'KEY')"}
    denied["text"] = denied["text"].replace("KEY", versitygw.secret_key)
    own_clickhouse.faults(denied)
    found = examine(tmp_path, **settings)
    unwell(found, "olap", "GRANT CREATE TEMPORARY TABLE, S3 ON *.*")
    assert versitygw.secret_key not in said(found)
    own_clickhouse.faults({"match": "s3('", "do": "fail", "code": 499, "text": "Unable to connect to endpoint"})
    unwell(examine(tmp_path, **settings), "olap", "name an endpoint in `lake` that it reaches too")
    bucket = settings["lake"].removeprefix("s3://").partition("/")[0]
    assert b"<Key>" not in versitygw.requests().ask("GET", f"/{bucket}")[1]


# --- Kafka


def log_of(server: Kafka | NamedKafka, topic: str, **more: Any) -> dict[str, Any]:
    return {"log": f"kafka://{server.bootstrap}?topic={topic}", "kafka_replication": 1, **more}


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


# --- what needs no server


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


def test_checks_run_beside_each_other(own_redis: Redis, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    named = {"engine": f"spark://127.0.0.1:{port}", "spark_submit": "no-such-spark"}
    found = examine(tmp_path, cache=own_redis.url, **named)
    assert worst(found, "cache") == "ok"
    unwell(found, "engine", "takes no connection")
    assert "no-such-spark is not on this machine" in said(found)


def test_a_check_that_hangs_is_left_at_the_deadline(tmp_path: Path) -> None:
    """Left to itself it would end later, with another finding."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://isotherm@127.0.0.1:{silent.getsockname()[1]}/isotherm"
        late = list(services.examine_services(Settings(data=tmp_path, db=url), deadline_s=1.0))
    unwell(late, "db", "does not answer within the deadline")


def test_a_stream_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"flink://127.0.0.1:{free_port('127.0.0.1')}"
    found = examine(tmp_path, stream=url)
    unwell(found, "stream", "no SQL gateway answers")
    assert "Flink reads Kafka" in said(found)


@pytest.mark.parametrize(
    ("setting", "url", "words"),
    [
        ("log", "pulsar://broker:6650", "unknown scheme 'pulsar'"),
        ("db", "mysql://user:hidden-in-every-finding@host/db", "unknown scheme 'mysql'"),
        ("stream", "storm://host:1", "known: builtin, flink"),
        ("engine", "hadoop", "unknown scheme"),
    ],
)
def test_schemes_that_nobody_knows_are_named(setting: str, url: str, words: str, tmp_path: Path) -> None:
    found = examine(tmp_path, **{setting: url})
    unwell(found, setting, words)
    assert "hidden-in-every-finding" not in said(found)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis" or name.endswith("cache_redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    unwell(examine(tmp_path, cache="redis://127.0.0.1:1/0"), "cache", "pip install 'isotherm[redis]'")


def test_clocks_are_compared_with_the_way_there_left_out() -> None:
    assert clock("db", 1_000_000, 999_000, 1_001_000).grade == "ok"
    assert clock("db", 990_000, 1_000_000, 1_000_500).grade == "warning"
    behind = clock("db", 800_000, 1_000_000, 1_000_500)
    assert (behind.grade, behind.finding) == ("error", "its clock is 200.0 s behind ours")
    assert "ahead of" in clock("db", 1_200_000, 1_000_000, 1_000_500).finding


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs_as_they_were")
def test_the_command_prints_findings_of_services_as_json(
    redis_server: Redis | NamedRedis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = ["--port", "0", "--collect-port", "0"]
    command = ["doctor", "--data", str(tmp_path / "data"), *ports, "--json", "--cache"]
    assert run([*command, redis_server.url]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {f["grade"] for f in found if f["check"] == "cache"} == {"ok"}
    # A cache that is away is a warning: what the client logs about it does not get between the findings.
    assert run([*command, f"redis://127.0.0.1:{free_port('127.0.0.1')}/0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f["grade"] for f in found if f["check"] == "cache"] == ["warning"]
