"""The test servers themselves: they start, answer, survive a kill with what they acknowledged, and are ours."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from services.connect import Connect
from services.flink import SLOTS, Flink
from services.http import ask
from services.kafka import Kafka
from services.ports import listeners
from services.postgres import Postgres
from services.redis import Redis
from services.s3 import Buckets, Minio, Versitygw
from services.server import Server, wait_until
from services.spark import Spark


def test_redis_keeps_what_it_acknowledged(own_redis: Redis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        for number in range(100):
            client.set(f"key {number}", number)
    own_redis.kill9()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.dbsize() == 100


def test_postgres_keeps_what_it_acknowledged(own_postgres: Postgres) -> None:
    url = own_postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table t (n int)")
        for number in range(100):
            connection.execute("insert into t values (%s)", [number])
    own_postgres.kill9()
    own_postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*), sum(n) from t").fetchone() == (100, 4950)


def test_kafka_keeps_what_it_acknowledged(own_kafka: Kafka) -> None:
    own_kafka.create_topic("kept", 1, retention_ms=3_600_000)
    assert send(own_kafka.client_settings(), "kept", 100) == 100
    own_kafka.kill9()
    own_kafka.start()
    assert received(own_kafka, "kept") == [f"{number}" for number in range(100)]


@pytest.mark.parametrize("kind", ["own_versitygw", "own_minio"])
def test_s3_keeps_what_it_acknowledged(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(kind)
    objects = [f"/{server.make_bucket()}/client_id=a b/{number}.bin" for number in range(20)]
    assert [server.requests().ask("PUT", path, path.encode())[0] for path in objects] == [200] * 20
    server.kill9()
    server.start()
    assert [server.requests().ask("GET", path) for path in objects] == [(200, path.encode()) for path in objects]


def test_a_bucket_has_one_name_of_its_own(versitygw: Versitygw, minio: Minio) -> None:
    for server in (versitygw, minio):
        first, second = server.make_bucket(), server.make_bucket()
        assert first != second
        assert server.requests().ask("GET", f"/{first}")[0] == 200
        assert server.requests().ask("GET", "/no-such-bucket")[0] == 404
        stranger = Buckets()
        stranger.endpoint, stranger.access_key, stranger.secret_key = server.endpoint, server.access_key, "wrong"
        assert stranger.requests().ask("GET", f"/{first}")[0] == 403


def test_databases_are_fresh(postgres: Postgres) -> None:
    for _ in range(2):
        with psycopg.connect(postgres.new_database()) as connection:
            connection.execute("create table t (n int)")


def test_kafka_asks_for_a_password(kafka: Kafka) -> None:
    kafka.create_topic("with-password")
    settings = {
        "bootstrap.servers": kafka.sasl_bootstrap, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
        "sasl.username": kafka.sasl_user, "log_level": 0,
    }  # fmt: skip
    assert send({**settings, "sasl.password": kafka.sasl_password}, "with-password", 3) == 3
    assert send({**settings, "sasl.password": "wrong", "message.timeout.ms": 2000}, "with-password", 3) == 0


def test_kafka_speaks_tls(kafka: Kafka) -> None:
    kafka.create_topic("over-tls")
    settings = {"bootstrap.servers": kafka.tls_bootstrap, "security.protocol": "SSL", "log_level": 0}
    assert send({**settings, "ssl.ca.location": str(kafka.ca_file)}, "over-tls", 3) == 3
    assert send({**settings, "message.timeout.ms": 2000}, "over-tls", 3) == 0


def test_kafka_passes_topic_settings(kafka: Kafka) -> None:
    kafka.create_topic("with-settings", 3, retention_ms=1234567, cleanup_policy="compact")
    resource = ConfigResource(ConfigResource.Type.TOPIC, "with-settings")
    admin = AdminClient(kafka.client_settings())
    config = admin.describe_configs([resource])[resource].result(20)
    assert (config["retention.ms"].value, config["cleanup.policy"].value) == ("1234567", "compact")
    assert len(admin.list_topics("with-settings", timeout=20).topics["with-settings"].partitions) == 3


def test_connect_writes_what_the_topic_holds(
    kafka: Kafka, connect_worker: Callable[..., Connect], tmp_path: Path
) -> None:
    kafka.create_topic("to-a-file")
    out = tmp_path / "out.txt"
    sink = {
        "name": "to-a-file", "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "topics": "to-a-file", "file": out, "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }  # fmt: skip
    worker = connect_worker(kafka.bootstrap, sink)
    send(kafka.client_settings(), "to-a-file", 50)
    lines = [str(number) for number in range(50)]
    wait_until("50 lines", lambda: out.exists() and out.read_text().splitlines() == lines, 60)
    worker.kill9()
    worker.start()
    assert worker.status("to-a-file")["connector"]["state"] == "RUNNING"


@pytest.mark.drill
def test_spark_runs_a_job_on_its_worker_after_a_kill(own_spark: Spark, versitygw: Versitygw, tmp_path: Path) -> None:
    own_spark.kill_worker()
    own_spark.start_worker()
    job = tmp_path / "job.py"
    job.write_text(
        "import sys\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "spark.range(1000).selectExpr('id', 'id % 7 as k').write.parquet(sys.argv[1])\n"
        "rows = spark.read.parquet(sys.argv[1]).groupBy('k').count().collect()\n"
        "print(sorted((row['k'], row['count']) for row in rows))\n"
    )
    s3a = {
        "endpoint": versitygw.endpoint, "endpoint.region": versitygw.region, "path.style.access": "true",
        "connection.ssl.enabled": "false", "access.key": versitygw.access_key, "secret.key": versitygw.secret_key,
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    }  # fmt: skip
    settings = tmp_path / "job.conf"
    settings.write_text("".join(f"spark.hadoop.fs.s3a.{name} {value}\n" for name, value in s3a.items()))
    done = subprocess.run(
        [own_spark.submit, "--master", own_spark.master, "--driver-memory", "512m", "--executor-memory", "512m",
         "--conf", "spark.ui.enabled=false", "--properties-file", str(settings), "--jars", ",".join(own_spark.s3_jars),
         str(job), f"s3a://{versitygw.make_bucket()}/table"],
        env=own_spark.environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str([(k, len(range(k, 1000, 7))) for k in range(7)]), done.stderr[-2000:]
    finished = ask(f"{own_spark.web}/json/")["completedapps"]
    assert [app["state"] for app in finished] == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.drill
def test_flink_answers_a_query_after_a_kill(own_flink: Flink) -> None:
    own_flink.kill_task_manager()
    own_flink.start_task_manager()
    assert ask(f"{own_flink.rest}/overview")["slots-total"] >= SLOTS
    session = ask(f"{own_flink.gateway}/v1/sessions", {})["sessionHandle"]
    statements = f"{own_flink.gateway}/v1/sessions/{session}/statements"
    query = "SELECT k, SUM(n) FROM (VALUES ('a', 1), ('a', 2), ('b', 5)) AS t (k, n) GROUP BY k"
    ask(statements, {"statement": "SET 'execution.runtime-mode' = 'batch'"})
    operation = ask(statements, {"statement": query})["operationHandle"]
    results = f"{own_flink.gateway}/v1/sessions/{session}/operations/{operation}/result"
    assert sorted(rows(own_flink.gateway, f"{results}/0")) == [["a", 3], ["b", 5]]


@pytest.mark.services("own_kafka", "own_versitygw", "own_minio")
@pytest.mark.parametrize("kind", [Redis, Postgres, Kafka, Versitygw, Minio])
def test_two_at_once(kind: type[Server], started_server: Callable[[type[Server]], Server]) -> None:
    first, second = started_server(kind), started_server(kind)
    assert not set(first.ports.values()) & set(second.ports.values())
    assert first.folder != second.folder
    for one in (first, second):
        assert one.pid in (listeners(one.port) or {one.pid})


@pytest.fixture
def started_server() -> Iterator[Callable[[type[Server]], Server]]:
    with contextlib.ExitStack() as running:
        yield lambda kind: running.enter_context(kind())


def send(settings: dict[str, object], topic: str, count: int) -> int:
    """Produce numbers; how many were acknowledged."""
    errors: list[KafkaError | None] = []
    producer = Producer({**settings, "acks": "all"})
    for number in range(count):
        producer.produce(topic, str(number).encode(), on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    return sum(error is None for error in errors)  # a KafkaError does not compare to None


def received(kafka: Kafka, topic: str) -> list[str]:
    """All values of partition 0."""
    consumer = Consumer({**kafka.client_settings(), "group.id": "reads", "enable.auto.commit": False})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return [message.value().decode() for message in consumer.consume(end, 20)]
    finally:
        consumer.close()


def rows(gateway: str, page: str | None) -> list[list[object]]:
    """All rows of a result of the SQL gateway, page by page."""
    found: list[list[object]] = []
    deadline = time.monotonic() + 120
    while page:
        assert time.monotonic() < deadline, "the query did not end"
        said = ask(page)
        if said["resultType"] == "NOT_READY":
            time.sleep(0.1)
        else:
            found += [row["fields"] for row in said["results"]["data"]]
        next_page = said.get("nextResultUri")
        page = f"{gateway}{next_page}" if next_page else None
    return found
