"""A sink's files that could not be landed: those that wait until they change, and those that are tried again."""

from collections.abc import Collection, Sequence

import structlog
from msgspec import Struct

from isotherm.clock import Clock
from isotherm.errors import IsothermError
from isotherm.land.lake import Found
from isotherm.land.scan_source import Source

_log = structlog.get_logger("isotherm.land")


class Waiting(Struct, frozen=True):
    """A file that cannot be landed as it is now; `since` (ms) it was found so.

    It is read again once it changes, or with each scan where the fault may lie outside it.
    """

    path: str
    mark: str
    reason: str
    since: int


class NotLanded(IsothermError):
    """Some files could not be landed; the message names the first."""


class Waits:
    """The files of one source, by path."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._waiting: dict[str, Waiting] = {}
        self._failing: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._failing) + len(self._waiting)

    def all(self) -> list[Waiting]:
        """Those that failed first, then those that wait."""
        return [*self._failing.values(), *self._waiting.values()]

    def waits(self, found: Found) -> bool:
        """Whether the file is as it was when it could not be landed."""
        known = self._waiting.get(found.path)
        return known is not None and known.mark == found.mark

    def wait(self, found: Found, reason: str) -> None:
        """Leave the file alone until it changes."""
        self._waiting[found.path] = Waiting(found.path, found.mark, reason, self._clock.now_ms())
        _log.warning("a file waits", file=self._source.where(found.path), reason=reason)

    def fail(self, found: Found, error: Exception) -> NotLanded:
        """Try the file again with the next scan, after all others. Returns the error to raise when those were tried."""
        reason = str(error) if isinstance(error, IsothermError) else f"{type(error).__name__}: {error}"
        before = self._failing.pop(found.path, None)
        since = self._clock.now_ms() if before is None else before.since
        self._failing[found.path] = Waiting(found.path, found.mark, reason, since)
        made = NotLanded(f"{self._source.where(found.path)} is not landed: {reason}")
        made.__cause__ = error
        return made

    def read(self, path: str) -> None:
        """The file is read again: whatever was known of it is out of date."""
        self._waiting.pop(path, None)

    def done(self, path: str) -> None:
        """The file did not fail this time."""
        self._failing.pop(path, None)

    def in_turn(self, there: Collection[str], todo: Sequence[Found]) -> list[Found]:
        """`todo` with those last that failed, the one tried longest ago first; forgets what is not `there` or due."""
        due = {found.path for found in todo}
        self._waiting = {path: one for path, one in self._waiting.items() if path in there}
        self._failing = {path: one for path, one in self._failing.items() if path in due}
        tried = {path: place for place, path in enumerate(self._failing, 1)}
        return sorted(todo, key=lambda found: tried.get(found.path, 0))
