"""How things stand, by what the stores say: for `isotherm status` where no app runs on the data folder."""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, LogStatus
from isotherm.land import behind, gaps
from isotherm.land.buffers import PartitionStatus
from isotherm.land.manifest import Manifest
from isotherm.serve import measures
from isotherm.store.db import reading, total
from isotherm.store.tables import buckets, dirty, scanned_files


def facts_of(settings: Settings, log: EventLog, engine: Engine, clock: Clock) -> dict[str, Any]:
    """Log, landing, lake, tiles and dirty buckets, under the names of GET /v1/status. Raises Backpressure while the
    log does not answer."""
    picture, manifest = log.status(), Manifest(engine, clock)
    landing = _scanning(settings, log, picture, engine) if settings.scan else _landing(log, manifest)
    partitions: list[PartitionStatus] = landing["partitions"]
    oldest = behind.oldest_received(log, partitions)
    landing |= {
        "partitions": msgspec.to_builtins(partitions),
        "lag": sum(one.lag for one in partitions),
        "oldest_unlanded_ms": 0 if oldest is None else max(clock.now_ms() - oldest, 0),
        "retention_ms": log.retention_ms,
    }
    lag = {name: picture.lag(name) for name in picture.consumers}
    return {
        "log": {"bytes": picture.bytes, "head": picture.head, "lag": lag},
        "lake": manifest.totals()["formats"],
        "lander": landing,
        **_counts(engine),
        **_measured(engine, clock.now_ms()),
    }


def _measured(engine: Engine, now_ms: int) -> dict[str, Any]:
    """How fresh the tiles are, whether the ledger closes, and what comparisons with raw found."""
    with reading(engine) as connection:
        freshness, lost = measures.behind(connection, now_ms), measures.lost(connection)
    found = {
        "freshness": freshness,
        "lost": lost,
        "ledger": measures.check_ledger(engine, now_ms),
        "verification": measures.verified(engine),
    }
    return msgspec.to_builtins(found)


def _landing(log: EventLog, manifest: Manifest) -> dict[str, Any]:
    found = msgspec.to_builtins(gaps.newest(manifest.engine, log.identity))
    return {"partitions": behind.landed(log, manifest, log.identity), "gaps": found}


def _scanning(settings: Settings, log: EventLog, picture: LogStatus, engine: Engine) -> dict[str, Any]:
    """What the sink has not committed counts as not landed."""
    group, committed = settings.scan_group, picture.consumers.get(settings.scan_group, {})
    partitions = behind.reached({p: committed.get(p, picture.tail.get(p, 0)) for p in picture.head}, picture.head)
    lag, problem = sum(one.lag for one in partitions), None
    if lag and not committed:
        problem = (
            f"no sink has committed offsets as {group}, while {lag:,} records wait; see that the connector runs, and "
            "that scan_group is connect- with its name"
        )
    statement = sa.select(sa.func.count(), total(scanned_files.c.lines))
    with reading(engine) as connection:
        files, lines = connection.execute(statement).one()
    return {
        "partitions": partitions,
        "source": settings.scan.partition("?")[0],
        "files": files,
        "lines": lines,
        "sink": {"group": group, "lag": lag, "problem": problem},
    }


def _counts(engine: Engine) -> dict[str, dict[str, int]]:
    """Buckets by level: those that wait to be tiled again, and those that are published."""
    with reading(engine) as connection:
        return {
            name: dict(connection.execute(sa.select(one.c.level, sa.func.count()).group_by(one.c.level)).all())
            for name, one in (("dirty", dirty), ("tiles", buckets))
        }
