"""A standalone Spark cluster as a test server: a master and a worker."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from services.cluster import Cluster
from services.http import ask
from services.java import light
from services.programs import program
from services.server import Server, wait_until
from services.tools import folder

CORES = 2
MEMORY = "2g"
LOGGING = """rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.console.type = Console
appender.console.name = stderr
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n
"""


def spark_home() -> Path:
    """The Spark distribution inside the fetched environment."""
    return next(folder("spark").glob("lib/python*/site-packages/pyspark"))


def spark_environment(scratch: Path) -> dict[str, str]:
    """Variables for every program of Spark: its home, its Python, loopback, and `scratch` for what it writes."""
    program("java")
    scratch.mkdir(exist_ok=True)
    settings = scratch / "conf"
    settings.mkdir(exist_ok=True)
    (settings / "log4j2.properties").write_text(LOGGING)
    options = " ".join(light())
    (settings / "spark-defaults.conf").write_text(
        f"spark.driver.extraJavaOptions={options}\nspark.executor.extraJavaOptions={options}\n"
    )
    return {
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(settings),
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": options,
        "PYSPARK_PYTHON": str(folder("spark") / "bin" / "python"),
    }


class _Daemon(Server):
    port_names: ClassVar[tuple[str, ...]] = ("port", "web")
    main: ClassVar[str]

    def environment(self) -> Mapping[str, str]:
        return spark_environment(self.folder / "scratch")

    def command(self) -> list[str]:
        web = ("--host", "127.0.0.1", "--port", str(self.port), "--webui-port", str(self.ports["web"]))
        return [str(spark_home() / "bin" / "spark-class"), self.main, *web, *self.more()]

    def more(self) -> list[str]:
        return []

    @property
    def web(self) -> str:
        """The address of its pages; /json/ is for programs."""
        return f"http://127.0.0.1:{self.ports['web']}"


class Master(_Daemon):
    name: ClassVar[str] = "spark-master"
    main: ClassVar[str] = "org.apache.spark.deploy.master.Master"

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        return ask(f"{self.web}/json/")["status"] == "ALIVE"


class Worker(_Daemon):
    """A worker; the executors of jobs are its children, so a kill of it kills them."""

    name: ClassVar[str] = "spark-worker"
    main: ClassVar[str] = "org.apache.spark.deploy.worker.Worker"

    def __init__(self, master: Master) -> None:
        super().__init__()
        self.master = master

    def more(self) -> list[str]:
        return ["-c", str(CORES), "-m", MEMORY, "-d", str(self.folder / "work"), self.master.url]

    def answers(self) -> bool:
        return ask(f"{self.web}/json/")["cores"] == CORES


class Submits:
    """Programs that give jobs to the cluster that `master` names; its scratch files go to `scratch`."""

    master: str
    scratch: Path

    @property
    def submit(self) -> str:
        """Path of spark-submit; run it with `environment`."""
        return str(spark_home() / "bin" / "spark-submit")

    @property
    def python(self) -> str:
        """The Python that has PySpark, NumPy and pyarrow."""
        return str(folder("spark") / "bin" / "python")

    @property
    def s3_jars(self) -> list[str]:
        """Jars that let Spark read s3a:// addresses, for --jars."""
        return sorted(str(jar) for jar in (folder("s3a") / "libs").glob("*.jar"))

    def environment(self) -> dict[str, str]:
        """The environment for spark-submit and for PySpark programs: this process's and Spark's."""
        return {**os.environ, **spark_environment(self.scratch)}


class Spark(Submits, Cluster):
    """A master and one worker with 2 cores and 2 GB."""

    def __init__(self) -> None:
        self.master_server = Master()
        self.worker = Worker(self.master_server)
        super().__init__(self.master_server, self.worker)
        self.scratch = self.master_server.folder / "submit"

    @property
    def master(self) -> str:  # type: ignore[override]
        """spark://host:port, for --master."""
        return self.master_server.url

    @property
    def web(self) -> str:
        """The master's pages; `/json/` names workers and applications."""
        return self.master_server.web

    def ready(self) -> None:
        wait_until("the worker to be known to the master", self._has_worker, 30)

    def kill_worker(self) -> None:
        """SIGKILL to the worker and the executors of all jobs."""
        self.worker.kill9()

    def start_worker(self) -> None:
        """Start the worker again; returns when the master knows it."""
        self.worker.start()
        self.ready()

    def _has_worker(self) -> bool:
        # By its port: the master remembers workers that died.
        known = ask(f"{self.web}/json/")["workers"]
        return any(worker["state"] == "ALIVE" and worker["port"] == self.worker.port for worker in known)
