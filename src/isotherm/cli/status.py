"""`isotherm status`: everything at one glance."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from isotherm.cli.client import AppClient, require_data, running_app
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import cell, console, duration, moment, print_json, size
from isotherm.cli.processes import Running, read_running
from isotherm.clock import SECOND_MS, SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.serve.unwell import problems_of
from isotherm.store.db import open_db

_NAMED: Final = 5
"""Files that wait and gaps are named up to so many."""


def command(settings: Serving | None = None, *, json: AsJson = False) -> int:
    """Everything at one glance.

    What is running, how far landing and tiles are behind, what is on disk. Exit code 1 when nothing runs on the
    data folder; where log and database are servers, so that roles run by themselves, when landing is not well.
    """
    chosen = (settings or Serving()).settings()
    shared = is_shared(chosen)
    if not shared:
        require_data(chosen)
    running = read_running(chosen.data)
    app = running_app(chosen)
    facts = app.get_json("/v1/status") if app is not None else _from_stores(chosen)
    problems = facts.get("problems")
    if problems is None:
        problems = problems_of(facts, SystemClock().now_ms())
    told = {"running": running is not None, "data": str(chosen.data.absolute())} | _processes(running)
    facts = told | facts | {"problems": problems}
    if json:
        print_json(facts)
    else:
        _say(facts, app, shared=shared)
    if running is not None:
        return 0
    return 1 if problems or not shared else 0


def is_shared(settings: Settings) -> bool:
    """Whether log and database are servers: then roles run wherever they like, and `isotherm up` nowhere."""
    return not settings.url("log").startswith(("lmdb:", "memory:")) and not settings.url("db").startswith("sqlite:")


def _time(ms: int) -> str:
    return duration(ms / SECOND_MS)


def _processes(running: Running | None) -> dict[str, Any]:
    if running is None:
        return {}
    return {
        "app": running.app,
        "collect": running.collect,
        "started_at": running.started_at,
        "pids": {"up": running.pid, **running.pids},
    }


def _from_stores(settings: Settings) -> dict[str, Any]:
    """What can be told without an app, from the stores themselves."""
    from isotherm.cli.standing import facts_of

    clock = SystemClock()
    engine = open_db(settings.url("db"))
    try:
        with closing(open_log(settings, clock)) as log:
            return facts_of(settings, log, engine, clock)
    finally:
        engine.dispose()


def _say(facts: dict[str, Any], app: AppClient | None, *, shared: bool) -> None:
    out = console()
    if app is None and shared:
        out.print("[bold]by log and database[/]; what each role is doing, its own health_port tells")
    elif app is None:
        out.print(f"[bold]nothing runs[/] on {facts['data']}; start it with: isotherm up --data {facts['data']}")
    else:
        since = duration((SystemClock().now_ms() - facts["started_at"]) / 1000)
        out.print(f"[bold green]running[/] for {since} on {facts['data']}")
        out.print(f"  app        {facts['app']}  [dim]process[/] {facts['pids'].get('app', '?')}")
        out.print(f"  collector  {facts['collect']}  [dim]process[/] {facts['pids'].get('collect', '?')}")
        out.print(f"  supervisor [dim]process[/] {facts['pids']['up']}")
    out.print()
    _say_log(facts.get("log", {}), facts.get("lander") or {})
    _say_scan(facts.get("lander") or {})
    for name, lake in facts.get("lake", {}).items():
        row = f"{lake['bytes'] / max(lake['rows'], 1):.1f} bytes a row"
        out.print(f"lake     {name}: {lake['rows']:,} rows in {lake['files']:,} files, {size(lake['bytes'])} ({row})")
    if not facts.get("lake"):
        out.print("lake     empty")
    _say_stream(facts.get("stream"))
    tiles, waiting = _by_level(facts.get("tiles", {})), _by_level(facts.get("dirty", {}))
    out.print(f"tiles    {f'{tiles} buckets are published' if tiles else 'none yet'}")
    out.print(f"         {f'{waiting} buckets wait to be tiled again' if waiting else 'nothing waits'}")
    _say_measures(facts)
    _say_problems(facts["problems"])


def _say_measures(facts: dict[str, Any]) -> None:
    """How fresh maps are, whether the sums close, and what is on disk; as far as it was measured."""
    out = console()
    behind = [
        f"{level}s lack the last {duration(one['seconds'])}"
        for level, one in (facts.get("freshness") or {}).items()
        if one["seconds"] >= 1
    ]
    if behind:
        out.print(f"         {', '.join(behind)}")
    ledger, verification = facts.get("ledger"), facts.get("verification")
    if ledger:
        closes = f"does not close in {ledger['differing']:,} hours" if ledger["differing"] else "closes in every hour"
        out.print(f"ledger   {closes} since {moment(ledger['since'])}")
    if verification and verification["last_at"] is not None:
        found = ", ".join(f"{count:,} {finding}" for finding, count in sorted(verification["findings"].items()))
        out.print(f"verified {found} ({moment(verification['last_at'])})")
    stores = [f"{name} {size(sum(parts.values()))}" for name, parts in (facts.get("stores") or {}).items()]
    if stores:
        measured = facts.get("measured_at")
        out.print(f"stores   {', '.join(stores)}" + ("" if measured is None else f" (at {moment(measured)})"))
    of_size: dict[tuple[int, int], list[str]] = {}
    for disk in facts.get("disks") or ():
        of_size.setdefault((disk["free"], disk["size"]), []).append(disk["store"])
    for (free, whole), named in of_size.items():
        out.print(f"disk     of {', '.join(named)}: {size(free)} of {size(whole)} free")


def _say_problems(problems: Sequence[str]) -> None:
    out = console()
    out.print()
    for problem in problems:
        out.print(f"[red]not well[/] {cell(problem)}")
    if not problems:
        out.print("[green]all is well[/], as far as it can be told from here")


def _say_scan(scanner: dict[str, Any]) -> None:
    """The files of a sink, where these are landed instead of the log."""
    if "source" not in scanner:
        return
    out = console()
    due = f", {scanner['due']:,} are due" if "due" in scanner else ""
    out.print(f"scan     {scanner['files']:,} files with {scanner['lines']:,} records landed{due}")
    out.print(f"         from {scanner['source']}", markup=False)
    waits = scanner.get("waiting", ())
    for waiting in waits[:_NAMED]:
        out.print(
            f"         waits since {moment(waiting['since'])}: {waiting['path']}: {waiting['reason']}", markup=False
        )
    if len(waits) > _NAMED:
        out.print(f"         and {len(waits) - _NAMED:,} more files that wait")
    if scanner.get("misplaced"):
        out.print(f"         {scanner['misplaced']:,} records lay in another client's folder; they count for their own")


def _say_stream(stream: dict[str, Any] | None) -> None:
    if stream is None:
        return
    out = console()
    out.print(f"live     {stream['windows']:,} windows by {stream['engine']}, {stream['state']}")
    if stream.get("last_error"):
        out.print(f"[red]live[/]     {stream['last_error']} ({moment(stream.get('last_error_at'))})")


def _by_level(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {level}" for level, count in counts.items() if count)


def _say_log(log: dict[str, Any], lander: dict[str, Any]) -> None:
    out = console()
    lag = lander.get("lag", sum(log.get("lag", {}).values()))
    room = f"{size(log['bytes'])}, " if log.get("bytes") else ""
    out.print(f"log      {room}{lag:,} records wait to be landed")
    if lander.get("oldest_unlanded_ms"):
        out.print(f"         the oldest waits for {_time(lander['oldest_unlanded_ms'])}")
    if lander.get("last_error"):
        out.print(f"[red]lander[/]   {lander['last_error']} ({moment(lander.get('last_error_at'))})")
    gaps = lander.get("gaps", ())
    for gap in gaps[:_NAMED]:
        which = f"records {gap['first']:,} to {gap['last']:,} of partition {gap['partition']}"
        out.print(f"         {which} were gone before they were landed ({moment(gap['noticed_at'])})")
    if len(gaps) > _NAMED:
        out.print(f"         and so were {len(gaps) - _NAMED:,} more ranges")
