"""Living windows -> the cache: one value per client, screen and size, written whole.

So a reader needs one call, never sees half a step, and no writer has to read before it writes. Values are absolute:
writing one twice, or two writers that count the same records, change nothing. What the cache did not take is kept in
mind and written again when it takes something.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

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
_AGAIN: Final = "the cache was away or refused writes: windows are being written again"

Entry = tuple[int, str, int, int]
"""start (ms), event_type, count, newest receipt (ms)."""
Place = tuple[str, str]
"""The size of windows, and the cache's name for a screen's windows of that size."""


class Beat(Struct):
    """Sign of life of whoever counts; times in ms, `lag` in records, `problem` for a person.

    Windows before `exact_from` are missing. `behind_ms` is how old the newest is that was counted, 0 for a reader who
    keeps up. At `lost_at` events were last left out for want of room.
    """

    engine: str
    state: State
    at: int
    lag: int | None
    problem: str | None = None
    exact_from: int = 0
    behind_ms: int = 0
    lost_at: int = 0


def name_of(client_id: str, screen_id: str, size: str) -> str:
    """The cache's name for a screen's windows: the `|` is in no id, so no two screens share one."""
    return f"live.{size}.{client_id}|{screen_id}"


class Publisher:
    """What one process shows. Not thread-safe."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self.lost = 0
        self._cache = cache
        self._clock = clock
        self._live: dict[Place, dict[tuple[int, str], tuple[int, int]]] = {}
        self._unwritten: set[Place] = set()
        self._taken = True
        self._floor = 0
        self._lost_before = self._lost_at = 0
        self._beat_due = 0
        self._sweep_due = 0
        self._alive = False
        self.windows = 0
        """Windows that were alive at the last look."""

    def take(self, windows: Iterable[Window]) -> None:
        """Remember these windows, to be shown by the next `publish`; a count never gets smaller."""
        for window in windows:
            self._take(window)

    def publish(self, windows: Iterable[Window] = ()) -> None:
        """Show these windows, and what was taken before. While the cache takes nothing, `beat` tries again."""
        self.take(windows)
        if self._taken:
            self._write()

    def set_floor(self, floor: int) -> None:
        """Show no window that begins before (ms): what is counted of it may not be all."""
        if floor > self._floor:
            self._unwritten |= {place for place, table in self._live.items() if any(at[0] < floor for at in table)}
        if floor != self._floor:
            self._floor = floor
            self._sweep(self._clock.now_ms())

    def beat(
        self,
        engine: str,
        state: State,
        lag: int | None,
        problem: str | None = None,
        *,
        behind_ms: int = 0,
        lost: int = 0,
    ) -> None:
        """Say that somebody counts, every few seconds; a cache that forgot it lost the windows, too.

        `lost` are all events that the engine left out for want of room.
        """
        now = self._clock.now_ms()
        if now >= self._sweep_due:
            self._sweep_due = now + _SWEEP_MS
            self._sweep(now)
            self._unwritten &= self._live.keys()
        if now < self._beat_due:
            return
        self._beat_due = now + BEAT_MS
        if lost + self.lost > self._lost_before:
            self._lost_before, self._lost_at = lost + self.lost, now
        if self._alive and self._cache.get([_BEAT]) == [None]:
            self._unwritten |= self._live.keys()
        self._alive = True
        self._tell(Beat(engine, state, now, lag, problem, self._floor, behind_ms, self._lost_at))

    def _tell(self, beat: Beat) -> None:
        """Put the sign of life, and before it what the cache did not take."""
        again = bool(self._unwritten) and beat.state != "rebuilding"
        # Whoever reads in between must not take what is there for all.
        self._taken = self._put_beat(replace(beat, problem=beat.problem or _AGAIN) if again else beat)
        if again and self._taken:
            self._write()
            if not self._unwritten:
                self._put_beat(beat)

    def _put_beat(self, beat: Beat) -> bool:
        return self._cache.put({_BEAT: msgspec.json.encode(beat)}, BEAT_TTL_MS)

    def _take(self, window: Window) -> None:
        if window.start < self._floor:
            return
        client_id, screen_id, kind = window.key
        place = (window.size.name, name_of(client_id, screen_id, window.size.name))
        table = self._live.setdefault(place, {})
        old = table.get((window.start, kind))
        if old is None:
            if self.windows >= MAX_WINDOWS:
                self.lost += window.events
                return
            self.windows += 1
            old = 0, 0
        table[window.start, kind] = max(old[0], window.events), max(old[1], window.newest)
        self._unwritten.add(place)

    def _write(self) -> None:
        """Write what is not written; what the cache does not take stays unwritten."""
        now = self._clock.now_ms()
        self._taken = True
        for size in SIZES:
            places = [place for place in self._unwritten if place[0] == size.name]
            for start in range(0, len(places), _AT_ONCE):
                part = places[start : start + _AT_ONCE]
                if not self._cache.put({place[1]: self._value(place, now) for place in part}, size.ttl_ms):
                    self._taken = False
                    return
                self._unwritten.difference_update(part)

    def _value(self, place: Place, now: int) -> bytes:
        table, ttl_ms = self._live.get(place, {}), BY_NAME[place[0]].ttl_ms
        return msgspec.json.encode([(*at, *value) for at, value in table.items() if value[1] + ttl_ms > now])

    def _sweep(self, now: int) -> None:
        """Forget the dead, and what is not shown."""
        alive = {
            place: {
                at: value
                for at, value in table.items()
                if value[1] + BY_NAME[place[0]].ttl_ms > now and at[0] >= self._floor
            }
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
