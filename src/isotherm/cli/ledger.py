"""`isotherm ledger`: what came in and what became of it."""

from typing import Annotated, Any, Final

from cyclopts import Parameter

from isotherm.cli.client import require_data
from isotherm.cli.moments import From, To, optional_hours
from isotherm.cli.options import AsJson, Stores
from isotherm.cli.output import console, errors, hour, print_json, table
from isotherm.land import ledger
from isotherm.land.ledger import LedgerRow
from isotherm.store.db import open_db

_SHOWN: Final = (
    "received", "accepted", "rejected", "duplicate", "landed", "landing_duplicate", "dead", "no_position"
)  # fmt: skip


def command(
    settings: Stores | None = None,
    *,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    start: From = None,
    end: To = None,
    json: AsJson = False,
) -> int:
    """What came in and what became of it; fails when the sums do not close.

    received = accepted + rejected + duplicate, accepted = landed + landing duplicates + dead, per client and hour
    of receipt. A record enters the ledger when it lands. Exit code 1 and one line per difference otherwise.
    """
    chosen = (settings or Stores()).settings()
    require_data(chosen)
    first, last = optional_hours(start, end)
    engine = open_db(chosen.url("db"))
    try:
        rows = ledger.read(engine, client_id=client, start=first, end=last)
    finally:
        engine.dispose()
    differences = ledger.check(rows)
    if json:
        print_json(
            {
                "totals": ledger.sums(rows),
                "rejected": _reasons(rows, "rejected"),
                "differences": differences,
                "hours": [{"client_id": c, "hour": h, **sums} for (c, h), sums in _by_hour(rows).items()],
            }
        )
    else:
        _say(rows, differences)
    return 1 if differences else 0


def _by_hour(rows: list[LedgerRow]) -> dict[tuple[str, int], dict[str, int]]:
    groups: dict[tuple[str, int], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault((row.client_id, row.hour), []).append(row)
    return {key: ledger.sums(group) for key, group in sorted(groups.items(), key=lambda item: item[0][::-1])}


def _reasons(rows: list[LedgerRow], measure: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        if row.measure == measure:
            found[row.reason] = found.get(row.reason, 0) + row.events
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _say(rows: list[LedgerRow], differences: list[str]) -> None:
    out = console()
    if not rows:
        out.print("the ledger is empty: nothing has been landed yet")
        return
    columns = ("client", "hour of receipt", *(name.replace("_", " ") for name in _SHOWN))
    lines: list[tuple[Any, ...]] = [
        (client, hour(at), *(sums[name] for name in _SHOWN)) for (client, at), sums in _by_hour(rows).items()
    ]
    totals = ledger.sums(rows)
    out.print(table(columns, [*lines, ("all", "", *(totals[name] for name in _SHOWN))]))
    for measure, title in (("rejected", "rejected"), ("sender_dropped", "dropped by the sender")):
        if found := _reasons(rows, measure):
            out.print()
            out.print(table((title, "events"), found.items()))
    out.print()
    if differences:
        errors().print("[bold red]the sums do not close[/]: events were lost or counted twice")
        for line in differences:
            errors().print(f"  {line}", markup=False)
    else:
        out.print("the sums close")
