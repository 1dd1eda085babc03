"""The parameters of the routes: how each is described to callers, and how its text becomes a value."""

import base64
import binascii
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.errors import Problem
from isotherm.events import EVENT_TYPE, SCREEN_ID_BYTES, client_id_ok, screen_id_ok
from isotherm.rollup.buckets import Level, floor

DEFAULT_EVENT_TYPE: Final = "mousemove"
MAX_EVENT_TYPES: Final = 32
LAST_MS: Final = 4_102_444_800_000
"""2100-01-01: the tile store's DateTime ends in 2106."""

CLIENT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DATE_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
HOUR_PATTERN: Final = r"^([01]?[0-9]|2[0-3])$"

ClientId = Annotated[
    str,
    QueryParameter(
        name="client_id",
        description="Whose data. Another client's rows never show.",
        pattern=CLIENT_PATTERN,
        examples=[Example(value="shop")],
    ),
]
ScreenId = Annotated[
    str,
    QueryParameter(
        name="screen_id",
        description="The screen: 1 to 256 bytes of UTF-8 without control characters and without `|`.",
        min_length=1,
        max_length=SCREEN_ID_BYTES,
        examples=[Example(value="/checkout")],
    ),
]
OptionalScreenId = Annotated[
    str | None,
    QueryParameter(
        name="screen_id", description="Only this screen.", max_length=SCREEN_ID_BYTES, examples=[Example(value="/")]
    ),
]
EventTypes = Annotated[
    list[str] | None,
    QueryParameter(
        name="event_type",
        description="Kind of event. Repeat it or separate kinds by commas: their counts are summed.",
        examples=[Example(value=["mousemove"])],
    ),
]
Cells = Annotated[
    Literal["objects", "columns"],
    QueryParameter(
        name="cells",
        description="`objects`: `cells`, one object for each cell that is not zero. `columns`: `cell` and `count`, two "
        "arrays of numbers, with cell = cell_y * grid_w + cell_x, rising. An Arrow answer is the same in both cases.",
    ),
]
Day = Annotated[
    str,
    QueryParameter(
        name="dt",
        description="The day in UTC, YYYY-MM-DD.",
        pattern=DATE_PATTERN,
        examples=[Example(value="2026-02-02")],
    ),
]
Hour = Annotated[
    str,
    QueryParameter(
        name="hour",
        description="Hour of the day in UTC, 00 to 23.",
        pattern=HOUR_PATTERN,
        examples=[Example(value="10")],
    ),
]
WeekStart = Annotated[
    str,
    QueryParameter(
        name="week_start",
        description="The week's Monday in UTC, YYYY-MM-DD (ISO 8601 weeks); another day is 400.",
        pattern=DATE_PATTERN,
        examples=[Example(value="2026-02-02")],
    ),
]
From = Annotated[
    str,
    QueryParameter(
        name="from",
        description="Start, included: RFC 3339, or integer milliseconds since the epoch. On the hour.",
        min_length=1,
        examples=[Example(value="2026-02-01T00:00:00Z")],
    ),
]
To = Annotated[
    str,
    QueryParameter(
        name="to",
        description="End, excluded: RFC 3339, or integer milliseconds since the epoch. On the hour.",
        min_length=1,
        examples=[Example(value="2026-03-01T00:00:00Z")],
    ),
]
OptionalFrom = Annotated[
    str | None,
    QueryParameter(name="from", description="Start, included; RFC 3339 or ms, on the hour. Default: the first data."),
]
OptionalTo = Annotated[
    str | None,
    QueryParameter(name="to", description="End, excluded; RFC 3339 or ms, on the hour. Default: after the last data."),
]
AnyFrom = Annotated[
    str | None, QueryParameter(name="from", description="Start, included: RFC 3339, or integer ms since the epoch.")
]
AnyTo = Annotated[
    str | None, QueryParameter(name="to", description="End, excluded: RFC 3339, or integer ms since the epoch.")
]
Search = Annotated[
    str,
    QueryParameter(name="q", description="Only screens whose id contains this text, in any case.", max_length=256),
]
Limit = Annotated[int, QueryParameter(name="limit", description="Rows of one page.", ge=1, le=1000)]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", description="`next_cursor` of the page before.", max_length=1024)
]


def client(client_id: str) -> str:
    """The id, checked. Raises Problem 400."""
    if not client_id_ok(client_id):
        raise Problem(400, "client_id: does not match [A-Za-z0-9][A-Za-z0-9._-]{0,63}", field="client_id")
    return client_id


def screen(screen_id: str) -> str:
    """The id, checked. Raises Problem 400."""
    if not screen_id_ok(screen_id):
        raise Problem(
            400, "screen_id: must be 1 to 256 bytes of UTF-8 without control characters or `|`", field="screen_id"
        )
    return screen_id


