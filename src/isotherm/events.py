"""The words of the wire and of the log: what a batch, an event and an envelope are.

`Batch` and `Event` describe what stands on the log: the strict form. The collector lets a body through
unchanged when it already has this form, and re-encodes it to this form otherwise, so that every later stage
can decode with `decode_envelope` and never has to doubt what it reads.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from isotherm.clock import HOUR_MS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ENVELOPE_VERSION: Final = 1
MAX_BODY_BYTES: Final = 512 * 1024
MAX_EVENTS: Final = 5_000
MAX_DEPTH: Final = 8
"""Nesting levels allowed inside one event, the event object itself being the first."""

SIMULATED_SUFFIX: Final = "-simulated"
"""Ends the ids of the clients that made-up events belong to."""

Device = Literal["phone", "tablet", "desktop"]
PHONE_BELOW: Final = 600
TABLET_BELOW: Final = 1024
"""CSS pixels of the viewport's width: what is not narrower than this is a desktop."""

POSITIONAL: Final = frozenset({"mousemove", "click", "touch"})
"""Event types that must carry x_norm and y_norm."""

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_.$-]{0,63}")
SCREEN_ID_BYTES: Final = 256

Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
Moment = Millis | Annotated[datetime, Meta(tz=True)]
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Text2048 = Annotated[str, Meta(max_length=2048)]
Anchor = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Dropped = Annotated[dict[Annotated[str, Meta(max_length=64)], Count], Meta(max_length=64)]
"""What the sender had to drop: at most 64 reasons of at most 64 characters."""


def client_id_ok(client_id: str) -> bool:
    """Whether the id may reach a path or a query; see `CLIENT_ID`."""
    return CLIENT_ID.fullmatch(client_id) is not None


def is_simulated(client_id: str) -> bool:
    """Whether the client's events come from `isotherm simulate`, which sends to no other client.

    The mark is in the id, so it is in every path, row and answer, and cannot get lost on the way.
    """
    return client_id.endswith(SIMULATED_SUFFIX)


def screen_id_ok(screen_id: str) -> bool:
    """1 to 256 bytes of UTF-8, no control characters (Unicode Cc), no `|`."""
    try:
        size = len(screen_id.encode())
    except UnicodeEncodeError:
        return False
    if not 0 < size <= SCREEN_ID_BYTES or "|" in screen_id:
        return False
    return not any(c < " " or "\x7f" <= c <= "\x9f" for c in screen_id)


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """Width and height in CSS pixels."""

    w: Annotated[float, Meta(ge=0, le=1_000_000)]
    h: Annotated[float, Meta(ge=0, le=100_000_000)]


class ViewSequence(Struct, frozen=True, forbid_unknown_fields=True):
    """Page-view id and running numbers of the batch and of its first event, so that a gap shows."""

    view: Text128
    batch: Count
    first_event: Count


_NO_ATTRS: Final = msgspec.Raw(b"")


class Event(Struct, gc=False, forbid_unknown_fields=True):
    """One interaction, in the strict form. `attrs` is the JSON text of an object, empty when absent."""

    event_time: Moment
    event_type: str
    x_norm: Unit | None = None
    y_norm: Unit | None = None
    x_px: float | None = None
    y_px: float | None = None
    anchor: Anchor | None = None
    ax: Unit | None = None
    ay: Unit | None = None
    scroll_y: float | None = None
    attrs: msgspec.Raw = _NO_ATTRS


class Batch(Struct, forbid_unknown_fields=True, kw_only=True):
    """The validated body of one request.

    `region` is the part of the page that x_norm and y_norm are fractions of, where that is not the document.
    """

    client_id: str
    screen_id: str
    batch_id: Text128 | None = None
    events: list[Event]
    sent_at: Moment | None = None
    session_id: Text128 | None = None
    visitor_id: Text128 | None = None
    url: Text2048 | None = None
    viewport: Size | None = None
    document: Size | None = None
    region: Size | None = None
    device_pixel_ratio: Annotated[float, Meta(ge=0, le=100)] | None = None
    sdk: Text128 | None = None
    sequence: ViewSequence | None = None
    dropped: Dropped | None = None


class Counts(Struct, omit_defaults=True):
    """What the collector counted for one request; the lander folds it into the ledger.

    `accepted` maps the start of each UTC event hour (milliseconds since the epoch, as text, after skew
    correction) to the events accepted for it. `rejected` maps a DropReason to events. `duplicate` is the
    number of events of a batch whose id was already known. `sequence` and `dropped` are the sender's words; where the
    batch with a sequence is split over several records, `events` is the number of events in its whole body.
    """

    accepted: dict[str, int] = {}
    rejected: dict[str, int] = {}
    duplicate: int = 0
    sequence: ViewSequence | None = None
    dropped: dict[str, int] = {}
    events: int = 0


