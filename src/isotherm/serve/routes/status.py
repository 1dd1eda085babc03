"""The state of the program: status, health and metrics."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.engine import Connection

from isotherm import __version__, metrics
from isotherm.clock import HOUR_MS, iso
from isotherm.config import Settings
from isotherm.land import rounds
from isotherm.rollup.buckets import Level, floor
from isotherm.serve import measures
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.more import OPEN
from isotherm.serve.unwell import problems_of
from isotherm.store.db import reading, total
from isotherm.store.tables import buckets, dirty, files

_NO_STORE: Final = {"cache-control": "no-store"}
_MEASURED: Final = ("ledger", "verification", "stores", "disks", "measured_at", "unmeasured")
"""Members that a process which measures nothing has, too, and that are null then."""
_EXPOSITION: Final = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""Litestar adds the charset to text itself."""


@get("/v1/status", sync_to_thread=True, tags=["operation"], summary="State of the whole program")
def status(deps: InDeps) -> Response[bytes]:
    """Lander, scheduler, log, lake and tiles at one look, and what of it is not well.

    `ledger`, `verification`, `stores` and `disks` are measured every few minutes, all else is asked for now.
    """
    facts = deps.status()
    now = deps.clock.now_ms()
    with reading(deps.engine) as connection:
        waiting = _by_level(connection, dirty)
        own: dict[str, Any] = {
            "version": __version__,
            "now": iso(now),
            "idle": bool(facts.get("idle", True)) and not _waits(connection, now),
            "dirty": waiting,
            "lake": _lake(connection),
            "tiles": _by_level(connection, buckets),
            "intake": facts.get("intake"),
            "lander": facts.get("lander"),
            "stream": facts.get("stream"),
            "freshness": msgspec.to_builtins(measures.behind(connection, now)),
            "lost": msgspec.to_builtins(measures.lost(connection)),
            "retention_days": _retention(deps.settings),
            "rounds": rounds.last(deps.engine),
            "backup": _backup(deps),
        }
    said: dict[str, Any] = dict.fromkeys(_MEASURED) | facts | own
    said["problems"] = problems_of(said, now)
    return Response(msgspec.json.encode(said), media_type="application/json", headers=_NO_STORE)


def _backup(deps: Deps) -> dict[str, int | None]:
    made_at, _ = rounds.of(deps.engine, rounds.BACKUP)
    return {"made_at": made_at, "max_age_ms": round(deps.settings.backup_max_age_hours * HOUR_MS)}


def _retention(settings: Settings) -> dict[str, int]:
    return {
        "log": settings.log_retention_days,
        "raw": settings.raw_retention_days,
        "hour": settings.hourly_retention_days,
        "day": settings.daily_retention_days,
        "week": settings.weekly_retention_days,
    }


def _waits(connection: Connection, now: int) -> bool:
    """Whether some answer would change if the scheduler caught up.

    The day and the week that still run are read from their parts while they are dirty: they do not count.
    """
    running = [
        (dirty.c.level == level.value) & (dirty.c.start == floor(level, now)) for level in (Level.DAY, Level.WEEK)
    ]
    return connection.execute(sa.select(sa.exists().where(~sa.or_(*running)))).scalar_one()


def _by_level(connection: Connection, table: sa.Table) -> dict[str, int]:
    rows = connection.execute(sa.select(table.c.level, sa.func.count()).group_by(table.c.level)).all()
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return {level.value: found.get(level.value, 0) for level in Level}


def _lake(connection: Connection) -> dict[str, dict[str, int]]:
    query = (
        sa.select(files.c.format, sa.func.count(), total(files.c.rows), total(files.c.bytes))
        .where(files.c.state == "listed")
        .group_by(files.c.format)
        .order_by(files.c.format)
    )
    return {
        name: {"files": count, "rows": rows, "bytes": size} for name, count, rows, size in connection.execute(query)
    }


@get("/v1/healthz", sync_to_thread=True, tags=["operation"], summary="Health", security=[], opt={OPEN: True})
def healthz(deps: InDeps) -> Response[bytes]:
    """200 when both stores answer; needs no token."""
    with reading(deps.engine) as connection:
        connection.execute(sa.select(sa.literal(1))).one()
    deps.olap.ping()
    return Response(b'{"status":"ok"}', media_type="application/json", headers=_NO_STORE)


@get("/metrics", sync_to_thread=True, tags=["operation"], summary="Prometheus metrics")
def prometheus() -> Response[bytes]:
    """Metrics of this process in the Prometheus text format."""
    return Response(metrics.render(), media_type=_EXPOSITION, headers=_NO_STORE)
