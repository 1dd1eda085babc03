"""How this program talks to Kafka: addresses from the URL, options for librdkafka, errors as a person reads them."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from confluent_kafka import KafkaError, KafkaException
from msgspec import Struct

from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError

DEFAULT_TOPIC: Final = "heatmap.events.raw"
ASK_S: Final = 10.0
"""How long a question to the cluster may take, tries included."""
_AGAIN_S: Final = 0.1
_LOG_CRITICAL: Final = 2
_OURS: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "isolation.level",
        "transactional.id",
    }
)
"""Options the delivery guarantee rests on."""
_SOON: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_CONTROLLER,
        KafkaError._NOENT,
        KafkaError._WAIT_COORD,
    }
)
"""What a cluster says that will know in a moment: the topic is new, or a leader moves."""

OLD_LEADERS: Final = frozenset({KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH})
"""The client's picture of who leads is old, as when a broker stood still for a while."""
T = TypeVar("T")


class Target(Struct, frozen=True):
    """One topic on one cluster. `options` are librdkafka's for every client."""

    url: str
    servers: str
    topic: str
    options: dict[str, Any]

    def client(self, **more: Any) -> dict[str, Any]:
        """Options of one client; underscores in names stand for dots. What a person set wins over `more`."""
        common = {"client.id": "isotherm", "log_level": _LOG_CRITICAL, "reconnect.backoff.max.ms": 2_000}
        own = {name.replace("_", "."): value for name, value in more.items()}
        return common | own | self.options | {"bootstrap.servers": self.servers}

    def group(self, consumer: str) -> str:
        """The consumer group that has a consumer's offsets and members."""
        return f"{self.topic}.{consumer}"


def target_of(url: str, settings: Settings) -> Target:
    """What kafka://host:port,host:port?topic=NAME and `kafka_options` say. Raises ConfigError."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    topic = query.pop("topic", DEFAULT_TOPIC)
    if query or parts.path.strip("/") or not parts.netloc or not topic:
        raise ConfigError("log: write kafka://host:port,host:port?topic=NAME")
    if "@" in parts.netloc:
        raise ConfigError("log: a name and password for Kafka go into kafka_options (sasl.username, sasl.password)")
    if taken := sorted(_OURS & settings.kafka_options.keys()):
        raise ConfigError(f"kafka_options: {', '.join(taken)} cannot be set: what is promised rests on it")
    return Target(url, parts.netloc, topic, dict(settings.kafka_options))


def make(kind: Callable[[dict[str, Any]], T], options: dict[str, Any]) -> T:
    """A client. Raises ConfigError for an option that librdkafka does not take."""
    try:
        return kind(options)
    except KafkaException as error:
        raise ConfigError(f"kafka_options: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """The error in one line, without KafkaError{...} around it."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner) or type(inner).__name__


def code(error: KafkaException) -> int | None:
    """librdkafka's number for what happened."""
    inner = error.args[0] if error.args else None
    return inner.code() if isinstance(inner, KafkaError) else None


def unavailable(target: Target, what: str, error: BaseException | str) -> Backpressure:
    """The one way in which Kafka's troubles reach the rest of the program."""
    said = error if isinstance(error, str) else reason(error)
    return Backpressure(f"Kafka at {target.servers} could not {what}: {said}")


def ask(target: Target, what: str, question: Callable[[float], T], seconds: float = ASK_S) -> T:
    """Ask the cluster, and ask again while it says that it will know soon.

    `question` gets the seconds that are left. Raises Backpressure; other exceptions than Kafka's go through.
    """
    end = monotonic() + seconds
    while True:
        try:
            return question(max(end - monotonic(), _AGAIN_S))
        except TimeoutError:
            raise unavailable(target, what, f"no answer within {seconds:g} s") from None
        except KafkaException as error:
            if code(error) not in _SOON or monotonic() + _AGAIN_S >= end:
                raise unavailable(target, what, error) from error
            sleep(_AGAIN_S)
