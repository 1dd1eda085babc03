"""What became of a client's events, or of one screen's, from the sender to the cell."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from isotherm.clock import HOUR_MS, iso
from isotherm.errors import Problem
from isotherm.events import is_simulated
from isotherm.land import ledger as books
from isotherm.rollup import audit, audit_screens
from isotherm.rollup import marks as of_screens
from isotherm.rollup.audit import Hour, Range
from isotherm.rollup.audit_screens import ScreenHour
from isotherm.serve import known, params
from isotherm.serve.deps import Deps, InDeps
from isotherm.store.db import reading

MOST_HOURS: Final = 10_000
MOST_CHECKED: Final = 31 * 24
"""Hours whose maps one request compares."""
NAMED: Final = 20
"""Differences that an answer names."""

MOST_SCREENS: Final = 50
"""Screens whose marks one request gives."""
_REFUSED: Final = ("rejected", "duplicate")

ScreenIds = Annotated[
    list[str],
    QueryParameter(
        name="screen_id",
        description=f"The screen; repeat it for several, {MOST_SCREENS} at most.",
        examples=[Example(value=["/checkout"])],
    ),
]
Hours = Annotated[bool, QueryParameter(name="hours", description="Also the numbers of each hour.")]
Check = Annotated[
    bool,
    QueryParameter(
        name="check", description="Also compare the maps of all screens of the client: 31 days at most at once."
    ),
]


@get("/v1/ledger", sync_to_thread=True, tags=["listings"], summary="What became of every event")
def ledger(
    deps: InDeps,
    client_id: params.ClientId,
    start: params.From,
    end: params.To,
    screen_id: params.OptionalScreenId = None,
    hours: Hours = True,
    check: Check = False,
) -> Response[bytes]:
    """A client's events, or those of one screen, from the sender to the cell, with what was lost at each step.

    `from` and `to` name hours of receipt in `receipt`, and event hours in `events`. `complete`, `late` and `rejected`
    are what a mark on a map says. Of a client, the sums of both halves must close; of a screen, those of the client's
    event hours.
    """
    params.client(client_id)
    asked = Range(client_id, *_edges(start, end, MOST_CHECKED if check else MOST_HOURS))
    members = _head(client_id, asked) | {"screen_id": screen_id}
    halves = _of_client if screen_id is None else partial(_of_screen, params.screen(screen_id))
    receipt, events, differences = halves(deps, asked, hours=hours)
    totals = events["totals"]
    members |= {
        "complete": not (differences or totals["pending"] or totals["dead"]),
        "late": totals["late"],
        "rejected": receipt["totals"]["rejected"],
        "pending": totals["pending"],
        "in_flight": _in_flight(deps, client_id),
        "differences": differences[:NAMED],
        "receipt": receipt,
        "events": events,
        "screens": _compared(deps, asked) if check else None,
    }
    return _answer(members)


@get("/v1/ledger/marks", sync_to_thread=True, tags=["listings"], summary="Marks on the maps of several screens")
def marks(
    deps: InDeps, client_id: params.ClientId, start: params.From, end: params.To, screen_id: ScreenIds
) -> Response[bytes]:
    """What `GET /v1/ledger` says of each of these screens in a few numbers, for marks on many small maps at once."""
    params.client(client_id)
    screens = list(dict.fromkeys(map(params.screen, screen_id)))
    if len(screens) > MOST_SCREENS:
        raise Problem(400, f"screen_id: at most {MOST_SCREENS} at once", field="screen_id")
    asked = Range(client_id, *_edges(start, end, MOST_HOURS))
    differences, found = _marked(deps, screens, asked)
    told = [_mark(name, found[name], closed=not differences) for name in screens]
    return _answer(_head(client_id, asked) | {"differences": differences[:NAMED], "marks": told})


def _mark(screen_id: str, found: of_screens.Mark, *, closed: bool) -> dict[str, Any]:
    events = found.events
    return {
        "screen_id": screen_id,
        "complete": closed and not (events["pending"] or events["dead"]),
        "late": events["late"],
        "rejected": found.counts["rejected"],
        "pending": events["pending"],
        "dead": events["dead"],
    }


def _answer(members: dict[str, Any]) -> Response[bytes]:
    return Response(msgspec.json.encode(members), media_type="application/json", headers={"cache-control": "no-store"})


def _marked(deps: Deps, screens: Sequence[str], asked: Range) -> tuple[list[str], dict[str, of_screens.Mark]]:
    """Where the sums of the client's event hours do not close, and the sums of these screens."""
    client_id, start, end = _all_of(asked)
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        differences = [one.text for one in of_screens.differences(connection, asked)]
    return differences, of_screens.marks(deps.engine, deps.olap, client_id, screens, start, end)


