"""Damaged parts of the tile store: found, named, set aside, and the maps that were in them marked to be made again.

A part is a folder of the store with maps of one level in one month (hours) or year (days, weeks). The store sets aside
what it cannot load when it starts, and fails a query that reads a damaged block; what went with a part, it cannot say.
So every published bucket that may have had maps there gets a `lost_version`, by which no read takes what is left for
the whole, and a dirty mark, by which a job makes it again. The files stay in the store's folder `detached`.

Replicated tables mend themselves from each other; there nothing is done.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Engine as Database

from isotherm.clock import MINUTE_MS, Clock
from isotherm.land import rounds
from isotherm.rollup import dirty
from isotherm.rollup.buckets import Bucket, Level
from isotherm.store.db import next_version, reading, writing
from isotherm.store.olap import Olap, OlapDamaged
from isotherm.store.olap_profiles import UNREADABLE
from isotherm.store.tables import buckets

ROUND: Final = "damage"
"""Under this name `rounds` keeps the parts that were set aside, with the moments the store gives them."""
AGAIN_MS: Final = 10 * MINUTE_MS
"""A look at every byte that found nothing is not repeated before this has passed."""
_STARTS: Final = 200
"""Buckets that are marked in one transaction."""
_CLIENTS: Final = 500
_LEVELS: Final = {1: Level.HOUR, 2: Level.DAY, 3: Level.WEEK}
"""As the table of maps numbers them."""
_CODE: Final = re.compile(r"\bCode: (\d+)")
_log = structlog.get_logger("isotherm.rollup")

Held = set[tuple[str, int]]
"""(client, start in ms) of the buckets that have maps in a part."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Maps of one level and period (202611 or 2026) that are lost; `held` None: any of them.

    `part` is empty when all parts of the period are gone.
    """

    part: str
    level: Level
    period: int
    why: str
    held: Held | None = None

    def edges(self) -> tuple[int, int]:
        """The period's first moment and the one after its last, in ms."""
        year, month = divmod(self.period, 100) if self.level is Level.HOUR else (self.period, 0)
        first = datetime(year, month or 1, 1, tzinfo=UTC)
        after = datetime(year + (month in (0, 12)), (month + 1) if 0 < month < 12 else 1, 1, tzinfo=UTC)
        return int(first.timestamp() * 1000), int(after.timestamp() * 1000)


def is_lost() -> "sa.ColumnElement[bool]":
    """The condition that a published bucket's maps went with a damaged part, and were not made again since."""
    return sa.func.coalesce(buckets.c.lost_version, -1) >= buckets.c.version


