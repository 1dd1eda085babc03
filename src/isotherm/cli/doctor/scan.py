"""A Kafka Connect sink: its files can be listed and read, and its consumer group has committed offsets."""

from collections.abc import Iterator
from typing import Final

from confluent_kafka.admin import AdminClient

from isotherm.cli.doctor.findings import Finding
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError, IsothermError
from isotherm.eventlog.kafka import KafkaLog
from isotherm.eventlog.kafka_client import ask, make, target_of
from isotherm.eventlog.port import LogStatus
from isotherm.land.scan_source import Source, open_source

PATIENCE_S: Final = 5.0
_READ_BYTES: Final = 16 << 20
"""A larger file is not fetched for a trial."""


def check(settings: Settings) -> Iterator[Finding]:
    """Read only. Raises ConfigError for a wrong setting, and for a bucket that is not there or refuses."""
    yield from _files(settings)
    if settings.url("log").startswith("kafka:"):
        yield from _group(settings)


def _files(settings: Settings) -> Iterator[Finding]:
    source = open_source(
        settings.model_copy(update={"s3_timeout_seconds": min(settings.s3_timeout_seconds, PATIENCE_S)})
    )
    where = source.where("")
    try:
        first = _first(source)
    except FileNotFoundError:
        # The sink may take a file away between the two questions.
        first = None
    except (IsothermError, OSError) as error:
        said = str(error).replace("lake:", "scan:", 1)
        yield Finding("scan", "error", f"the files of the sink at {where} cannot be listed and read", said)
        return
    if first is None:
        yield Finding("scan", "ok", f"{where} can be listed; there is no file in it yet")
    else:
        yield Finding("scan", "ok", f"{where} can be listed and read ({first})")


def _first(source: Source) -> str | None:
    """The name of one file, which was read; None when there is none."""
    found = next(source.found(), None)
    if found is None:
        return None
    if found.bytes <= _READ_BYTES:
        source.get(found.path)
    return found.path


def _group(settings: Settings) -> Iterator[Finding]:
    group = settings.scan_group
    try:
        status = _status(settings)
    except Backpressure as error:
        advice = "see that the brokers run, and allow this user to describe groups"
        yield Finding("scan", "error", f"the offsets of {group} cannot be asked for ({error})", advice)
        return
    if status is None:
        return
    lag = status.lag(group)
    if group in status.consumers:
        yield Finding("scan", "ok", f"the sink has committed offsets as {group}; {lag} records wait for it")
        return
    others = ", ".join(name for name in status.consumers if name.startswith("connect-")) or "none"
    advice = f"see that the connector runs and that scan_group is connect- with its name (there are: {others})"
    if lag:
        yield Finding("scan", "error", f"no sink has committed offsets as {group}, and {lag} records wait", advice)
    else:
        yield Finding("scan", "warning", f"no sink has committed offsets as {group} yet", advice)


def _status(settings: Settings) -> LogStatus | None:
    """The log's; None where there is no topic that can be used, which the check of `log` says."""
    target = target_of(settings.url("log"), settings)
    admin = make(AdminClient, target.client())
    if target.topic not in ask(target, "list topics", lambda s: set(admin.list_topics(timeout=s).topics), PATIENCE_S):
        return None
    log = KafkaLog(target, settings)
    try:
        return log.status()
    except ConfigError:
        return None
    finally:
        log.close()
