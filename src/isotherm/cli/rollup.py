"""`isotherm rollup`: the tile scheduler alone, or a backfill of a range."""

import itertools
import threading
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from isotherm.cli.client import require_client_id, running_app
from isotherm.cli.logs import set_up_logs
from isotherm.cli.moments import From, To, hour_edge
from isotherm.cli.options import AsJson, Tiling
from isotherm.cli.output import errors, print_json
from isotherm.cli.processes import make_folder, refuse_beside_up
from isotherm.clock import iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.rollup.buckets import Level


def command(
    settings: Tiling | None = None,
    *,
    start: From = None,
    end: To = None,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    level: Annotated[Level | None, Parameter(help="Only this level.")] = None,
    json: AsJson = False,
) -> int:
    """The tile scheduler alone, or a backfill with --from and --to.

    Without a range: keep tiles fresh until stopped. With a range: tile it again from the raw lake, hours first,
    then days, then weeks, and end. Interrupting a backfill leaves whole maps; the bucket it was at is done again.
    When `isotherm up` runs on the data folder, it does the backfill.

    Examples:

    `isotherm rollup --data ./data --from 2026-02-01 --to 2026-03-01`

    `isotherm rollup --from 2026-02-02T10:00 --to 2026-02-02T12:00 --client shop --level hour`

    `isotherm rollup --engine spark://spark.internal:7077 --from 2026-02-01 --to 2026-03-01`
    """
    chosen = (settings or Tiling()).settings()
    if start is None and end is None:
        if client is not None or level is not None:
            raise IsothermError("--client and --level choose what to backfill; say which range with --from and --to")
        return _scheduler(chosen)
    if start is None or end is None:
        raise IsothermError("a backfill needs both --from and --to")
    first, last = hour_edge(start, "--from"), hour_edge(end, "--to")
    if first >= last:
        raise IsothermError(f"--to {end} must lie after --from {start}")
    if settings is not None and settings.engine is not None and running_app(chosen) is not None:
        raise IsothermError(
            "isotherm runs on this data folder and tiles with the engine of its own settings; stop it first, or leave "
            "--engine away"
        )
    require_client_id(client)
    with _steps(chosen, first, last, client, level) as steps:
        done, busy = _show(steps)
    if json:
        print_json({"buckets": done, "busy": busy})
    else:
        print(
            f"tiled again: {done - busy:,} buckets" if done else "nothing to tile: the lake has no events in this range"
        )
        if busy:
            print(f"{busy:,} more were in another job's hands; that job or the scheduler finishes them")
    return 0


def _scheduler(settings: Settings) -> int:
    from isotherm.cli.jobs import nightly
    from isotherm.cli.measure import Measures
    from isotherm.cli.roles import STOP_SECONDS, Parts, run_role

    make_folder(settings.data)
    refuse_beside_up(settings, "the scheduler")
    logger = set_up_logs(settings, "rollup")
    with Parts(settings) as parts:
        scheduler, sample = parts.scheduler, nightly(parts)

        def run(stop: threading.Event) -> None:
            beside = threading.Thread(target=sample.run, args=(stop,), name="verify")
            beside.start()
            try:
                scheduler.run(stop)
            finally:
                stop.set()
                beside.join(STOP_SECONDS)

        return run_role(settings, logger, run, Measures(parts, log=False, tiles=True))


class _steps:  # noqa: N801 - used as a function that gives a context
    """The backfill's steps: by the running app, or here."""

    def __init__(self, settings: Settings, start: int, end: int, client: str | None, level: Level | None) -> None:
        self._settings, self._start, self._end, self._client, self._level = settings, start, end, client, level
        self._parts: Any = None

    def __enter__(self) -> Iterator[dict[str, Any]]:
        app = running_app(self._settings)
        if app is not None:
            asked = {"from": iso(self._start), "to": iso(self._end), "client_id": self._client, "level": self._level}
            return app.steps("/v1/admin/rollup", asked)
        from isotherm.cli.client import require_data
        from isotherm.cli.jobs import backfill_job
        from isotherm.cli.roles import Parts

        require_data(self._settings)
        self._parts = Parts(self._settings)
        job = backfill_job(self._parts)
        return job(start=self._start, end=self._end, client_id=self._client, level=self._level)

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            self._parts.__exit__()


def _show(steps: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Draw the progress; returns the buckets, and how many of them another job had in hand."""
    done = busy = 0
    first = next(steps, None)
    if first is None:
        return done, busy
    console = errors()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("tiling", total=first["total"])
        for step in itertools.chain([first], steps):
            done, busy = step["done"], busy + step["busy"]
            where = f"{step['level']} {step['start'][:16]}"
            bar.update(task, completed=done, total=step["total"], description=where)
    return done, busy
