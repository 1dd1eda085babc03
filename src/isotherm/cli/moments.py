"""Moments on the command line: dates and hours in UTC, RFC 3339, or milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from isotherm.clock import HOUR_MS
from isotherm.errors import IsothermError

From = Annotated[
    str | None,
    Parameter(name="--from", help="First moment, UTC: 2026-02-02, 2026-02-02T10:00, RFC 3339, or milliseconds."),
]
To = Annotated[str | None, Parameter(name="--to", help="End, not included; written like --from.")]


def parse_moment(text: str, flag: str) -> int:
    """Milliseconds since the epoch. A moment without an offset is UTC. Raises IsothermError for anything else."""
    if text.isdecimal() and len(text) > 8:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise IsothermError(
            f"{flag} {text}: is no moment; write 2026-02-02, 2026-02-02T10:00 (UTC), RFC 3339 or milliseconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def hour_edge(text: str, flag: str) -> int:
    """`parse_moment` on a full hour. Raises IsothermError off the hour."""
    found = parse_moment(text, flag)
    if found % HOUR_MS:
        raise IsothermError(f"{flag} {text}: maps begin and end on full hours of UTC")
    return found


def optional_hours(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Both edges, None where none is given. Raises IsothermError when the range is empty."""
    first = None if start is None else hour_edge(start, "--from")
    last = None if end is None else hour_edge(end, "--to")
    if first is not None and last is not None and first >= last:
        raise IsothermError(f"--to {end} must lie after --from {start}")
    return first, last
