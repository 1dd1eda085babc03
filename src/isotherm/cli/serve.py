"""`isotherm serve`: the query API alone."""

from isotherm.cli.app_ import run_app
from isotherm.cli.options import Serving
from isotherm.cli.processes import refuse_beside_up


def command(settings: Serving | None = None) -> int:
    """The query API alone.

    It reads aggregates; new events appear when some lander and scheduler work on the same stores.

    Example:

    `isotherm serve --data ./data --port 7080`
    """
    chosen = (settings or Serving()).settings()
    refuse_beside_up(chosen, "the query API")
    return run_app(chosen, "serve", with_jobs=False, supervised=False)
