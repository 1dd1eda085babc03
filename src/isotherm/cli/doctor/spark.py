"""Spark: its spark-submit is on this machine and of a version that was tried; a master that is named answers."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings

PATIENCE_S: Final = 5.0
VERSION_S: Final = 15.0
"""Java has to start for it; less than the deadline of all checks."""
OLDEST: Final = 4
_VERSION: Final = re.compile(r"version (\d+)(\.\d+)*")


def check(settings: Settings) -> Iterator[Finding]:
    """Starts no driver: it would take the cluster's memory. Raises ConfigError when `engine` names no master."""
    from isotherm.rollup.engines.spark.installation import own_options
    from isotherm.rollup.engines.spark.submit import master_of

    found = shutil.which(settings.spark_submit)
    own = own_options(Path(found)) if found else {}
    master = master_of(settings.engine, settings.job_threads, own | settings.spark_options)
    if master.startswith("spark://"):
        yield from _masters(master)
    if found is None:
        yield Finding(
            "engine", "error", f"{settings.spark_submit} is not on this machine",
            "install Apache Spark 4 (with Java 17; or: pip install pyspark), or name its program with spark_submit",
        )  # fmt: skip
    else:
        yield _version(Path(found), master)


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


def _version(program: Path, master: str) -> Finding:
    from isotherm.rollup.engines.spark.submit import environment_of

    advice = "see that Java 17 or newer is here (JAVA_HOME), and what `spark-submit --version` says"
    said = _run([str(program), "--version"], environment_of(program, {}))
    if said is None:
        return Finding("engine", "error", f"{program} does not tell its version within {VERSION_S:.0f} s", advice)
    version = _VERSION.search(said)
    if version is None:
        last = " ".join(said.split())[-200:]
        return Finding("engine", "error", f"{program} does not tell its version ({last})", advice)
    if int(version[1]) < OLDEST:
        return Finding("engine", "error", f"{program} is of Spark {version[0].split()[1]}", "install Apache Spark 4")
    return Finding("engine", "ok", f"jobs are submitted by {program}, Spark {version[0].split()[1]}, to {master}")


def _run(words: list[str], environment: Mapping[str, str]) -> str | None:
    """What a program writes; None when it does not end. It starts another (Java), which must not stay."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            return process.communicate(timeout=VERSION_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None
