"""Apache Kafka as a test server: one node that is broker and controller."""

import base64
import os
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from services.certificates import make_certificates
from services.java import java, properties, write_logging
from services.server import Failed, Server, wait_until

ANSWER_SECONDS = 20
# For a node that stands alone, and for a quick start after a kill: 10 s instead of 15 s.
SETTINGS: dict[str, object] = {
    "node.id": 1,
    "process.roles": "broker,controller",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "log.cleaner.dedupe.buffer.size": 16777216,
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
    "controller.quorum.election.timeout.ms": 300,
    "controller.quorum.fetch.timeout.ms": 1000,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
    "sasl.enabled.mechanisms": "PLAIN",
    "ssl.keystore.type": "PEM",
}


class Topics:
    """Makes topics on the Kafka that `bootstrap` gives."""

    bootstrap: str

    def client_settings(self) -> dict[str, Any]:
        """What librdkafka needs to connect, quietly while the broker is away."""
        return {"bootstrap.servers": self.bootstrap, "log_level": 0}

    def create_topic(self, name: str, partitions: int = 1, **config: object) -> str:
        """Make a topic and return its name when every partition has a leader.

        Settings with underscores for dots: `retention_ms=1000` is `retention.ms=1000`.
        """
        admin = AdminClient(self.client_settings())
        dotted = {key.replace("_", "."): str(value) for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dotted)
        admin.create_topics([topic], operation_timeout=ANSWER_SECONDS)[name].result(ANSWER_SECONDS)
        wait_until(f"leaders of topic {name}", lambda: _leaders(admin, name) == partitions, ANSWER_SECONDS)
        return name


class Kafka(Topics, Server):
    """One Kafka on loopback with listeners in the clear, with SASL PLAIN, and with TLS."""

    name: ClassVar[str] = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("plain", "sasl", "tls", "controller")
    sasl_user: ClassVar[str] = "isotherm"

    def __init__(self, **settings: object) -> None:
        """`settings` are the broker's, with underscores for dots."""
        super().__init__()
        self.settings = {name.replace("_", "."): value for name, value in settings.items()}
        self.sasl_password = secrets.token_urlsafe(12)
        # The first byte is 0: an id that starts with a dash looks like an option.
        self.cluster_id = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).rstrip(b"=").decode()

    @property
    def bootstrap(self) -> str:  # type: ignore[override]
        """host:port in the clear, with no password."""
        return f"127.0.0.1:{self.ports['plain']}"

    @property
    def sasl_bootstrap(self) -> str:
        """host:port that wants `sasl_user` and `sasl_password` by SASL PLAIN, without TLS."""
        return f"127.0.0.1:{self.ports['sasl']}"

    @property
    def tls_bootstrap(self) -> str:
        """host:port with TLS; its certificate is signed by `ca_file`."""
        return f"127.0.0.1:{self.ports['tls']}"

    @property
    def ca_file(self) -> Path:
        """The certificate authority that clients of `tls_bootstrap` trust."""
        return self.folder / "certificates" / "ca.pem"

    def prepare(self) -> None:
        make_certificates(self.ca_file.parent)
        write_logging(self.folder / "log4j2.xml")
        config = self.folder / "server.properties"
        config.touch(mode=0o600)
        config.write_text(properties(self._settings()))
        if not (self.folder / "data").exists():
            self._format(config)

    def _format(self, config: Path) -> None:
        done = subprocess.run(
            java("kafka", "kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(config), megabytes=128),
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"Kafka's storage was not formatted:\n{done.stdout}{done.stderr}")

    def _settings(self) -> dict[str, object]:
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        clients = f"PLAINTEXT://{address['plain']},SASL://{address['sasl']},TLS://{address['tls']}"
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{self.sasl_user}="{self.sasl_password}";'
        )
        return {
            **SETTINGS,
            "log.dirs": self.folder / "data",
            "controller.quorum.voters": f"1@{address['controller']}",
            "listeners": f"{clients},CONTROLLER://{address['controller']}",
            "advertised.listeners": clients,
            "listener.name.sasl.plain.sasl.jaas.config": login,
            "ssl.keystore.location": self.ca_file.with_name("server.pem"),
            **self.settings,
        }

    def command(self) -> list[str]:
        config = str(self.folder / "server.properties")
        return java("kafka", "kafka.Kafka", config, megabytes=256, log=self.folder / "log4j2.xml")

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.ports["plain"]), 1):
            pass
        return AdminClient(self.client_settings()).list_topics(timeout=2).cluster_id == self.cluster_id


def _leaders(admin: AdminClient, topic: str) -> int:
    try:
        found = admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    except KafkaException:
        return 0
    return sum(partition.leader >= 0 for partition in found.partitions.values()) if found.error is None else 0
