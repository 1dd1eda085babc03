"""`isotherm restore`: make a deployment of a backup again."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from isotherm.cli.backup import bar
from isotherm.cli.options import AsJson, Stores
from isotherm.cli.output import console, duration, errors, print_json, size
from isotherm.cli.processes import UpLock, make_folder
from isotherm.clock import SystemClock, iso
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.eventlog.port import open_dead_log, open_log
from isotherm.land.store import Checkpoint, no_checkpoint
from isotherm.land.tiers import open_tiers
from isotherm.store.db import open_db, revisions
from isotherm.store.olap import open_olap

if TYPE_CHECKING:
    from isotherm.backup.inventory import Inventory, Named
    from isotherm.backup.restore import Report
    from isotherm.backup.target import Target


def command(
    settings: Stores | None = None,
    *,
    source: Annotated[
        str,
        Parameter(name="--from", help="Where the backups are: what `isotherm backup --to` named.", show_default=False),
    ],
    at: Annotated[
        str | None, Parameter(help="The newest backup begun at this time or before: YYYY-MM-DDTHH:MM[:SS], UTC.")
    ] = None,
    force: Annotated[
        bool,
        Parameter(
            help="Replace what is there, with what it had landed. Records on the log that were not landed yet stay, "
            "and are landed.",
            negative=(),
        ),
    ] = False,
    drill: Annotated[
        bool,
        Parameter(
            help="Restore into a folder that is removed afterwards, start everything there, check the sums and "
            "compare maps with raw events; print how long it took.",
            negative=(),
        ),
    ] = False,
    sample: Annotated[int, Parameter(help="Buckets that a drill compares; 0: all.")] = 200,
    json: AsJson = False,
) -> int:
    """Make a deployment of a backup again, in empty stores.

    The stores are those of the settings, whatever they were when the backup was taken: SQLite or PostgreSQL, a folder
    or a bucket, the embedded log or Kafka. Every object is checked by its hash while it is read. Nothing starts on
    a deployment whose restore is not done; one that was interrupted is finished by the same command, which then
    takes the same backup again, also when there is a newer one. Afterwards `isotherm up` lands what was acknowledged
    and not landed yet.

    With --drill nothing is touched but a temporary folder; exit code 1 when the restored deployment differs from what
    its raw events say.

    Examples:

    `isotherm restore --from file:///mnt/backups --data ./data`

    `isotherm restore --from 's3://backups/shop?endpoint=https://s3.example.com' --at 2026-02-01T03:00 --data ./data`

    `isotherm restore --from file:///mnt/backups --drill`
    """
    from isotherm.backup.target import open_target

    chosen = (settings or Stores()).settings()
    moment = None if at is None else _moment(at)
    if drill:
        from isotherm.cli.rehearsal import rehearse

        return rehearse(source, moment, chosen, sample, json=json)
    make_folder(chosen.data)
    lock = UpLock(chosen.data)
    try:
        target = open_target(source, chosen, make=False, scratch=chosen.data.absolute())
        inventory = target.inventory(chosen_backup(target, moment, chosen.data))
        began = time.monotonic()
        report = restore(target, inventory, chosen, force=force)
    finally:
        lock.close()
    seconds = time.monotonic() - began
    if json:
        print_json(
            {"backup": inventory.id, "begun": iso(inventory.started_at), "seconds": round(seconds, 1)}
            | msgspec.to_builtins(report)
        )
    else:
        _say(inventory, report, seconds, chosen.data)
    return 0


def chosen_backup(target: "Target", at: int | None, data: Path) -> "Named":
    """The newest backup at that time (ms); without one, that whose restore into the folder was interrupted, if any.
    Raises IsothermError when there is none."""
    from isotherm.backup.restore import choose
    from isotherm.backup.unfinished import read_file

    mark = read_file(data) if at is None else None
    for one in target.inventories() if mark else ():
        if mark and one.id == mark.backup:
            errors().print(f"going on with backup {one.id} of {iso(one.started_at)}: its restore was interrupted here")
            return one
    return choose(target, at)


def restore(
    target: "Target",
    inventory: "Inventory",
    settings: Settings,
    *,
    force: bool = False,
    checkpoint: Checkpoint = no_checkpoint,
) -> "Report":
    """Open the stores of the settings and restore into them. Raises IsothermError."""
    from isotherm.backup.restore import Restore, Step
    from isotherm.backup.stores import Stores

    if inventory.schema not in revisions():
        raise IsothermError(
            f"this backup was made by isotherm {inventory.code_version}, which is newer; use that or a newer version"
        )
    with ExitStack() as stack:
        engine = open_db(settings.url("db"), inventory.schema)
        stack.callback(engine.dispose)
        log = open_log(settings, SystemClock())
        stack.callback(log.close)
        dead = open_dead_log(settings, SystemClock())
        stack.callback(dead.close)
        olap = open_olap(settings.url("olap"), settings)
        stack.callback(olap.close)
        stores = Stores(
            settings=settings,
            engine=engine,
            lake=open_tiers(settings),
            olap=olap,
            log=log,
            dead=dead,
            clock=SystemClock(),
        )
        tell = stack.enter_context(bar("restoring"))

        def told(step: Step) -> None:
            tell(step.what, step.done, step.total, step.bytes)

        return Restore(target, inventory, stores, tell=told, checkpoint=checkpoint).run(force=force)


def _moment(text: str) -> int:
    """Milliseconds since the epoch. Raises ConfigError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--at {text}: write a time in UTC as YYYY-MM-DDTHH:MM") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _say(inventory: "Inventory", report: "Report", seconds: float, data: Path) -> None:
    out = console()
    rate = report.bytes / max(seconds, 0.001)
    out.print(
        f"restored backup {inventory.id} of {iso(inventory.started_at)} in {duration(seconds)} ({size(report.bytes)}, "
        f"{size(rate)}/s)"
    )
    out.print(
        f"{report.files:,} lake files, {report.maps:,} maps, {report.rows:,} rows of tables, {report.records:,} "
        "records that are landed after the start"
    )
    if report.retiled:
        out.print(
            f"{report.retiled:,} buckets changed while the backup was taken: they are tiled again after the start"
        )
    if report.forgotten:
        errors().print(
            f"[bold yellow]{report.forgotten:,} records that came after this backup have left the log, and are lost; "
            "restore a newer backup, if there is one[/]"
        )
    out.print(f"start with `isotherm up --data {data}`", markup=False)