class Envelope(Struct, kw_only=True):
    """One record of the log: the server's facts around the client's batch.

    `received_at` is milliseconds since the epoch. `skew_ms` is what must be added to the client's times
    (0 unless the clocks differ by more than 60 s). `positions` lists, for each event of `batch`, its index
    in the body the client sent; absent when these are 0, 1, 2, ... `batch` is absent when nothing was accepted.
    """

    v: int
    client_id: str
    screen_id: str
    batch_id: str
    received_at: int
    skew_ms: int = 0
    flags: list[str] = []
    counts: Counts
    positions: list[int] | None = None
    batch: Batch | None = None


FLAG_IMPORT: Final = "import"
"""The record's id is derived from content: the lander anti-joins its rows with what the hour already holds."""

FLAG_REPLAY: Final = "replay"
"""The record was made of rows of a lake, with their own batch id, positions and time of receipt. It bears FLAG_IMPORT,
too: its rows are compared with what the hour holds, and no live window counts them again."""

FLAG_AGAIN: Final = "again"
"""The body came before and was sent again (`source=replay`), not by its sender, who may still come with it: no log was
told its id. It bears FLAG_IMPORT, too, and for a day landing tells the sender's own batch by what it landed of this."""

_envelope_decoder = msgspec.json.Decoder(Envelope)
_counts_encoder = msgspec.json.Encoder()


def decode_envelope(value: bytes | memoryview) -> Envelope:
    """Decode one record's value.

    Raises msgspec.DecodeError or msgspec.ValidationError when the record is not an envelope of the strict form.
    """
    return _envelope_decoder.decode(value)


def encode_envelope(
    *,
    client_id: str,
    screen_id: str,
    batch_id: str,
    received_at: int,
    skew_ms: int,
    flags: Sequence[str],
    counts: Counts,
    positions: list[int] | None = None,
    batch: bytes | None = None,
) -> bytes:
    """The record's value. `batch` is spliced in as it is: it must be JSON of the strict form."""
    head = _counts_encoder.encode(
        {
            "v": ENVELOPE_VERSION,
            "client_id": client_id,
            "screen_id": screen_id,
            "batch_id": batch_id,
            "received_at": received_at,
            "skew_ms": skew_ms,
            "flags": flags,
            "counts": counts,
        }
        | ({} if positions is None else {"positions": positions})
    )
    if batch is None:
        return head
    return b'%b,"batch":%b}' % (head[:-1], batch)


class _Received(Struct):
    received_at: Millis


_received_decoder = msgspec.json.Decoder(_Received)


def received_at(envelope: bytes, otherwise: int) -> int:
    """When the record was received (ms): its own word, since a log may stamp records with another time. `otherwise`
    for what is no envelope."""
    try:
        return _received_decoder.decode(envelope).received_at
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return otherwise


def record_key(client_id: str, screen_id: str) -> str:
    """The log's key: records of one screen keep their order. (With `log_key = client` it is the client's id alone.)"""
    return f"{client_id}|{screen_id}"


def record_id(client_id: str, batch_id: str) -> bytes:
    """16 bytes (BLAKE2b) that identify a batch for the duplicate check; a NUL keeps the two ids apart."""
    return blake2b(f"{client_id}\0{batch_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def slice_id(client_id: str, batch_id: str, hour: int) -> bytes:
    """`record_id` for one event hour of a batch that is split over several records; never the id of a whole batch."""
    text = f"{client_id}\0{batch_id}\0{hour}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16, person=b"slice").digest()


def replay_id(client_id: str, batch_id: str, hour: int, positions: Iterable[int]) -> bytes:
    """The id of a replayed record: of these rows of a batch and hour, and of no others of them. Never the id of what a
    sender sent, which a log may still know."""
    text = f"{client_id}\0{batch_id}\0{hour}\0{','.join(map(str, positions))}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16, person=b"replay").digest()


event_times: Final[Callable[[Event], Any]] = attrgetter("event_time")
event_types: Final[Callable[[Event], str]] = attrgetter("event_type")


def times_ms(events: Sequence[Any]) -> "npt.NDArray[np.int64]":
    """Event times as int64 milliseconds, shape (len(events),); finer than a millisecond is cut off.

    Raises TypeError when integers and date-times are mixed in one batch; the collector lets no such batch through.
    """
    import numpy as np  # here, as the commands and the start of `isotherm up` get by without it

    raw = list(map(event_times, events))
    if raw and isinstance(raw[0], datetime):
        seconds = np.fromiter(map(datetime.timestamp, raw), np.float64, len(raw))
        # A double holds today's seconds to a quarter of a microsecond: round to microseconds first, then cut.
        return np.rint(seconds * 1e6).astype(np.int64) // 1000
    return np.fromiter(raw, np.int64, len(raw))


def hour_of(ms: int) -> int:
    """Start of the UTC hour, in milliseconds since the epoch."""
    return ms - ms % HOUR_MS
