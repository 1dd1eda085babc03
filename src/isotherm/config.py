"""Settings: flags beat the environment, the environment beats the TOML file, the file beats the defaults.

Every field's description is the reference: `isotherm config` and docs/reference/settings.md print it from here.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, get_args
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from isotherm import settings_file
from isotherm.clock import DAY_MS
from isotherm.errors import ConfigError
from isotherm.events import client_id_ok

GIB = 1 << 30
MIB = 1 << 20

SECRETS: Final = frozenset(
    {"token", "s3_secret_access_key", "s3_session_token", "clickhouse_password", "kafka_options", "spark_options"}
)
"""Settings that are never printed. Passwords inside URLs are hidden by `without_password`."""

Store = Literal["log", "lake", "olap", "db", "cache"]
STORES: Final[tuple[Store, ...]] = ("log", "lake", "olap", "db", "cache")

Kept = Literal["raw", "hourly", "daily", "weekly"]
"""What has a retention in days of its own: raw events, and the tiles of each level."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """All settings of one deployment."""

    model_config = SettingsConfigDict(env_prefix="ISOTHERM_", extra="forbid", frozen=True, validate_default=True)
    in_file: ClassVar[dict[str, Any]] = {}
    _of_dead_letters: bool = PrivateAttr(False)

    data: Path = Field(Path(".isotherm"), description="Folder that holds everything in the embedded profile.")

    host: str = Field("127.0.0.1", description="Address of the app (query API). Another than loopback needs `token`.")
    port: int = Field(7080, ge=0, le=65535, description="Port of the app.")
    token: str = Field("", description="Bearer token the app asks for; required when `host` is not loopback.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        [],
        description="Names besides localhost under which the app may be asked while it listens on loopback "
        "(behind a reverse proxy), comma-separated in the environment.",
    )
    collect_host: str = Field(
        "127.0.0.1", description="Address of the collector. Another than loopback needs `clients`."
    )
    collect_port: int = Field(7081, ge=0, le=65535, description="Port of the collector.")
    collect_public_url: str = Field(
        "",
        pattern=r"^(https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?)?$",
        description="Address of the collector as browsers see it, such as https://events.example.com (behind a reverse "
        "proxy). Default: `collect_port` on the host under which the app is asked.",
    )
    collect_workers: int = Field(1, ge=1, le=64, description="Collector processes.")
    clients: Annotated[list[str], NoDecode] = Field(
        [], description="Client ids that may send, comma-separated in the environment; empty: any, on loopback only."
    )

    health_host: str = Field(
        "127.0.0.1", description="Address of `health_port`. Another than loopback needs `token`, for /metrics."
    )
    health_port: int = Field(
        0, ge=0, le=65535, description="Port on which land, rollup and stream answer /v1/healthz and /metrics; 0: none."
    )

    log: str = Field(
        "",
        description="Event log. Default: lmdb://DATA/log. At scale: kafka://host:port,host:port?topic=NAME. "
        "Also memory:// (tests).",
    )
    lake: str = Field(
        "", description="Raw lake. Default: file://DATA/lake. At scale: s3://bucket/prefix?endpoint=URL&region=NAME."
    )
    olap: str = Field(
        "",
        description="Tile store. Default: chdb://DATA/olap. At scale: clickhouse://user@host:port/database, or "
        "clickhouses:// for TLS; ?ca_cert=FILE trusts these certificates.",
    )
    db: str = Field(
        "",
        description="Manifest, ledger and jobs. Default: sqlite://DATA/isotherm.db. At scale: "
        "postgresql://user:password@host:port/database.",
    )
    cache: str = Field(
        "",
        description="What may be lost: known batch ids, live windows, cached answers. Default: memory://. At scale: "
        "redis://host:port/0, or rediss:// for TLS; ?protocol=2 for servers that do not speak RESP3, ?name=NAME where "
        "deployments share a database.",
    )
    engine: str = Field(
        "clickhouse",
        description="Batch engine of the tile jobs: clickhouse (the tile store itself), spark+local, spark://host:port "
        "of a standalone cluster, or spark+k8s://host:port of a Kubernetes API server.",
    )
    stream: str = Field(
        "builtin",
        description="What counts the live windows: builtin (a consumer of ours), or flink://host:port of Flink's SQL "
        "gateway (needs a Kafka log).",
    )

    log_key: Literal["screen", "client"] = Field(
        "screen", description="Key of the log's records: client_id|screen_id, or client_id alone for Kafka Connect."
    )
    log_timestamp: Literal["received", "event"] = Field(
        "received",
        description="Time of the log's records. `event` splits a batch by event hour, for a Kafka Connect sink that "
        "names its files by record time; see docs/scale.md for what the topic needs then.",
    )
    scan: str = Field(
        "",
        description="Where a Kafka Connect sink writes the log's records: file:///folder, or "
        "s3://bucket/prefix?endpoint=URL&region=NAME. Landing then reads these files instead of the log.",
    )
    scan_group: str = Field(
        "connect-isotherm-raw",
        min_length=1,
        description="Consumer group of that sink, which is connect- and the connector's name: its offsets are watched.",
    )
    kafka_partitions: int = Field(12, ge=1, le=10_000, description="Partitions of a topic that is created.")
    kafka_replication: int = Field(3, ge=1, le=15, description="Copies of a topic that is created.")
    kafka_options: Annotated[dict[str, str], NoDecode] = Field(
        {},
        description="librdkafka options for all Kafka clients, such as security.protocol or sasl.username: a JSON "
        "object, or name=value pairs separated by commas.",
    )
    s3_access_key_id: str = Field("", description="S3 key. Default: AWS_* variables, then the machine's role.")
    s3_secret_access_key: str = Field("", description="S3 secret.")
    s3_session_token: str = Field("", description="S3 session token of temporary credentials.")
    s3_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="An S3 request without an answer is given up after this long. A step that fails is tried again for "
        "as long, so the lander knows after at most twice this time.",
    )
    clickhouse_password: str = Field("", description="Password for the ClickHouse server.")
    clickhouse_cluster: str = Field(
        "", description="Cluster whose nodes share the tiles, sharded by client_id; empty: one server."
    )
    clickhouse_replicated: bool = Field(False, description="Make the tables of the ClickHouse server replicated ones.")
    spark_submit: str = Field(
        "spark-submit", description="The spark-submit program of the Spark engine, by name or path; Spark 4."
    )
    spark_options: Annotated[dict[str, str], NoDecode] = Field(
        {},
        description="Spark's own options for the tile jobs, such as spark.executor.memory or spark.jars: a JSON "
        "object, or name=value pairs separated by commas.",
    )
    windows_topic: str = Field(
        "heatmap.windows", description="Kafka topic that Flink writes the live windows to; compacted."
    )

    late_horizon_days: int = Field(
        30, ge=1, le=365, description="Events that were received later than this are in no map; see `late_events`."
    )
    late_events: Literal["reject", "raw_only"] = Field(
        "reject",
        description="What becomes of events beyond `late_horizon_days`: rejected as too_old, or accepted and kept in "
        "the lake for as long as raw events are, and never tiled.",
    )
    max_in_flight_bytes: int = Field(
        256 * MIB, ge=MIB, description="Bodies a collector process holds at once; beyond it, 503 with Retry-After."
    )
    body_timeout_s: float = Field(10.0, gt=0, description="A sender that takes longer for its body gets 400.")
    disk_reserve_bytes: int = Field(
        GIB, ge=0, description="The collector answers 503 when the log's disk has less than this free."
    )

    log_retention_days: int = Field(7, ge=1, description="How long landed records stay on the log.")
    log_max_bytes: int = Field(
        64 * GIB, ge=64 * MIB, description="Size limit of the embedded log; at it the collector answers 503."
    )
    dead_log: str = Field(
        "",
        description="Log of dead letters: what could not be accepted or landed, whole. Default: beside the event log, "
        "as a folder LOG-dead, or as the topic that ends in .dead instead of .raw.",
    )
    dead_retention_days: int = Field(30, ge=1, description="How long dead letters stay.")
    dead_max_bytes: int = Field(
        GIB, ge=64 * MIB, description="Size limit of an embedded log of dead letters; at it they are counted as lost."
    )
    log_segment_bytes: int = Field(512 * MIB, ge=4 * MIB, description="A log segment is closed at this size.")

    land_formats: Annotated[list[Literal["parquet", "jsonl"]], NoDecode] = Field(
        ["parquet"],
        description="Lake formats, comma-separated: parquet, jsonl. Everything reads the first, which stays the first: "
        "what was landed before is not written again. A second one may be added or dropped at any time.",
    )
    land_flush_seconds: float = Field(15.0, gt=0, description="A record waits at most this long for its lake file.")
    land_flush_bytes: int = Field(128 * MIB, ge=MIB, description="Decoded records that force a flush.")
    raw_retention_days: int = Field(730, ge=1, description="How long raw lake files stay.")
    hourly_retention_days: int = Field(90, ge=1, description="How long hourly tiles stay.")
    daily_retention_days: int = Field(730, ge=1, description="How long daily tiles stay.")
    weekly_retention_days: int = Field(1825, ge=1, description="How long weekly tiles stay.")
    retention: Annotated[dict[str, dict[Kept, Annotated[int, Field(ge=1)]]], NoDecode] = Field(
        {},
        description="Days that single clients' data stays where it is not what the four settings above say: client -> "
        'raw, hourly, daily, weekly; in TOML a table per client, else a JSON object such as {"shop": {"raw": 90}}.',
    )
    archive: str = Field(
        "",
        description="Where old raw files go: file:///folder, or s3://bucket/prefix?endpoint=URL&region=NAME with the "
        "same keys. Default: the folder archive of the lake.",
    )
    archive_after_days: int = Field(
        30, ge=0, description="Raw of hours that ended this long ago moves to the archive, packed tighter; 0: never."
    )
    archive_target_bytes: int = Field(
        GIB, ge=MIB, description="Archived files of one hour and client are merged until they are about this large."
    )
    close_delay_seconds: float = Field(
        60.0, ge=0, description="An hour is closed, and its small files are merged, this long after its end."
    )
    compact_target_bytes: int = Field(
        256 * MIB,
        ge=MIB,
        description="Files of a closed hour of one client are merged until they are about this large; 128 MiB to 1 GiB "
        "suits engines that read from S3.",
    )
    compact_memory_bytes: int = Field(
        GIB,
        ge=64 * MIB,
        description="Memory that merging may take, besides about 200 MB, however large the files become.",
    )
    retile_min_seconds: float = Field(
        2.0,
        gt=0,
        description="Shortest wait before a changed bucket is tiled again; grows with what the last run cost.",
    )
    job_memory_bytes: int = Field(4 * GIB, ge=256 * MIB, description="Memory limit of one tile job.")
    job_threads: int = Field(0, ge=0, description="Threads of one tile job; 0: one per core.")
    verify_sample: int = Field(
        200, ge=0, le=1_000_000, description="Published buckets that are recounted from raw each night; 0: none."
    )
    verify_hour: int = Field(3, ge=0, le=23, description="Hour of the day, UTC, from which the night's sample is due.")
    verify_minutes: float = Field(30.0, gt=0, description="The night's sample ends after this long, done or not.")
    backup_max_age_hours: float = Field(
        2.0,
        gt=0,
        description="Where backups are taken, the newest may be this old before the status and an alert say so: about "
        "twice the time between two.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls.in_file)

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        for name in ("clients", "land_formats", "allowed_hosts"):
            if isinstance(values, dict) and isinstance(values.get(name), str):
                values[name] = [part.strip() for part in values[name].split(",") if part.strip()]
        for name in ("kafka_options", "spark_options"):
            if isinstance(values, dict) and isinstance(values.get(name), str):
                values[name] = _pairs(name, values[name])
        if isinstance(values, dict) and isinstance(values.get("retention"), str):
            values["retention"] = _per_client(values["retention"])
        return values

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        for client_id in self.clients:
            if not client_id_ok(client_id):
                raise ValueError(f"clients: {client_id!r} is not a client id ([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})")
        if not self.land_formats:
            raise ValueError("land_formats: name at least one of parquet, jsonl")
        self._check_retention()
        if self.log_timestamp == "event" and self.url("log").startswith("lmdb:"):
            raise ValueError(
                "log_timestamp: the embedded log goes by the time of receipt; `event` is for a Kafka log that Kafka "
                "Connect reads, so set log to kafka://host:port?topic=NAME or leave log_timestamp out"
            )
        if self.scan and self.url("log").startswith("lmdb:"):
            raise ValueError(
                "scan: a sink's files come from a Kafka log, and the collector writes to the embedded one; set log to "
                "kafka://host:port?topic=NAME, or leave scan out"
            )
        return self

    def _check_retention(self) -> None:
        """Nothing that may still arrive belongs to an hour whose raw events or tiles are gone, whoever sent it."""
        horizon = self.late_horizon_days + self.log_retention_days + 1
        for client_id in ("", *self.retention):
            if client_id and not client_id_ok(client_id):
                raise ValueError(f"retention: {client_id!r} is not a client id ([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})")
            of = f" of client {client_id!r}" if client_id else ""
            hourly, raw = self.kept_days("hourly", client_id), self.kept_days("raw", client_id)
            if horizon >= min(hourly, raw):
                raise ValueError(
                    f"late_horizon_days + log_retention_days + 1 is {horizon} days; it must stay below "
                    f"hourly_retention_days ({hourly}) and raw_retention_days ({raw}){of}"
                )
            daily, weekly = self.kept_days("daily", client_id), self.kept_days("weekly", client_id)
            if not hourly <= daily <= weekly:
                raise ValueError(
                    f"retention{of}: hourly tiles must not outlive daily ones, nor those the weekly ones, as a range "
                    f"is answered by the coarser ones; hourly_retention_days is {hourly}, daily_retention_days {daily} "
                    f"and weekly_retention_days {weekly}: raise the later ones, or lower the earlier ones"
                )

    def kept_days(self, what: Kept, client_id: str = "") -> int:
        """How many days this is kept: for this client, or where nothing else is said."""
        days: int = getattr(self, f"{what}_retention_days")
        return self.retention.get(client_id, {}).get(what, days)

    def longest_days(self, client_id: str = "") -> int:
        """How many days anything of an event is kept: raw, or in a tile of any level."""
        return max(self.kept_days(what, client_id) for what in get_args(Kept))

    def url(self, name: Store) -> str:
        """The store's URL, with the embedded default under `data` when none is set."""
        given: str = getattr(self, name)
        if given:
            return given
        if name == "cache":
            return "memory://"
        root = self.data.absolute()
        scheme, leaf = {
            "log": ("lmdb", "log"),
            "lake": ("file", "lake"),
            "olap": ("chdb", "olap"),
            "db": ("sqlite", "isotherm.db"),
        }[name]
        return f"{scheme}://{root / leaf}"

    def for_dead_letters(self) -> "Settings":
        """These settings as the log of dead letters is opened with: `url("log")` names it."""
        found = self.model_copy(
            update={
                "log": self.dead_log or _dead_log_beside(self.url("log")),
                "log_retention_days": self.dead_retention_days,
                "log_max_bytes": self.dead_max_bytes,
                "log_segment_bytes": min(self.log_segment_bytes, self.dead_max_bytes // 8),
                "log_timestamp": "received",
                "kafka_partitions": 1,
            }
        )
        found._of_dead_letters = True
        return found

    @property
    def of_dead_letters(self) -> bool:
        """Whether `url("log")` names the log of dead letters: see `for_dead_letters`."""
        return self._of_dead_letters

    @property
    def late_horizon_ms(self) -> int:
        return self.late_horizon_days * DAY_MS


def _dead_log_beside(log: str) -> str:
    if log.startswith("lmdb:"):
        return f"{log.rstrip('/')}-dead"
    if not log.startswith("kafka:"):
        return log
    parts = urlsplit(log)
    query = dict(parse_qsl(parts.query))
    query["topic"] = query.get("topic", "heatmap.events.raw").removesuffix(".raw") + ".dead"
    return urlunsplit(parts._replace(query=urlencode(query)))


def as_text(value: Any) -> str:
    """A setting's value as it is written in an environment variable or a flag."""
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(value) if isinstance(value, list) else str(value)


def without_password(url: str) -> str:
    """The URL as it may be printed or logged.

    Drivers take passwords with any characters in them, so all from the first colon to the last @ is hidden, and what
    of the query overlaps with that.
    """
    shown, at = "", 0
    for start, end in sorted(_secrets(url)):
        if start >= at:
            shown += url[at:start] + "***"
        at = max(at, end)
    return shown + url[at:]


_PASSWORD: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^:]*:(.*)@", re.IGNORECASE | re.DOTALL)
_VALUE: Final = re.compile(r"[?&]([^=&?]*)=(?=([^&]*))")
_SECRET_VALUES: Final = frozenset({"password", "sslpassword", "passfile"})


