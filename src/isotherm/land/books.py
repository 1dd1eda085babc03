"""What one landing adds to the ledger, from the counts of its records and from what becomes of their rows.

Two tables: per client and hour of receipt, from the body on; per client, screen and hour of the event, from what was
accepted on. Beside them go the numbers that senders gave to their events, see `views.py`. No Python code runs per
event.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sqlalchemy.engine import Connection

from isotherm.clock import HOUR_MS
from isotherm.errors import DROP_REASONS
from isotherm.events import hour_of
from isotherm.land import views
from isotherm.land.columns import BatchRef, Tally
from isotherm.land.parts import Mask, Part, int64
from isotherm.store.tables import ledger_hours, ledger_screens
from isotherm.store.upsert import upsert

Key = tuple[str, int, str, str]
"""Client, hour of receipt, measure, reason."""
ScreenKey = tuple[str, str, int]
"""Client, screen, event hour."""
OF_THE_EVENT: Final = ("accepted", "landed", "landing_duplicate", "dead", "no_position", "raw_only", "late")
COLUMNS: Final = (*OF_THE_EVENT, "rejected", "duplicate")
"""Of a screen's row; the last two stand at the hour of receipt, as such events need not have a time at all."""
_OF_HOURS: Final = len(OF_THE_EVENT)
_AT: Final = {name: at for at, name in enumerate(COLUMNS)}
_SENDER_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SENDER_REASONS: Final = 16
_MOST: Final = 10_000_000
"""Cap of one number a sender reports, so that no sender can overflow a sum."""
_DIGITS: Final = 15
"""Of a moment in ms in the year 9999."""
_UNREADABLE: Final = {"": 1}
"""What a record says of accepted events when nobody can read it."""
_CHUNK: Final = 10_000
"""Rows of one statement."""


class Books:
    """The numbers of one landing. An hour is closed `close_delay_ms` after its end: what comes later is late.

    `counts` is by hour of receipt, `screens` has COLUMNS for each screen, `views` what came of each page view.
    """

    def __init__(self, close_delay_ms: float = 60_000) -> None:
        self.close_delay_ms = close_delay_ms
        self.counts: Counter[Key] = Counter()
        self.screens: dict[ScreenKey, list[int]] = {}
        self.views: dict[tuple[str, str], list[views.Part]] = {}

    def add_tallies(self, tallies: Iterable[Tally]) -> None:
        """Add what the records say about themselves. One that nobody can read is one event of the client ''."""
        accepted: dict[tuple[str, str, int, str], int] = {}
        for tally in tallies:
            own = tally.counts
            hour = tally.received_at // HOUR_MS * HOUR_MS
            whole = 0
            for text, events in (_UNREADABLE if own is None else own.accepted).items():
                whole += events
                key = (tally.client_id, tally.screen_id, hour, text)
                accepted[key] = accepted.get(key, 0) + events
            if own is not None:
                refused = own.rejected or own.duplicate or own.dropped
                others = self._refused(tally, hour) if refused else 0
                if own.sequence is not None:
                    came = self.views.setdefault((tally.client_id, own.sequence.view), [])
                    views.note(came, own.sequence.first_event, own.events or whole + others, hour)
            if tally.dead:
                self._add_dead(tally, hour, whole)
        for (client_id, screen_id, hour, text), events in accepted.items():
            self._add(client_id, screen_id, _event_hour(text, hour), "accepted", events)
            self.counts[client_id, hour, "accepted", ""] += events
            self.counts[client_id, hour, "received", ""] += events

    def add_rows(self, part: Part, kept: Mask) -> None:
        """Add what becomes of a part's rows: `kept` ones are landed."""
        received = int64(part.table, "received_at")
        screens = part.table.column("screen_id").combine_chunks()
        names, codes = screens.dictionary.to_pylist(), screens.indices.to_numpy()
        newest = int(received.max())
        first, last = int(received.min()) // HOUR_MS, newest // HOUR_MS
        hours = None if first == last else received // HOUR_MS
        for measure, mask in self._fates(part, kept, received, newest):
            events = len(codes) if mask is None else int(np.count_nonzero(mask))
            if not events:
                continue
            if measure != "late":
                for hour, count in _by_hour(hours, mask) if hours is not None else ((first, events),):
                    self.counts[part.client_id, hour * HOUR_MS, measure, ""] += count
            self._add_screens(part, names, codes if mask is None else codes[mask], measure)

    def add_known(self, dropped: Iterable[tuple[BatchRef, int]], parts: Iterable[Part]) -> None:
        """Add rows of batches that were landed before: by batch, and the same rows as parts."""
        for batch, events in dropped:
            self.counts[batch.client_id, hour_of(batch.received_at), "landing_duplicate", ""] += events
        for part in parts:
            screens = part.table.column("screen_id").combine_chunks()
            self._add_screens(part, screens.dictionary.to_pylist(), screens.indices.to_numpy(), "landing_duplicate")

    def _fates(self, part: Part, kept: Mask, received: Any, newest: int) -> Iterable[tuple[str, Mask | None]]:
        """What becomes of which rows; None for all of them."""
        whole = bool(kept.all())
        yield "landed", None if whole else kept
        if not whole:
            yield "landing_duplicate", ~kept
        if part.raw_only:
            yield "raw_only", None if whole else kept
        else:
            nowhere = _null(part.table, "x_norm", "y_norm")
            if nowhere is not None:
                yield "no_position", kept & nowhere
        closed = part.hour + HOUR_MS + self.close_delay_ms
        if newest > closed:
            yield "late", kept & (received > closed)

    def _add(self, client_id: str, screen_id: str, hour: int, measure: str, events: int) -> None:
        key = (client_id, screen_id, hour)
        row = self.screens.get(key)
        if row is None:
            row = self.screens[key] = [0] * len(COLUMNS)
        row[_AT[measure]] += events

    def _add_screens(self, part: Part, names: Sequence[str], codes: Any, measure: str) -> None:
        found = np.bincount(codes, minlength=len(names)).tolist()
        for name, events in zip(names, found, strict=True):
            if events:
                self._add(part.client_id, name, part.hour, measure, events)

    def _refused(self, tally: Tally, hour: int) -> int:
        """What a record says beside accepted events. Returns the events that were rejected, or known before."""
        own = tally.counts
        assert own is not None
        rejected = 0
        for reason, events in own.rejected.items():
            known = reason if reason in DROP_REASONS else "other"
            self.counts[tally.client_id, hour, "rejected", known] += events
            rejected += events
        for reason, events in _sender_dropped(own.dropped):
            self.counts[tally.client_id, hour, "sender_dropped", reason] += events
        for measure, events in (("rejected", rejected), ("duplicate", own.duplicate)):
            if events:
                self._add(tally.client_id, tally.screen_id, hour, measure, events)
        self.counts[tally.client_id, hour, "duplicate", ""] += own.duplicate
        self.counts[tally.client_id, hour, "received", ""] += rejected + own.duplicate
        return rejected + own.duplicate

    def _add_dead(self, tally: Tally, hour: int, accepted: int) -> None:
        self.counts[tally.client_id, hour, "dead", ""] += accepted
        found = {str(hour): 1} if tally.counts is None else tally.counts.accepted
        for text, events in found.items():
            self._add(tally.client_id, tally.screen_id, _event_hour(text, hour), "dead", events)


