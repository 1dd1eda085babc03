"""What verification says of a bucket, and how it is remembered: "verified on that day" outlives the raw events."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isotherm.rollup.buckets import Bucket
from isotherm.store.tables import verifications
from isotherm.store.upsert import upsert


class Finding(StrEnum):
    """What came of one bucket of one client."""

    SAME = "same"
    DIRTY = "dirty"
    FROZEN = "frozen"
    DIFFERENT = "different"
    UNREADABLE = "unreadable"


COMPARED: Final = frozenset({Finding.SAME, Finding.DIFFERENT})
"""What a comparison ends with; the others say why there was none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bucket of one client. `maps` were compared; `detail` says what is wrong, or why nothing was compared.

    For the first cell that differs, `screen_id`, `event_type`, `cell_x`, `cell_y`, `expected` and `found` name it;
    `file` is the lake file that is at fault, where one is. `version` is that of the published bucket, `hash` what
    the raw events give.
    """

    bucket: Bucket
    client_id: str
    finding: Finding
    maps: int = 0
    detail: str = ""
    screen_id: str | None = None
    event_type: str | None = None
    cell_x: int | None = None
    cell_y: int | None = None
    expected: int | None = None
    found: int | None = None
    file: str | None = None
    version: int | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: events read of those to read, as the manifest counts them."""

    read: int
    total: int


@dataclass(slots=True)
class Tally:
    """The sum of a run: buckets by finding, maps compared, events read."""

    findings: Counter[Finding] = field(default_factory=Counter[Finding])
    maps: int = 0
    read: int = 0

    def add(self, step: Verdict | Progress) -> None:
        """Count what came out of a run."""
        if isinstance(step, Progress):
            self.read = step.read
        else:
            self.findings[step.finding] += 1
            self.maps += step.maps


def remember(connection: Connection, verdicts: Iterable[Verdict], now_ms: int) -> None:
    """Write the verdicts. Only a comparison replaces what is known: a frozen or dirty bucket keeps its last one."""
    rows = [(verdict.finding in COMPARED, _row(verdict, now_ms)) for verdict in verdicts]
    changed = ("finding", "version", "hash", "detail", "verified_at")
    upsert(connection, verifications, [row for compared, row in rows if compared], update=changed)
    upsert(connection, verifications, [row for compared, row in rows if not compared])


def _row(verdict: Verdict, now_ms: int) -> dict[str, Any]:
    return {
        "level": verdict.bucket.level.value,
        "start": verdict.bucket.start,
        "client_id": verdict.client_id,
        "finding": verdict.finding.value,
        "version": verdict.version,
        "hash": verdict.hash,
        "detail": verdict.detail,
        "verified_at": now_ms,
    }


def last_verdicts(connection: Connection, client_id: str, buckets: Sequence[Bucket]) -> Mapping[Bucket, Any]:
    """The last comparison of each of these buckets that was ever compared: rows with finding and verified_at."""
    known: dict[Bucket, Any] = {}
    for level in {bucket.level for bucket in buckets}:
        starts = [bucket.start for bucket in buckets if bucket.level is level]
        compared = sa.select(verifications.c.start, verifications.c.finding, verifications.c.verified_at).where(
            verifications.c.client_id == client_id,
            verifications.c.level == level.value,
            verifications.c.start.between(min(starts), max(starts)),
            verifications.c.finding.in_([finding.value for finding in COMPARED]),
        )
        known |= {Bucket(level, row.start): row for row in connection.execute(compared)}
    return known
