"""When people come: an hour of the day and a weekday are likelier than others, and phones keep other hours."""

from typing import Final

import numpy as np
import numpy.typing as npt

from isotherm.clock import DAY_MS, HOUR_MS

_DESK: Final = (1, 0.6, 0.4, 0.3, 0.4, 0.8, 2, 4, 7, 9.5, 10.5, 10.5, 9.5, 10, 10.5, 10, 9.5, 8, 7, 7.5, 8.5, 8, 5.5, 3)
_PHONE: Final = (2.5, 1.3, 0.7, 0.5, 0.6, 1.4, 4, 7, 7.5, 6, 5.5, 6, 8, 7, 6, 6, 6.5, 8, 9, 10, 11.5, 12, 9.5, 5.5)
_DESK_DAYS: Final = (1.06, 1.08, 1.05, 1.0, 0.92, 0.62, 0.74)
_PHONE_DAYS: Final = (0.94, 0.93, 0.95, 0.97, 1.0, 1.14, 1.2)
"""Monday to Sunday. The hours are UTC: the simulated town lies on that meridian."""


def moments(rng: np.random.Generator, count: int, since: int, until: int, *, touch: bool) -> npt.NDArray[np.int64]:
    """`count` moments in [since, until) (ms since the epoch, UTC), unsorted, by hour and weekday."""
    first = since - since % HOUR_MS
    hours = np.arange(first, until, HOUR_MS)
    begin, end = np.maximum(hours, since), np.minimum(hours + HOUR_MS, until)
    by_hour = np.array(_PHONE if touch else _DESK)
    by_day = np.array(_PHONE_DAYS if touch else _DESK_DAYS)
    # 1970-01-01 was a Thursday, the fourth day of the week.
    weight = by_hour[hours % DAY_MS // HOUR_MS] * by_day[(hours // DAY_MS + 3) % 7] * (end - begin)
    chosen = rng.choice(len(hours), size=count, p=weight / weight.sum())
    return (begin[chosen] + rng.random(count) * (end - begin)[chosen]).astype(np.int64)
