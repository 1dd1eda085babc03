"""`isotherm land`: the lander alone."""

from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from isotherm.cli.client import require_data
from isotherm.cli.logs import set_up_logs
from isotherm.cli.measure import Measures
from isotherm.cli.options import Landing
from isotherm.cli.output import errors
from isotherm.cli.processes import make_folder, refuse_beside_up
from isotherm.cli.roles import Parts, run_role
from isotherm.errors import Backpressure
from isotherm.land.scan import Scanner


def command(
    settings: Landing | None = None,
    *,
    once: Annotated[
        bool, Parameter(help="Land what is on the log now, then end.", negative=(), show_default=False)
    ] = False,
) -> int:
    """The lander alone: move the log into lake files.

    Every record becomes rows of immutable files, exactly once, also when several landers run or one is killed. With
    `--scan`, records are read from the files of a Kafka Connect sink instead of the log.

    Examples:

    `isotherm land --data ./data --once`

    `isotherm land --log kafka://broker:9092?topic=events --scan s3://bucket/raw`
    """
    chosen = (settings or Landing()).settings()
    if once and chosen.url("log").startswith("lmdb:"):
        require_data(chosen)  # nothing is there to land: the folder's name is mistyped
    make_folder(chosen.data)
    refuse_beside_up(chosen, "the lander")
    logger = set_up_logs(chosen, "land")
    with Parts(chosen) as parts:
        lander = parts.scanner if chosen.scan else parts.lander
        with suppress(Backpressure):
            # The wrong kind of lander for this log is no passing trouble: say so at once.
            _ = lander.log_identity
        if not once:
            return run_role(chosen, logger, lander.run, Measures(parts, log=True, tiles=False))
        if isinstance(lander, Scanner):
            _scan(lander)
        else:
            lander.drain()
    return 0


def _scan(scanner: Scanner) -> None:
    bar = Progress(
        TextColumn("landing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeRemainingColumn(),
        console=errors(),
        transient=True,
    )
    with bar:
        task = bar.add_task("landing", total=None)
        scanner.drain(lambda done, of: bar.update(task, completed=done, total=of))
