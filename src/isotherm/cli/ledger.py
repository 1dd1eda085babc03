"""`isotherm ledger`: every event's way from the sender to a cell, with what was lost at each step."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Final, TypeVar

import msgspec
from cyclopts import Parameter
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from isotherm.cli.client import require_client_id, require_data, running_app
from isotherm.cli.moments import From, To, optional_hours
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import console, errors, hour, print_json, table
from isotherm.cli.status import is_shared
from isotherm.clock import iso
from isotherm.config import Settings
from isotherm.land import ledger
from isotherm.land.ledger import LedgerRow
from isotherm.rollup import audit, audit_screens
from isotherm.rollup.audit import Hour, Range
from isotherm.store.db import open_db, reading
from isotherm.store.olap import open_olap

_SHOWN: Final = (
    "received", "accepted", "rejected", "duplicate", "landed", "landing_duplicate", "dead", "no_position", "raw_only"
)  # fmt: skip
_EVENT_SHOWN: Final = ("accepted", "landed", "tiled", "no_position", "raw_only", "pending", "late")
_HOURS: Final = 48
"""Hours named in the tables for people, the newest; --json has all."""
_SENTENCES: Final = 100


def command(
    settings: Serving | None = None,
    *,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    start: From = None,
    end: To = None,
    check: Annotated[
        bool, Parameter(negative="", help="Also compare every screen's maps with what was landed for it.")
    ] = False,
    json: AsJson = False,
) -> int:
    """What came in and what became of it; fails when the sums do not close.

    By hour of receipt: received = accepted + rejected + duplicate + sampled out, and accepted = landed + landing
    duplicates + dead. By event hour: landed = rows in the lake = tiled + without a position + raw only + pending.
    --from and --to name hours of receipt and event hours alike. A record enters the ledger when it lands. Exit code 1
    and one line per difference otherwise. What each number means: docs/ledger.md.

    Examples:

    `isotherm ledger --client shop --from 2026-02-01 --to 2026-02-08`

    `isotherm ledger --check`
    """
    chosen = (settings or Serving()).settings()
    require_client_id(client)
    if not is_shared(chosen):
        require_data(chosen)
    asked = Range(client, *optional_hours(start, end))
    engine = open_db(chosen.url("db"))
    try:
        with reading(engine) as connection:
            found = _read(connection, asked, None if json else _HOURS)
        compared = _compared(chosen, engine, asked) if check else None
    finally:
        engine.dispose()
    differences = found.differences + (compared["differences"] if compared else [])
    if json:
        print_json(_told(found, differences, compared))
    elif found.rows or found.events:
        _say(found, differences, compared)
    elif asked == audit.EVERYTHING:
        console().print("the ledger is empty: nothing has been landed yet")
    else:
        console().print("the ledger has nothing of this client and range; without --client, --from and --to it has all")
    return 1 if differences else 0


class _Found(Struct):
    """The ledger added up. `rows` are sums over all hours, `totals` those of event hours; of the hours themselves,
    `receipt` {client, hour, measures} and `events`, the newest are kept, `counts` says how many there are."""

    rows: list[LedgerRow]
    receipt: list[dict[str, Any]]
    events: list[Hour]
    totals: Counter[str]
    counts: Counter[str]
    differences: list[str]


def _read(connection: Connection, asked: Range, newest: int | None) -> _Found:
    """Client by client, so that memory goes by one client's hours; `newest` hours are kept, None: all."""
    sums: Counter[tuple[str, str]] = Counter()
    found = _Found([], [], [], Counter(), Counter(), [])
    of_receipt: list[str] = []
    of_events: list[str] = []
    for client_id in audit.clients(connection, asked):
        rows = ledger.read_in(connection, client_id=client_id, start=asked.start, end=asked.end)
        hours = audit.event_hours(connection, Range(client_id, asked.start, asked.end), lake=True)
        for row in rows:
            sums[row.measure, row.reason] += row.events
        by_hour = ledger.by_hour(rows)
        of_receipt += [text for _, _, _, text in ledger.differences(by_hour)]
        of_events += [one.text for one in audit.event_differences(hours)]
        found.totals.update(audit.totals(hours))
        found.counts.update(receipt=len(by_hour), events=len(hours))
        found.receipt += [{"client_id": client_id, "hour": at, **one} for (_, at), one in by_hour.items()]
        found.receipt = _newest(found.receipt, itemgetter("hour", "client_id"), newest)
        found.events = _newest([*found.events, *hours], attrgetter("hour", "client_id"), newest)
    found.rows = [LedgerRow("", 0, measure, reason, events) for (measure, reason), events in sums.items()]
    found.differences = of_receipt + of_events
    return found


A = TypeVar("A")


def _newest(some: list[A], by: Callable[[A], Any], most: int | None) -> list[A]:
    return sorted(some, key=by)[0 if most is None else -most :]


def _told(found: _Found, differences: list[str], compared: Any) -> dict[str, Any]:
    totals = ledger.sums(found.rows)
    return {
        "totals": totals,
        "rejected": ledger.reasons(found.rows, "rejected"),
        "sender_dropped": ledger.reasons(found.rows, "sender_dropped"),
        "lost_on_the_way": lost(totals),
        "differences": differences,
        "hours": found.receipt,
        "events": {
            "totals": found.totals,
            "hours": [{**msgspec.to_builtins(one), "pending": one.pending} for one in found.events],
        },
    } | ({"screens": {name: compared[name] for name in ("hours", "screens")}} if compared else {})


