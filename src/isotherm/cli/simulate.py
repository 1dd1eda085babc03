"""`isotherm simulate`: human-like visitors over real HTTP, always labelled as simulated; also a load generator."""

import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from cyclopts import Parameter
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from isotherm.cli.moments import parse_moment
from isotherm.cli.options import AsJson
from isotherm.cli.output import duration, errors, print_json
from isotherm.cli.sender import Errand, Sender
from isotherm.cli.simulation.crowd import LEAST_DAYS, MOST_DAYS, Crowd
from isotherm.cli.simulation.layout import read_layout
from isotherm.clock import DAY_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.events import SIMULATED_SUFFIX, client_id_ok, is_simulated
from isotherm.view.demo import LAYOUT

ERRAND: Final = Errand(
    "",
    "the batch of simulated event {}",
    "Start the collector (`isotherm up`), or give its address with --to.",
    stamped=True,
)
LIVE_RATE: Final = 40.0
_LINE_EVERY_S: Final = 5.0
_SWITCH_S: Final = 0.0005
"""How long one thread may compute while others hold answers that are waiting to be read."""


def command(
    *,
    to: Annotated[str, Parameter(help="Address of the collector.")] = "http://127.0.0.1:7081",
    client: Annotated[str, Parameter(help="Whose data it becomes; must end in -simulated.")] = "demo-simulated",
    visitors: Annotated[int, Parameter(help="Visits of the past to send; 0: none.")] = 1_000,
    days: Annotated[float, Parameter(help="They are spread over so many days before now, at most 29.")] = 7.0,
    rate: Annotated[float, Parameter(help="Events per second; 0: as fast as the collector takes them (live: 40).")] = 0,
    live: Annotated[
        bool, Parameter(help="Then go on with people who are there now, until Ctrl-C.", negative=(), show_default=False)
    ] = False,
    seed: Annotated[int | None, Parameter(help="Same seed and --until: same batches.", show_default=False)] = None,
    until: Annotated[str, Parameter(help="End of the past, RFC 3339. Default: now.", show_default=False)] = "",
    screens: Annotated[
        Path | None, Parameter(help="Layout of your own site (JSON). Default: the demo shop.", show_default=False)
    ] = None,
    patience: Annotated[float, Parameter(help="Seconds to keep trying while the collector is away.")] = 60.0,
    json: AsJson = False,
) -> int:
    """Send human-like visitors to a collector, labelled as simulated.

    Hands move in minimum-jerk strokes whose duration follows Fitts's law, overshoot and correct, rest while eyes
    read, scroll, and click inside real links and buttons; phones flick and tap. Visits follow the site's links and
    come at hours and weekdays as people do. Everything goes through `POST /events/batch` like the browser SDK's
    batches.

    Simulated data cannot be taken for real: the client's id must end in -simulated, which is in every file, row and
    answer and is shown by the dashboard, and batches carry `sdk: isotherm-simulate/VERSION`.

    As a load generator, raise --visitors and leave --rate at 0: the report has events per second and the time
    from request to answer (p50, p95, p99). 429 and 503 are waited out as Retry-After says, and a batch sent twice
    counts once by its batch_id.

    Your own site: --screens FILE, a JSON file such as

    `{"site": "https://shop.example",
    "devices": [{"name": "laptop", "viewport": [1440, 900], "device_pixel_ratio": 2, "touch": false, "share": 1}],
    "starts": {"/": 1},
    "screens": [{"screen_id": "/", "url": "/", "device": "laptop", "document": [1440, 3000],
    "targets": [{"anchor": "#buy", "kind": "button", "box": [600, 400, 180, 48], "weight": 3, "to": "/bag"}]}]}`

    Lengths are CSS pixels of the page, `box` is x, y, width, height; `kind` is link, button, field, text, picture or
    area (areas only name what is under the pointer); `to` is the url of another screen, `jump` a place to scroll to.

    Examples:

    `isotherm simulate --visitors 2000 --days 14`

    `isotherm simulate --live --visitors 0 --rate 200`: two hundred events a second until Ctrl-C

    `isotherm simulate --client load-simulated --visitors 100000 --seed 1`: as fast as it goes
    """
    _check(client, visitors, days, rate, live=live)
    crowd = Crowd(read_layout(screens or LAYOUT), client, secrets.randbelow(1 << 32) if seed is None else seed)
    end = parse_moment(until, "--until") if until else SystemClock().now_ms()
    sys.setswitchinterval(_SWITCH_S)
    run = Run(crowd, visitors, int(end - days * DAY_MS), end, rate)
    interrupted = False
    with Sender(to, patience, ERRAND) as sender:
        started = time.monotonic()
        try:
            past(sender, run)
            if live:
                with _Bar(None, sender) as bar:
                    now(sender, run, lambda: bar.tick(0))
        except KeyboardInterrupt:
            interrupted = not live
        sender.finish()
        seconds = time.monotonic() - started
    found = report(sender, crowd, seconds, interrupted=interrupted)
    print_json(found) if json else _say(found)
    return 130 if interrupted else 0


