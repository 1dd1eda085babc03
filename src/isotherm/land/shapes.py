"""Shapes: how large a screen is on which device, as the newest batch says; kept beside the lake for drawing maps.

There is one row per client, screen and class of device, so the table has at most three rows for each screen that the
tile store holds maps of. Ids come from senders: what bounds the screens bounds the shapes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from isotherm.events import PHONE_BELOW, TABLET_BELOW, Batch, Device, Envelope, Size
from isotherm.store.tables import screen_shapes

Source = Literal["region", "document", "viewport"]
Key = tuple[str, str, Device]
"""Client, screen and device."""
Offsets = npt.NDArray[np.int64]


class Shape(Struct, frozen=True):
    """What one record says about its screen. `w` and `h` in CSS pixels, both above 0; `seen_at` in ms."""

    screen_id: str
    device: Device
    w: float
    h: float
    source: Source
    seen_at: int


class Seen(Struct, frozen=True):
    """The newest shape of a screen on a device, and the landed events of all batches that say one."""

    shape: Shape
    events: int


def shape_of(envelope: Envelope, batch: Batch) -> Shape | None:
    """What the batch says, None when it names no size that a map could be drawn on.

    The region counts, else the document; the viewport stands in for a document that nobody tells.
    """
    sizes: tuple[tuple[Source, Size | None], ...] = (
        ("region", batch.region),
        ("document", batch.document),
        ("viewport", batch.viewport),
    )
    for source, size in sizes:
        if size is not None and size.w > 0 and size.h > 0:
            width = batch.viewport.w if batch.viewport is not None and batch.viewport.w > 0 else size.w
            return Shape(envelope.screen_id, device_of(width), size.w, size.h, source, envelope.received_at)
    return None


def device_of(width: float) -> Device:
    """The class of a device whose viewport is this wide."""
    return "phone" if width < PHONE_BELOW else "tablet" if width < TABLET_BELOW else "desktop"


def fold(landed: Iterable[tuple[str, Offsets]], said: Mapping[int, Shape]) -> dict[Key, Seen]:
    """Sum up what is to be landed: clients with the log offset of each row, and the shapes by log offset.

    No Python code runs per event.
    """
    found: dict[Key, Seen] = {}
    for client_id, offsets in landed:
        for offset, rows in _runs(offsets):
            shape = said.get(offset)
            if shape is not None:
                key = (client_id, shape.screen_id, shape.device)
                known = found.get(key)
                found[key] = Seen(shape, rows) if known is None else _both(known, shape, rows)
    return found


def _runs(offsets: Offsets) -> Iterable[tuple[int, int]]:
    """Each run of equal numbers as (number, length)."""
    edges = np.flatnonzero(np.diff(offsets, prepend=-1))
    return zip(offsets[edges].tolist(), np.diff(edges, append=len(offsets)).tolist(), strict=True)


def _both(known: Seen, shape: Shape, rows: int) -> Seen:
    stand_in, was_stand_in = shape.source == "viewport", known.shape.source == "viewport"
    newer = shape.seen_at >= known.shape.seen_at
    better = (was_stand_in and not stand_in) or (newer and stand_in == was_stand_in)
    return Seen(shape if better else known.shape, known.events + rows)


def write_shapes(connection: Connection, seen: Mapping[Key, Seen]) -> None:
    """Add to the table what a landing saw, by the same rules as within a landing."""
    rows: Sequence[dict[str, Any]] = [
        {
            "client_id": client_id,
            "screen_id": screen_id,
            "device": device,
            "w": one.shape.w,
            "h": one.shape.h,
            "source": one.shape.source,
            "events": one.events,
            "seen_at": one.shape.seen_at,
        }
        for (client_id, screen_id, device), one in sorted(seen.items())
    ]
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(screen_shapes)
    new, old = insert.excluded, screen_shapes.c
    stand_in, was_stand_in = new.source == "viewport", old.source == "viewport"
    better = sa.or_(sa.and_(was_stand_in, ~stand_in), sa.and_(new.seen_at >= old.seen_at, stand_in == was_stand_in))
    changed: dict[str, Any] = {
        name: sa.case((better, new[name]), else_=old[name]) for name in ("w", "h", "source", "seen_at")
    }
    changed["events"] = old.events + new.events
    keys = list(screen_shapes.primary_key.columns)
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)
