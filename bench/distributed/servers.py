"""The servers that the tests start, for measurements: the package `services` of the folder tests."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from isotherm.errors import IsothermError

TESTS: Final = str(Path(__file__).parents[2] / "tests")
PARTITIONS: Final = 4


@contextmanager
def started(*names: str) -> Iterator[dict[str, Any]]:
    """Start servers by name (kafka, s3, postgres, redis, clickhouse, spark, flink), and stop them at the end.

    Raises IsothermError with one line that says what to install or to fetch when one cannot be started.
    """
    if TESTS not in sys.path:
        sys.path.insert(0, TESTS)
    from services.programs import Missing
    from services.server import Failed

    with ExitStack() as running:
        try:
            servers = {name: running.enter_context(_make(name)) for name in names}
        except (Missing, Failed) as error:
            raise IsothermError(f"bench: {error}") from error
        yield servers


def _make(name: str) -> Any:
    from services.clickhouse import ClickHouseFront
    from services.flink import Flink
    from services.kafka import Kafka
    from services.postgres import Postgres
    from services.redis import Redis
    from services.s3 import Versitygw
    from services.spark import Spark

    known = {
        "kafka": Kafka,
        "s3": Versitygw,
        "postgres": Postgres,
        "redis": Redis,
        "clickhouse": ClickHouseFront,
        "spark": Spark,
        "flink": Flink,
    }
    return known[name]()


def on_kafka(kafka: Any) -> dict[str, str]:
    """Settings of a log on a topic that is not there yet."""
    topic = f"events-{uuid4().hex}"
    return {
        "log": f"kafka://{kafka.bootstrap}?topic={topic}",
        "windows_topic": f"{topic}.windows",
        "kafka_partitions": str(PARTITIONS),
        "kafka_replication": "1",
    }


def on_s3(server: Any) -> dict[str, str]:
    """Settings of a lake in a bucket of its own."""
    return {
        "lake": f"s3://{server.make_bucket()}/lake?endpoint={server.endpoint}&region={server.region}",
        "s3_access_key_id": server.access_key,
        "s3_secret_access_key": server.secret_key,
    }


def variables(settings: dict[str, str]) -> dict[str, str]:
    """The settings as environment variables: secrets are on no command line."""
    return {f"ISOTHERM_{name.upper()}": value for name, value in settings.items()}