def _edges(start: str, end: str, most: int) -> tuple[int, int]:
    first, last = params.span(start, end)
    if (last - first) // HOUR_MS > most:
        nearest = first + most * HOUR_MS
        raise Problem(
            422,
            f"the range has more than {most:,} hours; ask for parts of it, the first up to {iso(nearest)}",
            field="to",
            nearest={"from": iso(first), "to": iso(nearest)},
        )
    return first, last


def _all_of(asked: Range) -> tuple[str, int, int]:
    """What a question always names."""
    assert asked.client_id is not None
    assert asked.start is not None
    assert asked.end is not None
    return asked.client_id, asked.start, asked.end


def _head(client_id: str, asked: Range) -> dict[str, Any]:
    _, start, end = _all_of(asked)
    return {"client_id": client_id, "simulated": is_simulated(client_id), "from": iso(start), "to": iso(end)}


Halves = tuple[dict[str, Any], dict[str, Any], list[str]]
"""The answer by hour of receipt, the one by event hour, and where the sums do not close."""


def _of_client(deps: Deps, asked: Range, *, hours: bool) -> Halves:
    client_id, start, end = _all_of(asked)
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        of_client = audit.event_hours(connection, asked)
        rows = books.read_in(connection, client_id=client_id, start=start, end=end)
    differences = [text for _, _, _, text in books.differences(books.by_hour(rows))]
    differences += [one.text for one in audit.event_differences(of_client)]
    return _receipt(rows, hours=hours), _events(of_client, hours=hours), differences


def _receipt(rows: Sequence[books.LedgerRow], *, hours: bool) -> dict[str, Any]:
    totals = books.sums(rows)
    return {
        "totals": totals,
        "reasons": books.reasons(rows, "rejected"),
        "sender_dropped": books.reasons(rows, "sender_dropped"),
        "lost": max(totals["sent"] - totals["sequenced"], 0),
        "hours": [{"hour": iso(at), **sums} for (_, at), sums in books.by_hour(rows).items()] if hours else [],
    }


def _events(found: Sequence[Hour], *, hours: bool) -> dict[str, Any]:
    totals = audit.totals(found)
    named = [{"hour": iso(one.hour), "state": one.state, **audit.totals([one])} for one in found] if hours else []
    return {"totals": totals, "hours": named}


def _of_screen(screen_id: str, deps: Deps, asked: Range, *, hours: bool) -> Halves:
    """The screen's part of both halves; at the door only what was refused is known by screen.

    The sums that must close are those of the client's event hours.
    """
    differences, found = _marked(deps, [screen_id], asked)
    mark = found[screen_id]
    client_id, start, end = _all_of(asked)
    every = audit_screens.screen_hours
    each = every(deps.engine, deps.olap, client_id, screen_id, start, end) if hours else []
    refused = [{"hour": iso(one.hour), **{name: one.counts[name] for name in _REFUSED}} for one in each]
    receipt = {
        "totals": {name: mark.counts[name] for name in _REFUSED},
        "reasons": {},
        "sender_dropped": {},
        "lost": None,
        "hours": [one for one in refused if any(one[name] for name in _REFUSED)],
    }
    named = [_screen_hour(one) for one in each if one.counts["accepted"]]
    return receipt, {"totals": mark.events, "hours": named}, differences


def _screen_hour(one: ScreenHour) -> dict[str, Any]:
    state = "waiting" if one.waiting else "tiled"
    return {"hour": iso(one.hour), "state": state, **audit_screens.screen_totals([one])}


def _in_flight(deps: Deps, client_id: str) -> int | None:
    read = deps.unlanded(client_id)
    return None if read is None else sum(one.events for one in read)


def _compared(deps: Deps, asked: Range) -> dict[str, Any]:
    found = list(audit_screens.compare_screens(deps.engine, deps.olap, asked))
    return {
        "hours": sum(one.hours for one in found),
        "screens": sum(one.screens for one in found),
        "differences": [difference.text for one in found for difference in one.differences],
    }
