"""Living windows out of the cache, for the API."""

from collections.abc import Collection, Iterator
from typing import Final

from msgspec import Struct

from isotherm.clock import MINUTE_MS, iso
from isotherm.config import Settings
from isotherm.rollup.windows.port import is_shared
from isotherm.rollup.windows.publish import Beat, entries, last_beat
from isotherm.rollup.windows.rule import BY_NAME
from isotherm.store.cache import Cache

_REBUILDING: Final = "the log is being read again after a restart: windows show when that is done"
_ALONE: Final = (
    "no process counts windows here: the cache is memory://, which other processes do not see. Use `isotherm up`, or "
    "set `cache` to redis://"
)
_NOBODY: Final = "no process counts windows now; start `isotherm up` or `isotherm stream`"
_FULL: Final = "some windows are missing: there are more than can be kept"
BEHIND_MS: Final = MINUTE_MS
"""What was counted may be this old before it is told."""


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


def degraded(cache: Cache | None, settings: Settings, size: str, now_ms: int) -> str | None:
    """Why windows of a size may be missing or old; None when they are not."""
    if cache is None:
        return _ALONE
    beat = last_beat(cache)
    if beat is not None:
        return "; ".join(_reasons(beat, size, now_ms)) or None
    problem = cache.problem()
    if problem is not None:
        return f"the cache does not answer: {problem}"
    return _NOBODY if is_shared(settings) else _ALONE


def _reasons(beat: Beat, size: str, now_ms: int) -> Iterator[str]:
    shape = BY_NAME[size]
    oldest = now_ms - shape.ttl_ms - shape.ms
    if beat.problem is not None:
        yield beat.problem
    if beat.state == "rebuilding":
        yield _REBUILDING
        return
    if beat.behind_ms > BEHIND_MS:
        yield f"windows are {beat.behind_ms // 1000} seconds behind: events come faster than they are counted"
    if beat.exact_from > oldest:
        yield f"windows that begin before {iso(beat.exact_from)} are missing: not all of their events could be read"
    if beat.lost_at > oldest:
        yield _FULL