class Mender:
    """Looks for damage and has it mended; any thread may call."""

    def __init__(self, database: Database, olap: Olap, clock: Clock) -> None:
        self.database = database
        self.olap = olap
        self.clock = clock
        self._lock = threading.Lock()
        self._quiet_until = 0
        self._looked = False

    @property
    def wanted(self) -> bool:
        """Whether a statement met a file that it could not read, and nobody looked in vain just now."""
        return self.olap.doubt.is_set() and self.clock.now_ms() >= self._quiet_until

    def mend(self, *, thorough: bool) -> list[Damage]:
        """Set damaged parts aside and mark their buckets; gives what was found.

        Without `thorough`, what the store itself noticed and, at first, periods without any part; with it, every byte
        of the store is read.
        Interrupted, the next call does it again.
        """
        if self.olap.layout.cluster or self.olap.layout.replicated:
            return []
        with self._lock:
            aside = self._aside()
            noted: dict[str, str] = rounds.of(self.database, ROUND)[1].get("parts", {})
            new = [name for name, moment in aside.items() if noted.get(name) != moment]
            found = [damage for name in new if (damage := _broken(name)) is not None]
            self._mark(found)
            if thorough:
                found += self._set_aside()
            if thorough or not self._looked:
                found += self._missing()
                self._looked = True
            if found:
                self._note(found)
            elif thorough:
                self._quiet_until = self.clock.now_ms() + AGAIN_MS
            return found

    def _aside(self) -> dict[str, str]:
        """Parts of the table of maps that lie aside, by name, and when that was done: by the store, or by us."""
        rows = self.olap.query(
            "SELECT name, toString(modification_time) AS moment FROM system.detached_parts"
            " WHERE database = currentDatabase() AND table = 'maps' AND reason IN ('broken', 'broken-on-start', '')"
            " ORDER BY name",
            profile="maintain",
        )
        return {row["name"]: row["moment"] for row in rows.to_pylist()}

    def _set_aside(self) -> list[Damage]:
        """Take what is damaged out of use, once it is marked."""
        found = self._checked()
        self._mark(found)
        for damage in found:
            self.olap.command(f"ALTER TABLE maps DETACH PART '{damage.part}'", profile="maintain")
        return found

    def _checked(self) -> list[Damage]:
        """Parts that are in use and cannot be read to their end."""
        rows = self.olap.query("CHECK TABLE maps SETTINGS check_query_single_value_result = 0", profile="maintain")
        bad = {row["part_path"]: row["message"] for row in rows.to_pylist() if not row["is_passed"]}
        found = [
            Damage(name, *place, why, self._held(name))
            for name, why in bad.items()
            # Whatever else keeps a check from reading a part, such as a missing file handle, does not damage it.
            if (code := _CODE.search(why)) and int(code[1]) in UNREADABLE and (place := place_of(name))
        ]
        self.olap.doubt.clear()
        return found

    def _held(self, part: str) -> Held | None:
        """The buckets that have maps in the part, as far as these columns of it can be read."""
        with suppress(OlapDamaged):
            rows = self.olap.query(
                "SELECT DISTINCT client_id, toUnixTimestamp(bucket_start) AS start FROM maps"
                " WHERE _part = {part:String}",
                {"part": part},
                "maintain",
            )
            return {(row["client_id"], row["start"] * 1000) for row in rows.to_pylist()}
        return None

    def _missing(self) -> list[Damage]:
        """Periods with published maps of which the store has no part at all; they are marked."""
        with reading(self.database) as connection:
            published = {(level, period_of(level, start)) for level, start in _published(connection)}
        # Read after what was published: a job inserts before it publishes.
        rows = self.olap.query(
            "SELECT DISTINCT partition_id FROM system.parts"
            " WHERE database = currentDatabase() AND table = 'maps' AND active",
            profile="maintain",
        )
        there = {place_of(row["partition_id"]) for row in rows.to_pylist()}
        found = [Damage("", *place, "the store has nothing of it") for place in sorted(published - there)]
        self._mark(found)
        return found

    def _mark(self, found: Iterable[Damage]) -> None:
        now = self.clock.now_ms()
        for damage in found:
            first, after = damage.edges()
            at: int | None = first
            while at is not None:
                with writing(self.database) as connection:
                    at = _mark_some(connection, damage, at, after, now)

    def _note(self, found: Iterable[Damage]) -> None:
        rounds.note(self.database, ROUND, self.clock.now_ms(), {"parts": self._aside()})
        for damage in found:
            _log.error(
                "maps went with a damaged part of the tile store; they are made again from the raw events",
                part=damage.part or "all parts are gone",
                level=damage.level.value,
                period=damage.period,
                why=damage.why,
            )


def _mark_some(connection: Connection, damage: Damage, first: int, after: int, now_ms: int) -> int | None:
    """Mark buckets that start from `first` on; gives where to go on, None at the end."""
    level, start = buckets.c.level == damage.level.value, buckets.c.start
    within = (level, start >= first, start < after, buckets.c.maps > 0)
    starts = connection.execute(sa.select(start).where(*within).distinct().order_by(start).limit(_STARTS)).scalars()
    chosen = list(starts)
    if not chosen:
        return None
    within = (level, start >= first, start <= chosen[-1], buckets.c.maps > 0)
    rows = connection.execute(sa.select(start, buckets.c.client_id).where(*within)).all()
    clients: dict[int, list[str]] = {}
    for at, client_id in rows:
        if damage.held is None or (client_id, at) in damage.held:
            clients.setdefault(at, []).append(client_id)
    version = next_version(connection)
    for at, mine in clients.items():
        for i in range(0, len(mine), _CLIENTS):
            of_these = buckets.c.client_id.in_(mine[i : i + _CLIENTS])
            connection.execute(sa.update(buckets).where(level, start == at, of_these).values(lost_version=version))
        dirty.mark(connection, [Bucket(damage.level, at)], mine, version, now_ms)
    return chosen[-1] + 1 if len(chosen) == _STARTS else None


def _published(connection: Connection) -> Iterator[tuple[Level, int]]:
    """Every level and start with published maps that are not known to be lost."""
    statement = sa.select(buckets.c.level, buckets.c.start).where(buckets.c.maps > 0, ~is_lost()).distinct()
    return ((Level(level), start) for level, start in connection.execute(statement))


def period_of(level: Level, start: int) -> int:
    moment = datetime.fromtimestamp(start / 1000, UTC)
    return moment.year * 100 + moment.month if level is Level.HOUR else moment.year


def _broken(name: str) -> Damage | None:
    """What the store set aside by itself; its folder is named broken..._LEVEL-PERIOD_FIRST_LAST_DEPTH."""
    reason, _, rest = name.partition("_")
    place = place_of(rest)
    if not reason.startswith("broken") or place is None:
        return None
    return Damage(name, *place, "the store could not load it and set it aside")


def place_of(name: str) -> tuple[Level, int] | None:
    """Level and period of a part or partition, by its name: LEVEL-PERIOD and what follows."""
    found = re.match(r"([123])-(\d{4,6})(?:_|$)", name)
    return None if found is None else (_LEVELS[int(found[1])], int(found[2]))
