"""`isotherm lake find`: which raw events made this cell, or came with this request."""

import sys
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from isotherm.cli.client import require_client_id, require_data
from isotherm.cli.moments import From, To, parse_moment
from isotherm.cli.options import Stores
from isotherm.cli.output import console, errors, table
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.events import EVENT_TYPE, screen_id_ok
from isotherm.land.find import MAX_FOUND, MAX_SPAN_MS
from isotherm.rollup.grid import GRID_H, GRID_W

_COLUMNS = ("event_id", "event_time", "received_at", "screen_id", "event_type", "x_norm", "y_norm", "cell", "file")


def command(
    settings: Stores | None = None,
    *,
    client: Annotated[str, Parameter(help="Whose events.")],
    batch: Annotated[
        str | None, Parameter(help="Events of this request: its batch_id, or batch_id:position for one of them.")
    ] = None,
    position: Annotated[int | None, Parameter(help="Only this event of the batch.")] = None,
    screen: Annotated[str | None, Parameter(help="Events of this screen.")] = None,
    type: Annotated[str, Parameter(help="Kind of event, with --screen.")] = "mousemove",  # noqa: A002 - its name on the wire
    cell: Annotated[
        str | None, Parameter(help=f"Only those in this cell, with --screen: X,Y below {GRID_W},{GRID_H}.")
    ] = None,
    start: From = None,
    end: To = None,
    limit: Annotated[int, Parameter(help=f"At most so many events, up to {MAX_FOUND:,}.")] = 200,
    json: Annotated[
        bool, Parameter(name="--json", help="One JSON object per line.", negative=(), show_default=False)
    ] = False,
) -> int:
    """Find raw events: of a batch, or those behind a cell of a map.

    Reads only files that the manifest lists for the client and hours, of these only row groups that may match, for at
    most ten seconds; what is not complete says so. A range covers at most 31 days; without one, the last 30. Exit
    code 1 when nothing was found.

    Examples:

    `isotherm lake find --client shop --batch 0198c0de-7e57-7000-8000-000000000001`

    `isotherm lake find --client shop --screen /cart --type click --cell 49,12 --from 2026-02-02 --to 2026-02-03`
    """
    require_client_id(client)
    asked = _batch(batch, position, screen, cell) if batch is not None else _place(screen, type, cell)
    first, last = _range(start, end)
    if not 1 <= limit <= MAX_FOUND:
        raise IsothermError(f"--limit {limit}: 1 to {MAX_FOUND:,}")
    found = _found((settings or Stores()).settings(), client_id=client, start=first, end=last, limit=limit, **asked)
    _say(found, as_json=json)
    return 0 if found["events"] else 1


def _batch(batch: str, position: int | None, screen: str | None, cell: str | None) -> dict[str, Any]:
    if screen is not None or cell is not None:
        raise IsothermError("--batch names events by itself; leave --screen and --cell away")
    head, _, tail = batch.rpartition(":")
    if position is None and head and tail.isdecimal() and len(tail) < 10:
        batch, position = head, int(tail)
    return {"batch": (batch, position)}


def _place(screen: str | None, kind: str, cell: str | None) -> dict[str, Any]:
    if screen is None or not screen_id_ok(screen):
        raise IsothermError("say what to find: --batch ID, or --screen with --type and --cell X,Y")
    if EVENT_TYPE.fullmatch(kind) is None:
        raise IsothermError(f"--type {kind}: is no kind of event ([a-z][a-z0-9_.$-]{{0,63}})")
    return {"place": (screen, kind, None if cell is None else _cell(cell))}


def _cell(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
        x, y = map(int, parts)
        if x < GRID_W and y < GRID_H:
            return x, y
    raise IsothermError(f"--cell {text}: write X,Y, with X from 0 to {GRID_W - 1} and Y from 0 to {GRID_H - 1}")


def _range(start: str | None, end: str | None) -> tuple[int, int]:
    now = SystemClock().now_ms()
    first = None if start is None else parse_moment(start, "--from")
    last = now - now % HOUR_MS + HOUR_MS if end is None else parse_moment(end, "--to")
    if first is None:
        first = last - 30 * DAY_MS
    elif end is None:
        last = min(last, first + MAX_SPAN_MS)
    if not 0 < last - first <= MAX_SPAN_MS:
        raise IsothermError(f"--to must lie after --from, at most {MAX_SPAN_MS // DAY_MS} days")
    return first, last


def _found(settings: Any, **asked: Any) -> dict[str, Any]:
    from isotherm.cli.jobs import find_job
    from isotherm.cli.roles import Parts

    require_data(settings)
    with Parts(settings) as parts:
        return find_job(parts)(**asked)


def _say(found: dict[str, Any], *, as_json: bool) -> None:
    events = found["events"]
    if as_json:
        for event in events:
            sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    elif events:
        shown = [event | {"cell": _in_words(event)} for event in events]
        console().print(table(_COLUMNS, [[str(event[name]) for name in _COLUMNS] for event in shown]))
    between = f"between {found['from'][:16]} and {found['to'][:16]}"
    looked = f"{found['rows_read']:,} rows of {found['files']:,} files in {found['seconds']:.2f} s"
    said = f"{len(events):,} events {between}" if events else f"no such event has landed {between}"
    errors().print(f"{said}; looked at {looked}", markup=False)
    if not found["complete"]:
        errors().print(f"not complete: {found['why']}", markup=False)


def _in_words(event: dict[str, Any]) -> str:
    return "" if event["cell_x"] is None else f"{event['cell_x']},{event['cell_y']}"
