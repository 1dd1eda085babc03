"""Living windows -> the cache: one value per client, screen and size, written whole.

So a reader needs one call, never sees half a step, and no writer has to read before it writes. Values are absolute:
writing one twice, or two writers that count the same records, change nothing.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from isotherm.clock import SECOND_MS, Clock
from isotherm.metrics import LIVE_WINDOWS
from isotherm.rollup.windows.minutes import Window
from isotherm.rollup.windows.port import State
from isotherm.rollup.windows.rule import BY_NAME, SIZES
from isotherm.store.cache import Cache

BEAT_MS: Final = 3 * SECOND_MS
BEAT_TTL_MS: Final = 30 * SECOND_MS
MAX_WINDOWS: Final = 1 << 20
"""Living windows at most; what would be more is not shown."""
_BEAT: Final = "live.engine"
_SWEEP_MS: Final = 30 * SECOND_MS
_AT_ONCE: Final = 1000

Entry = tuple[int, str, int, int]
"""start (ms), event_type, count, newest receipt (ms)."""


class Beat(Struct):
    """Sign of life of whoever counts; `at` in ms, `lag` in records, `problem` for a person."""

    engine: str
    state: State
    at: int
    lag: int | None
    problem: str | None = None


def name_of(client_id: str, screen_id: str, size: str) -> str:
    """The cache's name for a screen's windows: the `|` is in no id, so no two screens share one."""
    return f"live.{size}.{client_id}|{screen_id}"


class Publisher:
    """What one process shows. Not thread-safe."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self.lost = 0
        self._cache = cache
        self._clock = clock
        self._live: dict[tuple[str, str], dict[tuple[int, str], tuple[int, int]]] = {}
        self._beat_due = 0
        self._sweep_due = 0
        self._alive = False
        self.windows = 0
        """Windows that were alive at the last look."""

    def publish(self, windows: Iterable[Window]) -> None:
        """Show these windows; a count never gets smaller."""
        changed = {self._take(window) for window in windows}
        self._write(changed - {None})

    def beat(self, engine: str, state: State, lag: int | None, problem: str | None = None) -> None:
        """Say that somebody counts, every few seconds; a cache that forgot it lost the windows, too."""
        now = self._clock.now_ms()
        if now >= self._sweep_due:
            self._sweep_due = now + _SWEEP_MS
            self._sweep(now)
        if now < self._beat_due:
            return
        self._beat_due = now + BEAT_MS
        if self._alive and self._cache.get([_BEAT]) == [None]:
            self._write(set(self._live))
        self._cache.put({_BEAT: msgspec.json.encode(Beat(engine, state, now, lag, problem))}, BEAT_TTL_MS)
        self._alive = True

    def _take(self, window: Window) -> tuple[str, str] | None:
        client_id, screen_id, kind = window.key
        place = (window.size.name, name_of(client_id, screen_id, window.size.name))
        table = self._live.setdefault(place, {})
        old = table.get((window.start, kind))
        if old is None:
            if self.windows >= MAX_WINDOWS:
                self.lost += window.events
                return None
            self.windows += 1
            old = 0, 0
        table[window.start, kind] = max(old[0], window.events), max(old[1], window.newest)
        return place

    def _write(self, places: "set[tuple[str, str] | None] | set[tuple[str, str]]") -> None:
        now = self._clock.now_ms()
        for size in SIZES:
            names = [place for place in places if place is not None and place[0] == size.name]
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE]
                self._cache.put({place[1]: self._value(place, now) for place in part}, size.ttl_ms)

    def _value(self, place: tuple[str, str], now: int) -> bytes:
        table, ttl_ms = self._live.get(place, {}), BY_NAME[place[0]].ttl_ms
        return msgspec.json.encode([(*at, *value) for at, value in table.items() if value[1] + ttl_ms > now])

    def _sweep(self, now: int) -> None:
        """Forget the dead."""
        alive = {
            place: {at: value for at, value in table.items() if value[1] + BY_NAME[place[0]].ttl_ms > now}
            for place, table in self._live.items()
        }
        self._live = {place: table for place, table in alive.items() if table}
        self.windows = sum(map(len, self._live.values()))
        LIVE_WINDOWS.set(self.windows)


def entries(cache: Cache, client_id: str, screen_id: str, size: str) -> list[Entry]:
    """What stands in the cache for a screen and size, the dead not left out."""
    (value,) = cache.get([name_of(client_id, screen_id, size)])
    return [] if value is None else _entries.decode(value)


def last_beat(cache: Cache) -> Beat | None:
    """The last sign of life; None when nobody counts, or the cache does not answer."""
    (value,) = cache.get([_BEAT])
    return None if value is None else _beats.decode(value)


_entries: Final = msgspec.json.Decoder(list[Entry])
_beats: Final = msgspec.json.Decoder(Beat)
