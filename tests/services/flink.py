"""A Flink session cluster as a test server: job manager, task manager and SQL gateway."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from services.cluster import Cluster
from services.http import ask
from services.java import light, write_logging
from services.programs import program
from services.server import Server, wait_until
from services.tools import folder

SLOTS = 4
# What Flink's own start scripts open to it of Java's modules.
EXPORTS = (
    "java.base/sun.net.util", "java.rmi/sun.rmi.registry", "java.security.jgss/sun.security.krb5",
    *(f"jdk.compiler/com.sun.tools.javac.{part}" for part in ("api", "file", "parser", "tree", "util")),
)  # fmt: skip
OPENS = (
    "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
    "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
)  # fmt: skip
MODULES = (
    *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENS),
)
SETTINGS: dict[str, object] = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": SLOTS,
    # The start scripts would work these out of one total.
    "taskmanager.cpu.cores": 2,
    "taskmanager.memory.task.heap.size": "256mb",
    "taskmanager.memory.task.off-heap.size": "0mb",
    "taskmanager.memory.framework.heap.size": "128mb",
    "taskmanager.memory.framework.off-heap.size": "128mb",
    "taskmanager.memory.network.min": "64mb",
    "taskmanager.memory.network.max": "64mb",
    "taskmanager.memory.managed.size": "128mb",
    "taskmanager.memory.jvm-metaspace.size": "384mb",
    "taskmanager.memory.jvm-overhead.min": "192mb",
    "taskmanager.memory.jvm-overhead.max": "192mb",
    # A drill waits for these: a killed task manager is given up after 5 s instead of 50 s.
    "heartbeat.interval": "1s",
    "heartbeat.timeout": "5s",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 1000,
    "restart-strategy.fixed-delay.delay": "500ms",
}


def flink_home() -> Path:
    """The Flink distribution inside the fetched environment."""
    return next(folder("flink").glob("lib/python*/site-packages/pyflink"))


class _Process(Server):
    main: ClassVar[str]
    heap: ClassVar[int]
    off_heap: ClassVar[int] = 192

    def __init__(self, shared: "Shared") -> None:
        super().__init__()
        self.shared = shared

    def prepare(self) -> None:
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        write_logging(self.folder / "log4j2.xml")
        settings = {**SETTINGS, "io.tmp.dirs": self.folder, **self.shared.settings(), **self.more()}
        (conf / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))

    def more(self) -> dict[str, object]:
        return {}

    def environment(self) -> Mapping[str, str]:
        return {
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LIB_DIR": str(flink_home() / "lib"),
            "FLINK_PLUGINS_DIR": str(flink_home() / "plugins"),
        }

    def command(self) -> list[str]:
        libraries = f"{flink_home() / 'lib'}/*:{folder('flink-connectors') / 'libs'}/*"
        memory = (f"-Xmx{self.heap}m", f"-XX:MaxDirectMemorySize={self.off_heap + 64}m", "-XX:MaxMetaspaceSize=384m")
        log = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.xml'}"
        return [program("java"), *light(), *memory, *MODULES, log, "-cp", libraries, self.main, *self.arguments()]

    def arguments(self) -> list[str]:
        return ["--configDir", str(self.folder / "conf")]


class JobManager(_Process):
    name: ClassVar[str] = "flink-job-manager"
    main: ClassVar[str] = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    heap: ClassVar[int] = 384
    port_names: ClassVar[tuple[str, ...]] = ("rest", "rpc")

    def prepare(self) -> None:
        self.shared.job_manager = self.ports
        super().prepare()

    def answers(self) -> bool:
        return "taskmanagers" in ask(f"http://127.0.0.1:{self.port}/overview")


class TaskManager(_Process):
    name: ClassVar[str] = "flink-task-manager"
    main: ClassVar[str] = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    heap: ClassVar[int] = 384
    port_names: ClassVar[tuple[str, ...]] = ("rpc", "data")

    def more(self) -> dict[str, object]:
        return {
            "taskmanager.rpc.port": self.ports["rpc"],
            "taskmanager.data.port": self.ports["data"],
            "taskmanager.resource-id": f"task-manager-{self.port}-{self.starts}",
        }

    def answers(self) -> bool:
        """Registered by the id of this life: the job manager remembers one that was killed for some seconds."""
        known = ask(f"http://127.0.0.1:{self.shared.job_manager['rest']}/taskmanagers")["taskmanagers"]
        wanted = self.more()["taskmanager.resource-id"]
        return any(one["id"] == wanted and one["slotsNumber"] == SLOTS for one in known)


class SqlGateway(_Process):
    name: ClassVar[str] = "flink-sql-gateway"
    main: ClassVar[str] = "org.apache.flink.table.gateway.SqlGateway"
    heap: ClassVar[int] = 256

    def arguments(self) -> list[str]:
        settings = {"sql-gateway.endpoint.rest.address": "127.0.0.1", "sql-gateway.endpoint.rest.port": self.port}
        return [f"-D{name}={value}" for name, value in settings.items()]

    def answers(self) -> bool:
        return "Flink" in ask(f"http://127.0.0.1:{self.port}/v1/info")["productName"]


class Shared:
    """What all processes of a cluster must know."""

    def __init__(self) -> None:
        self.job_manager: Mapping[str, int] = {}
        self.given: Mapping[str, object] = {}

    def settings(self) -> dict[str, object]:
        return {"jobmanager.rpc.port": self.job_manager["rpc"], "rest.port": self.job_manager["rest"], **self.given}


class Flink(Cluster):
    """A job manager, a task manager with 4 slots, and a SQL gateway.

    Checkpoints and savepoints go to folders of the job manager, which outlive kills and go away with `stop`.
    """

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        """`settings` are Flink's own, by their dotted names."""
        shared = Shared()
        self.job_manager = JobManager(shared)
        self.task_manager = TaskManager(shared)
        self.sql_gateway = SqlGateway(shared)
        shared.given = {
            "execution.checkpointing.dir": f"file://{self.job_manager.folder}/checkpoints",
            "execution.checkpointing.savepoint-dir": f"file://{self.job_manager.folder}/savepoints",
            **(settings or {}),
        }
        super().__init__(self.job_manager, self.task_manager, self.sql_gateway)

    @property
    def gateway(self) -> str:
        """URL of the SQL gateway's REST."""
        return f"http://127.0.0.1:{self.sql_gateway.port}"

    @property
    def rest(self) -> str:
        """URL of the job manager's REST."""
        return f"http://127.0.0.1:{self.job_manager.port}"

    def ready(self) -> None:
        wait_until("free slots", lambda: ask(f"{self.rest}/overview")["slots-available"] > 0, 60)

    def kill_task_manager(self) -> None:
        """SIGKILL to the task manager, with all tasks that run there."""
        self.task_manager.kill9()

    def start_task_manager(self) -> None:
        """Start the task manager again; returns when the job manager knows it (its jobs may take its slots at once)."""
        self.task_manager.start()