def lost(totals: dict[str, int]) -> int:
    """Events that were numbered and did not come. An hour that only brings late ones has none of its own."""
    return max(totals["sent"] - totals["sequenced"], 0)


def _compared(settings: Settings, engine: Engine, asked: Range) -> dict[str, Any]:
    """What comparing screens with their maps gives: {hours, screens, differences}."""
    whole: dict[str, Any] = {"hours": 0, "screens": 0, "differences": []}
    with errors().status("comparing screens with their maps ...") as spinner:
        for client_id, at, one in _steps(settings, engine, asked):
            whole["hours"] += one["hours"]
            whole["screens"] += one["screens"]
            whole["differences"] += one["differences"]
            spinner.update(f"{client_id} {iso(at)[:10]}: {whole['screens']:,} screens compared")
    return whole


def _steps(settings: Settings, engine: Engine, asked: Range) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Client, start of a day, and its comparison: by the app that runs, as it owns the tile store's folder, or here."""
    app = running_app(settings)
    if app is not None:
        for day in audit_screens.days(engine, asked):
            assert day.start is not None
            edges = {"from_": day.start, "to": day.end}
            told = app.get_json("/v1/ledger", client_id=day.client_id, hours="false", check="true", **edges)
            yield str(day.client_id), day.start, told["screens"]
        return
    olap = open_olap(settings.url("olap"), settings)
    try:
        for one in audit_screens.compare_screens(engine, olap, asked):
            texts = [difference.text for difference in one.differences]
            yield one.client_id, one.start, {"hours": one.hours, "screens": one.screens, "differences": texts}
    finally:
        olap.close()


def _say(found: _Found, differences: list[str], compared: dict[str, Any] | None) -> None:
    out = console()
    _say_receipt(found)
    _say_events(found)
    out.print(table(("on the way", "events", "lost, or left out"), _flow(found)))
    for measure, title in (("rejected", "rejected"), ("sender_dropped", "dropped by the sender")):
        if reasons := ledger.reasons(found.rows, measure):
            out.print()
            out.print(table((title, "events"), reasons.items()))
    out.print()
    if compared:
        out.print(f"compared with their maps: {compared['screens']:,} screens, in {compared['hours']:,} hours")
    if differences:
        errors().print("[bold red]the sums do not close[/]: events were lost or counted twice")
        for line in differences[:_SENTENCES]:
            errors().print(f"  {line}", markup=False)
        if len(differences) > _SENTENCES:
            errors().print(f"  and {len(differences) - _SENTENCES:,} more; --json names all")
    else:
        out.print("the sums close")


def _say_receipt(found: _Found) -> None:
    columns = ("client", "hour of receipt", *(name.replace("_", " ") for name in _SHOWN))
    lines: list[tuple[Any, ...]] = [
        (one["client_id"], hour(one["hour"]), *(one[name] for name in _SHOWN)) for one in found.receipt
    ]
    totals = ledger.sums(found.rows)
    _say_table(columns, lines, ("all", "", *(totals[name] for name in _SHOWN)), found.counts["receipt"])


def _say_events(found: _Found) -> None:
    columns = ("client", "event hour", *(name.replace("_", " ") for name in _EVENT_SHOWN))
    lines = [(one.client_id, hour(one.hour), *(getattr(one, name) for name in _EVENT_SHOWN)) for one in found.events]
    last = ("all", "", *(found.totals[name] for name in _EVENT_SHOWN))
    _say_table(columns, lines, last, found.counts["events"])


def _say_table(columns: Sequence[str], lines: Sequence[Sequence[Any]], last: Sequence[Any], count: int) -> None:
    out = console()
    if count > len(lines):
        out.print(f"the newest {len(lines):,} of {count:,} hours; --json has all, --from and --to choose")
    out.print(table(columns, [*lines, last]))
    out.print()


def _flow(found: _Found) -> list[tuple[str, int, str]]:
    """From the sender to the cell: each step, and what did not go on from there."""
    sums, events = ledger.sums(found.rows), found.totals
    unnumbered = max(sums["received"] - sums["sequenced"], 0)

    def named(*pairs: tuple[int, str]) -> str:
        return ", ".join(f"{count:,} {name}" for count, name in pairs if count)

    return [
        ("sent with numbers", sums["sent"], named((lost(sums), "lost on the way or still to come"))),
        ("arrived of these", sums["sequenced"], ""),
        ("received", sums["received"], named((unnumbered, "of them without numbers, or sent again"))),
        (
            "accepted",
            sums["accepted"],
            named(
                (sums["rejected"], "rejected"),
                (sums["duplicate"], "duplicate"),
                (sums["sampled_out"], "sampled out"),
            ),
        ),
        ("landed", sums["landed"], named((sums["landing_duplicate"], "known to the lake"), (sums["dead"], "dead"))),
        (
            "tiled, by event hour",
            events["tiled"],
            named(
                (events["no_position"], "without a position"),
                (events["raw_only"], "raw only"),
                (events["pending"], "pending"),
            ),
        ),
    ]
