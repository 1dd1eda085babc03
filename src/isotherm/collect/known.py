"""Ids of batches that were appended to a log which keeps none: a sender that comes again is told at the door.

It only saves work. What the cache has forgotten, or was never told, is appended twice and landed once.
"""

from collections.abc import Sequence
from typing import Final

from isotherm.clock import DAY_MS
from isotherm.eventlog.port import EventLog, Record
from isotherm.store.cache import Cache

KEPT_MS: Final = DAY_MS


class KnownIds:
    """The ids of one log in the cache, asked and told by the group of records."""

    def __init__(self, log: EventLog, cache: Cache) -> None:
        self._log = log
        self._cache = cache

    def known(self, records: Sequence[Record]) -> list[bool]:
        """Whether each record's id was appended in the last day, as far as the cache knows.

        Raises Backpressure while the log cannot say which one it is.
        """
        prefix = self._prefix()
        asked = [prefix + record.id.hex() for record in records if record.id is not None]
        found = iter(self._cache.known(asked) if asked else ())
        return [record.id is not None and next(found) for record in records]

    def remember(self, records: Sequence[Record]) -> None:
        """These are on the log now."""
        prefix = self._prefix()
        self._cache.put({prefix + record.id.hex(): b"" for record in records if record.id is not None}, KEPT_MS)

    def _prefix(self) -> str:
        # A log that is made anew holds nothing of what the old one held.
        return f"id:{self._log.identity}:"

    def close(self) -> None:
        self._cache.close()
