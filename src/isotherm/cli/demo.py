"""`isotherm demo`: start everything, feed it made-up visitors, show one map, stay up until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.progress import track

from isotherm.cli import feed, picture
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.events import hour_of

START_SECONDS: Final = 60
TILED_SECONDS: Final = 90
SPAN_MS: Final = 5 * HOUR_MS


def command(
    *,
    data: Annotated[Path, Parameter(help="Folder that holds everything.")] = Path(".isotherm"),
    port: Annotated[int, Parameter(help="Port of the app.")] = 7080,
    collect_port: Annotated[int, Parameter(help="Port of the collector.")] = 7081,
    visitors: Annotated[int, Parameter(help="How many visitors to make up.")] = 400,
    once: Annotated[
        bool, Parameter(help="Stop after the map instead of staying up.", negative=(), show_default=False)
    ] = False,
) -> int:
    """Start everything, feed it made-up visitors, show a map.

    Draws the map in the terminal, prints the curl that fetched it, and stays up until Ctrl-C.
    """
    console = Console()
    command = [sys.executable, "-m", "isotherm", "up", "--data", str(data)]
    command += ["--port", str(port), "--collect-port", str(collect_port)]
    # Land and tile quickly: someone is waiting in front of the screen.
    environment = {"ISOTHERM_LAND_FLUSH_SECONDS": "1", "ISOTHERM_RETILE_MIN_SECONDS": "1", **os.environ}
    program = subprocess.Popen(command, env=environment, start_new_session=True)
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        app, collect = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{collect_port}"
        for url in (app, collect):
            _wait(f"{url} to answer", START_SECONDS, program, lambda u=url: _get(f"{u}/v1/healthz") is not None)
        started = SystemClock().now_ms()
        events = _send(console, collect, visitors, started)
        _show(console, app, started, events, program)
        _explain(console, app, collect)
        if not once:
            program.wait()
    except KeyboardInterrupt:
        console.print("\nstopping ...")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        code = _stop(program)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(program: "subprocess.Popen[bytes]") -> int:
    if program.poll() is None:
        program.terminate()
    return program.wait(timeout=60)


def _get(url: str) -> dict[str, Any] | None:
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310 - the address is ours
            return json.load(response)
    except (HTTPError, URLError, OSError, ValueError):
        return None


def _wait(what: str, seconds: float, program: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if program.poll() is not None:
            raise IsothermError("isotherm up has stopped; its last lines above say why")
        if time.monotonic() > deadline:
            raise IsothermError(f"waited {seconds:.0f} s for {what} in vain")
        time.sleep(0.2)


def _send(console: Console, collect: str, visitors: int, now_ms: int) -> int:
    accepted = 0
    bodies = list(feed.batches(visitors, now_ms, SPAN_MS, seed=now_ms))
    for body, _ in track(bodies, "sending made-up visitors", console=console, transient=True):
        request = Request(f"{collect}/events/batch", body, {"content-type": "application/json"})  # noqa: S310
        with urlopen(request, timeout=10) as response:  # noqa: S310
            accepted += json.load(response)["accepted"]
    console.print(f"sent [bold]{accepted:,}[/] events of {visitors} made-up visitors; each was on disk before its 202")
    return accepted


def _map_url(app: str, now_ms: int) -> str:
    end = hour_of(now_ms) + HOUR_MS
    query = {"client_id": feed.CLIENT, "screen_id": "shop/home", "from": end - 2 * SPAN_MS, "to": end}
    return f"{app}/v1/heatmap?{urlencode(query)}"


def _show(console: Console, app: str, now_ms: int, events: int, program: "subprocess.Popen[bytes]") -> None:
    def idle() -> bool:
        status = _get(f"{app}/v1/status")
        return status is not None and status["idle"]

    with console.status(f"landing and tiling {events:,} events ..."):
        _wait("the tiles", TILED_SECONDS, program, idle)
    url = _map_url(app, now_ms)
    answer = _get(url)
    if answer is None:
        raise IsothermError(f"{url} did not answer")
    grid = np.zeros((answer["grid_h"], answer["grid_w"]), dtype=np.int64)
    for cell in answer["cells"]:
        grid[cell["cell_y"], cell["cell_x"]] = cell["count"]
    heat = picture.shrink(grid, 50, 50)
    console.print()
    if console.is_terminal and console.color_system:
        console.print(picture.in_colour(heat), end="")
    else:
        print(picture.in_characters(heat))
    console.print(
        f"shop/home, mouse moves since {answer['from']}: [bold]{answer['total']:,}[/] events, "
        f"hottest cell {answer['max']:,}",
        highlight=False,
    )
    console.print("\nthe same numbers:", highlight=False)
    print(f"  curl '{url}'")


def _explain(console: Console, app: str, collect: str) -> None:
    rows = (
        ("query API", f"{app}/docs"),
        ("status", f"{app}/v1/status"),
        ("collector", f"{collect}/events/batch"),
    )
    console.print()
    for name, address in rows:
        console.print(f"  {name:<10} {address}", highlight=False)
    console.print("\nCtrl-C stops it; `make demo` again goes on with the same data.", highlight=False)
