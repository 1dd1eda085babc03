"""`isotherm lake ls|compare|cat|find`: the raw lake."""

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import App, Parameter

from isotherm.cli.client import require_client_id, require_data
from isotherm.cli.find import command as find
from isotherm.cli.moments import From, To, optional_hours
from isotherm.cli.options import AsJson, Stores
from isotherm.cli.output import console, errors, hour, moment, print_json, size, table
from isotherm.clock import SystemClock, iso
from isotherm.config import Settings
from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.land.tiers import open_tiers
from isotherm.store.db import open_db

app: Final = App(
    name="lake",
    help="""The raw lake: list files, compare formats, print rows, find events.

    The manifest is the lake: a file that is not listed there is not part of it.
    """,
    help_epilogue="",
)

app.command(find, name="find", help_epilogue="")

Client = Annotated[str | None, Parameter(help="Only this client.")]
FileFormat = Annotated[Literal["parquet", "jsonl"] | None, Parameter(help="Only files of this format.")]


@contextmanager
def _opened(settings: Settings) -> Generator[tuple[Lake, Manifest]]:
    require_data(settings)
    engine = open_db(settings.url("db"))
    try:
        yield open_tiers(settings), Manifest(engine, SystemClock(), settings.land_formats[0])
    finally:
        engine.dispose()


def _clients(client: str | None) -> list[str] | None:
    require_client_id(client)
    return None if client is None else [client]


@app.command
def ls(
    settings: Stores | None = None,
    *,
    client: Client = None,
    start: From = None,
    end: To = None,
    format: FileFormat = None,  # noqa: A002
    json: AsJson = False,
) -> int:
    """List the files with their hour, rows and sizes."""
    clients, (first, last) = _clients(client), optional_hours(start, end)
    with _opened((settings or Stores()).settings()) as (lake, manifest):
        files = manifest.listed(start=first, end=last, client_ids=clients, format=format)
    if json:
        print_json(msgspec.to_builtins(files))
    elif not files:
        console().print("no file in this range: nothing has been landed yet, or --client, --from and --to miss it")
    else:
        _list(files, lake)
    return 0


def _list(files: list[LakeFile], lake: Lake) -> None:
    rows = sum(f.rows for f in files)
    octets = sum(f.bytes for f in files)
    out = console()
    out.print(
        table(
            ("hour", "client", "rows", "size", "first event", "last event", "path"),
            [
                (hour(f.hour), f.client_id, f.rows, size(f.bytes), moment(f.min_time), moment(f.max_time), f.path)
                for f in files
            ],
        )
    )
    out.print(f"\n{len(files):,} files, {rows:,} rows, {size(octets)} ({octets / max(rows, 1):.1f} bytes a row)")
    out.print(f"below {lake.where('')}", markup=False)


@app.command
def compare(
    settings: Stores | None = None,
    *,
    client: Client = None,
    start: From = None,
    end: To = None,
    json: AsJson = False,
) -> int:
    """Compare JSONL against Parquet row by row; exit code 1 when they differ.

    For lakes landed in both formats: `land_formats = parquet,jsonl`.
    """
    from isotherm.land.compare import compare as compare_formats

    clients, (first, last) = _clients(client), optional_hours(start, end)
    with _opened((settings or Stores()).settings()) as (lake, manifest):
        report = compare_formats(lake, manifest, start=first, end=last, client_ids=clients)
    if json:
        print_json(msgspec.to_builtins(report))
        return 1 if report.differing else 0
    out = console()
    for client_id, at, only in report.single:
        out.print(f"{hour(at)} {client_id}: landed as {only} only", markup=False)
    for difference in report.differences:
        errors().print(str(difference), markup=False)
    if report.differing:
        errors().print(f"[bold red]{report.differing:,} rows differ[/] (the first {len(report.differences)} are above)")
        return 1
    if report.hours:
        out.print(f"no difference: {report.rows:,} rows in {report.hours:,} hours hold the same values in both formats")
    else:
        out.print("nothing to compare: no hour was landed in both formats (land_formats = parquet,jsonl)")
    return 0


@app.command
def cat(
    settings: Stores | None = None,
    *,
    client: Client = None,
    start: From = None,
    end: To = None,
    format: FileFormat = None,  # noqa: A002
    limit: Annotated[int, Parameter(help="Print at most so many rows; 0: all.")] = 20,
    json: Annotated[
        bool, Parameter(name="--json", help="One JSON object per line.", negative=(), show_default=False)
    ] = False,
) -> int:
    """Print rows, as a table for people or as JSON lines."""
    clients, (first, last) = _clients(client), optional_hours(start, end)
    shown = 0
    with (
        _opened((settings or Stores()).settings()) as (lake, manifest),
        manifest.snapshot(start=first, end=last, client_ids=clients, format=format, raw_only=None) as snapshot,
    ):
        total = sum(f.rows for f in snapshot.files)
        for part in _tables(lake, snapshot.files, limit):
            _print_rows(part, as_json=json)
            shown += part.num_rows
    if not json and shown < total:
        errors().print(f"{shown:,} of {total:,} rows; --limit 0 prints all, --json as JSON lines")
    if not json and not total:
        console().print("no rows in this range")
    return 0


def _tables(lake: Lake, files: list[LakeFile], limit: int) -> Iterator[Any]:
    from isotherm.land.write import read_pieces

    left = limit if limit > 0 else None
    for file in files:
        for found in read_pieces(lake, file, _PIECE_ROWS if left is None else min(left, _PIECE_ROWS)):
            part = found if left is None else found.slice(0, left)
            left = None if left is None else left - part.num_rows
            yield part
            if left == 0:
                return


_PIECE_ROWS: Final = 100_000
_COLUMNS: Final = ("client_id", "screen_id", "event_time", "event_type", "x_norm", "y_norm", "anchor", "attrs")


def _print_rows(part: Any, *, as_json: bool) -> None:
    if as_json:
        for row in _for_people(part.to_pylist()):
            kept = {name: value for name, value in row.items() if value is not None}
            sys.stdout.write(msgspec.json.encode(kept).decode() + "\n")
        return
    rows = _for_people(part.select(_COLUMNS).to_pylist())
    console().print(table(_COLUMNS, [[str(v) if v is not None else "" for v in row.values()] for row in rows]))


def _for_people(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times as RFC 3339."""
    for row in rows:
        for name in ("event_time", "client_time", "received_at"):
            if row.get(name) is not None:
                row[name] = iso(round(row[name].timestamp() * 1000))
    return rows
