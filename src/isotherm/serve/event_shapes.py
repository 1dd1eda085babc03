"""The answers' shapes of look-ups of raw events."""

from typing import Annotated

from msgspec import Meta, Struct, field

from isotherm.serve.shapes import Count, Instant


class FoundEvent(Struct, kw_only=True):
    """One raw event."""

    event_id: Annotated[str, Meta(description="batch_id, a colon, position: names the event within its client.")]
    batch_id: str
    position: Annotated[int, Meta(ge=0, description="Index in the body that the client sent.")]
    event_time: Instant
    received_at: Instant
    screen_id: str
    event_type: str
    x_norm: float | None
    y_norm: float | None
    cell_x: Annotated[int | None, Meta(description="Column of the cell that counts it; null without a position.")]
    cell_y: int | None
    file: Annotated[str, Meta(description="Lake file, relative to the lake.")]
    log_partition: int
    log_offset: int


class FoundAnswer(Struct, kw_only=True):
    """Raw events that a look-up found, the newest hour first."""

    client_id: str
    start: Annotated[Instant, Meta(description="Hours from here on were looked through.")] = field(name="from")
    end: Instant = field(name="to")
    complete: Annotated[bool, Meta(description="Nothing more matches between `from` and `to`.")]
    why: Annotated[str, Meta(description="Why it is not complete, and what to do; else empty.")]
    files: Annotated[int, Meta(ge=0, description="Files that were looked at.")]
    rows_read: Count
    seconds: float
    events: list[FoundEvent]
