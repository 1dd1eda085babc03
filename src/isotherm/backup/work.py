"""Who is at work at a place of backups: those who add objects, and those who remove what no backup names.

Each first puts up a sign and then looks for signs of the other kind, so at least one of two that start at once sees the
other and gives up. A sign is renewed; one that was not for a while belongs to a process that died.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import structlog

from isotherm.backup.target import Target
from isotherm.clock import MINUTE_MS, Clock
from isotherm.errors import IsothermError

ADDING: Final = "adding"
REMOVING: Final = "removing"
DEAD_MS: Final = 60 * MINUTE_MS
"""A sign this old is a dead process's; clocks may differ by half of it."""
_RENEW_S: Final = 300.0


class Busy(IsothermError):
    """Somebody else is at work there, or died less than an hour ago: nothing is wrong, and later it can be done."""


_log = structlog.get_logger("isotherm.backup")


@contextmanager
def adding(target: Target, clock: Clock) -> Generator[None]:
    """Objects are added in the block. Raises Busy while somebody removes some."""
    with _sign(target, clock, ADDING):
        if _living(target, clock, REMOVING):
            raise Busy(f"old backups are being removed from {target.where} just now; start again in a minute")
        yield


@contextmanager
def removing(target: Target, clock: Clock) -> Generator[None]:
    """Objects that no backup names may go in the block. Raises Busy while somebody adds some."""
    with _sign(target, clock, REMOVING):
        if _living(target, clock, ADDING):
            raise Busy(
                f"a backup to {target.where} runs, or one was killed less than an hour ago; what no backup needs is "
                "removed the next time"
            )
        yield


def _living(target: Target, clock: Clock, kind: str) -> bool:
    """Whether there is a fresh sign of this kind; removes those of the dead."""
    now = clock.now_ms()
    found = {path: _written_at(path) for path in target.signs(kind)}
    dead = [path for path, at in found.items() if at < now - DEAD_MS]
    target.remove(dead)
    return len(dead) < len(found)


def _written_at(path: str) -> int:
    stamp = path.rpartition("/")[2].partition("-")[0]
    return int(stamp) if stamp.isdecimal() else 0


@contextmanager
def _sign(target: Target, clock: Clock, kind: str) -> Generator[None]:
    mine = uuid4().hex
    _living(target, clock, kind)

    def put() -> str:
        path = f"{kind}/{clock.now_ms()}-{mine}-{uuid4().hex[:8]}"
        target.put_sign(path)
        return path

    paths = [put()]
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(_RENEW_S):
            try:
                paths.append(put())
                target.remove([paths.pop(0)])
            except IsothermError as error:
                _log.warning("the sign of being at work could not be renewed", problem=str(error))

    thread = threading.Thread(target=renew, name=f"{kind} sign", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        try:
            target.remove(paths)
        except IsothermError as error:
            _log.warning("the sign of being at work stays for an hour", problem=str(error))
