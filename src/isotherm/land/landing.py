"""What the manifest says: files and their origin, snapshots, and what one landing brings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from isotherm.land.effects import Compared
from isotherm.land.known import Claims
from isotherm.land.scanned import Scanned
from isotherm.land.shapes import Key, Seen
from isotherm.land.views import Parts


class OffsetRange(Struct, frozen=True):
    """Rows that came from the log records [first_offset, last_offset], and their order-free hash."""

    log: str
    partition: int
    first_offset: int
    last_offset: int
    rows: int
    row_hash: str


class Gap(Struct, frozen=True):
    """Records [first, last] that the log no longer had when the lander came for them."""

    partition: int
    first: int
    last: int
    noticed_at: int


class LakeFile(Struct, frozen=True):
    """One listed file. `hour` is the start of its event hour; times are in ms, both ends inclusive.

    The rows of a `raw_only` file are kept and never tiled; see `late.py`.
    """

    path: str
    format: str
    client_id: str
    hour: int
    rows: int
    bytes: int
    min_time: int
    max_time: int
    row_hash: str
    ranges: list[OffsetRange]
    raw_only: bool = False


class Snapshot(Struct, frozen=True):
    """The lake at one version. Its files stay readable until it is released or its lease runs out."""

    id: str
    version: int
    files: list[LakeFile]


class Landing(Struct, frozen=True):
    """The records [first, next) of one partition, as files and ledger counts.

    `counts` maps (client_id, hour of receipt, measure, reason) to events, `received` maps (client_id, event hour) to
    when the first of its events was received, and `newest` a client to when its last accepted event was. `shapes`
    says how large screens are, `received_until` when the newest record came. What the rows were chosen by must still
    hold: `compared` hours without new files, hours of files to be tiled whose raw events are not retired, and
    `claims` on batches that the log does not tell apart. Where the records are lines of a sink's file, `scanned` says
    so: then the file, not the partition's position, lands once. `gaps` are those of the records that the log had lost.
    `screens` maps (client_id, screen_id, event hour) to `books.COLUMNS`,
    `views` a page view's id to what came of it.
    """

    log: str
    partition: int
    first: int
    next: int
    files: Sequence[LakeFile]
    counts: Mapping[tuple[str, int, str, str], int]
    received: Mapping[tuple[str, int], int] = {}
    newest: Mapping[str, int] = {}
    shapes: Mapping[Key, Seen] = {}
    received_until: int | None = None
    compared: Compared | None = None
    claims: Claims | None = None
    scanned: Scanned | None = None
    gaps: Sequence[Gap] = ()
    screens: Mapping[tuple[str, str, int], Sequence[int]] = {}
    views: Parts = {}


class Progress(NamedTuple):
    """How far a partition is landed: the first offset that is not, and when the newest landed record came (ms)."""

    next_offset: int
    received_until: int | None
