"""Servers that a person names in the environment; tests use them instead of starting their own."""

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from services import guard
from services.kafka import Topics
from services.postgres import Databases
from services.s3 import REGION, Buckets
from services.spark import Submits

PREFIX = "ISOTHERM_TEST_"


def named(server: str) -> str | None:
    """What ISOTHERM_TEST_<SERVER>_URL says; None when it is not set."""
    return os.environ.get(f"{PREFIX}{server.upper()}_URL") or None


class NamedKafka(Topics):
    """A Kafka at kafka://host:port; it is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.bootstrap = url.removeprefix("kafka://").rstrip("/")


class NamedPostgres(Databases):
    """A PostgreSQL at postgresql://...; databases that tests make there stay."""

    def __init__(self, url: str) -> None:
        self.url = url


class NamedRedis:
    """A Redis at redis://...; it is not ours to stop."""

    def __init__(self, url: str) -> None:
        self.url = url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/0"


class NamedS3(Buckets):
    """An S3 at an endpoint URL, with ISOTHERM_TEST_S3_KEY and _SECRET (and _REGION); buckets made there stay."""

    def __init__(self, url: str) -> None:
        self.endpoint = url.rstrip("/")
        self.access_key = os.environ[f"{PREFIX}S3_KEY"]
        self.secret_key = os.environ[f"{PREFIX}S3_SECRET"]
        self.region = os.environ.get(f"{PREFIX}S3_REGION", REGION)


class NamedSpark(Submits):
    """A Spark master at spark://host:port; jobs are submitted with the PySpark that `make services` fetched."""

    def __init__(self, url: str) -> None:
        self.master = url
        self.scratch = Path(tempfile.mkdtemp(prefix="isotherm-spark-submit-"))
        guard.tell(f"+d {self.scratch}")


class NamedFlink:
    """A Flink by the URL of its SQL gateway, and of its REST in ISOTHERM_TEST_FLINK_REST_URL; not ours to stop."""

    def __init__(self, url: str) -> None:
        self.gateway = url.rstrip("/")
        self.rest = os.environ[f"{PREFIX}FLINK_REST_URL"].rstrip("/")
