"""Flink: its SQL gateway answers, in a version that the job was written for; the log, and the topic that it writes."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from isotherm.errors import Backpressure

PATIENCE_S: Final = 5.0
OLDEST: Final = (2, 0)


def check(settings: Settings) -> Iterator[Finding]:
    """Ask the gateway who it is, and Kafka about the topic; no session is opened and nothing is made."""
    yield from _gateway(urlsplit(settings.stream).netloc)
    if settings.url("log").startswith("kafka:"):
        try:
            yield from _topic(settings)
        except Backpressure as error:
            yield Finding("stream", "error", str(error), "Flink writes there: see what is said about `log`")
    else:
        yield Finding(
            "stream", "error", "Flink reads Kafka, and `log` is none", "set stream to builtin, or log to kafka://"
        )


def _gateway(address: str) -> Iterator[Finding]:
    try:
        with urllib.request.urlopen(f"http://{address}/v1/info", timeout=PATIENCE_S) as answer:
            said = json.loads(answer.read(10_000))
            version = str(said["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding(
            "stream", "error", f"no SQL gateway answers at {address} ({error})",
            "start it with sql-gateway.sh, with an address that this machine reaches, or correct `stream`",
        )  # fmt: skip
        return
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        yield Finding("stream", "error", f"Flink {version}", "use Flink 2.0 or newer; 2.3 is what the tests run")
    else:
        yield Finding("stream", "ok", f"the SQL gateway of Flink {version} answers")


def _topic(settings: Settings) -> Iterator[Finding]:
    from confluent_kafka import TopicCollection
    from confluent_kafka.admin import AdminClient

    from isotherm.cli.doctor.kafka import lacking_rights
    from isotherm.eventlog.kafka_client import ask, make, target_of

    target, name = target_of(settings.url("log"), settings), settings.windows_topic
    admin = make(AdminClient, target.client())

    def describe(seconds: float) -> Any:
        asked = admin.describe_topics(
            TopicCollection([name]), include_authorized_operations=True, request_timeout=seconds
        )
        return asked[name].result(seconds)

    if name not in ask(target, "list topics", lambda s: set(admin.list_topics(timeout=s).topics), PATIENCE_S):
        yield Finding("stream", "ok", f"topic {name} is made at the first start, compacted")
        return
    # Flink logs in as we do.
    allowed = ask(target, f"describe topic {name}", describe, PATIENCE_S).authorized_operations
    yield from lacking_rights(allowed, {"READ", "WRITE"}, f"topic {name}", f"--topic {name}", "stream")
    config = ask(target, f"show the settings of topic {name}", lambda s: _config(admin, name, s), PATIENCE_S)
    yield from _settings(config, name)


def _config(admin: Any, name: str, seconds: float) -> dict[str, Any]:
    from confluent_kafka.admin import (
        ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
        ResourceType,  # pyright: ignore[reportPrivateImportUsage]
    )

    resource = ConfigResource(ResourceType.TOPIC, name)
    asked = admin.describe_configs([resource], request_timeout=seconds)
    return {entry.name: entry.value for entry in asked[resource].result(seconds).values()}


def _settings(config: dict[str, Any], name: str) -> Iterator[Finding]:
    from isotherm.rollup.engines.flink.topic import differences

    wrong = differences(config)
    for one in wrong:
        yield Finding("stream", "error", f"topic {name} cannot be used as it is", one)
    if not wrong:
        yield Finding("stream", "ok", f"topic {name}: cleanup.policy {config['cleanup.policy']}")
