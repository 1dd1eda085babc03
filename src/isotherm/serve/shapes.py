"""The answers' shapes, for the OpenAPI document; the routes encode the same members."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from isotherm.events import PHONE_BELOW, TABLET_BELOW, Device
from isotherm.rollup.grid import CELLS, GRID_H, GRID_W

Count = Annotated[int, Meta(ge=0)]
Instant = Annotated[str, Meta(description="RFC 3339 in UTC, with milliseconds.", examples=["2026-02-02T10:00:00.000Z"])]


Simulated = Annotated[
    bool, Meta(description="The events were made up by `isotherm simulate`; such clients end in `-simulated`.")
]
CellColumn = Annotated[
    list[Annotated[int, Meta(ge=0, le=CELLS - 1)]],
    Meta(description="cell_y * grid_w + cell_x of every cell that is not zero, rising."),
]
CountColumn = Annotated[
    list[Annotated[int, Meta(ge=1)]], Meta(description="Events in these cells; never sampled or capped.")
]


class Cell(Struct):
    """One cell of the grid with its count; cells without events are left out."""

    cell_x: Annotated[int, Meta(ge=0, le=GRID_W - 1, description="Column, 0 at the left.")]
    cell_y: Annotated[int, Meta(ge=0, le=GRID_H - 1, description="Row, 0 at the top.")]
    count: Annotated[int, Meta(ge=1, description="Events in the cell; never sampled or capped.")]


class _Heatmap(Struct):
    grid_w: Annotated[int, Meta(description="Columns of the grid.", examples=[GRID_W])]
    grid_h: Annotated[int, Meta(description="Rows of the grid.", examples=[GRID_H])]


class HeatmapAnswer(_Heatmap):
    """The map of one bucket."""

    cells: list[Cell]


class HeatmapColumns(_Heatmap):
    """The map of one bucket, asked for with `cells=columns`."""

    cell: CellColumn
    count: CountColumn


class BucketName(Struct):
    """A bucket that went into the sum."""

    level: Literal["hour", "day", "week"]
    start: Instant


class _Range(Struct, kw_only=True):
    client_id: str
    screen_id: str
    event_types: list[str]
    start: Instant = field(name="from")
    end: Instant = field(name="to")
    grid_w: int
    grid_h: int
    total: Annotated[int, Meta(ge=0, description="Sum of all counts.")]
    max: Annotated[int, Meta(ge=0, description="The largest count.")]
    complete: Annotated[bool, Meta(description="Everything landed in the range is in the counts.")]
    stale: Annotated[
        bool, Meta(description="Something changed after the finer tiles behind it had expired; rebuild from raw.")
    ]
    pending: Annotated[int, Meta(ge=0, description="Hours of the range that wait to be tiled again.")]
    tiled_until: Annotated[
        Instant, Meta(description="Up to here everything landed is counted; `to` when nothing is pending.")
    ]
    buckets: list[BucketName]


class RangeAnswer(_Range, kw_only=True):
    """The map of any range, and what it is made of."""

    cells: list[Cell]


class RangeColumns(_Range, kw_only=True):
    """The map of any range, asked for with `cells=columns`."""

    cell: CellColumn
    count: CountColumn


class ClientRow(Struct):
    """One client."""

    client_id: str
    simulated: Simulated
    screens: Count
    events: Count
    last_event: datetime | None


class ClientsAnswer(Struct):
    """One page of clients, by id."""

    next_cursor: Annotated[str | None, Meta(description="Give it as `cursor` for the next page; null on the last.")]
    clients: list[ClientRow]


class Shape(Struct):
    """How large a screen is, as the newest batch of a class of devices says; CSS pixels."""

    device: Annotated[
        Device,
        Meta(description=f"By the viewport's width: below {PHONE_BELOW} a phone, below {TABLET_BELOW} a tablet."),
    ]
    w: Annotated[float, Meta(gt=0)]
    h: Annotated[float, Meta(gt=0)]
    source: Annotated[
        Literal["region", "document", "viewport"],
        Meta(description="What was measured; the viewport stands in where no batch told the document's size."),
    ]


class ShapeRow(Shape):
    """A shape with the events behind it."""

    events: Annotated[int, Meta(ge=0, description="Landed events of batches that told a size.")]


class BackgroundSize(Struct):
    """A picture to draw maps on; GET /v1/background has it."""

    w: Annotated[int, Meta(ge=1, description="Pixels of the stored picture.")]
    h: Annotated[int, Meta(ge=1)]
    version: Annotated[str, Meta(description="Another text whenever the picture changed.")]


class ScreenRow(Struct):
    """One screen with its events."""

    screen_id: str
    events: Annotated[int, Meta(ge=0, description="All landed events.")]
    tiled: Annotated[int, Meta(ge=0, description="Of these, events counted in a cell.")]
    last_event: datetime
    event_types: Annotated[dict[str, Count], Meta(description="Events of each type.")]
    shape: Annotated[Shape | None, Meta(description="Of the class of devices with most events.")]
    shapes: Annotated[list[ShapeRow], Meta(description="Most events first.")]
    background: BackgroundSize | None


class ScreensAnswer(Struct, kw_only=True):
    """One page of a client's screens, most events first."""

    client_id: str
    start: Instant | None = field(name="from")
    end: Instant | None = field(name="to")
    next_cursor: str | None
    screens: list[ScreenRow]


