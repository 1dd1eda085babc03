"""`isotherm backup`: keep a copy of everything elsewhere."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from isotherm.cli.client import AppClient, require_data, running_app
from isotherm.cli.logs import set_up_logs
from isotherm.cli.modest import step_back
from isotherm.cli.options import AsJson, Serving
from isotherm.cli.output import console, duration, errors, moment, print_json, size, table
from isotherm.clock import SystemClock, iso
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError

if TYPE_CHECKING:
    from isotherm.backup.inventory import Inventory, Named
    from isotherm.backup.keep import Pruned
    from isotherm.backup.sources import ReadMaps, Sources
    from isotherm.backup.target import Target
    from isotherm.cli.roles import Parts

_MEGABYTE: Final = 1e6
BESIDE_MB_PER_S: Final = 10.0
"""Beside a deployment that runs: 18 GB of new files an hour, and the log's disk has time for those who send."""

To = Annotated[
    str,
    Parameter(
        name="--to",
        help="Where backups are: file:///folder, or s3://bucket/prefix?endpoint=URL&region=NAME.",
        show_default=False,
    ),
]


def command(
    settings: Serving | None = None,
    *,
    to: To,
    listed: Annotated[
        bool, Parameter(name="--list", help="List the backups that are there; take none.", negative=())
    ] = False,
    verify: Annotated[
        bool, Parameter(help="Read every object of every backup again and compare its hash; take none.", negative=())
    ] = False,
    keep: Annotated[
        int | None, Parameter(help="Afterwards remove all but the newest so many backups, and what only they need.")
    ] = None,
    limit_rate: Annotated[
        float | None,
        Parameter(
            help="Read at most so many megabytes a second, so that others come first; what is new is read twice. 0: no "
            "limit, and not at the lowest priority: for a machine that is never idle. Without `isotherm up` beside it, "
            f"and with --verify, there is no limit. [default: {BESIDE_MB_PER_S:g}]"
        ),
    ] = None,
    json: AsJson = False,
) -> int:
    """Take a backup of everything while it runs: tables, lake, maps, and what waits on the log.

    Only what is not there yet is copied. A backup is there once it is complete; one that was interrupted leaves
    nothing but a good start for the next. Runs at the lowest priority, beside `isotherm up` or without it. With
    --list or --verify nothing is taken; exit code 1 when an object or an inventory is missing or damaged.

    Examples:

    `isotherm backup --data ./data --to file:///mnt/backups --keep 48`: every hour, from cron or a timer

    `isotherm backup --to 's3://backups/shop?endpoint=https://s3.example.com' --limit-rate 50`

    `isotherm backup --to file:///mnt/backups --verify`
    """
    from isotherm.backup.flow import Rate
    from isotherm.backup.keep import ahead
    from isotherm.backup.target import open_target
    from isotherm.backup.work import Busy

    if keep is not None and keep < 1:
        raise ConfigError("--keep: at least one backup is kept")
    if limit_rate is not None and limit_rate < 0:
        raise ConfigError("--limit-rate: megabytes a second, or 0 for no limit")
    chosen = (settings or Serving()).settings()
    # The work's own log would stand between the lines of standard output.
    set_up_logs(chosen.model_copy(update={"log_level": "warning"}), "backup")
    taking = not (listed or verify)
    if limit_rate is None and taking and running_app(chosen) is not None:
        limit_rate = BESIDE_MB_PER_S
    rate = Rate(limit_rate * _MEGABYTE if limit_rate else None)
    if taking:
        require_data(chosen)
    scratch = chosen.data.absolute() if chosen.data.is_dir() else None
    target = open_target(to, chosen, make=taking, rate=rate, scratch=scratch)
    if verify:
        return _verify(target, json=json)
    if listed:
        return _list(target, json=json)
    if limit_rate != 0:
        step_back()
    inventory = _take(chosen, target)
    pruned, refused = _prune(target, keep)
    if json:
        print_json(
            {name: value for name, value in msgspec.to_builtins(inventory).items() if name not in ("lists", "settings")}
            | {"removed_backups": pruned.backups if pruned else 0, "removed_bytes": pruned.bytes if pruned else 0}
        )
    else:
        _say(inventory, pruned, target)
    if keep is None and (wrong := ahead(target.inventories(), SystemClock().now_ms())):
        errors().print(wrong, style="bold yellow", markup=False)
    if isinstance(refused, Busy):
        errors().print(f"older backups stay for now: {refused}", markup=False)
    elif refused is not None:
        raise refused
    return 0


def _prune(target: "Target", keep: int | None) -> "tuple[Pruned | None, IsothermError | None]":
    """What was removed; or why not, which is said when the backup, which is there, has been told of."""
    from isotherm.backup.keep import prune

    if keep is None:
        return None, None
    try:
        return prune(target, keep, SystemClock()), None
    except IsothermError as error:
        return None, error


def _take(settings: Settings, target: "Target") -> Any:
    from isotherm.backup.take import take
    from isotherm.cli.roles import Parts

    with Parts(settings) as parts, bar("backing up") as tell:
        return take(
            sources_of(parts), target, tell=lambda step: tell(step.what, step.done, step.total, step.copied_bytes)
        )


