"""Which rows are kept and never tiled: those that come too late for the maps.

An event is late when it was received longer than `late_horizon_days` after it happened. Both moments stand in its
record, so that every lander, whenever it reads the record, decides alike. Rows of hours whose raw events are gone by
retention, or go within a day, are kept only, too: a map that is made of what came afterwards would hold less than the
one that is there, and a tile job that comes after the raw events went could make none.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from msgspec import Struct
from sqlalchemy.engine import Engine

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land.effects import retired_hours
from isotherm.land.parts import Mask, Part, int64
from isotherm.store.db import reading

_AHEAD_MS: Final = DAY_MS
"""What lands has this long for its tile job, before its raw events go. Only a replay brings events that are so old."""


class Rule(Struct, frozen=True):
    """`horizon_ms` is how late an event may be for the maps; hours of a client before its `raw_from` are frozen.
    `now_ms` is the moment by which retention goes, see `steady.py`."""

    settings: Settings
    now_ms: int

    @property
    def horizon_ms(self) -> int:
        return self.settings.late_horizon_ms

    def raw_from(self, client_id: str) -> int:
        """Start of the first hour of which no raw event expires within a day."""
        return raw_kept_from(self.now_ms + _AHEAD_MS, self.settings, client_id)


def raw_kept_from(now_ms: int, settings: Settings, client_id: str = "") -> int:
    """Start of the client's first hour whose raw events are all kept; earlier hours are frozen."""
    oldest = now_ms - settings.kept_days("raw", client_id) * DAY_MS
    return oldest + -oldest % HOUR_MS


def divide(judged: Sequence[tuple[Part, Mask]], rule: Rule, engine: Engine) -> Iterator[tuple[Part, Mask]]:
    """Each part with its mask, as the rows that are tiled and the rows that are kept only; none of them is empty."""
    frozen = _frozen([part for part, _ in judged], rule, engine)
    for part, mask in judged:
        late = int64(part.table, "received_at") - int64(part.table, "event_time") > rule.horizon_ms
        if (part.client_id, part.hour) in frozen:
            late |= True
        if not late.any():
            yield part, mask
            continue
        for raw_only, rows in ((False, ~late), (True, late)):
            if rows.any():
                yield _only(part, rows, raw_only=raw_only), mask[rows]


def _frozen(parts: Sequence[Part], rule: Rule, engine: Engine) -> set[tuple[str, int]]:
    hours = {(part.client_id, part.hour) for part in parts}
    with reading(engine) as connection:
        return retired_hours(connection, hours) | {key for key in hours if key[1] < rule.raw_from(key[0])}


def _only(part: Part, rows: Mask, *, raw_only: bool) -> Part:
    if np.all(rows):
        return Part(part.client_id, part.hour, part.table, part.imported, raw_only)
    return Part(part.client_id, part.hour, part.table.filter(pa.array(rows)), part.imported[rows], raw_only)
