"""How many events arrive at all landers of a deployment, counted together in the shared cache."""

from typing import Final

from isotherm.clock import DAY_MS, SECOND_MS, Clock
from isotherm.land.waiting import RATE_S, Intake
from isotherm.store.cache import Cache

_TOTAL: Final = "intake"
_SECOND_KEPT_MS: Final = 60 * SECOND_MS


class SharedIntake:
    """Told by each lander, asked by whoever serves. A cache that is away loses counts and nothing else."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._told = 0

    def tell(self, events: int) -> None:
        """`events` were read by this process since it started."""
        new = events - self._told
        # What could not be told is told with the next, if the cache is back by then.
        if new > 0 and self._cache.increase(_name(self._second()), new, _SECOND_KEPT_MS) is not None:
            self._told = events
            self._cache.increase(_TOTAL, new, DAY_MS)

    def look(self) -> Intake | None:
        """What all of them were told to have read; None while the cache does not say.

        Events count from a moment that is a day ago at most. The second that still runs is left out of the rate.
        """
        second = self._second()
        counts = [self._cache.increase(_name(at), 0, _SECOND_KEPT_MS) for at in range(second - RATE_S, second)]
        total = self._cache.increase(_TOTAL, 0, DAY_MS)
        known = [count for count in counts if count is not None]
        return Intake(total, sum(known) / RATE_S) if total is not None and len(known) == RATE_S else None

    def _second(self) -> int:
        return self._clock.now_ms() // SECOND_MS


def _name(second: int) -> str:
    return f"{_TOTAL}:{second}"
