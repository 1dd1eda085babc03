"""`isotherm stream`: the live windows alone."""

from typing import Annotated

from cyclopts import Parameter

from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import Streaming
from isotherm.cli.processes import make_folder, refuse_beside_up
from isotherm.cli.roles import Parts, run_role
from isotherm.errors import ConfigError
from isotherm.rollup.windows.port import is_shared


def command(
    settings: Streaming | None = None,
    *,
    restart: Annotated[
        bool,
        Parameter(
            help="First stop the running Flink job with a savepoint and start it from there.",
            negative=(),
            show_default=False,
        ),
    ] = False,
) -> int:
    """The live windows alone: count events per minute, five minutes and hour while they come.

    The built-in engine reads the event log; with `stream = flink://host:port` a job on Flink counts, which is
    submitted, found again, and started from its savepoint when it changed. Windows go to the cache, where
    GET /v1/live/windows finds them. Several may run: one counts, the others stand by.

    Examples:

    `isotherm stream --cache redis://127.0.0.1:6379/0`

    `isotherm stream --engine flink --stream flink://127.0.0.1:8083 --log kafka://127.0.0.1:9092 --cache redis://...`
    """
    chosen = (settings or Streaming()).settings()
    if not is_shared(chosen):
        raise ConfigError(
            "cache: memory:// lives in one process, so nobody would see the windows of this one. Set `cache` to "
            "redis://host:port/0, or run `isotherm up`, which counts and answers in one process."
        )
    make_folder(chosen.data)
    refuse_beside_up(chosen, "the live windows")
    logger = set_up_logs(chosen, "stream")
    with Parts(chosen) as parts:
        stream = parts.stream
        if restart:
            logger.info("restart", done=stream.restart())
        return run_role(chosen, logger, stream.run)
