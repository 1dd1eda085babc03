"""Fixtures of the servers: one of each per session, started on first use, and fresh ones for tests that kill theirs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import pytest

from services import java
from services.clickhouse import ClickHouseFront, NamedClickHouse
from services.cluster import Cluster
from services.connect import Connect
from services.flink import Flink
from services.kafka import Kafka
from services.named import NamedFlink, NamedKafka, NamedPostgres, NamedRedis, NamedS3, NamedSpark, named
from services.postgres import Postgres
from services.programs import Missing
from services.redis import Redis
from services.s3 import Minio, Versitygw
from services.server import Server
from services.spark import Spark

S = TypeVar("S", bound=Server | Cluster)

TOOLS: dict[str, tuple[str, ...]] = {
    "redis_server": (), "own_redis": (), "postgres": (), "own_postgres": (),
    "clickhouse_server": (), "clickhouse_front": (), "own_clickhouse": (),
    "kafka": ("kafka",), "own_kafka": ("kafka",),
    "connect_worker": ("connect",),
    "spark_cluster": ("spark", "s3a"), "own_spark": ("spark", "s3a"),
    "flink_cluster": ("flink", "flink-connectors"), "own_flink": ("flink", "flink-connectors"),
    "versitygw": ("versitygw",), "own_versitygw": ("versitygw",), "minio": ("minio",), "own_minio": ("minio",),
}  # fmt: skip
"""Fixture: the fetched tools it needs. Tests run in this order: what takes minutes to fetch comes last."""


def pytest_configure() -> None:
    java.short_lived = True


@contextlib.contextmanager
def serving(make: Callable[[], S]) -> Iterator[S]:
    """Start a server and stop it at the end; skip the test with one line when something is not installed."""
    try:
        server = make()
        server.start()
    except Missing as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.stop()


def started(make: Callable[[], S]) -> Iterator[S]:
    with serving(make) as server:
        yield server


def own(name: str, make: Callable[[], S]) -> Iterator[S]:
    """A fresh server that the test may kill; skip where the person named one, which is not ours to kill."""
    if named(name):
        pytest.skip(f"a drill kills its server, and ISOTHERM_TEST_{name.upper()}_URL names one that is not ours")
    yield from started(make)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka | NamedKafka]:
    if url := named("kafka"):
        yield NamedKafka(url)
    else:
        yield from started(Kafka)


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    yield from own("kafka", Kafka)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis | NamedRedis]:
    if url := named("redis"):
        yield NamedRedis(url)
    else:
        yield from started(Redis)


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    yield from own("redis", Redis)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres | NamedPostgres]:
    if url := named("postgres"):
        yield NamedPostgres(url)
    else:
        yield from started(Postgres)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    yield from own("postgres", Postgres)


@pytest.fixture(scope="session")
def versitygw() -> Iterator[Versitygw | NamedS3]:
    if url := named("s3"):
        yield NamedS3(url)
    else:
        yield from started(Versitygw)


@pytest.fixture
def own_versitygw() -> Iterator[Versitygw]:
    yield from own("s3", Versitygw)


@pytest.fixture(scope="session")
def minio() -> Iterator[Minio]:
    yield from started(Minio)


@pytest.fixture
def own_minio() -> Iterator[Minio]:
    yield from started(Minio)


@pytest.fixture(scope="session")
def spark_cluster() -> Iterator[Spark | NamedSpark]:
    if url := named("spark"):
        yield NamedSpark(url)
    else:
        yield from started(Spark)


@pytest.fixture
def own_spark() -> Iterator[Spark]:
    yield from own("spark", Spark)


@pytest.fixture(scope="session")
def clickhouse_front() -> Iterator[ClickHouseFront]:
    """The front itself, for tests that tell it what goes wrong."""
    yield from started(ClickHouseFront)


@pytest.fixture(scope="session")
def clickhouse_server(request: pytest.FixtureRequest) -> ClickHouseFront | NamedClickHouse:
    if url := named("clickhouse"):
        return NamedClickHouse(url)
    return request.getfixturevalue("clickhouse_front")


@pytest.fixture
def own_clickhouse() -> Iterator[ClickHouseFront]:
    yield from started(ClickHouseFront)


@pytest.fixture(scope="session")
def flink_cluster() -> Iterator[Flink | NamedFlink]:
    if url := named("flink"):
        yield NamedFlink(url)
    else:
        yield from started(Flink)


@pytest.fixture
def own_flink() -> Iterator[Flink]:
    yield from own("flink", Flink)


@pytest.fixture
def connect_worker() -> Iterator[Callable[..., Connect]]:
    """Starts workers: `connect_worker(kafka.bootstrap, {"name": ..., "connector.class": ...}, worker={...})`."""
    with contextlib.ExitStack() as running:

        def start(bootstrap: str, *sinks: Mapping[str, object], worker: Mapping[str, object] | None = None) -> Connect:
            return running.enter_context(serving(lambda: Connect(bootstrap, *sinks, worker=worker)))

        yield start
