"""A standalone Kafka Connect worker as a test server."""

from collections.abc import Mapping
from typing import Any, ClassVar

from services.http import ask
from services.java import java, properties, write_logging
from services.server import Server

WORKER: dict[str, object] = {
    "plugin.discovery": "service_load",
    "offset.flush.interval.ms": 1000,
    # By default it gives up after 5 s, which a busy machine needs: what a stop should commit would be uncommitted.
    "task.shutdown.graceful.timeout.ms": 60_000,
    "consumer.auto.offset.reset": "earliest",
    "connector.client.config.override.policy": "All",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
}


class Connect(Server):
    """One worker with the connectors it is given.

    `sinks` are connectors' settings, each with a `name`; `worker` settings replace ours. Offsets of sources are kept
    in the folder; those of sinks are the consumer group `connect-NAME` on the broker.
    """

    name: ClassVar[str] = "connect"
    start_seconds: ClassVar[float] = 90

    def __init__(
        self, bootstrap: str, *sinks: Mapping[str, object], worker: Mapping[str, object] | None = None
    ) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        self.sinks = sinks
        self.worker = worker or {}

    @property
    def url(self) -> str:
        """Where its REST answers, as in `{url}/connectors`."""
        return f"http://127.0.0.1:{self.port}"

    def status(self, connector: str) -> dict[str, Any]:
        """What the worker says of a connector and its tasks: `RUNNING` is no proof that it commits offsets."""
        return ask(f"{self.url}/connectors/{connector}/status")

    def prepare(self) -> None:
        write_logging(self.folder / "log4j2.xml")
        settings = {
            **WORKER,
            "bootstrap.servers": self.bootstrap,
            "listeners": f"HTTP://127.0.0.1:{self.port}",
            "offset.storage.file.filename": self.folder / "offsets",
            **self.worker,
        }
        (self.folder / "worker.properties").write_text(properties(settings))
        for sink in self.sinks:
            (self.folder / f"{sink['name']}.properties").write_text(properties(dict(sink)))

    def command(self) -> list[str]:
        files = ["worker", *(str(sink["name"]) for sink in self.sinks)]
        return java(
            "connect",
            "org.apache.kafka.connect.cli.ConnectStandalone",
            *(str(self.folder / f"{name}.properties") for name in files),
            megabytes=384,
            log=self.folder / "log4j2.xml",
        )

    def answers(self) -> bool:
        """Every connector has tasks, and no state but RUNNING."""
        return all(self._running(str(sink["name"])) for sink in self.sinks) and bool(ask(f"{self.url}/")["version"])

    def _running(self, connector: str) -> bool:
        status = self.status(connector)
        parts = [status["connector"], *status["tasks"]]
        return len(parts) > 1 and all(part["state"] == "RUNNING" for part in parts)
