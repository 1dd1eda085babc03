"""The lease that keeps the lake's files while they are copied."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic

import structlog
from sqlalchemy.exc import SQLAlchemyError

from isotherm.backup.sources import Sources
from isotherm.errors import IsothermError
from isotherm.land.manifest import LEASE_MS, Snapshot
from isotherm.store.db import writing

_log = structlog.get_logger("isotherm.backup")


class Lease:
    """Keeps the lake's files of a snapshot, however long the copy takes; from a thread of its own."""

    def __init__(self, sources: Sources, snapshot: Snapshot) -> None:
        self._sources = sources
        self._snapshot = snapshot
        self._kept_until = monotonic() + LEASE_MS / 1000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backup lease", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LEASE_MS / 6000):
            try:
                self._sources.manifest.renew(self._snapshot)
                self._kept_until = monotonic() + LEASE_MS / 1000
            except (IsothermError, SQLAlchemyError) as error:
                _log.warning("the lease on the lake's files could not be renewed", problem=str(error))

    def hold(self) -> None:
        """Raises IsothermError once the lease has run out: files may be gone."""
        if monotonic() > self._kept_until:
            raise IsothermError("the lease on the lake's files ran out, since the database did not answer; start again")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def leased(sources: Sources) -> Generator[Lease]:
    """Nothing that a later transaction finds listed is deleted while the block runs."""
    with writing(sources.engine) as connection:
        snapshot = sources.manifest.take(connection, client_ids=[])
    lease = Lease(sources, snapshot)
    try:
        yield lease
    finally:
        lease.close()
        sources.manifest.release(snapshot)
