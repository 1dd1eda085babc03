"""Of several processes that could count, one does.

Two that count the same records write the same values, so an overlap of two leaders does no harm: a count that is
behind is made good by the next one. The lease only saves work. In a cache of its own every process counts for itself.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy.engine import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from isotherm.clock import Clock
from isotherm.rollup.leases import Busy, Lease, lease
from isotherm.store.db import reading

NAME: Final = "stream"
LOOK_S: Final = 5.0
_WAIT_S: Final = 2.0

Still = Callable[[], bool]
_log = structlog.get_logger("isotherm.stream")


def as_leader(
    stop: threading.Event,
    database: Database,
    clock: Clock,
    *,
    shared: bool,
    work: Callable[[Still], None],
    standby: Callable[[], None],
) -> None:
    """Run `work(still)` again and again until `stop`, while this process leads; `still` says whether it does.

    `standby` is called when another leads. Raises what `work` raises.
    """
    while not stop.is_set():
        if not shared:
            work(lambda: not stop.is_set())
            continue
        try:
            with lease(database, clock, NAME) as mine:
                work(_Still(stop, database, mine))
        except Busy:
            standby()
            stop.wait(_WAIT_S)


class _Still:
    """Looks into the database every few seconds."""

    def __init__(self, stop: threading.Event, database: Database, mine: Lease) -> None:
        self._stop = stop
        self._database = database
        self._lease = mine
        self._due = time.monotonic() + LOOK_S
        self._held = True

    def __call__(self) -> bool:
        if self._held and time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_S
            with suppress(SQLAlchemyError), reading(self._database) as connection:
                # A store that does not answer now is no reason to stop: two leaders do no harm.
                self._held = self._lease.held(connection)
            if not self._held:
                _log.warning("another process took over the live windows")
        return self._held and not self._stop.is_set()
