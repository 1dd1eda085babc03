"""`isotherm verify`: rebuild tiles from raw and compare them."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from isotherm.cli.client import require_client_id, require_data, running_app
from isotherm.cli.moments import From, To, optional_hours
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import console, errors, print_json
from isotherm.clock import iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.rollup.buckets import Level

SHOWN: Final = 20
_FINDINGS: Final = ("same", "dirty", "frozen", "different", "unreadable")
_WRONG: Final = ("different", "unreadable")
_TELLING_RATE: Final = 10_000
"""Of fewer events a second, the start took most of the time: that says nothing."""


def command(
    settings: Serving | None = None,
    *,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    start: From = None,
    end: To = None,
    level: Annotated[
        list[Level] | None, Parameter(help="Only this level; may be repeated. [default: all]", negative=())
    ] = None,
    sample: Annotated[
        int | None, Parameter(help="Only so many published buckets, drawn at random. [default: all]")
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed draws the same sample from the same buckets.")] = 0,
    parallel: Annotated[
        int | None, Parameter(help="Threads that read and count. [default: job_threads, else one per core]")
    ] = None,
    json: AsJson = False,
) -> int:
    """Rebuild tiles from raw and compare them cell by cell.

    Counts the lake's rows again with NumPy, independently of the engine that made the tiles, and compares every
    map and every published hash. Through the running app when there is one. Exit code 1 when something differs, or
    when a lake file is damaged or gone: the bucket, the map, the cell and the file are named, and all else is compared.
    Every verdict is kept, so that it is known when the raw events have expired.

    Examples:

    `isotherm verify --data ./data --client shop --from 2026-02-01 --to 2026-02-08`

    `isotherm verify --sample 200 --seed 7 --level day --level week`
    """
    chosen = (settings or Serving()).settings()
    first, last = optional_hours(start, end)
    require_client_id(client)
    if (sample is not None and not 0 <= sample <= 1_000_000) or (parallel is not None and not 1 <= parallel <= 64):
        raise IsothermError("--sample takes 0 to 1,000,000 buckets, --parallel 1 to 64 threads")
    asked: dict[str, Any] = {
        "client_id": client,
        "parallel": parallel,
        "sample": sample,
        "seed": seed,
        "progress": True,
    }
    asked["levels"] = [one.value for one in level] if level else None
    began = time.monotonic()
    with _Verdicts(chosen, first, last, asked) as verdicts:
        report = _watched(verdicts)
    seconds = time.monotonic() - began
    report |= {"seconds": round(seconds, 3), "events_per_second": round(report["events"] / max(seconds, 1e-9))}
    report |= {} if sample is None else {"sample": sample, "seed": seed}
    if json:
        print_json(report)
    else:
        _say(report, of_all=client is None)
    return 1 if any(report[name] for name in _WRONG) else 0


def _watched(verdicts: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Draw the progress while they come; returns their sum, and the first that are wrong."""
    found: Counter[str] = Counter()
    differences: list[dict[str, Any]] = []
    maps = read = 0
    console_ = errors()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), _Events(), TimeRemainingColumn(),
        console=console_, transient=True, disable=not console_.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("comparing", total=None)
        for verdict in verdicts:
            if "finding" not in verdict:
                read = verdict["read"]
                bar.update(task, completed=read, total=verdict["total"])
                continue
            found[verdict["finding"]] += 1
            maps += verdict.get("maps", 0)
            if verdict["finding"] in _WRONG and len(differences) < SHOWN:
                differences.append(verdict)
            bar.update(task, description=f"{verdict['client_id']} {verdict['level']} {verdict['start'][:16]}")
    counts = {name: found[name] for name in _FINDINGS}
    return {"buckets": found.total(), "maps": maps, "events": read, **counts, "differences": differences}


class _Events(ProgressColumn):
    """Events that were read, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        rate = f", {task.speed / 1e6:.1f} M/s" if task.speed else ""
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} events{rate}")


class _Verdicts:
    """Where the verdicts come from: the running app, or the stores opened here."""

    def __init__(self, settings: Settings, start: int | None, end: int | None, asked: dict[str, Any]) -> None:
        self._settings, self._start, self._end, self._asked = settings, start, end, asked
        self._parts: Any = None

    def __enter__(self) -> Iterator[dict[str, Any]]:
        app = running_app(self._settings)
        if app is not None:
            edges = {"from": self._start, "to": self._end}
            asked = {name: None if at is None else iso(at) for name, at in edges.items()}
            return app.steps("/v1/admin/verify", asked | self._asked)
        from isotherm.cli.jobs import verify_job
        from isotherm.cli.roles import Parts

        require_data(self._settings)
        self._parts = Parts(self._settings)
        levels = self._asked["levels"]
        asked: dict[str, Any] = self._asked | {"levels": None if levels is None else [Level(level) for level in levels]}
        return verify_job(self._parts)(start=self._start, end=self._end, **asked)

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            self._parts.__exit__()


def _say(report: dict[str, Any], *, of_all: bool) -> None:
    out = console()
    if not report["buckets"]:
        out.print(f"nothing to compare: no tiles in this range{'' if of_all else ', of this client'}")
        return
    maps = f"{report['maps']:,} maps, every cell"
    out.print(f"the same as the raw events say: {report['same']:,} of {report['buckets']:,} buckets ({maps})")
    if report["events"]:
        rate = report["events_per_second"]
        fast = f", {rate:,} a second" if rate >= _TELLING_RATE else ""
        out.print(f"{report['events']:,} events were counted again in {report['seconds']:.1f} s{fast}")
    if report["dirty"]:
        out.print(f"{report['dirty']:,} wait to be tiled again; run verify once more when they are")
    if report["frozen"]:
        out.print(f"{report['frozen']:,} cannot be compared any more: their raw events have expired")
    for difference in report["differences"]:
        errors().print(f"{difference['finding']}: {in_words(difference)}", markup=False)
    if report["different"]:
        errors().print(
            f"[bold red]{report['different']:,} buckets differ.[/] `isotherm rollup --from --to` builds them again; "
            "please report how it came to this."
        )
    if report["unreadable"]:
        errors().print(
            f"[bold red]{report['unreadable']:,} buckets cannot be compared:[/] lake files are damaged or gone. "
            "Restore them from a backup; the published maps stay as they are."
        )


def in_words(verdict: dict[str, Any]) -> str:
    """One difference for people: which bucket, map and cell."""
    where = f"client {verdict['client_id']}, {verdict['level']} {verdict['start'][:16]}"
    if "screen_id" in verdict:
        where += f", screen {verdict['screen_id']}, {verdict.get('event_type', '')}"
    if "cell_x" in verdict:
        where += f", cell ({verdict['cell_x']}, {verdict['cell_y']})"
        where += f": raw says {verdict['expected']:,}, tiles say {verdict['found']:,}"
    return f"{where}: {verdict['detail']}"
