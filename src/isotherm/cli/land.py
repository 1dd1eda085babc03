"""`isotherm land`: the lander alone."""

from typing import Annotated

from cyclopts import Parameter

from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import Landing
from isotherm.cli.processes import make_folder, refuse_beside_up
from isotherm.cli.roles import Parts, run_role


def command(
    settings: Landing | None = None,
    *,
    once: Annotated[
        bool, Parameter(help="Land what is on the log now, then end.", negative=(), show_default=False)
    ] = False,
) -> int:
    """The lander alone: move the log into lake files.

    Every record becomes rows of immutable files, exactly once, also when several landers run or one is killed.

    Example:

    `isotherm land --data ./data --once`
    """
    chosen = (settings or Landing()).settings()
    make_folder(chosen.data)
    refuse_beside_up(chosen, "the lander")
    logger = set_up_logs(chosen, "land")
    with Parts(chosen) as parts:
        if once:
            parts.lander.drain()
            return 0
        return run_role(chosen, logger, parts.lander.run)
