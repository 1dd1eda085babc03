"""The shape of the ledger's answer, for the OpenAPI document; the route encodes the same members."""

from typing import Annotated

from msgspec import Meta, Struct, field

from isotherm.serve.shapes import Count, Instant, Simulated


class LedgerReceipt(Struct):
    """By hour of receipt: what senders sent and what became of it at the door and at landing."""

    totals: Annotated[dict[str, Count], Meta(description="Events by measure; of a screen only rejected, duplicate.")]
    reasons: Annotated[dict[str, Count], Meta(description="Rejected events by reason, most first.")]
    sender_dropped: Annotated[dict[str, Count], Meta(description="Events that senders dropped themselves, by reason.")]
    lost: Annotated[
        Count | None,
        Meta(description="Numbered events that did not come, or not yet; what a page sent last is never known."),
    ]
    hours: Annotated[list[dict[str, str | int]], Meta(description="`hour`, and events by measure; empty unless asked.")]


class LedgerEvents(Struct):
    """By event hour: what of the accepted events is landed and stands in a cell."""

    totals: Annotated[dict[str, Count], Meta(description="Events by measure.")]
    hours: Annotated[
        list[dict[str, str | int]],
        Meta(description="`hour`, `state` (tiled, waiting, gone), and events by measure; empty unless asked."),
    ]


class LedgerScreens(Struct):
    """What comparing the maps of every screen with the ledger gave."""

    hours: Annotated[Count, Meta(description="Hours that were compared: tiled, with nothing waiting.")]
    screens: Count
    differences: list[str]


class LedgerAnswer(Struct, kw_only=True):
    """A client's events, or those of one screen, from the sender to the cell."""

    client_id: str
    simulated: Simulated
    screen_id: str | None
    start: Instant = field(name="from")
    end: Instant = field(name="to")
    complete: Annotated[
        bool, Meta(description="Nothing accepted is pending or dead, and the sums close: the maps hold all there is.")
    ]
    late: Annotated[Count, Meta(description="Landed events that were received after their hour had been closed.")]
    rejected: Annotated[Count, Meta(description="Events refused at the door, by hour of receipt.")]
    pending: Annotated[Count, Meta(description="Landed events that will be in a cell, and are not yet.")]
    in_flight: Annotated[
        Count | None, Meta(description="Of the client: read from the log a moment ago and not landed; null: not known.")
    ]
    differences: Annotated[list[str], Meta(description="Sums that do not close, a sentence each; the first twenty.")]
    receipt: LedgerReceipt
    events: LedgerEvents
    screens: Annotated[LedgerScreens | None, Meta(description="With `check=true`.")]


class ScreenMark(Struct):
    """What a small mark on a screen's map says; the members are those of the ledger's answer about the screen."""

    screen_id: str
    complete: bool
    late: Count
    rejected: Count
    pending: Count
    dead: Annotated[
        Count, Meta(description="Accepted events that could not be used, not replayed yet; kept as dead letters.")
    ]


class MarksAnswer(Struct, kw_only=True):
    """The marks of several screens, in the order asked for, each once."""

    client_id: str
    simulated: Simulated
    start: Instant = field(name="from")
    end: Instant = field(name="to")
    differences: Annotated[
        list[str], Meta(description="Sums of the client's event hours that do not close; the first twenty.")
    ]
    marks: list[ScreenMark]
