"""Flags: each stands for one setting, with the setting's own words as its help.

A command takes one of these classes; `settings()` reads flags, environment and file into the Settings. A flag
that is not given is None, so that the environment and the file count.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from isotherm.config import Settings, as_text, load_settings
from isotherm.errors import ConfigError

STORES: Final = Group("Stores", sort_key=20)
SCALE: Final = Group("Kafka, S3, ClickHouse, Spark, Flink", sort_key=25)
COLLECTOR: Final = Group("Collector", sort_key=21)
APP: Final = Group("App", sort_key=22)
LANDING: Final = Group("Landing and tiles", sort_key=23)
RETENTION: Final = Group("Retention", sort_key=24)
COMMON: Final = Group("Common", sort_key=30)


def setting(name: str, group: Group) -> Parameter:
    """The flag of a setting: help and default are read from the setting's declaration."""
    field = Settings.model_fields[name]
    default = field.default
    shown = "" if default in ("", [], {}) else as_text(default)
    said = f" [default: {shown}]" if shown else ""
    return Parameter(help=f"{field.description}{said}", group=group, show_default=False, negative=())


Text = str | None
Number = int | None
Real = float | None
Flag = bool | None


@Parameter(name="*")
@dataclass(kw_only=True)
class Where:
    """Which deployment: the folder and the settings file."""

    data: Annotated[Path | None, setting("data", COMMON)] = None
    config: Annotated[
        Path | None, Parameter(help="Settings file (TOML). [default: isotherm.toml in the data folder]", group=COMMON)
    ] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, setting("log_level", COMMON)] = None

    def settings(self) -> Settings:
        """Read the settings. Raises ConfigError with one line per wrong setting."""
        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return load_settings(given.pop("config"), **given)


@dataclass(kw_only=True)
class Stores(Where):
    """Where log, lake, tiles and manifest stand."""

    health_host: Annotated[Text, setting("health_host", COMMON)] = None
    health_port: Annotated[Number, setting("health_port", COMMON)] = None
    log: Annotated[Text, setting("log", STORES)] = None
    lake: Annotated[Text, setting("lake", STORES)] = None
    olap: Annotated[Text, setting("olap", STORES)] = None
    db: Annotated[Text, setting("db", STORES)] = None
    cache: Annotated[Text, setting("cache", STORES)] = None
    dead_log: Annotated[Text, setting("dead_log", STORES)] = None
    dead_retention_days: Annotated[Number, setting("dead_retention_days", RETENTION)] = None
    dead_max_bytes: Annotated[Number, setting("dead_max_bytes", RETENTION)] = None
    log_key: Annotated[Literal["screen", "client"] | None, setting("log_key", SCALE)] = None
    log_timestamp: Annotated[Literal["received", "event"] | None, setting("log_timestamp", SCALE)] = None
    scan: Annotated[Text, setting("scan", SCALE)] = None
    scan_group: Annotated[Text, setting("scan_group", SCALE)] = None
    kafka_partitions: Annotated[Number, setting("kafka_partitions", SCALE)] = None
    kafka_replication: Annotated[Number, setting("kafka_replication", SCALE)] = None
    kafka_options: Annotated[Text, setting("kafka_options", SCALE)] = None
    windows_topic: Annotated[Text, setting("windows_topic", SCALE)] = None
    s3_access_key_id: Annotated[Text, setting("s3_access_key_id", SCALE)] = None
    s3_secret_access_key: Annotated[Text, setting("s3_secret_access_key", SCALE)] = None
    s3_session_token: Annotated[Text, setting("s3_session_token", SCALE)] = None
    s3_timeout_seconds: Annotated[Real, setting("s3_timeout_seconds", SCALE)] = None
    clickhouse_password: Annotated[Text, setting("clickhouse_password", SCALE)] = None
    clickhouse_cluster: Annotated[Text, setting("clickhouse_cluster", SCALE)] = None
    clickhouse_replicated: Annotated[Flag, setting("clickhouse_replicated", SCALE)] = None
    engine: Annotated[Text, setting("engine", SCALE)] = None
    stream: Annotated[Text, setting("stream", SCALE)] = None
    spark_submit: Annotated[Text, setting("spark_submit", SCALE)] = None
    spark_options: Annotated[Text, setting("spark_options", SCALE)] = None


