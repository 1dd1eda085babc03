"""Flink: its SQL gateway answers, in a version that the job was written for, and the log is one that it can read."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings

PATIENCE_S: Final = 5.0
OLDEST: Final = (2, 0)


def check(settings: Settings) -> Iterator[Finding]:
    """Ask the gateway who it is; no session is opened."""
    address = urlsplit(settings.stream).netloc
    if not settings.url("log").startswith("kafka:"):
        yield Finding(
            "stream", "error", "Flink reads Kafka, and `log` is none", "set stream to builtin, or log to kafka://"
        )
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