def _secrets(url: str) -> Iterator[tuple[int, int]]:
    """Where something stands that is for nobody to see."""
    if before_host := _PASSWORD.match(url):
        yield before_host.span(1)
    for value in _VALUE.finditer(url):
        if unquote_plus(value[1]).strip().lower() in _SECRET_VALUES:
            yield value.span(2)


def _pairs(name: str, text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            return {key: str(value) for key, value in json.loads(text).items()}
        except ValueError as error:
            raise ValueError(f"{name}: not a JSON object ({error})") from None
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(mark for _, mark, _ in pairs):
        raise ValueError(f"{name}: give a JSON object, or name=value pairs separated by commas")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _per_client(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f'retention: not a JSON object such as {{"shop": {{"raw": 90}}}} ({error})') from None


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Read the settings; `flags` whose value is None count as not given.

    `config` is the TOML file; without it, `isotherm.toml` in the data folder is read when it exists.
    Raises ConfigError with one line per wrong setting, or when the file cannot be read.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    path = config
    if path is not None and not settings_file.is_there(path):
        raise ConfigError(f"{path}: no such settings file")
    try:
        if path is None:
            data = _Probe(**{k: v for k, v in given.items() if k == "data"}).data
            candidate = data / "isotherm.toml"
            path = candidate if settings_file.is_there(candidate) else None
        in_file = settings_file.read(path) if path else {}
        scoped = type(
            "Settings", (Settings,), {"in_file": in_file, "__doc__": Settings.__doc__, "__module__": __name__}
        )
        return scoped(**given)
    except ValidationError as error:
        raise settings_file.not_usable(error, path, Settings.model_fields) from None


class _Probe(BaseSettings):
    """Finds the data folder before the settings file in it can be read."""

    model_config = SettingsConfigDict(env_prefix="ISOTHERM_", extra="ignore")
    data: Path = Path(".isotherm")