def event_types(given: list[str] | None) -> list[str]:
    """The event types asked for, sorted, each once; empty when none was given. Raises Problem 400."""
    names = sorted({name for part in given or () for name in part.split(",")})
    if len(names) > MAX_EVENT_TYPES:
        raise Problem(400, f"event_type: at most {MAX_EVENT_TYPES} at once", field="event_type")
    if not all(map(EVENT_TYPE.fullmatch, names)):
        raise Problem(400, "event_type: each must match [a-z][a-z0-9_.$-]{0,63}", field="event_type")
    return names


def day_ms(text: str, field: str = "dt") -> int:
    """Start of a day given as YYYY-MM-DD. Raises Problem 400."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise Problem(400, f"{field}: must have the form YYYY-MM-DD", field=field)
    try:
        found = (date.fromisoformat(text) - date(1970, 1, 1)).days * DAY_MS
    except ValueError:
        raise Problem(400, f"{field}: there is no such day", field=field) from None
    return _in_bounds(found, field)


def hour_ms(dt: str, hour: str) -> int:
    """Start of an hour of a day. Raises Problem 400."""
    if not re.fullmatch(r"[01]?[0-9]|2[0-3]", hour):
        raise Problem(400, "hour: must be 00 to 23", field="hour")
    return day_ms(dt) + int(hour) * HOUR_MS


def week_ms(text: str) -> int:
    """Start of the week that begins on the Monday given. Raises Problem 400, naming the Monday before."""
    start = day_ms(text, "week_start")
    monday = floor(Level.WEEK, start)
    if monday != start:
        raise Problem(
            400,
            f"week_start: weeks start on Monday; the week of {text} starts on {iso(monday)[:10]}",
            field="week_start",
            nearest=iso(monday)[:10],
        )
    return start


def moment(text: str, field: str) -> int:
    """RFC 3339 or integer milliseconds, on the hour, as milliseconds. Raises Problem 400."""
    found = _instant(text)
    if found is None:
        raise Problem(
            400, f"{field}: must be RFC 3339 with a time zone, or integer milliseconds, on the hour", field=field
        )
    if found % HOUR_MS:
        before = found - found % HOUR_MS
        hint = f"; the nearest are {iso(before)} and {iso(before + HOUR_MS)}" if 0 <= found < LAST_MS else ""
        raise Problem(400, f"{field}: must lie on the hour{hint}", field=field)
    return _in_bounds(found, field)


def optional_span(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Edges of a range of moments that need not lie on the hour, as milliseconds; None where none is given.

    Raises Problem 400 when it is empty.
    """
    first, last = _any_moment(start, "from"), _any_moment(end, "to")
    if first is not None and last is not None and first >= last:
        raise Problem(400, "to: must lie after from", field="to")
    return first, last


def _any_moment(text: str | None, field: str) -> int | None:
    if text is None:
        return None
    found = _instant(text)
    if found is None:
        raise Problem(400, f"{field}: must be RFC 3339 with a time zone, or integer milliseconds", field=field)
    return _in_bounds(found, field)


def _instant(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else _rfc3339(text)


def _rfc3339(text: str) -> int | None:
    try:
        # A space is a `+` that was not percent-encoded.
        parsed = msgspec.convert(text.replace(" ", "+"), datetime)
        if parsed.tzinfo is None:
            return None
        since = parsed - datetime.fromtimestamp(0, UTC)
    except (ValueError, OverflowError):
        return None
    # Microseconds decide whether it lies on the hour; a fraction is cut off only after that.
    return since // timedelta(milliseconds=1) + (1 if since.microseconds % 1000 else 0)


def span(start: str, end: str) -> tuple[int, int]:
    """Both edges of a range as milliseconds. Raises Problem 400 when it is empty or an edge is off the hour."""
    edges = moment(start, "from"), moment(end, "to")
    if edges[0] >= edges[1]:
        raise Problem(400, "to: must lie after from", field="to")
    return edges


def _in_bounds(ms: int, field: str) -> int:
    if not 0 <= ms < LAST_MS:
        raise Problem(400, f"{field}: must lie between 1970-01-01 and 2099-12-31", field=field)
    return ms


def read_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Events and id of the last screen of the page before. Raises Problem 400 for a cursor that is not ours."""
    if cursor is None:
        return None
    try:
        events, screen_id = msgspec.json.decode(
            base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True), type=tuple[int, str]
        )
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise Problem(400, "cursor: is not one that an earlier page gave", field="cursor") from None
    if not 0 <= events < 1 << 64 or not screen_id_ok(screen_id):
        raise Problem(400, "cursor: is not one that an earlier page gave", field="cursor")
    return events, screen_id


def make_cursor(events: int, screen_id: str) -> str:
    """The cursor behind a screen of a page."""
    return base64.urlsafe_b64encode(msgspec.json.encode((events, screen_id))).decode("ascii")
