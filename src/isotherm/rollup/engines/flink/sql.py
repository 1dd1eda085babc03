"""The job's SQL for one deployment: windows.sql with the rule's numbers and the settings in it."""

from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from isotherm.clock import DAY_MS
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.events import ENVELOPE_VERSION, FLAG_IMPORT
from isotherm.rollup.windows.rule import BACK_MS, EARLY_MS, LATE_MS, SIZES

STATE_TTL_MS: Final = BACK_MS + DAY_MS - BACK_MS % 3_600_000
DEFAULT_TOPIC: Final = "heatmap.events.raw"
NAME: Final = "isotherm-windows"

_BY_ID: Final = """SELECT `client_id`, `screen_id`, `received_at`, `skew_ms`, `event_time`, `event_type`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `client_id`, `batch_id` ORDER BY `arrived` ASC) AS `copy`
  FROM `live`
) CROSS JOIN UNNEST(`events`) AS `e` (`event_time`, `event_type`)
WHERE `copy` = 1"""
_BY_POSITION: Final = """SELECT `client_id`, `screen_id`, `received_at`, `skew_ms`, `event_time`, `event_type`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `client_id`, `batch_id`, `place` ORDER BY `arrived` ASC) AS `copy`
  FROM (
    SELECT `client_id`, `screen_id`, `batch_id`, `received_at`, `skew_ms`, `event_time`, `event_type`, `arrived`,
      COALESCE(`positions`[`nth`], `nth` - 1) AS `place`
    FROM `live` CROSS JOIN UNNEST(`events`) WITH ORDINALITY AS `e` (`event_time`, `event_type`, `nth`)
  )
)
WHERE `copy` = 1"""

_LOGIN: Final = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"
_MODULES: Final = {
    "PLAIN": f"{_LOGIN}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_LOGIN}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_LOGIN}.scram.ScramLoginModule",
}
_SAME: Final = ("security.protocol", "ssl.key.password", "client.dns.lookup")


class Job(Struct, frozen=True):
    """What is submitted. `name` tells this job, with this SQL, from every other; `family` all of this deployment.

    On Flink the name is followed by the job's floor, since a savepoint keeps it nowhere.
    """

    family: str
    name: str
    template: str
    values: dict[str, str]
    secrets: tuple[str, ...] = ()

    def statements(self, *, since: int, exact_from: int, recover_from: str = "") -> list[str]:
        """The statements in order, the last one starts the job. Windows from `exact_from` (ms) on are counted, from
        records of `since` (ms) on; or, from a savepoint or checkpoint, where that left off."""
        values = self.values | {
            "job": with_floor(self.name, exact_from),
            "since": str(since),
            "exact_from": str(exact_from),
            "recover_from": _quoted(recover_from),
        }
        text = Template(self.template).substitute(values)
        lines = [line for line in text.splitlines() if not line.startswith("--")]
        found = [part.strip() for part in "\n".join(lines).split(";\n")]
        return [part.removesuffix(";") for part in found if part and (recover_from or "state-recovery" not in part)]


def with_floor(name: str, floor: int) -> str:
    """The name of a job that counts windows from `floor` (ms) on."""
    return f"{name}.{floor}"


def floor_of(name: str) -> int:
    """From where on a job of this name counts; 0 where the name does not say."""
    floor = name.rpartition(".")[2]
    return int(floor) if floor.isdecimal() else 0


def job_of(settings: Settings) -> Job:
    """The deployment's job. Raises ConfigError when the log is none that Flink can read, or an option is unknown."""
    url = settings.url("log")
    if not url.startswith("kafka:"):
        raise ConfigError(
            "stream: Flink reads the log from Kafka; set `log` to kafka://host:port, or `stream` to builtin"
        )
    parts = urlsplit(url)
    topic = dict(parse_qsl(parts.query)).get("topic", DEFAULT_TOPIC)
    values = {
        "topic": _quoted(topic),
        "windows_topic": _quoted(settings.windows_topic),
        "group": _quoted(f"{topic}.{NAME}"),
        "state_ttl_ms": str(STATE_TTL_MS),
        "version": str(ENVELOPE_VERSION),
        "import": FLAG_IMPORT,
        "windows": ", ".join(f"ROW(CAST({size.ms} AS BIGINT), `at` - MOD(`at`, {size.ms}))" for size in SIZES),
        "late_ms": str(LATE_MS),
        "early_ms": str(EARLY_MS),
        "fresh": _BY_POSITION if settings.log_timestamp == "event" else _BY_ID,
        "kafka": _options(java_options(parts.netloc, settings.kafka_options)),
    }
    template = files("isotherm.rollup.engines.flink").joinpath("windows.sql").read_text(encoding="utf-8")
    family = f"{NAME}-{_hash(parts.netloc, topic, settings.windows_topic)}"
    secrets = tuple(text for name, text in settings.kafka_options.items() if name.startswith(("sasl.", "ssl.key")))
    return Job(family, f"{family}-{_hash(template, *values.values())}", template, values, secrets)


def java_options(servers: str, given: dict[str, str]) -> dict[str, str]:
    """librdkafka's options about security as Kafka's Java client has them; the others mean nothing there.

    Certificates and keys are handed over as text, so no file has to be on Flink's machines. Raises ConfigError.
    """
    options = {"bootstrap.servers": servers} | {name: given[name] for name in _SAME if name in given}
    options |= _files_as_text(given)
    if given.get("enable.ssl.certificate.verification", "true") == "false":
        raise ConfigError("kafka_options: Flink's client cannot leave certificates unchecked; give ssl.ca.location")
    if "ssl.endpoint.identification.algorithm" in given:
        algorithm = given["ssl.endpoint.identification.algorithm"]
        options["ssl.endpoint.identification.algorithm"] = "" if algorithm == "none" else algorithm
    mechanism = given.get("sasl.mechanism") or given.get("sasl.mechanisms")
    if mechanism is not None:
        options |= {"sasl.mechanism": mechanism, "sasl.jaas.config": _login(mechanism, given)}
    return options


def _files_as_text(given: dict[str, str]) -> dict[str, str]:
    options: dict[str, str] = {}
    ca = given.get("ssl.ca.pem") or _text(given.get("ssl.ca.location"))
    if ca:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": ca}
    certificate = given.get("ssl.certificate.pem") or _text(given.get("ssl.certificate.location"))
    key = given.get("ssl.key.pem") or _text(given.get("ssl.key.location"))
    if certificate and key:
        options |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": certificate,
            "ssl.keystore.key": key,
        }
    return options


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"kafka_options: {path} cannot be read ({error.strerror})") from None


def _login(mechanism: str, given: dict[str, str]) -> str:
    if mechanism not in _MODULES:
        known = ", ".join(_MODULES)
        raise ConfigError(f"kafka_options: sasl.mechanism {mechanism} is not known for Flink's client; known: {known}")
    name, password = (given.get(f"sasl.{what}", "") for what in ("username", "password"))
    return f"{_MODULES[mechanism]} required username={_java(name)} password={_java(password)};"


def _java(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _options(options: dict[str, str]) -> str:
    return ",\n  ".join(f"'properties.{name}' = '{_quoted(value)}'" for name, value in options.items())


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _hash(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=5).hexdigest()
