"""`isotherm demo`: start everything, send simulated visitors through the demo shop, show heat, stay up."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, Any, Final
from urllib.parse import quote, urlencode

import numpy as np
from cyclopts import Parameter
from PIL import Image
from rich.console import Console

from isotherm.cli import output, picture
from isotherm.cli.client import AppClient
from isotherm.cli.processes import read_running
from isotherm.cli.sender import Sender
from isotherm.cli.simulate import ERRAND, Run, now, past
from isotherm.cli.simulation.crowd import LEAST_DAYS, Crowd
from isotherm.cli.simulation.layout import read_layout
from isotherm.clock import DAY_MS, HOUR_MS, SystemClock
from isotherm.config import load_settings
from isotherm.errors import IsothermError
from isotherm.events import SIMULATED_SUFFIX, hour_of
from isotherm.view.demo import CLIENT, LAYOUT, PAGES, backgrounds

SIMULATED: Final = f"{CLIENT}{SIMULATED_SUFFIX}"
HOME: Final = PAGES["home"]
START_SECONDS: Final = 60
HEAT_SECONDS: Final = 120
LIVE_RATE: Final = 25.0
"""Events per second while the demo stays up: a few people at a time."""
_QUICK: Final = {"ISOTHERM_LAND_FLUSH_SECONDS": "1", "ISOTHERM_RETILE_MIN_SECONDS": "1"}


@dataclass(frozen=True)
class Up:
    """The process of `isotherm up`, and what it says."""

    program: "subprocess.Popen[bytes]"
    said: IO[bytes]

    def alive(self) -> None:
        """Raise IsothermError when it has ended."""
        if self.program.poll() is not None:
            raise self.ended()

    def ended(self) -> IsothermError:
        """Why it ended, as far as its last lines say."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()[-12:]
        return IsothermError("\n".join(["isotherm up has stopped:", *lines]))

    def wait(self, what: str, seconds: float, ready: Callable[[], bool]) -> None:
        """Poll until it is ready. Raises IsothermError when the program ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.alive()
            if time.monotonic() > deadline:
                raise IsothermError(f"waited {seconds:.0f} s for {what} in vain")
            time.sleep(0.2)


@dataclass(frozen=True)
class Started:
    """The running program and its two doors."""

    up: Up
    app: AppClient
    collect: str


def command(
    *,
    data: Annotated[Path, Parameter(help="Folder that holds everything.")] = Path(".isotherm"),
    port: Annotated[int, Parameter(help="Port of the app; 0: a free one.")] = 7080,
    collect_port: Annotated[int, Parameter(help="Port of the collector; 0: a free one.")] = 7081,
    visitors: Annotated[int, Parameter(help="How many visits of the last days to simulate.")] = 600,
    days: Annotated[float, Parameter(help="Over how many days, at most 29.")] = 8.0,
    once: Annotated[
        bool, Parameter(help="Stop after the map instead of staying up.", negative=(), show_default=False)
    ] = False,
    open_pages: Annotated[
        bool, Parameter(name="--open", negative="--no-open", help="Open both pages, if there is a display.")
    ] = True,
) -> int:
    """Start everything, send simulated visitors through the demo shop, show heat.

    The shop is a made-up one with the browser SDK on it: what you do there is the client `demo`. Its simulated
    visitors are the client `demo-simulated`: a history of some days, then a few at a time until Ctrl-C. The
    dashboard shows both; nothing leaves this machine. `isotherm demo` again goes on with the same data.
    """
    console = output.console()
    begun = time.monotonic()
    with _stoppable(), _started(data, port, collect_port) as system:
        crowd = Crowd(read_layout(LAYOUT), SIMULATED, secrets.randbelow(1 << 32))
        with Sender(system.collect, 60.0, ERRAND) as sender:
            visits = _send(console, system, sender, crowd, visitors, days)
            _show(console, system, days)
            console.print(f"[dim]{visits} after {time.monotonic() - begun:.0f} s[/]")
            _explain(console, system)
            pictures = threading.Thread(target=_upload, args=(console, system.app), daemon=True)
            pictures.start()
            if once:
                pictures.join()
            else:
                if open_pages and _has_display(console):
                    for address in (f"{system.app.url}{HOME}", _map_page(system.app.url, SIMULATED)):
                        webbrowser.open(address)
                _stay(system, sender, crowd)
    return 0


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C and SIGTERM end what is inside, and are no error."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped: everything that was acknowledged is on disk")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _started(data: Path, port: int, collect_port: int) -> Generator[Started]:
    """`isotherm up` as a process of its own, healthy; stopped cleanly at the end. What it says is shown if it fails."""
    arguments = ["up", "--data", str(data), "--port", str(port), "--collect-port", str(collect_port)]
    with tempfile.TemporaryFile() as said:
        # Land and tile quickly: someone is waiting in front of the screen.
        program = subprocess.Popen(
            [sys.executable, "-m", "isotherm", *arguments],
            env=_QUICK | os.environ, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        up = Up(program, said)
        try:
            up.wait("isotherm up to be ready", START_SECONDS, lambda: _doors(data, program) is not None)
            app, collect = _doors(data, program) or ("", "")
            yield Started(up, AppClient(app, load_settings(data=data).token), collect)
        finally:
            if program.poll() is None:
                program.terminate()
            program.wait(timeout=90)
        if program.returncode:
            raise up.ended()


def _doors(data: Path, program: "subprocess.Popen[bytes]") -> tuple[str, str] | None:
    """Addresses of app and collector, once both answer."""
    running = read_running(data)
    if running is None or running.pid != program.pid or not running.ready:
        return None
    return running.app, running.collect


def _send(console: Console, system: Started, sender: Sender, crowd: Crowd, visitors: int, days: float) -> str:
    """Send the history, or what is missing of it since the demo ran last; what was sent, in words."""
    end = SystemClock().now_ms()
    since = begin = int(end - days * DAY_MS)
    if latest := _latest(system.app):
        since = max(begin, latest)
    share = (end - since) / max(end - begin, 1)
    count = round(visitors * share)
    if (end - since) / DAY_MS < LEAST_DAYS or count == 0:
        return "the visitors of last time are still there: heat"
    past(sender, Run(crowd, count, since, end, 0.0))
    return f"{count:,} simulated visits, {sender.answered:,} events, each on disk before its 202: heat"


def _latest(app: AppClient) -> int | None:
    """When the last simulated event was received (ms), None without any."""
    found = app.get_json("/v1/freshness", client_id=SIMULATED)["last_received_at"]
    return None if found is None else int(np.datetime64(found.removesuffix("Z"), "ms").astype(np.int64))


def _upload(console: Console, app: AppClient) -> None:
    """Put the pages' pictures under both clients' maps, where they are not there yet."""
    try:
        for client_id in (SIMULATED, CLIENT):
            there = {row["screen_id"]: row["background"] for row in _screens(app, client_id)}
            for screen_id, file in backgrounds().items():
                with Image.open(file) as image:
                    size = image.size
                held = there.get(screen_id)
                if held is None or (held["w"], held["h"]) != size:
                    content = file.read_bytes()
                    app.put("/v1/background", content, "image/webp", client_id=client_id, screen_id=screen_id)
    except IsothermError as error:
        console.print(f"[yellow]no pictures under the maps:[/] {error}")


def _screens(app: AppClient, client_id: str) -> list[dict[str, Any]]:
    """The client's screens; none for a client that never sent anything."""
    known = {row["client_id"] for row in app.get_json("/v1/clients")["clients"]}
    return app.get_json("/v1/screens", client_id=client_id)["screens"] if client_id in known else []


