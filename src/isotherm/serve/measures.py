"""What an operator watches, by what the stores say: how far tiles are behind, whether sums close, how much there is.

Nothing here reads an event, and nothing walks through a folder of data: the database and the stores know their sizes.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import DAY_MS, SECOND_MS, iso
from isotherm.config import Settings
from isotherm.rollup import audit, damage
from isotherm.rollup.audit import Range
from isotherm.rollup.buckets import Level, floor
from isotherm.store.db import reading, total
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty, files, ledger, rounds, verifications

LEDGER_DAYS: Final = 8
"""The ledger's newest days are checked: what is older was checked when it was new, and lands rarely."""
NAMED: Final = 5
"""Differences are named up to so many."""
_MOST: Final = 1_000
_SUMS: Final = (
    ("received", ("accepted", "rejected", "duplicate")),
    ("accepted", ("landed", "landing_duplicate", "dead")),
)


class Behind(Struct, frozen=True):
    """How fresh the maps of one level are. `until` (ms): what landed before is in them; `seconds` since then, 0 when
    nothing waits. `buckets` wait."""

    buckets: int
    until: int
    seconds: float


class LedgerCheck(Struct, frozen=True):
    """Hours since `since` (ms), of receipt and of events, whose sums do not close; `examples` name some in a sentence.

    `dead` are events of these hours in records that could not be used.
    """

    since: int
    differing: int
    examples: list[str]
    dead: int


class Verified(Struct, frozen=True):
    """What came of the last comparison of every bucket that was compared: buckets by finding; `last_at` in ms."""

    findings: dict[str, int]
    last_at: int | None


class Held(Struct, frozen=True):
    """Bytes that a store holds; `part` names what of it, where it has parts."""

    store: str
    part: str
    bytes: int


class Disk(Struct, frozen=True):
    """The disk of this machine that a store is on."""

    store: str
    free: int
    size: int


class Lost(Struct, frozen=True):
    """Published buckets by level whose maps went with damaged parts of the tile store, and the names of such parts."""

    buckets: dict[str, int]
    parts: list[str]


def lost(connection: Connection) -> Lost:
    """What is lost now; of the parts all that were set aside."""
    counted = sa.select(buckets.c.level, sa.func.count()).where(damage.is_lost()).group_by(buckets.c.level)
    noted = connection.execute(sa.select(rounds.c.did).where(rounds.c.name == damage.ROUND)).scalar() or {}
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
    return Lost(found, sorted(noted.get("parts", ())))


def behind(connection: Connection, now_ms: int) -> dict[str, Behind]:
    """By level, over all clients. The day and the week that still run are read from their parts: they do not count.

    A mark says when the first of the events was received that the maps lack; where it does not, when it was set.
    """
    since = sa.func.coalesce(dirty.c.oldest_received_at, dirty.c.marked_at)
    columns = (dirty.c.level, sa.func.count(sa.distinct(dirty.c.start)), sa.func.min(since))
    running = [
        (dirty.c.level == level.value) & (dirty.c.start == floor(level, now_ms)) for level in (Level.DAY, Level.WEEK)
    ]
    query = sa.select(*columns).where(~sa.or_(*running)).group_by(dirty.c.level)
    found = {level: (count, oldest) for level, count, oldest in connection.execute(query)}
    made: dict[str, Behind] = {}
    for level in Level:
        count, oldest = found.get(level.value, (0, now_ms))
        until = min(oldest, now_ms)
        made[level.value] = Behind(count, until, (now_ms - until) / SECOND_MS)
    return made


def check_ledger(engine: Engine, now_ms: int) -> LedgerCheck:
    """Whether received = accepted + rejected + duplicate, and accepted = landed + landing_duplicate + dead.

    And of event hours in which something was accepted, whether what landed is in the lake and in the tiles; see
    `rollup/audit.py`.
    """
    since = floor(Level.HOUR, now_ms) - LEDGER_DAYS * DAY_MS
    measures = {name for whole, parts in _SUMS for name in (whole, *parts)}
    of = {
        name: total(sa.case((ledger.c.measure == name, ledger.c.events), else_=0)).label(name)
        for name in sorted(measures)
    }
    wrong = sa.or_(*(of[whole] != sum((of[part] for part in parts), sa.literal(0)) for whole, parts in _SUMS))
    query = (
        sa.select(ledger.c.client_id, ledger.c.hour, *of.values())
        .where(ledger.c.hour >= since)
        .group_by(ledger.c.client_id, ledger.c.hour)
        .having(wrong)
        .order_by(ledger.c.hour.desc(), ledger.c.client_id)
        .limit(_MOST)
    )
    dead = sa.select(total(ledger.c.events)).where(ledger.c.hour >= since, ledger.c.measure == "dead")
    with reading(engine) as connection:
        rows = connection.execute(query).mappings().all()
        kept_aside = connection.execute(dead).scalar_one()
        hours = audit.event_hours(connection, Range(start=since), lake=True)
    unequal = list(audit.event_differences(one for one in hours if one.accepted))
    examples = [*(_sentence(row) for row in rows), *(one.text for one in unequal)]
    differing = len(rows) + len({(one.client_id, one.hour) for one in unequal})
    return LedgerCheck(since, differing, examples[:NAMED], kept_aside)


