"""Duplicates that the log does not tell: what was landed is known for a day and an hour, and lands no second time.

On logs that keep no ids that is every batch; on others only those whose body was sent again by another than its sender,
as the log was told no id of these. A row is named by (client_id, batch_id, position). A batch that came as one record
is known as a whole; of one that came otherwise, the positions that were landed are kept beside the id.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.events import record_id
from isotherm.land.columns import BatchRef
from isotherm.land.effects import Lost
from isotherm.store.tables import known_ids
from isotherm.store.upsert import upsert, with_key

KEPT_MS: Final = DAY_MS + HOUR_MS
"""A sender comes again for a day at most; the hour is for clocks that differ and records that were long under way."""
FORGOTTEN_AT_ONCE: Final = 10_000
"""Ids that one call of `forget` drops."""

Positions = npt.NDArray[np.int64]
Known = Mapping[bytes, bytes | None]
"""Id -> the positions that were landed, packed; None: all of the batch."""


class Claims(Struct, frozen=True):
    """What a landing says of batches: how it found them (`before`, by id), and the rows that it changes."""

    before: Known
    ids: Sequence[bytes]
    changed: Sequence[Mapping[str, Any]]


class Judged(Struct, frozen=True):
    """`keep` says per row whether it is to be landed, None when all are; `dropped` counts the others by batch."""

    keep: npt.NDArray[np.bool_] | None
    dropped: Sequence[tuple[BatchRef, int]]
    claims: Claims


def are_any(connection: Connection) -> bool:
    """Whether any id is known."""
    return connection.execute(sa.select(known_ids.c.id).limit(1)).first() is not None


def look_up(connection: Connection, ids: Iterable[bytes]) -> dict[bytes, bytes | None]:
    """Those of the ids that are known."""
    found = with_key(connection, (known_ids.c.id, known_ids.c.positions), dict.fromkeys(ids))
    return {bytes(one): positions for one, positions in found}


def judge(
    batches: Sequence[BatchRef], ids: Sequence[bytes], before: Known, only: Collection[bytes] | None = None
) -> Judged:
    """Which rows of the batches are new; `ids` are theirs, `before` what was found of these.

    With `only`, rows of batches with other ids are new, and their ids are not kept.
    """
    state: dict[bytes, Positions | None] = {one: _unpack(packed) for one, packed in before.items()}
    touched: dict[bytes, int] = {}
    gone: list[tuple[int, npt.NDArray[np.bool_]]] = []
    dropped: list[tuple[BatchRef, int]] = []
    start = 0
    for one, batch in zip(ids, batches, strict=True):
        if only is not None and one not in only:
            start += batch.rows
            continue
        mine = None if batch.positions is None else np.array(batch.positions, np.int64)
        if one not in state:
            state[one] = mine
            touched[one] = batch.received_at
        else:
            again = _known_rows(state[one], mine, batch.rows)
            if count := int(again.sum()):
                gone.append((start, again))
                dropped.append((batch, count))
            if count < batch.rows:
                have = state[one]
                state[one] = None if mine is None or have is None else np.union1d(have, mine)
                touched[one] = max(touched.get(one, 0), batch.received_at)
        start += batch.rows
    changed = [{"id": one, "received_at": at, "positions": _pack(state[one])} for one, at in touched.items()]
    keep = None
    if gone:
        keep = np.ones(start, np.bool_)
        for at, again in gone:
            keep[at : at + len(again)] &= ~again
    return Judged(keep, dropped, Claims(before, ids if only is None else list(only), changed))


def ids_of(batches: Iterable[BatchRef]) -> list[bytes]:
    """The id of each batch, as the collector makes it."""
    return [record_id(batch.client_id, batch.batch_id) for batch in batches]


def claim(connection: Connection, claims: Claims) -> None:
    """Make the batches known, in the landing's transaction. Raises Lost when one became known in the meantime."""
    if look_up(connection, claims.ids) != claims.before:
        raise Lost
    upsert(connection, known_ids, claims.changed, update=("positions",), greatest=("received_at",))


def forget(connection: Connection, landed_until_ms: int) -> int:
    """Drop ids that nobody can send again: everything received up to the moment is landed. Returns how many.

    The oldest, FORGOTTEN_AT_ONCE at most: after a long pause they are millions, and landings wait meanwhile.
    """
    old = known_ids.c.received_at < landed_until_ms - KEPT_MS
    oldest = sa.select(known_ids.c.id).where(old).order_by(known_ids.c.received_at).limit(FORGOTTEN_AT_ONCE)
    return connection.execute(sa.delete(known_ids).where(known_ids.c.id.in_(oldest))).rowcount


def _known_rows(have: Positions | None, mine: Positions | None, rows: int) -> npt.NDArray[np.bool_]:
    if have is None:
        return np.ones(rows, np.bool_)
    return np.isin(np.arange(rows) if mine is None else mine, have)


def _pack(positions: Positions | None) -> bytes | None:
    """Runs of positions that follow each other, as little-endian pairs (first, count) of 32 bits."""
    if positions is None:
        return None
    ordered = np.unique(positions)
    edges = np.flatnonzero(np.diff(ordered) != 1) + 1
    firsts = np.concatenate([ordered[:1], ordered[edges]])
    counts = np.diff(np.concatenate([[0], edges, [len(ordered)]]))
    return np.stack([firsts, counts], axis=1).astype("<u4").tobytes()


def _unpack(packed: bytes | None) -> Positions | None:
    if packed is None:
        return None
    runs = np.frombuffer(packed, "<u4").astype(np.int64).reshape(-1, 2)
    return np.concatenate([np.arange(first, first + count) for first, count in runs.tolist()])
