"""Living windows out of the cache, for the API."""

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from isotherm.config import Settings
from isotherm.rollup.windows.port import is_shared
from isotherm.rollup.windows.publish import entries, last_beat
from isotherm.rollup.windows.rule import BY_NAME
from isotherm.store.cache import Cache

_REBUILDING: Final = "the log is being read again after a restart: windows show when that is done"
_ALONE: Final = (
    "no process counts windows here: the cache is memory://, which other processes do not see. Use `isotherm up`, or "
    "set `cache` to redis://"
)
_NOBODY: Final = "no process counts windows now; start `isotherm up` or `isotherm stream`"


class LiveWindow(Struct):
    """A living window: start and end in ms, events by type, and the receipt of the newest of them."""

    start: int
    end: int
    counts: dict[str, int]
    updated_at: int


def read_windows(
    cache: Cache | None, client_id: str, screen_id: str, size: str, now_ms: int, kinds: Collection[str] = ()
) -> list[LiveWindow]:
    """A screen's living windows of a size, newest first; only these kinds of events, all when none is named.

    Whoever answers without a cache sees none.
    """
    found: dict[int, LiveWindow] = {}
    shape = BY_NAME[size]
    for start, kind, count, newest in [] if cache is None else entries(cache, client_id, screen_id, size):
        if newest + shape.ttl_ms <= now_ms or (kinds and kind not in kinds):
            continue
        window = found.setdefault(start, LiveWindow(start, start + shape.ms, {}, newest))
        window.counts[kind] = count
        window.updated_at = max(window.updated_at, newest)
    return [found[start] for start in sorted(found, reverse=True)]


def degraded(cache: Cache | None, settings: Settings) -> str | None:
    """Why windows may be missing or old; None when they are not."""
    if cache is None:
        return _ALONE
    beat = last_beat(cache)
    if beat is not None:
        return beat.problem or (_REBUILDING if beat.state == "rebuilding" else None)
    problem = cache.problem()
    if problem is not None:
        return f"the cache does not answer: {problem}"
    return _NOBODY if is_shared(settings) else _ALONE