def _range(days: float) -> dict[str, Any]:
    end = hour_of(SystemClock().now_ms()) + HOUR_MS
    return {"client_id": SIMULATED, "screen_id": HOME, "from": end - round(days * 24) * HOUR_MS, "to": end}


def _show(console: Console, system: Started, days: float) -> None:
    """Wait for the home page's map, and draw it in the terminal."""

    def tiled() -> bool:
        return bool(system.app.get_json("/v1/status")["idle"])

    with console.status("landing and tiling ..."):
        system.up.wait("the maps", HEAT_SECONDS, tiled)
    query = _range(days)
    answer = system.app.get_json("/v1/heatmap", cells="columns", **query)
    grid = np.zeros(answer["grid_h"] * answer["grid_w"], dtype=np.int64)
    grid[answer["cell"]] = answer["count"]
    heat = picture.shrink(grid.reshape(answer["grid_h"], answer["grid_w"]), 50, 50)
    console.print()
    if console.is_terminal and console.color_system:
        console.print(picture.in_colour(heat), end="")
    else:
        print(picture.in_characters(heat))
    console.print(
        f"{HOME} of {SIMULATED}, mouse moves since {answer['from']}: [bold]{answer['total']:,}[/] events, "
        f"hottest cell {answer['max']:,}"
    )
    print(f"the same numbers: curl '{system.app.url}/v1/heatmap?{urlencode(query)}'\n")


def _map_page(app: str, client_id: str) -> str:
    return f"{app}/c/{client_id}/map?screen={quote(HOME, safe='')}"


def _explain(console: Console, system: Started) -> None:
    app = system.app.url
    rows = (
        ("move your mouse here", f"{app}{HOME}"),
        ("and see its heat here", _map_page(app, CLIENT)),
        ("simulated visitors", _map_page(app, SIMULATED)),
        ("collector", f"{system.collect}/events/batch"),
    )
    console.print()
    for name, address in rows:
        console.print(f"  [dim]{name:<22}[/] [bold]{address}[/]")
    console.print()


def _has_display(console: Console) -> bool:
    """Whether somebody sits in front of a screen."""
    seen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return console.is_terminal and sys.stdin.isatty() and seen


def _stay(system: Started, sender: Sender, crowd: Crowd) -> None:
    """A few visitors at a time, until Ctrl-C or until the program ends."""
    print("a few simulated visitors keep coming; Ctrl-C stops everything, `make demo` again goes on with the same data")
    now(sender, Run(crowd, 0, 0, 0, LIVE_RATE), system.up.alive)
