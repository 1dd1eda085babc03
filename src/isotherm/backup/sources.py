"""What a backup is made of: one deployment's stores, and the state of its tables at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from isotherm.clock import Clock
from isotherm.config import SECRETS, Settings, as_text, without_password
from isotherm.eventlog.port import EventLog
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.copies import Page
from isotherm.store.tables import buckets, dead_letters, files, positions, sequences


class ReadMaps(Protocol):
    """Stored maps of a bucket, as `isotherm.rollup.copies.read_maps` gives them: from the store or from an app."""

    def __call__(self, bucket: Bucket, page: Page) -> pa.Table: ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """One deployment. `dead` is its log of dead letters, `scratch` a folder for what does not fit in memory."""

    settings: Settings
    engine: Engine
    lake: Lake
    manifest: Manifest
    log: EventLog
    maps: ReadMaps
    clock: Clock
    dead: EventLog | None = None
    scratch: Path | None = None


@dataclass(frozen=True)
class LakeObject:
    """A listed file: its rows, its size, and the start of its event hour (ms)."""

    path: str
    bytes: int
    rows: int
    hour: int


@dataclass(frozen=True)
class Published:
    """The clients of a bucket: their maps, and `mark`, the lines that change when one of them is tiled again."""

    bucket: Bucket
    maps: dict[str, int]
    lines: list[str]


def lake_objects(connection: Connection) -> list[LakeObject]:
    """The lake at this moment, oldest hour first."""
    columns = (files.c.path, files.c.bytes, files.c.rows, files.c.hour)
    statement = sa.select(*columns).where(files.c.state == "listed").order_by(files.c.hour, files.c.path)
    return [LakeObject(*row) for row in connection.execute(statement)]


def published(connection: Connection) -> list[Published]:
    """The published buckets that have maps, at this moment."""
    columns = (buckets.c.level, buckets.c.start, buckets.c.client_id, buckets.c.version, buckets.c.hash, buckets.c.maps)
    statement = sa.select(*columns).order_by(buckets.c.level, buckets.c.start, buckets.c.client_id)
    found: dict[Bucket, Published] = {}
    for level, start, client_id, version, hashed, maps in connection.execute(statement):
        if maps:
            bucket = Bucket(Level(level), start)
            one = found.setdefault(bucket, Published(bucket, {}, []))
            one.maps[client_id] = maps
            one.lines.append(f"{client_id}\t{version}\t{hashed}\t{maps}")
    return list(found.values())


def landed(connection: Connection, identity: str, partitions: Sequence[int]) -> dict[int, int]:
    """The first offset of each partition that is not landed."""
    statement = sa.select(positions.c.partition, positions.c.next_offset).where(positions.c.log == identity)
    found = {row.partition: row.next_offset for row in connection.execute(statement)}
    return {partition: found.get(partition, 0) for partition in partitions}


def handled_letters(connection: Connection, identity: str) -> set[tuple[int, int]]:
    """(Partition, offset) of the dead letters that were replayed or dropped."""
    columns = (dead_letters.c.partition, dead_letters.c.offset)
    found = connection.execute(sa.select(*columns).where(dead_letters.c.log == identity))
    return {(partition, offset) for partition, offset in found}


def newest_landed(connection: Connection) -> int | None:
    """When the newest landed record was received (ms)."""
    return connection.execute(sa.select(sa.func.max(positions.c.received_until))).scalar_one()


def version_of(connection: Connection) -> int:
    """The newest version that was drawn."""
    return connection.execute(sa.select(sequences.c.value).where(sequences.c.name == "version")).scalar_one()


def settings_as_text(settings: Settings) -> dict[str, str]:
    """The settings in force without what is for nobody to see."""
    shown = {name: value for name, value in settings.model_dump().items() if name not in SECRETS}
    return {name: without_password(as_text(value)) for name, value in sorted(shown.items())}
