"""`isotherm status`: everything at one glance."""

from typing import Any, Final

from isotherm.cli.client import AppClient, require_data, running_app
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import console, duration, moment, print_json, size
from isotherm.cli.processes import Running, read_running
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.store.db import open_db, reading

_FILES: Final = 5
"""Files that wait are named up to so many."""


def command(settings: Serving | None = None, *, json: AsJson = False) -> int:
    """Everything at one glance.

    What is running, how far landing and tiles are behind, what is on disk. Exit code 1 when nothing runs on the
    data folder.
    """
    chosen = (settings or Serving()).settings()
    require_data(chosen)
    running = read_running(chosen.data)
    app = running_app(chosen)
    facts = app.get_json("/v1/status") if app is not None else _from_stores(chosen)
    facts = {"running": running is not None, "data": str(chosen.data.absolute())} | _processes(running) | facts
    if json:
        print_json(facts)
    else:
        _say(facts, app)
    return 0 if running is not None else 1


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
    """What can be told when nothing runs: log, lake and dirty buckets, from the stores themselves."""
    import sqlalchemy as sa

    from isotherm.land.manifest import Manifest
    from isotherm.store.tables import buckets, dirty

    clock = SystemClock()
    engine = open_db(settings.url("db"))
    log = open_log(settings, clock)
    try:
        status = log.status()
        with reading(engine) as connection:
            counts = {
                name: dict(
                    connection.execute(sa.select(one.c.level, sa.func.count()).group_by(one.c.level)).tuples().all()
                )
                for name, one in (("dirty", dirty), ("tiles", buckets))
            }
        totals = Manifest(engine, clock).totals()
    finally:
        log.close()
        engine.dispose()
    lag = {name: status.lag(name) for name in status.consumers}
    return {"log": {"bytes": status.bytes, "head": status.head, "lag": lag}, "lake": totals["formats"], **counts}


def _say(facts: dict[str, Any], app: AppClient | None) -> None:
    out = console()
    if app is None:
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


def _say_scan(scanner: dict[str, Any]) -> None:
    """The files of a sink, where these are landed instead of the log."""
    if "source" not in scanner:
        return
    out = console()
    out.print(
        f"scan     {scanner['files']:,} files with {scanner['lines']:,} records landed, {scanner['due']:,} are due"
    )
    out.print(f"         from {scanner['source']}", markup=False)
    for waiting in scanner["waiting"][:_FILES]:
        out.print(
            f"         waits since {moment(waiting['since'])}: {waiting['path']}: {waiting['reason']}", markup=False
        )
    if len(scanner["waiting"]) > _FILES:
        out.print(f"         and {len(scanner['waiting']) - _FILES:,} more files that wait")
    if scanner["misplaced"]:
        out.print(f"         {scanner['misplaced']:,} records lay in another client's folder; they count for their own")
    if scanner["sink"] and scanner["sink"]["problem"]:
        out.print(f"[red]sink[/]     {scanner['sink']['problem']}")


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
    waits, kept = lander.get("oldest_unlanded_ms"), lander.get("retention_ms")
    if waits:
        out.print(f"         the oldest waits for {duration(waits / 1000)}")
    if waits and kept and waits > kept / 2:
        out.print(
            f"[red]log[/]      the topic deletes records after {duration(kept / 1000)}, landed or not: land them soon"
        )
    if lander.get("last_error"):
        out.print(f"[red]lander[/]   {lander['last_error']} ({moment(lander.get('last_error_at'))})")
    for gap in lander.get("gaps", ()):
        out.print(f"[red]lander[/]   records {gap['first']:,} to {gap['last']:,} were gone from the log")
