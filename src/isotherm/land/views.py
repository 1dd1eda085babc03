"""Page views: which of the events that a sender numbered have come, so that what is lost on the way shows.

A sender numbers the events of a page view from 0 in the order in which it packs them, and says in each batch the
number of its first event. So a batch stands for the numbers [first, first + events of the body). Of each view are kept
the highest number seen and the runs below it that never came; a batch that comes again, by whatever way, fills nothing
a second time. What a view sent after its last batch that came is not known to anybody.

A sender gives a view new numbers after a day, and keeps what it could not send for a day at most. So all batches of a
view are received within two days, and its row is dropped after that. What is landed later than that all the same, as
files that come in no order are, may belong to a view whose row is gone: where that is possible, it counts as not
numbered. So no event is counted as sent twice.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.engine import Connection

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.store.tables import page_views
from isotherm.store.upsert import upsert, with_key

KEPT_MS: Final = 2 * DAY_MS + 3 * HOUR_MS
"""Two days; an hour, as only the hours of receipt are kept; and `_LATE_MS`."""
_LATE_MS: Final = 2 * HOUR_MS
"""So much earlier than the last call of `forget` believed, a record may have been received without being late: it was
under way, or its collector's clock is behind."""
_MARK: Final = bytes(16)
"""Id of the one row that is no view's: its `sent` is the moment up to which the last call of `forget` took everything
for landed."""
FORGOTTEN_AT_ONCE: Final = 10_000
"""Views that one call of `forget` drops."""
MOST_EVENTS: Final = 10_000_000
"""Of a view that numbers go higher than this, nobody says the truth: such batches count as not numbered."""
MOST_RUNS: Final = 64
"""Runs of missing events kept per view. Of more, the oldest are given up: what comes of them later fills nothing."""

Run = tuple[int, int]
"""Events [first, end) of a view."""


class Part(Struct):
    """The events [first, end) of a view, and the hour (ms) in which the record that holds them was received."""

    first: int
    end: int
    hour: int


class View(Struct, frozen=True):
    """Events up to the highest number seen, and the runs below it that never came, in order. Of a view that is not
    `counted`, what came so far counts as not numbered."""

    sent: int = 0
    missing: Sequence[Run] = ()
    counted: bool = True


Parts = Mapping[tuple[str, str], Sequence[Part]]
"""By client and the view's name: what came of it, in the order of the log."""


def view_id(client_id: str, view: str) -> bytes:
    """16 bytes (BLAKE2b) that identify a client's page view."""
    return blake2b(f"{client_id}\0{view}".encode("utf-8", "surrogatepass"), digest_size=16, person=b"view").digest()


def note(known: list[Part], first: int, events: int, hour: int) -> None:
    """Put what a batch with so many events in its body stands for behind what came of its view before.

    What follows what came last, in the same hour, is one part with it. Numbers that cannot be true count for nothing.
    """
    end = first + events
    if not events or end > MOST_EVENTS:
        return
    if known:
        last = known[-1]
        if last.end == first and last.hour == hour:
            last.end = end
            return
    known.append(Part(first, end, hour))


def add(view: View, part: Part) -> tuple[View, int]:
    """The view with the part, and how many of the part's events had not come before."""
    first, end = part.first, part.end
    if not view.missing and first == view.sent:
        return View(end), end - first
    missing: list[Run] = []
    came = max(end - max(first, view.sent), 0)
    for start, stop in view.missing:
        filled = min(stop, end) - max(start, first)
        if filled <= 0:
            missing.append((start, stop))
            continue
        came += filled
        missing += [run for run in ((start, first), (end, stop)) if run[0] < run[1]]
    if first > view.sent:
        missing.append((view.sent, first))
    return View(max(view.sent, end), missing[-MOST_RUNS:]), came


def count(connection: Connection, parts: Parts) -> dict[tuple[str, int, str, str], int]:
    """Add parts to their views, in the landing's transaction. Returns the ledger's `sent` and `sequenced` of each.

    A batch that shows that events were sent before it adds those to the hour in which it was received.
    """
    ids = {view_id(*key): (key[0], came) for key, came in parts.items() if came}
    if not ids:
        return {}
    before = _look_up(connection, [*ids, _MARK])
    late = before.pop(_MARK, _NEW).sent - _LATE_MS
    sums: dict[tuple[str, int], list[int]] = {}
    rows: list[dict[str, Any]] = []
    for one, (client_id, came) in ids.items():
        view, seen_at = before.get(one, _NEW), 0
        for part in came:
            seen_at = max(seen_at, part.hour)
            if part.hour < late and not view.counted:
                view = View(max(view.sent, part.end), (), counted=False)
                continue
            total = sums.setdefault((client_id, part.hour), [0, 0])
            total[0] -= view.sent
            view, new = add(view, part)
            total[0] += view.sent
            total[1] += new
        rows.append({"id": one, "sent": view.sent, "missing": _pack(view), "seen_at": seen_at})
    upsert(connection, page_views, rows, update=("sent", "missing"), greatest=("seen_at",))
    return {
        (client_id, hour, measure, ""): events
        for (client_id, hour), found in sums.items()
        for measure, events in zip(("sent", "sequenced"), found, strict=True)
        if events
    }


_NEW: Final = View(counted=False)
_COLUMNS: Final = (page_views.c.id, page_views.c.sent, page_views.c.missing)


def _look_up(connection: Connection, ids: Collection[bytes]) -> dict[bytes, View]:
    found = with_key(connection, _COLUMNS, ids)
    return {bytes(one): _unpack(sent, missing) for one, sent, missing in found}


def forget(connection: Connection, landed_until_ms: int) -> int:
    """Drop views of which nothing can come any more, as everything received up to the moment is landed.

    The oldest, FORGOTTEN_AT_ONCE at most, as landings wait meanwhile. Returns how many. Where the moment is only
    believed, what is landed from before it counts as not numbered when its view is not known.
    """
    mark = {"id": _MARK, "sent": landed_until_ms, "missing": None, "seen_at": landed_until_ms}
    upsert(connection, page_views, [mark], update=("sent", "seen_at"))
    old = page_views.c.seen_at < landed_until_ms - KEPT_MS
    oldest = sa.select(page_views.c.id).where(old).order_by(page_views.c.seen_at).limit(FORGOTTEN_AT_ONCE)
    return connection.execute(sa.delete(page_views).where(page_views.c.id.in_(oldest))).rowcount


def _pack(view: View) -> bytes | None:
    """Little-endian pairs (first, end) of 32 bits, None for no runs; nothing at all when the view is not counted."""
    if not view.counted:
        return b""
    return np.array(view.missing, "<u4").tobytes() if view.missing else None


def _unpack(sent: int, packed: bytes | None) -> View:
    if packed is None:
        return View(sent)
    runs = [(first, end) for first, end in np.frombuffer(packed, "<u4").reshape(-1, 2).tolist()]
    return View(sent, runs, counted=bool(runs))
