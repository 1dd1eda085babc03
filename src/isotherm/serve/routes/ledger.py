"""What became of a client's events, or of one screen's, from the sender to the cell."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from isotherm.clock import HOUR_MS, iso
from isotherm.errors import Problem
from isotherm.events import is_simulated
from isotherm.land import ledger as books
from isotherm.rollup import audit, audit_screens
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
    are what a mark on a map says.
    """
    params.client(client_id)
    asked = Range(client_id, *_edges(start, end, MOST_CHECKED if check else MOST_HOURS))
    members = _head(client_id, screen_id, asked)
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        of_client = audit.event_hours(connection, asked)
        rows = books.read_in(connection, client_id=client_id, start=asked.start, end=asked.end)
    differences = [text for _, _, _, text in books.differences(books.by_hour(rows))]
    differences += [one.text for one in audit.event_differences(of_client)]
    if screen_id is None:
        receipt, events = _receipt(rows, hours=hours), _events(of_client, hours=hours)
    else:
        receipt, events = _of_screen(deps, params.screen(screen_id), asked, hours=hours)
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
    return Response(msgspec.json.encode(members), media_type="application/json", headers={"cache-control": "no-store"})


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


def _head(client_id: str, screen_id: str | None, asked: Range) -> dict[str, Any]:
    assert asked.start is not None
    assert asked.end is not None
    return {
        "client_id": client_id,
        "simulated": is_simulated(client_id),
        "screen_id": screen_id,
        "from": iso(asked.start),
        "to": iso(asked.end),
    }


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


def _of_screen(deps: Deps, screen_id: str, asked: Range, *, hours: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The screen's part of both halves; at the door only what was refused is known by screen."""
    assert asked.client_id is not None
    assert asked.start is not None
    assert asked.end is not None
    found = audit_screens.screen_hours(deps.engine, deps.olap, asked.client_id, screen_id, asked.start, asked.end)
    names = ("rejected", "duplicate")
    receipt = {
        "totals": {name: sum(one.counts[name] for one in found) for name in names},
        "reasons": {},
        "sender_dropped": {},
        "lost": None,
        "hours": [
            {"hour": iso(one.hour), **{name: one.counts[name] for name in names}}
            for one in found
            if hours and any(one.counts[name] for name in names)
        ],
    }
    named = [_screen_hour(one) for one in found if hours and one.counts["accepted"]]
    return receipt, {"totals": audit_screens.screen_totals(found), "hours": named}


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