def _sentence(values: Mapping[Any, Any]) -> str:
    sums = [
        f"{whole} {values[whole]:,} is not {' + '.join(parts)} = {sum(values[part] for part in parts):,}"
        for whole, parts in _SUMS
        if values[whole] != sum(values[part] for part in parts)
    ]
    return f"client {values['client_id']!r}, hour {iso(values['hour'])[:13]}: {'; '.join(sums)}"


def verified(engine: Engine) -> Verified:
    """What is known of comparisons with raw."""
    columns = (verifications.c.finding, sa.func.count(), sa.func.max(verifications.c.verified_at))
    with reading(engine) as connection:
        rows = connection.execute(sa.select(*columns).group_by(verifications.c.finding)).all()
    return Verified({finding: count for finding, count, _ in rows}, max((at for _, _, at in rows), default=None))


def lake_bytes(engine: Engine, formats: Sequence[str]) -> list[Held]:
    """What the manifest lists, by format and where it lies; at least these formats."""
    found = {(name, "hot"): 0 for name in formats}
    columns = (files.c.format, files.c.tier)
    query = sa.select(*columns, total(files.c.bytes)).where(files.c.state == "listed").group_by(*columns)
    with reading(engine) as connection:
        found |= {(name, tier): count for name, tier, count in connection.execute(query)}
    return [Held("lake", name if tier == "hot" else f"{name} {tier}", count) for (name, tier), count in found.items()]


def database_bytes(settings: Settings, engine: Engine) -> list[Held]:
    """The relational store, with what SQLite has not yet written back."""
    if engine.dialect.name == "sqlite":
        path = urlsplit(settings.url("db")).path
        sizes = [os.stat(path + end).st_size for end in ("", "-wal") if Path(path + end).exists()]  # noqa: PTH116
        return [Held("database", "", sum(sizes))]
    with reading(engine) as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return [Held("database", "", int(size))]


def tile_bytes(olap: Olap) -> list[Held]:
    """The maps as they are kept, every replica counted."""
    parts = f"clusterAllReplicas('{olap.layout.cluster}', system.parts)" if olap.layout.cluster else "system.parts"
    found = olap.query(
        f"SELECT sum(bytes_on_disk) AS n FROM {parts}"
        " WHERE active AND database = currentDatabase() AND table = {table:String}",
        {"table": olap.layout.stored("maps")},
        "maintain",
    ).to_pylist()
    return [Held("tiles", "", int(found[0]["n"]))]


def dead_bytes(settings: Settings) -> list[Held]:
    """Records of this machine that the log of dead letters did not take."""
    folder = settings.data / "dead"
    if not folder.is_dir():
        return [Held("dead", "folder", 0)]
    return [Held("dead", "folder", sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()))]


def disks(settings: Settings) -> list[Disk]:
    """The disks of the data folder and of the stores that are folders."""
    places = {"data": settings.data.absolute()}
    for store in ("log", "lake"):
        parts = urlsplit(settings.url(store))
        if parts.scheme in ("lmdb", "file"):
            places[store] = Path(parts.path)
    found: list[Disk] = []
    for store, place in places.items():
        if place.exists():
            disk = os.statvfs(place)
            found.append(Disk(store, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
    return found


def sums(held: Sequence[Held]) -> dict[str, dict[str, int]]:
    """Bytes by store and part, as GET /v1/status has them; the part of a store without parts is `all`."""
    found: dict[str, dict[str, int]] = {}
    for one in held:
        found.setdefault(one.store, {})[one.part or "all"] = one.bytes
    return found
