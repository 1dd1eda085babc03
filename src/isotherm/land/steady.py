"""The moment by which things are removed: the host's clock, unless it leaps ahead.

A clock that is wrong by a year would have two years of raw events removed within a minute, and setting it right brings
nothing back. So a leap is not followed at once: whoever set the clock, or the alert on it, has a day to put it right.
"""

from typing import Any, Final

import structlog
from msgspec import Struct, convert, to_builtins
from sqlalchemy.engine import Engine

from isotherm.clock import DAY_MS, Clock, iso
from isotherm.land import rounds

LEAP_MS: Final = 2 * DAY_MS
"""A round whose clock is further ahead of the last one than this is not believed. A weekend without power is more: then
retention waits for a day, which harms nobody."""
HELD_MS: Final = DAY_MS
"""A clock that says the same for so long is believed."""
WORKS: Final = ("land", "tiles")
"""What removes: the upkeep of lake and log, and the scheduler."""

_CLOCK: Final = "clock."
"""How the names of its rows begin."""

_log = structlog.get_logger("isotherm.retention")


class Seen(Struct, frozen=True):
    """What earlier rounds saw, in ms of the host's clock: `by` is the moment that things were removed by; where the
    clock leapt since, `leapt_at` is its first moment after that, and `last` its latest."""

    by: int
    leapt_at: int | None = None
    last: int | None = None

    @property
    def leapt(self) -> bool:
        return self.leapt_at is not None


def follow(seen: Seen | None, now_ms: int) -> Seen:
    """What is seen at the next round, when the host's clock says `now_ms`."""
    if seen is None or now_ms <= seen.by + LEAP_MS:
        return Seen(now_ms)
    if seen.leapt_at is None or seen.last is None or not seen.leapt_at <= now_ms <= seen.last + LEAP_MS:
        return Seen(seen.by, now_ms, now_ms)
    if now_ms - seen.leapt_at >= HELD_MS:
        return Seen(now_ms)
    return Seen(seen.by, seen.leapt_at, now_ms)


class SteadyClock:
    """One per work that removes; `name` is that of its row among the rounds, so that a restart forgets nothing."""

    def __init__(self, engine: Engine, clock: Clock, name: str) -> None:
        self._engine = engine
        self._clock = clock
        self._name = f"{_CLOCK}{name}"

    def now_ms(self) -> int:
        """The host's time; where it leapt less than a day ago, the last time before."""
        _, did = rounds.of(self._engine, self._name)
        seen = convert(did, Seen) if did else None
        now_ms = self._clock.now_ms()
        following = follow(seen, now_ms)
        if following.leapt and not (seen and seen.leapt):
            _log.warning(
                "the clock leapt: nothing is removed by it for a day, or until `isotherm retention --apply`",
                before=iso(following.by),
                now=iso(now_ms),
            )
        self._note(following, now_ms)
        return following.by

    def believe(self) -> int:
        """The host's time, which somebody vouches for."""
        now_ms = self._clock.now_ms()
        self._note(Seen(now_ms), now_ms)
        return now_ms

    def _note(self, seen: Seen, now_ms: int) -> None:
        rounds.note(self._engine, self._name, now_ms, to_builtins(seen))


def believed(engine: Engine, now_ms: int, name: str) -> int:
    """The moment by which the work of this name removes things, when the host's clock says `now_ms`. Only looks.

    For all who decide by it that something is gone: what is still there is not.
    """
    _, did = rounds.of(engine, f"{_CLOCK}{name}")
    return follow(convert(did, Seen) if did else None, now_ms).by


def leaps(said: dict[str, Any]) -> list[tuple[int, int]]:
    """(the moment before, the moment after) of clocks that leapt and are not believed yet; `said` by `rounds.last`."""
    seen = [convert(one["did"], Seen) for name, one in said.items() if name.startswith(_CLOCK) and one["did"]]
    return sorted({(one.by, one.last) for one in seen if one.last is not None})
