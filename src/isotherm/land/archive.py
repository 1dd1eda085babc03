"""The archive: raw of hours that ended `archive_after_days` ago, in files that are packed tighter and fewer.

An hour's files are merged with each other, and with what is archived of it already, into one file per client, hour,
format and kind, as merging does it: written beside the old ones, read back and compared row by row, put in their place
in one transaction. Interrupted anywhere, the lake is the old one or the new one. Late rows land hot again and are
merged in when no more have come for a while.
"""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Engine

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land import rounds
from isotherm.land.lake import Lake, LakeUnavailable
from isotherm.land.landing import LakeFile
from isotherm.land.manifest import Manifest
from isotherm.land.merge import Limits, fits, merge_files
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.land.tiers import ARCHIVE, HOT, tier_of
from isotherm.metrics import counts
from isotherm.store.db import reading
from isotherm.store.tables import files

STEPS: Final = ("hour", "pending", "rows", "written", "checked", "replaced")
"""Names that `checkpoint` gets, in the order of one hour."""
QUIET_MS: Final = 60 * MINUTE_MS
"""An hour with a younger file waits: more late rows may come."""
CLAIM_MS: Final = 10 * MINUTE_MS
"""Files that somebody else has begun in an hour less than this ago are waited for."""
ROUND_S: Final = 20.0
"""After so long a round begins no other hour: what else there is to do has its turn."""
_AT_ONCE: Final = 1_000


class _Hour(Struct, frozen=True):
    client_id: str
    hour: int
    format: str


class Turn(Struct):
    """Whose turn it is: the hours after the one that was tried last, then those before. Kept from round to round."""

    last: _Hour | None = None


class Sums(Struct):
    """What a round did: hours, their rows, and the bytes of the files before and after."""

    hours: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes: int = 0


def archive_old(
    settings: Settings,
    lake: Lake,
    manifest: Manifest,
    now_ms: int,
    *,
    checkpoint: Checkpoint = no_checkpoint,
    seconds: float = ROUND_S,
    turn: Turn | None = None,
) -> Sums:
    """Archive what is old enough, oldest first, for about so many seconds; what is left waits for the next round, which
    goes on after the hour that this `turn` was at.

    An hour that cannot be archived keeps no other from it, however long that takes to be found out; its error is raised
    when they are done. A store that does not answer or is full ends the round: every hour stays where it is.
    """
    done, failed, late, told = Sums(), None, _over(seconds), counts("archive")
    turn = turn or Turn()
    if not settings.archive_after_days:
        return done
    before = now_ms - settings.archive_after_days * DAY_MS - HOUR_MS + 1
    limits = Limits.of(settings)
    limits = Limits(settings.archive_target_bytes, limits.memory_bytes, limits.scratch, ARCHIVE)
    for one in _waiting(manifest.engine, before, now_ms - QUIET_MS, turn.last):
        if late():
            break
        turn.last = one
        checkpoint(STEPS[0])
        try:
            _archive_hour(lake, manifest, one, limits, now_ms, done, checkpoint)
        except (LakeUnavailable, OSError):  # no other hour would fare better
            told.failed.inc()
            raise
        except IsothermError as error:
            told.failed.inc()
            failed = failed or error
    rounds.note(manifest.engine, "archive", now_ms, _report(manifest.engine, before, done))
    if failed is not None:
        raise failed
    return done


def _over(seconds: float) -> Callable[[], bool]:
    until = monotonic() + seconds
    return lambda: monotonic() >= until


def _report(engine: Engine, before: int, done: Sums) -> dict[str, Any] | None:
    if not done.hours:
        return None
    old = sa.select(sa.func.count(sa.distinct(files.c.hour))).where(_hot(before))
    with reading(engine) as connection:
        left = connection.execute(old).scalar_one()
    sums = {"hours": done.hours, "rows": done.rows, "bytes": done.bytes, "bytes_before": done.bytes_before}
    return sums | {"hours_left": left}


def _hot(before: int) -> "sa.ColumnElement[bool]":
    return (files.c.tier == HOT) & (files.c.state == "listed") & (files.c.hour < before)


def _waiting(engine: Engine, before: int, quiet_since: int, last: _Hour | None) -> list[_Hour]:
    """Hours with hot files, none of them young: oldest first those after the last one, then the others."""
    hour, client_id, format_ = key = (files.c.hour, files.c.client_id, files.c.format)
    statement = sa.select(client_id, hour, format_).where(_hot(before)).group_by(*key).order_by(*key)
    statement = statement.having(sa.func.max(files.c.created_at) <= quiet_since).limit(_AT_ONCE)
    with reading(engine) as connection:
        if last is None:
            return [_Hour(*row) for row in connection.execute(statement)]
        later_format = (client_id == last.client_id) & (format_ > last.format)
        later = (hour > last.hour) | (hour == last.hour) & ((client_id > last.client_id) | later_format)
        return [_Hour(*row) for half in (later, ~later) for row in connection.execute(statement.where(half))]


def _archive_hour(
    lake: Lake, manifest: Manifest, one: _Hour, limits: Limits, now_ms: int, done: Sums, checkpoint: Checkpoint
) -> None:
    if manifest.begun(one.client_id, one.hour, one.format, now_ms - CLAIM_MS):
        return
    chosen = manifest.snapshot(
        start=one.hour, end=one.hour + 1, client_ids=[one.client_id], format=one.format, raw_only=None
    )
    made = 0
    with chosen as snapshot:
        for group in _groups(snapshot.files, limits):
            if merge_files(lake, manifest, group, limits, checkpoint):
                made += 1
                rows = sum(file.rows for file in group)
                counts("archive").add(rows, rows)
                done.rows += rows
                done.bytes_before += sum(file.bytes for file in group)
    if made:
        done.hours += 1
        now = manifest.listed(start=one.hour, end=one.hour + 1, client_ids=[one.client_id], format=one.format)
        done.bytes += sum(file.bytes for file in now if tier_of(file.path) == ARCHIVE)


def _groups(listed: Sequence[LakeFile], limits: Limits) -> Iterator[list[LakeFile]]:
    """What makes one archived file each; a file that is archived is only taken along with one that is not."""
    for raw_only in (False, True):
        group: list[LakeFile] = []
        for file in sorted((f for f in listed if f.raw_only is raw_only), key=lambda f: (f.rows, f.path)):
            if group and not fits([*group, file], limits):
                yield from _if_hot(group)
                group = []
            group.append(file)
        yield from _if_hot(group)


def _if_hot(group: list[LakeFile]) -> Iterator[list[LakeFile]]:
    if any(tier_of(file.path) == HOT for file in group):
        yield group