class ActivityStep(Struct):
    """Events of one step."""

    start: Instant
    events: Count


class ActivityAnswer(Struct, kw_only=True):
    """Events per step, steps without events included."""

    client_id: str
    screen_id: str | None
    event_types: Annotated[list[str], Meta(description="Empty: all types.")]
    start: Instant = field(name="from")
    end: Instant = field(name="to")
    step: Literal["hour", "day", "week"]
    total: Count
    stale: bool
    pending: Count
    tiled_until: Instant
    steps: list[ActivityStep]


class Waiting(Struct, kw_only=True):
    """Events that were accepted and are not in the maps yet."""

    lander: Annotated[
        Count | None,
        Meta(description="Read from the log and not in the lake; null when the lander cannot tell, or runs elsewhere."),
    ]
    tiles: Annotated[Count, Meta(description="In the lake and not in the maps.")]


class FreshnessAnswer(Struct, kw_only=True):
    """How fresh a client's maps are."""

    client_id: str
    simulated: Simulated
    now: Instant
    received: Annotated[int, Meta(ge=0, description="Events accepted ever, as far as they were read from the log.")]
    last_received_at: Annotated[Instant | None, Meta(description="When the last of them was received.")]
    tiled_until: Annotated[
        Instant | None,
        Meta(description="Every event that was acknowledged before is in the maps; null when that is not known."),
    ]
    waiting: Waiting
    version: Annotated[int, Meta(ge=0, description="Another number whenever a map of the client changed.")]


class LiveWindow(Struct, kw_only=True):
    """A living window."""

    start: Instant
    end: Instant
    counts: Annotated[dict[str, int], Meta(description="Events of each type whose time lies in the window.")]
    total: Count
    updated_at: Annotated[Instant, Meta(description="When the newest of them was received.")]


class LiveAnswer(Struct, kw_only=True):
    """A screen's living windows, newest first."""

    client_id: str
    screen_id: str
    size: Literal["1m", "5m", "1h"]
    now: Instant
    degraded: Annotated[str | None, Meta(description="Why windows may be missing; null when none is.")]
    windows: list[LiveWindow]


class HealthAnswer(Struct):
    """The stores answer."""

    status: Literal["ok"]


class BackgroundAnswer(Struct):
    """The picture as it is kept."""

    w: Annotated[int, Meta(ge=1, description="Pixels.")]
    h: Annotated[int, Meta(ge=1)]
    bytes: Annotated[int, Meta(ge=1)]
    version: Annotated[str, Meta(description="Another text whenever the picture changed.")]


class RollupRequest(Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """What to tile again."""

    start: Annotated[str, Meta(description="RFC 3339 or integer milliseconds as text, on the hour, included.")]
    end: Annotated[str, Meta(description="As `from`; excluded.")]
    client_id: Annotated[str | None, Meta(description="Only this client; default all.")] = None
    level: Annotated[Literal["hour", "day", "week"] | None, Meta(description="Only this level; default all.")] = None


class RetentionRequest(Struct, forbid_unknown_fields=True):
    """What POST /v1/admin/retention takes: an empty object, or nothing."""


class VerifyRequest(Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """What to recount from the lake."""

    start: Annotated[str | None, Meta(description="RFC 3339 or integer milliseconds as text; default: all.")] = None
    end: Annotated[str | None, Meta(description="As `from`; excluded.")] = None
    client_id: Annotated[str | None, Meta(description="Only this client; default all.")] = None
    levels: Annotated[
        Annotated[list[Literal["hour", "day", "week"]], Meta(min_length=1)] | None,
        Meta(description="Only these levels; default all."),
    ] = None
    parallel: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None, Meta(description="Threads; default: as many as tile jobs may take.")
    ] = None
    sample: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="Only so many published buckets, drawn at random; default all."),
    ] = None
    seed: Annotated[int, Meta(description="The same seed draws the same sample from the same buckets.")] = 0
    progress: Annotated[
        bool, Meta(description="Lines with `read` and `total` between the verdicts: events read, and to be read.")
    ] = False


class ProblemAnswer(Struct, kw_only=True):
    """An error (RFC 9457); further members depend on the error."""

    type: str
    title: Annotated[str, Meta(description="The status in words.")]
    status: int
    detail: Annotated[str, Meta(description="What is wrong and what to do.")]
    request_id: Annotated[str | None, Meta(description="As in the header X-Request-Id; the log's lines name it.")] = (
        None
    )
    field: Annotated[str | None, Meta(description="The parameter that is wrong.")] = None
    nearest: Annotated[Any, Meta(description="The nearest value that would be answered.")] = None
