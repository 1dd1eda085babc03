"""What is known of a sink's files: which were landed, how far, and which kind of lander a log has."""

from collections.abc import Collection, Sequence
from typing import Final, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.errors import ConfigError
from isotherm.land.effects import Lost
from isotherm.store.db import reading, total, writing
from isotherm.store.tables import landers, scanned_files, sequences
from isotherm.store.upsert import upsert

Kind = Literal["log", "scan"]
_CHUNK: Final = 5_000


class State(Struct, frozen=True):
    """How far a file is landed: its first `lines` lines, which are `bytes` bytes (unpacked) of this BLAKE2b digest.

    `mark` changes whenever the file is written again. Rows carry `number` as their log partition and the line as
    their offset; a file whose beginning has changed gets a new number. `torn` says that more follows at this mark,
    which is no whole line.
    """

    mark: str
    number: int
    lines: int
    bytes: int
    digest: str
    torn: bool


class Scanned(Struct, frozen=True):
    """What a landing says of one file: how it found it (None: never landed), and how far it is landed then."""

    source: str
    path: str
    before: State | None
    after: State
    rows: int


class Sums(Struct, frozen=True):
    """All files of one source that were landed."""

    files: int
    lines: int


_STATE: Final = [scanned_files.c[name] for name in State.__struct_fields__]


def look_up(engine: Engine, source: str) -> dict[str, State]:
    """The landed files of a source, by path."""
    statement = sa.select(scanned_files.c.path, *_STATE).where(scanned_files.c.source == source)
    with reading(engine) as connection:
        return {path: State(*values) for path, *values in connection.execute(statement)}


def sums(engine: Engine, source: str) -> Sums:
    """How much of a source was landed."""
    statement = sa.select(sa.func.count(), total(scanned_files.c.lines)).where(scanned_files.c.source == source)
    with reading(engine) as connection:
        return Sums(*connection.execute(statement).one())


def draw(engine: Engine) -> int:
    """A number for a file, which no other file has or had."""
    here = sequences.c.name == "scanned"
    with writing(engine) as connection:
        connection.execute(sa.update(sequences).where(here).values(value=sequences.c.value + 1))
        return connection.execute(sa.select(sequences.c.value).where(here)).scalar_one()


def check(connection: Connection, one: Scanned) -> None:
    """Raises Lost when somebody else has landed the file, or more of it, since it was looked up."""
    here = (scanned_files.c.source == one.source, scanned_files.c.path == one.path)
    found = connection.execute(sa.select(*_STATE).where(*here)).one_or_none()
    if (None if found is None else State(*found)) != one.before:
        raise Lost


def write(connection: Connection, one: Scanned, version: int, now_ms: int) -> None:
    """Remember how far the file is landed, in the landing's transaction."""
    values = {name: getattr(one.after, name) for name in State.__struct_fields__}
    row = {"source": one.source, "path": one.path, "rows": one.rows, "landed_version": version, "landed_at": now_ms}
    upsert(connection, scanned_files, [row | values], update=(*values, "rows", "landed_version", "landed_at"))


def forget_gone(engine: Engine, source: str, there: Collection[str], landed_before_ms: int) -> int:
    """Drop what is known of files that are not `there` and were landed before this moment; returns how many."""
    old = (scanned_files.c.source == source, scanned_files.c.landed_at < landed_before_ms)
    with reading(engine) as connection:
        known = connection.execute(sa.select(scanned_files.c.path).where(*old)).scalars()
        gone = [path for path in known if path not in there]
    for chunk in _chunks(gone):
        with writing(engine) as connection:
            connection.execute(sa.delete(scanned_files).where(*old, scanned_files.c.path.in_(chunk)))
    return len(gone)


def _chunks(values: Sequence[str]) -> Sequence[Sequence[str]]:
    return [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]


def claim_log(engine: Engine, log: str, kind: Kind) -> None:
    """Make sure that this log is landed by this kind of lander and by no other, ever.

    Raises ConfigError where the other kind was first. Both know batches for a day only, so a log that one of them has
    landed would be landed a second time by the other.
    """
    with writing(engine) as connection:
        upsert(connection, landers, [{"log": log, "kind": kind}])
        found = connection.execute(sa.select(landers.c.kind).where(landers.c.log == log)).scalar_one()
    if found != kind:
        other = "the files of a sink (setting scan)" if found == "scan" else "the log itself (no setting scan)"
        mine = "from the log" if kind == "log" else "from a sink's files"
        raise ConfigError(
            f"scan: log {log} was landed from {other} so far, and landing it {mine} too would count its events twice. "
            "Go on as before; or, to switch, give the collectors a new topic, land what is left of the old one, and "
            "then start landing with the new topic in `log`"
        )