@dataclass(frozen=True)
class Run:
    """What is to be sent: visits in [since, until] (ms since the epoch) at most at `rate` events/s (0: any)."""

    crowd: Crowd
    visitors: int
    since: int
    until: int
    rate: float


def _check(client: str, visitors: int, days: float, rate: float, *, live: bool) -> None:
    if not client_id_ok(client):
        raise IsothermError(f"--client {client}: a client id is letters, digits, . _ - and at most 64 of them")
    if not is_simulated(client):
        raise IsothermError(
            f"--client {client}: simulated visitors only go to a client whose id ends in {SIMULATED_SUFFIX}, so that "
            f"nobody takes them for people. Try --client {client}{SIMULATED_SUFFIX}"
        )
    if visitors < 0 or rate < 0:
        raise IsothermError("--visitors and --rate cannot be below 0")
    if not LEAST_DAYS <= days <= MOST_DAYS:
        raise IsothermError(
            f"--days {days:g}: give {LEAST_DAYS:.2f} to {MOST_DAYS:g}; collectors reject events older than 30 days"
        )
    if visitors == 0 and not live:
        raise IsothermError("nothing to send: give --visitors, or --live for people who are there now")


def past(sender: Sender, run: Run) -> int:
    """Send the visits of the past, with a progress bar; events sent. Raises IsothermError when sending failed."""
    sent, started = 0, time.monotonic()
    with _Bar(run.visitors, sender) as bar:
        for begun, load in run.crowd.history(run.visitors, run.since, run.until):
            if run.rate and (ahead := sent / run.rate - (time.monotonic() - started)) > 0:
                time.sleep(ahead)
            sender.put(load)
            sent += len(load.lines)
            bar.tick(begun)
    return sent


def now(sender: Sender, run: Run, tick: Callable[[], object]) -> None:
    """Send people who are there now, each batch when it is due; ends by an exception, `tick` may raise one."""
    clock = SystemClock()
    for due, load in run.crowd.live(run.rate or LIVE_RATE, clock.now_ms):
        while (wait := due - clock.now_ms()) > 0:
            time.sleep(min(wait, 250) / 1_000)
            tick()
        sender.put(load)


def report(sender: Sender, crowd: Crowd, seconds: float, *, interrupted: bool) -> dict[str, Any]:
    """What became of the events; latencies are milliseconds from request to answer."""
    times = np.array(sender.seconds) * 1_000
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).round(2).tolist() if len(times) else (0.0, 0.0, 0.0)
    return {
        "client_id": crowd.client_id,
        "seed": crowd.seed,
        "accepted": sender.accepted,
        "rejected": sender.rejected,
        "duplicate": sender.duplicate,
        "reasons": dict(sender.reasons.most_common()),
        "batches": len(times),
        "retries": sender.retries,
        "seconds": round(seconds, 3),
        "events_per_second": round(sender.answered / max(seconds, 1e-9)),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "interrupted": interrupted,
    }


def _say(found: dict[str, Any]) -> None:
    """The report for people."""
    latency = found["latency_ms"]
    if found["interrupted"]:
        print("stopped early; what was sent is complete batch by batch")
    print(
        f"{found['client_id']}: {found['accepted']:,} simulated events accepted in {found['seconds']:.1f} s "
        f"({found['events_per_second']:,}/s, seed {found['seed']})"
    )
    print(f"  rejected   {found['rejected']:>12,}")
    for reason, count in found["reasons"].items():
        print(f"    {reason:<24} {count:,}")
    print(
        f"  duplicates {found['duplicate']:>12,}" + ("  (the same run was sent before)" if found["duplicate"] else "")
    )
    print(f"  batches    {found['batches']:>12,}, {found['retries']:,} sent again")
    print(f"  answers    p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms")


class _Bar:
    """A progress bar on a terminal, a line now and then elsewhere; both on standard error. No total: live."""

    def __init__(self, visitors: int | None, sender: Sender) -> None:
        self._visitors, self._sender = visitors, sender
        self._console = errors()
        self._started = self._said = time.monotonic()
        self._before = sender.answered
        text = TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s")
        whole = (BarColumn(), TaskProgressColumn(), text, TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}"),
            *(whole if visitors is not None else (text,)),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        said = f"{visitors:,} visits" if visitors is not None else "live, Ctrl-C stops"
        self._task = self._bar.add_task(said, total=visitors, events=0, rate=0.0)

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tick(self, begun: int) -> None:
        """Show where we are, at most a few times a second."""
        now = time.monotonic()
        if now - self._said < (0.1 if self._console.is_terminal else _LINE_EVERY_S):
            return
        self._said = now
        elapsed = now - self._started
        events = self._sender.answered - self._before
        self._bar.update(self._task, completed=begun, events=events, rate=events / elapsed)
        if not self._console.is_terminal:
            if self._visitors is None:
                where = "live"
            else:
                left = duration(elapsed * (self._visitors - begun) / begun) if begun else "?"
                where = f"{begun / max(self._visitors, 1):.0%}, {left} left"
            self._console.print(f"{where}: {events:,} events, {events / elapsed:,.0f}/s")
