"""`isotherm verify`: rebuild tiles from raw and compare them."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter

from isotherm.cli.client import require_data, running_app
from isotherm.cli.moments import From, To, optional_hours
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import console, errors, print_json
from isotherm.clock import iso
from isotherm.config import Settings

SHOWN: Final = 20


def command(
    settings: Serving | None = None,
    *,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    start: From = None,
    end: To = None,
    json: AsJson = False,
) -> int:
    """Rebuild tiles from raw and compare them cell by cell.

    Counts the lake's rows again with NumPy, independently of the engine that made the tiles, and compares every
    map and every published hash. Through the running app when there is one. Exit code 1 and the first difference
    when something differs.

    Example:

    `isotherm verify --data ./data --client shop --from 2026-02-01 --to 2026-02-08`
    """
    chosen = (settings or Serving()).settings()
    first, last = optional_hours(start, end)
    console_ = errors()
    found: Counter[str] = Counter()
    differences: list[dict[str, Any]] = []
    maps = 0
    with _Verdicts(chosen, client, first, last) as verdicts, console_.status("comparing ...") as spinner:
        for verdict in verdicts:
            found[verdict["finding"]] += 1
            maps += verdict.get("maps", 0)
            if verdict["finding"] == "different":
                differences.append(verdict)
            spinner.update(f"{verdict['client_id']} {verdict['level']} {verdict['start'][:16]}: {maps:,} maps compared")
    report = {
        "buckets": found.total(),
        "maps": maps,
        **{name: found[name] for name in ("same", "dirty", "frozen", "different")},
        "differences": differences[:SHOWN],
    }
    if json:
        print_json(report)
    else:
        _say(report)
    return 1 if differences else 0


class _Verdicts:
    """Where the verdicts come from: the running app, or the stores opened here."""

    def __init__(self, settings: Settings, client: str | None, start: int | None, end: int | None) -> None:
        self._settings, self._client, self._start, self._end = settings, client, start, end
        self._parts: Any = None

    def __enter__(self) -> Iterator[dict[str, Any]]:
        app = running_app(self._settings)
        if app is not None:
            edges = {"from": self._start, "to": self._end}
            asked = {name: None if at is None else iso(at) for name, at in edges.items()}
            return app.steps("/v1/admin/verify", {**asked, "client_id": self._client})
        from isotherm.cli.jobs import verify_job
        from isotherm.cli.roles import Parts

        require_data(self._settings)
        self._parts = Parts(self._settings)
        return verify_job(self._parts)(start=self._start, end=self._end, client_id=self._client)

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            self._parts.__exit__()


def _say(report: dict[str, Any]) -> None:
    out = console()
    if not report["buckets"]:
        out.print("nothing to compare: no tiles in this range yet")
        return
    out.print(f"{report['same']:,} buckets are the same as the raw events say, {report['maps']:,} maps, every cell")
    if report["dirty"]:
        out.print(f"{report['dirty']:,} wait to be tiled again; run verify once more when they are")
    if report["frozen"]:
        out.print(f"{report['frozen']:,} cannot be compared any more: their raw events have expired")
    for difference in report["differences"]:
        errors().print(f"different: {in_words(difference)}", markup=False)
    if report["different"]:
        errors().print(
            f"[bold red]{report['different']:,} buckets differ.[/] `isotherm rollup --from --to` builds them again; "
            "please report how it came to this."
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
