"""`isotherm up`: everything in one process group."""

import asyncio
import os
from typing import Annotated

from cyclopts import Parameter
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from isotherm import __version__
from isotherm.backup.unfinished import refuse_unfinished
from isotherm.cli import processes
from isotherm.cli.checks import check_exposure
from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import Everything
from isotherm.cli.output import errors
from isotherm.cli.processes import Running, UpLock, url_of
from isotherm.cli.supervisor import Role, Supervisor
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.view.site import may_send

_FIRST_EVENT = (
    '{"client_id":"demo","screen_id":"home","events":'
    '[{"event_time":\'$(date +%s000)\',"event_type":"mousemove","x_norm":0.3,"y_norm":0.2}]}'
)


def command(
    settings: Everything | None = None,
    *,
    parent: Annotated[int, Parameter(show=False)] = 0,
) -> int:
    """Start everything in one process group: collector and app.

    Restarts what dies or hangs, and stops cleanly on Ctrl-C or SIGTERM: the collector first, then what it took
    is landed, then the app. Port 0 picks a free port and says which.

    Examples:

    `isotherm up --data ./data --port 7080 --collect-port 7081`

    `ISOTHERM_LAND_FLUSH_SECONDS=1 isotherm up`: see events on the map sooner
    """
    if parent:
        processes.die_with_parent(parent)
    chosen = (settings or Everything()).settings()
    check_exposure(chosen, app=True, collector=True)
    lock = UpLock(chosen.data)
    try:
        refuse_unfinished(chosen.data)
        chosen = processes.fix_port(chosen, "host", "port")
        chosen = processes.fix_port(chosen, "collect_host", "collect_port")
        if chosen.port == chosen.collect_port:
            raise processes.same_port(chosen.port)
        asyncio.run(_supervise(chosen))
    finally:
        processes.remove_running(chosen.data)
        lock.close()
    return 0


async def _supervise(settings: Settings) -> None:
    app, collect = url_of(settings.host, settings.port), url_of(settings.collect_host, settings.collect_port)
    state = Running(os.getpid(), __version__, SystemClock().now_ms(), app, collect)

    def changed(pids: dict[str, int]) -> None:
        nonlocal state
        state = replace(state, pids=pids)
        processes.write_running(settings.data, state)

    def ready() -> None:
        nonlocal state
        state = replace(state, ready=True)
        processes.write_running(settings.data, state)
        banner(console, settings, app, collect)

    logger = set_up_logs(settings, "up")
    console = errors()
    console.print(f"[bold]isotherm[/] {__version__} starts ...")
    changed({})
    roles = [Role("collect", ("collect",), f"{collect}/v1/healthz"), Role("app", ("app",), f"{app}/v1/healthz")]
    environment = processes.environment_without_settings() | processes.environment(settings)
    await Supervisor(roles, environment, logger, changed).run(ready)
    console.print("stopped: everything that was acknowledged is on disk")


def banner(console: Console, settings: Settings, app: str, collect: str) -> None:
    """Say where everything is and what to do first."""
    lines = (
        ("dashboard", f"{app}/"),
        *([("demo site", f"{app}/demo/")] if may_send(settings) else []),
        ("query API", f"{app}/docs"),
        ("collector", f"{collect}/events/batch"),
        ("data", str(settings.data.absolute())),
    )
    console.print()
    for name, value in lines:
        console.print(Text.assemble("  ", (f"{name:<11}", "dim"), (value, "bold")))
    console.print()
    console.print("  send a first event, and see it after a few seconds:", style="dim")
    console.print(Text(f"    curl {collect}/events/batch -H content-type:application/json -d '{_FIRST_EVENT}'"))
    console.print(Text(f"    curl '{app}/v1/screens?client_id=demo'{_with_token(settings)}"))
    console.print()
    stop = "Ctrl-C" if console.is_terminal else f"kill {os.getpid()}"
    console.print(f"  [dim]stop with[/] {stop}[dim], look with[/] isotherm status --data {settings.data}")
    console.print()


def _with_token(settings: Settings) -> str:
    return " -H 'authorization: Bearer YOUR-TOKEN'" if settings.token else ""
