"""`isotherm collect`: the collector alone."""

from typing import Annotated

from cyclopts import Parameter

from isotherm.backup.unfinished import refuse_unfinished
from isotherm.cli.checks import check_exposure
from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import Collecting
from isotherm.cli.processes import die_with_parent, fix_port, make_folder, refuse_beside_up, url_of


def command(
    settings: Collecting | None = None,
    *,
    parent: Annotated[int, Parameter(show=False)] = 0,
) -> int:
    """The collector alone: take events over HTTP.

    It answers 202 only when a batch is on disk. Beside it, `isotherm land` moves the log into the lake.

    Example:

    `isotherm collect --data ./data --collect-port 7081`
    """
    if parent:
        die_with_parent(parent)
    chosen = (settings or Collecting()).settings()
    check_exposure(chosen, app=False, collector=True)
    make_folder(chosen.data)
    refuse_unfinished(chosen.data)
    if not parent:
        refuse_beside_up(chosen, "the collector")
    logger = set_up_logs(chosen, "collect")
    chosen = fix_port(chosen, "collect_host", "collect_port")
    if not parent:
        logger.info("serving", url=url_of(chosen.collect_host, chosen.collect_port))

    from isotherm.collect.server import run

    # By name: the collector's workers are processes of their own, and its stage does not know this one.
    run(chosen, files="isotherm.view.sdk:CollectorFiles")
    if not parent:
        logger.info("stopped")
    return 0
