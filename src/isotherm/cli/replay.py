"""`isotherm replay`: raw events from the lake back on a log."""

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from isotherm.cli.client import require_client_id, require_data
from isotherm.cli.moments import From, To, hour_edge
from isotherm.cli.options import AsJson, Everything
from isotherm.cli.output import errors, hour, print_json, size
from isotherm.cli.roles import Parts
from isotherm.clock import iso
from isotherm.config import without_password
from isotherm.errors import IsothermError
from isotherm.eventlog.port import open_log
from isotherm.land.formats import refusal
from isotherm.land.replay import Plan, Progress, Replay, plan


def command(
    settings: Everything | None = None,
    *,
    start: From = None,
    end: To = None,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    to_log: Annotated[
        str | None,
        Parameter(
            help="Log of another deployment, such as lmdb:///srv/other/log; a folder must hold one. [default: this "
            "deployment's own]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(help="Say what would be replayed, and do nothing.", negative=(), show_default=False)
    ] = False,
    json: AsJson = False,
) -> int:
    """Raw events from the lake back on a log: of another deployment, or of this one.

    Records are made again from the rows of the event hours in the range, with the ids, positions and times they had,
    and landed like all others. Every event counts once: what the other lake holds already is a landing duplicate in
    its ledger, and a replay that was killed is simply run again. So a replay fills an empty deployment with the same
    maps, and changes nothing where everything is there. Works beside a running `isotherm up`, on either side.

    Examples:

    `isotherm replay --from 2026-02-01 --to 2026-03-01 --to-log lmdb:///srv/second/log`

    `isotherm replay --from 2026-02-02T10:00 --to 2026-02-02T12:00 --client shop --dry-run`
    """
    chosen = (settings or Everything()).settings()
    if start is None or end is None:
        raise IsothermError("a replay needs both --from and --to")
    first, last = hour_edge(start, "--from"), hour_edge(end, "--to")
    if first >= last:
        raise IsothermError(f"--to {end} must lie after --from {start}")
    require_client_id(client)
    require_data(chosen)
    if to_log is not None:
        _require_log(to_log)
    clients = None if client is None else [client]
    with Parts(chosen) as parts:
        if left_out := parts.manifest.unread(start=first, end=last, client_ids=clients):
            if to_log is None:
                raise refusal(left_out)
            errors().print(f"not all is replayed: {left_out}; run it again with that format first", markup=False)
        planned = plan(parts.manifest, first, last, clients)
        if dry_run or not planned.hours:
            _say_plan(planned, as_json=json)
            return 0
        target = chosen if to_log is None else chosen.model_copy(update={"log": to_log})
        log = parts.log if to_log is None else open_log(target, parts.clock)
        try:
            work = Replay(parts.lake, parts.manifest, log, parts.clock, by_client=chosen.log_key == "client")
            done = _show(work.run(first, last, clients, partly=to_log is not None))
        finally:
            if to_log is not None:
                log.close()
    if json:
        print_json({"events": done.rows, "records": done.records, "known": done.known})
    else:
        where = without_password(target.url("log"))
        print(f"replayed: {done.rows:,} events in {done.records:,} records to {where}")
        if done.known:
            print(f"{done.known:,} of the records were on that log already, from an earlier replay")
    return 0


def _require_log(url: str) -> None:
    """Raise IsothermError for a folder without a log: opening a mistyped one would make a log that nobody reads."""
    from isotherm.eventlog.lmdb import holds_log

    if url.startswith("lmdb:") and not holds_log(url):
        raise IsothermError(
            f"--to-log {url}: there is no log. Name that of the other deployment; a new one has its log once it was "
            "started (`isotherm up`)"
        )


def _say_plan(planned: Plan, *, as_json: bool) -> None:
    hours = sorted({at for _, at in planned.hours})
    clients = sorted({client_id for client_id, _ in planned.hours})
    if as_json:
        edges = [iso(hours[0]), iso(hours[-1])] if hours else None
        print_json(
            {"events": planned.rows, "bytes": planned.bytes, "hours": len(hours), "edges": edges, "clients": clients}
        )
    elif not hours:
        print("nothing to replay: the lake holds no event of this range (and client)")
    else:
        print(
            f"would replay {planned.rows:,} events ({size(planned.bytes)} in the lake) of {len(clients):,} clients, "
            f"in {len(hours):,} hours from {hour(hours[0])} to {hour(hours[-1])}"
        )


def _show(steps: Iterator[Progress]) -> Progress:
    """Draw the progress; returns the last step."""
    console = errors()
    bar = Bar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("events"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    last = Progress(0, 0, 0, 0, 0)
    told = ""
    with bar:
        task = bar.add_task("replaying", total=None)
        for step in steps:
            last = step
            if step.waiting is not None and step.waiting != told:
                told = step.waiting
                console.print(f"waiting: {told}", markup=False)
            bar.update(task, completed=step.rows, total=step.total, description=f"replaying {hour(step.hour)}")
    return last
