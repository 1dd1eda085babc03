"""Looking through the log of dead letters: which there are, and what became of each."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Engine

from isotherm.collect.dead import Head, Letter, Stage, decode_head, decode_letter
from isotherm.errors import IsothermError, Unusable
from isotherm.eventlog.port import EventLog, Stored
from isotherm.land.recovered import take_back
from isotherm.store.db import reading, writing
from isotherm.store.tables import dead_letters
from isotherm.store.upsert import upsert

State = Literal["waiting", "replayed", "dropped"]
STATES: Final[tuple[State, ...]] = ("waiting", "replayed", "dropped")
LOOKED_AT: Final = 100_000
"""Records of a partition that are looked at, the newest ones."""
_AT_ONCE: Final = 500
_READ_BYTES: Final = 16 << 20


class Place(NamedTuple):
    """Where a letter stands; a person writes it as PARTITION-OFFSET."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises IsothermError for what names no place."""
        partition, _, offset = text.partition("-")
        if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
            raise IsothermError(f"{text!r} names no dead letter: write its place as `isotherm dead ls` does, like 0-17")
        return cls(int(partition), int(offset))


class Entry(Struct, frozen=True):
    """One letter. `accepted` are the events of the last replay that the collector took, `changed_at` (ms) when."""

    place: Place
    head: Head
    state: State = "waiting"
    accepted: int = 0
    changed_at: int | None = None


class Wanted(Struct, frozen=True):
    """Which letters: None means any. `start` and `end` (ms) bound when the body was received."""

    client_id: str | None = None
    reason: str | None = None
    stage: Stage | None = None
    state: State | None = None
    start: int | None = None
    end: int | None = None

    def has(self, entry: Entry) -> bool:
        head = entry.head
        return (
            self.client_id in (None, head.client_id)
            and self.reason in (None, head.reason)
            and self.stage in (None, head.stage)
            and self.state in (None, entry.state)
            and (self.start is None or head.time >= self.start)
            and (self.end is None or head.time < self.end)
        )


def look(
    log: EventLog, engine: Engine, wanted: Wanted, limit: int | None = None, looked_at: int = LOOKED_AT
) -> list[Entry]:
    """The letters that are wanted, newest first, `limit` at most. Of copies of one letter the first counts.

    The newest `looked_at` letters of each partition are looked at.
    """
    found = (entry for entry in _entries(log, engine, looked_at) if wanted.has(entry))
    return list(islice(found, limit))


def count(log: EventLog, engine: Engine, wanted: Wanted) -> dict[tuple[str, str, State], int]:
    """How many letters are wanted, by stage, reason and state."""
    sums: dict[tuple[str, str, State], int] = {}
    for entry in look(log, engine, wanted):
        key = (entry.head.stage, entry.head.reason, entry.state)
        sums[key] = sums.get(key, 0) + 1
    return sums


def one(log: EventLog, place: Place) -> Letter:
    """The letter at this place. Raises IsothermError when there is none."""
    stored: list[Stored] = []
    if place.partition in log.partitions() and place.offset < log.head(place.partition):
        stored = log.read(place.partition, place.offset, max_records=1)
    if not stored or stored[0].offset != place.offset:
        raise IsothermError(f"there is no dead letter {place}; `isotherm dead ls` lists them")
    return decode_letter(stored[0].value)


def drop(log: EventLog, engine: Engine, place: Place, now_ms: int) -> None:
    """Remember that nobody wants the letter any more."""
    row = {"log": log.identity, **place._asdict(), "state": "dropped", "changed_at": now_ms}
    with writing(engine) as connection:
        upsert(connection, dead_letters, [row], update=("state", "changed_at"))


def replayed(log: EventLog, engine: Engine, place: Place, letter: Letter, now_ms: int, accepted: int) -> None:
    """Remember that the letter was replayed, and that the collector took so many events: all of it.

    The first time, what landing counted as dead with it leaves the ledger.
    """
    key = {"log": log.identity, **place._asdict()}
    row = key | {"state": "replayed", "accepted": accepted, "changed_at": now_ms}
    with writing(engine) as connection:
        upsert(connection, dead_letters, [row | {"state": "waiting", "accepted": 0}])
        here = sa.and_(*(dead_letters.c[name] == value for name, value in key.items()))
        # Others who replay the same letter wait for this row, and find what became of it.
        before = connection.execute(sa.select(dead_letters).where(here).with_for_update()).one()
        if before.state != "replayed" and not before.accepted:
            take_back(connection, letter)
        upsert(connection, dead_letters, [row], update=("state", "accepted", "changed_at"))


def forget(log: EventLog, engine: Engine) -> int:
    """Forget what became of letters that have left the log by its retention; how many these were."""
    table = dead_letters.c
    gone = [(table.partition == partition) & (table.offset < tail) for partition, tail in log.status().tail.items()]
    with writing(engine) as connection:
        return connection.execute(
            sa.delete(dead_letters).where(table.log == log.identity, sa.or_(sa.false(), *gone))
        ).rowcount


def _entries(log: EventLog, engine: Engine, looked_at: int) -> Iterator[Entry]:
    states = _states(log, engine)
    heads: list[tuple[Place, Head]] = []
    seen: set[str] = set()
    for place, value in _records(log, looked_at):
        try:
            head = decode_head(value)
        except Unusable:
            continue
        if head.id not in seen:
            seen.add(head.id)
            heads.append((place, head))
    for place, head in sorted(heads, key=lambda found: (found[1].time, found[0]), reverse=True):
        known = states.get(place, {})
        yield Entry(place, head, **known)


def _records(log: EventLog, looked_at: int) -> Iterator[tuple[Place, bytes]]:
    tails, heads = log.status().tail, log.heads(log.partitions())
    for partition, head in heads.items():
        at = max(tails.get(partition, 0), head - looked_at)
        while at < head:
            records = log.read(partition, at, max_records=_AT_ONCE, max_bytes=_READ_BYTES)
            if not records:
                break
            for record in records:
                yield Place(partition, record.offset), record.value
            at = records[-1].offset + 1


def _states(log: EventLog, engine: Engine) -> Mapping[Place, dict[str, Any]]:
    table = dead_letters.c
    statement = sa.select(table.partition, table.offset, table.state, table.accepted, table.changed_at)
    with reading(engine) as connection:
        rows = connection.execute(statement.where(table.log == log.identity))
        return {
            Place(partition, offset): {"state": state, "accepted": accepted, "changed_at": changed_at}
            for partition, offset, state, accepted, changed_at in rows
        }