def sources_of(parts: "Parts") -> "Sources":
    """The stores of a deployment, whether it runs or not."""
    from isotherm.backup.sources import Sources

    return Sources(
        settings=parts.settings,
        engine=parts.engine,
        lake=parts.lake,
        manifest=parts.manifest,
        log=parts.log,
        maps=_maps_of(parts),
        clock=parts.clock,
        dead=parts.dead_log,
        scratch=parts.settings.data.absolute(),
    )


def _maps_of(parts: "Parts") -> "ReadMaps":
    """Maps from the tile store, or from the running app, which alone may open a chDB folder."""
    from isotherm.rollup.buckets import Bucket
    from isotherm.rollup.copies import Page, read_maps

    app = running_app(parts.settings) if parts.settings.url("olap").startswith("chdb:") else None

    def from_store(bucket: Bucket, page: Page) -> Any:
        return read_maps(parts.olap, bucket, page)

    def from_app(bucket: Bucket, page: Page) -> Any:
        assert app is not None
        return ask_maps(app, bucket, page)

    return from_store if app is None else from_app


def ask_maps(app: AppClient, bucket: Any, page: Any) -> Any:
    """`isotherm.rollup.copies.read_maps` by the app."""
    import pyarrow as pa

    from isotherm.serve.negotiate import ARROW

    clients, part, parts = page
    raw = app.get(
        "/v1/admin/maps",
        accept=ARROW,
        level=bucket.level.value,
        start=iso(bucket.start),
        client_id=list(clients),
        page=part,
        pages=parts,
    )
    return pa.ipc.open_stream(pa.py_buffer(raw)).read_all()


@contextmanager
def bar(title: str) -> "Generator[Any]":
    """A progress bar on standard error; yields `tell(what, done, total, bytes)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    out = errors()
    made = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[moved]}"),
        TimeElapsedColumn(), console=out, transient=True, disable=not out.is_terminal,
    )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(made)
        task = made.add_task(title, total=None, moved="")

        def tell(what: str, done: int, total: int, moved: int) -> None:
            made.update(task, description=f"{title}: {what}", completed=done, total=total or None, moved=size(moved))

        yield tell


def _say(inventory: Any, pruned: Any, target: "Target") -> None:
    out = console()
    took = (inventory.finished_at - inventory.started_at) / 1000
    out.print(
        f"backed up to {target.where} in {duration(took)}: {inventory.objects:,} objects, {size(inventory.bytes)}, of "
        f"which {inventory.copied_objects:,} ({size(inventory.copied_bytes)}) were new",
        markup=False,
    )
    waiting = "" if inventory.log is None else f", {inventory.log.records:,} records that were not landed yet"
    out.print(f"{inventory.events:,} events in the lake{waiting}; backup {inventory.id} of {iso(inventory.started_at)}")
    if inventory.log is not None and inventory.log.lost:
        errors().print(f"[bold yellow]{inventory.log.lost:,} records were gone from the log before they were landed[/]")
    if pruned is not None:
        out.print(f"removed {pruned.backups:,} older backups and {pruned.objects:,} objects ({size(pruned.bytes)})")


def _list(target: "Target", *, json: bool) -> int:
    found, problems = _inventories(target)
    if json:
        print_json([{name: v for name, v in msgspec.to_builtins(one).items() if name != "lists"} for one in found])
    elif found:
        console().print(_table(found))
    elif not problems:
        console().print(f"{target.where} holds no complete backup", markup=False)
    for problem in problems:
        errors().print(problem, markup=False)
    return 1 if problems else 0


def _inventories(target: "Target") -> "tuple[list[Inventory], list[str]]":
    """What can be read, and what is wrong with the others but those that were pruned meanwhile."""
    from isotherm.backup.inventory import Damaged

    found: list[Inventory] = []
    problems: dict[Named, str] = {}
    for one in target.inventories():
        try:
            found.append(target.inventory(one))
        except Damaged as error:
            problems[one] = str(error)
    there = set(target.inventories()) if problems else set[Any]()
    return found, [problem for one, problem in problems.items() if one in there]


def _table(found: "list[Inventory]") -> Any:
    rows = [
        (
            moment(one.started_at),
            one.id,
            moment(None if one.log is None else one.log.newest_at),
            one.events,
            one.objects,
            size(one.bytes),
            size(one.copied_bytes),
            one.code_version,
        )
        for one in found
    ]
    columns = ("begun (UTC)", "backup", "newest event received", "events", "objects", "size", "new then", "version")
    return table(columns, rows)


def _verify(target: "Target", *, json: bool) -> int:
    from isotherm.backup.keep import verify

    chosen = target.inventories()
    with bar("reading") as tell:
        found = verify(target, chosen, lambda done, total, moved: tell("objects", done, total, moved))
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        for problem in found.problems:
            errors().print(problem, markup=False)
        out = console()
        if not chosen:
            out.print(f"{target.where} holds no complete backup", markup=False)
        elif found.problems:
            errors().print(
                f"[bold red]{len(found.problems):,} problems.[/] Backups that need these objects cannot be restored. "
                "Remove the damaged objects and take a backup: what the sources still have is copied again."
            )
        else:
            out.print(f"{found.backups:,} backups, {found.objects:,} objects, {size(found.bytes)}: every hash is right")
    return 1 if found.problems else 0
