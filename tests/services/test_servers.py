"""The test servers themselves: they start, answer, survive a kill with what they acknowledged, and are ours."""

from services.kafka import Kafka
from services.postgres import Postgres
from services.redis import Redis
from services.s3 import Minio, Versitygw
from services.spark import Spark


def test_shared_redis_answers(redis_server: Redis) -> None:
    assert redis_server.url.startswith("redis://")


def test_shared_postgres_answers(postgres: Postgres) -> None:
    assert postgres.new_database() != postgres.new_database()


def test_shared_kafka_answers(kafka: Kafka) -> None:
    assert kafka.create_topic("answers", 2) == "answers"


def test_shared_s3_servers_answer(versitygw: Versitygw, minio: Minio) -> None:
    assert versitygw.make_bucket() != minio.make_bucket()


def test_shared_spark_answers(spark_cluster: Spark) -> None:
    assert spark_cluster.master.startswith("spark://")
    assert spark_cluster.s3_jars