def write_screens(connection: Connection, screens: Mapping[ScreenKey, Sequence[int]]) -> None:
    """Add the numbers of screens to their rows, and their sums to those of the hours."""
    rows: list[dict[str, Any]] = []
    hours: dict[tuple[str, int], list[int]] = {}
    for (client_id, screen_id, hour), values in screens.items():
        rows.append({"client_id": client_id, "screen_id": screen_id, "hour": hour, **_named(values)})
        total = hours.get((client_id, hour))
        if total is None:
            hours[client_id, hour] = list(values)
        else:
            for at, value in enumerate(values):
                total[at] += value
    for start in range(0, len(rows), _CHUNK):
        upsert(connection, ledger_screens, rows[start : start + _CHUNK], add=COLUMNS)
    sums = [
        {"client_id": client_id, "hour": hour, **_named(values[:_OF_HOURS]), "before": 0}
        for (client_id, hour), values in hours.items()
        if any(values[:_OF_HOURS])
    ]
    upsert(connection, ledger_hours, sums, add=OF_THE_EVENT)


@lru_cache(1 << 12)
def _event_hour(text: str, otherwise: int) -> int:
    """The hour as a record names it; `otherwise` for what is none, as only a forged record can say."""
    return hour_of(int(text)) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else otherwise


def _named(values: Sequence[int]) -> dict[str, int]:
    return dict(zip(COLUMNS[: len(values)], values, strict=True))


def _by_hour(hours: Any, mask: Mask | None) -> Iterable[tuple[int, int]]:
    found, events = np.unique(hours if mask is None else hours[mask], return_counts=True)
    return zip(found.tolist(), events.tolist(), strict=True)


def _sender_dropped(dropped: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    for index, (reason, events) in enumerate(dropped.items()):
        named = index < _SENDER_REASONS and _SENDER_REASON.fullmatch(reason)
        yield reason if named else "other", min(max(events, 0), _MOST)


def _null(table: pa.Table, *names: str) -> Mask | None:
    """Which rows have a null in one of the columns; None when there is none."""
    found: Mask | None = None
    for name in names:
        column = table.column(name)
        if column.null_count:
            nulls = column.combine_chunks().is_null().to_numpy(zero_copy_only=False)
            found = nulls if found is None else found | nulls
    return found