@dataclass(kw_only=True)
class Collecting(Stores):
    """What the collector reads."""

    collect_host: Annotated[Text, setting("collect_host", COLLECTOR)] = None
    collect_port: Annotated[Number, setting("collect_port", COLLECTOR)] = None
    collect_workers: Annotated[Number, setting("collect_workers", COLLECTOR)] = None
    clients: Annotated[Text, setting("clients", COLLECTOR)] = None
    late_horizon_days: Annotated[Number, setting("late_horizon_days", COLLECTOR)] = None
    late_events: Annotated[Text, setting("late_events", COLLECTOR)] = None
    max_in_flight_bytes: Annotated[Number, setting("max_in_flight_bytes", COLLECTOR)] = None
    body_timeout_s: Annotated[Real, setting("body_timeout_s", COLLECTOR)] = None
    disk_reserve_bytes: Annotated[Number, setting("disk_reserve_bytes", COLLECTOR)] = None
    log_retention_days: Annotated[Number, setting("log_retention_days", RETENTION)] = None
    log_max_bytes: Annotated[Number, setting("log_max_bytes", RETENTION)] = None
    log_segment_bytes: Annotated[Number, setting("log_segment_bytes", RETENTION)] = None


@dataclass(kw_only=True)
class Landing(Stores):
    """What the lander reads."""

    land_formats: Annotated[Text, setting("land_formats", LANDING)] = None
    land_flush_seconds: Annotated[Real, setting("land_flush_seconds", LANDING)] = None
    land_flush_bytes: Annotated[Number, setting("land_flush_bytes", LANDING)] = None
    close_delay_seconds: Annotated[Real, setting("close_delay_seconds", LANDING)] = None
    compact_target_bytes: Annotated[Number, setting("compact_target_bytes", LANDING)] = None
    compact_memory_bytes: Annotated[Number, setting("compact_memory_bytes", LANDING)] = None
    raw_retention_days: Annotated[Number, setting("raw_retention_days", RETENTION)] = None
    retention: Annotated[Text, setting("retention", RETENTION)] = None
    archive: Annotated[Text, setting("archive", STORES)] = None
    archive_after_days: Annotated[Number, setting("archive_after_days", RETENTION)] = None
    archive_target_bytes: Annotated[Number, setting("archive_target_bytes", RETENTION)] = None


@dataclass(kw_only=True)
class Tiling(Landing):
    """What tile jobs read."""

    retile_min_seconds: Annotated[Real, setting("retile_min_seconds", LANDING)] = None
    job_memory_bytes: Annotated[Number, setting("job_memory_bytes", LANDING)] = None
    job_threads: Annotated[Number, setting("job_threads", LANDING)] = None
    verify_sample: Annotated[Number, setting("verify_sample", LANDING)] = None
    verify_hour: Annotated[Number, setting("verify_hour", LANDING)] = None
    verify_minutes: Annotated[Real, setting("verify_minutes", LANDING)] = None
    hourly_retention_days: Annotated[Number, setting("hourly_retention_days", RETENTION)] = None
    daily_retention_days: Annotated[Number, setting("daily_retention_days", RETENTION)] = None
    weekly_retention_days: Annotated[Number, setting("weekly_retention_days", RETENTION)] = None


@dataclass(kw_only=True)
class Streaming(Stores):
    """What the live windows read; `--engine` means the stream engine here."""

    engine: Annotated[
        Text, Parameter(help="builtin or flink; flink needs `stream` with the gateway's address.", group=SCALE)
    ] = None

    def settings(self) -> Settings:
        """As always; raises ConfigError, too, when flink is asked for and nothing says where it is."""
        wanted, self.engine = self.engine, None
        chosen = super().settings()
        if wanted not in (None, "builtin", "flink"):
            raise ConfigError(f"--engine {wanted}: the live windows know builtin and flink")
        if wanted == "flink" and not chosen.stream.startswith("flink:"):
            raise ConfigError("stream: --engine flink needs the SQL gateway's address; give --stream flink://host:port")
        return chosen.model_copy(update={"stream": "builtin"}) if wanted == "builtin" else chosen


@dataclass(kw_only=True)
class Serving(Stores):
    """What the query API reads."""

    host: Annotated[Text, setting("host", APP)] = None
    port: Annotated[Number, setting("port", APP)] = None
    token: Annotated[Text, setting("token", APP)] = None
    allowed_hosts: Annotated[Text, setting("allowed_hosts", APP)] = None
    collect_public_url: Annotated[Text, setting("collect_public_url", APP)] = None
    backup_max_age_hours: Annotated[Real, setting("backup_max_age_hours", APP)] = None


@dataclass(kw_only=True)
class Everything(Collecting, Tiling, Serving):
    """Every setting there is."""


AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON for scripts.", negative=(), show_default=False)]
