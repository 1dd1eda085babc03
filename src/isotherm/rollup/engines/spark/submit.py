"""How spark-submit is called: its master, its configuration in a private file, its environment."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isotherm.config import MIB, Settings, is_loopback
from isotherm.errors import ConfigError
from isotherm.land.lake import Place, S3Place
from isotherm.rollup.engines.spark.installation import find_submit, own_options

JOB: Final = Path(__file__).with_name("job.py")
"""The program that runs on Spark; it needs nothing else of ours."""

_STANDALONE: Final = re.compile(r"spark://([^\s:,/]+|\[[0-9A-Fa-f:]+\]):\d{1,5}(,[^\s:,/]+:\d{1,5})*")
_KUBERNETES: Final = re.compile(r"spark\+k8s://([^\s:,/]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?")
_OPTION: Final = re.compile(r"spark\.[A-Za-z0-9._/-]+")
_SECRET: Final = re.compile(r"(?i)secret|password|token|access[.]?key|credential")
_FORMS: Final = (
    "write spark+local, spark://host:port of a standalone master, or spark+k8s://host:port of a Kubernetes API server"
)
_DEPLOY_MODE: Final = "spark.submit.deployMode"
_ALWAYS: Final = {
    "spark.app.name": "isotherm tiles",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}


def master_of(engine: str, threads: int, options: Mapping[str, str]) -> str:
    """Spark's master for the setting `engine`: spark, spark+local, spark://host:port, or spark+k8s://host:port.

    `threads` are those of a local job; 0 means one per core. Bare `spark` means the master that `options` name: those
    of the installation and of `spark_options`. Raises ConfigError.
    """
    if engine == "spark":
        if master := options.get("spark.master"):
            return master
        raise ConfigError(
            "engine: spark means the master of this machine's Spark, and neither spark-defaults.conf nor spark_options "
            f"names one (spark.master); {_FORMS}"
        )
    if engine == "spark+local":
        return f"local[{threads or '*'}]"
    if _STANDALONE.fullmatch(engine):
        return engine
    if _KUBERNETES.fullmatch(engine):
        return f"k8s://https://{engine.partition('://')[2]}"
    raise ConfigError(f"engine: {engine!r} names no Spark; {_FORMS}")


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything a call of spark-submit needs. `secrets` are values that must not appear in what it says."""

    program: Path
    master: str
    options: Mapping[str, str]
    secrets: Sequence[str]

    @classmethod
    def of(cls, settings: Settings, *places: Place) -> "Submission":
        """For these settings and a lake at `places`: its own, and its archive's. Raises ConfigError."""
        for name in settings.spark_options:
            if not _OPTION.fullmatch(name):
                raise ConfigError(f"spark_options: {name!r} is no option of Spark's; their names start with spark.")
        program = find_submit(settings.spark_submit)
        own = own_options(program)
        master = master_of(settings.engine, settings.job_threads, own | settings.spark_options)
        mode = {name: own[name] for name in (_DEPLOY_MODE,) if name in own}
        options = _ALWAYS | mode | _network(master) | _memory(master, settings) | _s3(places) | settings.spark_options
        return cls(
            program,
            master,
            options,
            [value for name, value in options.items() if value and _SECRET.search(name) and "provider" not in name],
        )

    @property
    def deploy_mode(self) -> str:
        """client, or cluster: then the cluster starts the driver, once per job."""
        return self.options.get(_DEPLOY_MODE, "client")

    def command(self, options_file: Path, job: str, arguments: Sequence[str]) -> list[str]:
        """The command line. It holds no secrets, since others on the machine can read it."""
        return [
            str(self.program), "--master", self.master, "--load-spark-defaults",
            "--properties-file", str(options_file), job, *arguments,
        ]  # fmt: skip

    def write_options(self, folder: Path) -> Path:
        """The options as a file that only this user can read; it may go once the driver has started."""
        path = folder / "spark.properties"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            for name, value in self.options.items():
                file.write(f"{name}={_escaped(value)}\n")
        return path

    def environment(self) -> dict[str, str]:
        """See `environment_of`."""
        return environment_of(self.program, self.options)

    def without_secrets(self, text: str) -> str:
        """The text as it may be shown."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def environment_of(program: Path, options: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without our own settings, with a Python for the driver."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
    if not {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"} & environment.keys():
        beside = program.with_name("python3")
        # In an environment made by pip, spark-submit finds Spark by the Python beside it.
        environment["PYSPARK_DRIVER_PYTHON"] = str(beside) if os.access(beside, os.X_OK) else sys.executable
    if "spark.driver.bindAddress" in options:
        environment.setdefault("SPARK_LOCAL_IP", options["spark.driver.bindAddress"])
    return environment


def _network(master: str) -> dict[str, str]:
    """On one machine nobody else needs to reach the driver."""
    host = master.removeprefix("spark://").rpartition(":")[0]
    if master.startswith("local") or is_loopback(host):
        return {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return {}


def _memory(master: str, settings: Settings) -> dict[str, str]:
    # A local job runs inside the driver. The rest is what Java needs beside its heap.
    if master.startswith("local"):
        return {"spark.driver.memory": f"{max(512, settings.job_memory_bytes * 3 // 4 // MIB)}m"}
    return {}


def _s3(places: Sequence[Place]) -> dict[str, str]:
    """S3A's options for the lake's buckets, and for no other."""
    return {name: value for place in places for name, value in _bucket(place).items()}


def _bucket(place: Place) -> dict[str, str]:
    if not isinstance(place, S3Place):
        return {}
    options = {
        "endpoint": place.endpoint,
        "endpoint.region": place.region,
        "path.style.access": "true",
        "connection.ssl.enabled": "false" if place.allow_http else "true",
    }
    if place.access_key_id:
        kind = "Temporary" if place.session_token else "Simple"
        options |= {
            "access.key": place.access_key_id,
            "secret.key": place.secret_access_key,
            "aws.credentials.provider": f"org.apache.hadoop.fs.s3a.{kind}AWSCredentialsProvider",
        }
    if place.session_token:
        options["session.token"] = place.session_token
    return {f"spark.hadoop.fs.s3a.bucket.{place.bucket}.{name}": value for name, value in options.items() if value}


def _escaped(value: str) -> str:
    """A value in a Java properties file: a backslash, a line's end and leading space would be read otherwise."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return "\\" + text if text.startswith((" ", "\f")) else text
