"""Spark: its spark-submit is on this machine, and a master that is named takes connections."""

import shutil
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings

PATIENCE_S: Final = 5.0


def check(settings: Settings) -> Iterator[Finding]:
    """Starts nothing: a driver takes the cluster's memory. Raises ConfigError when `engine` names no master."""
    from isotherm.rollup.engines.spark.submit import master_of

    master_of(settings.engine, settings.job_threads)
    found = shutil.which(settings.spark_submit)
    if found is None:
        yield Finding(
            "engine", "error", f"{settings.spark_submit} is not on this machine",
            "install Apache Spark 4 (with Java 17; or: pip install pyspark), or name its program with spark_submit",
        )  # fmt: skip
    else:
        yield Finding("engine", "ok", f"jobs are submitted by {found}")
    if settings.engine.startswith("spark://"):
        yield from _masters(settings.engine)


def _masters(url: str) -> Iterator[Finding]:
    """Several masters, of which one leads, are separated by commas."""
    for address in urlsplit(url).netloc.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S).close()
        except (OSError, ValueError) as error:
            yield Finding(
                "engine", "error", f"the Spark master at {address} takes no connection ({error})",
                "start it, or correct `engine`: spark://host:7077",
            )  # fmt: skip
        else:
            yield Finding("engine", "ok", f"the Spark master at {address} takes connections")
