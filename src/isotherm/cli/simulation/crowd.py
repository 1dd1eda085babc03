"""Many visitors: a history of visits over days, or people who are there now."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from isotherm.cli.simulation import calendar
from isotherm.cli.simulation.layout import World
from isotherm.cli.simulation.visitor import LONGEST_MS, Finger, Mouse, Trace
from isotherm.cli.simulation.wire import Label, Load, Stream, loads, stream
from isotherm.clock import DAY_MS

CHUNK: Final = 48
"""Visits that are computed together."""
FLUSH_MS: Final = 1_000
"""Live visitors send after so long, as the SDK does."""
WARM_MS: Final = 90_000
"""Live visitors have come since so long ago, so that the site is not empty at first."""
MOST_DAYS: Final = 29.0
LEAST_DAYS: Final = 2 * LONGEST_MS / DAY_MS
_LIVE_SEED: Final = 0x1507


@dataclass(frozen=True)
class Visits:
    """A chunk: what happened, and when each view's visit began (ms since the epoch)."""

    trace: Trace
    happened: Stream
    starts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Crowd:
    """Visitors of one world. The same seed, window and numbers make the same bodies."""

    world: World
    client_id: str
    seed: int

    def history(self, visitors: int, since: int, until: int) -> Iterator[tuple[int, Load]]:
        """Bodies of visits in [since, until] (ms since the epoch), early ones first, with the visits begun so far."""
        label = Label(self.client_id, self.world.site, f"{self.seed}|{since}|{until}")
        for first, chunk in self.visits(visitors, since, until):
            for load in loads(label, chunk.trace.views, chunk.happened, chunk.starts):
                yield first, load

    def visits(self, visitors: int, since: int, until: int) -> Iterator[tuple[int, Visits]]:
        """The visits of a history, chunk by chunk, with the visits begun by the end of each."""
        rng = np.random.default_rng([self.seed, 1])
        shares = np.array([device.share for device in self.world.devices])
        devices = rng.choice(len(shares), size=visitors, p=shares / shares.sum())
        starts = np.zeros(visitors, dtype=np.int64)
        for touch in (False, True):
            these = np.array([device.touch == touch for device in self.world.devices])[devices]
            starts[these] = calendar.moments(rng, int(these.sum()), since, until, touch=touch)
        order = np.argsort(starts, kind="stable")
        for first in range(0, visitors, CHUNK):
            chunk = order[first : first + CHUNK]
            yield first + len(chunk), self._chunk(first, devices[chunk].tolist(), starts[chunk].tolist(), until)

    def _chunk(self, first: int, devices: list[int], starts: list[int], until: int | None) -> Visits:
        """Let these visitors come, each number `first` and on; a visit that would end after `until` begins earlier."""
        trace, begun = Trace(), list[int]()
        for place, (device, start) in enumerate(zip(devices, starts, strict=True)):
            before, length = len(trace.views), self._visit(first + place, device, trace)
            begin = start if until is None else min(start, until - int(length) - 1)
            begun.extend([begin] * (len(trace.views) - before))
        noise = np.random.default_rng([self.seed, 2, first])
        return Visits(trace, stream(trace, noise), np.array(begun, dtype=np.int64))

    def _visit(self, number: int, device: int, trace: Trace) -> float:
        chance = Random((self.seed << 40) ^ (number + 1))  # noqa: S311 - not a secret
        chosen = self.world.devices[device]
        kind = Finger if chosen.touch else Mouse
        return kind(chance, self.world, chosen, number, trace).run()

    def live(self, rate: float, now: Callable[[], int]) -> Iterator[tuple[int, Load]]:
        """Bodies of people who are there now, without end, with the moment (ms since the epoch) each is due.

        `rate` is events per second on average, all visitors together. Bodies come in the order they are due, one
        flush of the SDK after the events in them happened. Some visitors have been there for a while already: what
        they did until now is due at once.
        """
        begun = now() - WARM_MS
        label = Label(self.client_id, self.world.site, f"{self.seed}|live|{begun}")
        chance = Random(self.seed ^ _LIVE_SEED)  # noqa: S311
        shares = [device.share for device in self.world.devices]
        waiting: list[tuple[int, int, Load]] = []
        mean, coming, number, ticket = self._events_per_visit(), float(begun), 0, count()
        while True:
            # Whoever comes before the next body is due must be known first.
            while not waiting or coming <= waiting[0][0]:
                device = chance.choices(range(len(shares)), shares)[0]
                chunk = self._chunk(number, [device], [int(coming)], None)
                for load in loads(label, chunk.trace.views, chunk.happened, chunk.starts, FLUSH_MS):
                    heapq.heappush(waiting, (load.last + FLUSH_MS, next(ticket), load))
                number += 1
                coming += chance.expovariate(rate / mean) * 1_000
            due, _, load = heapq.heappop(waiting)
            yield due, load

    def _events_per_visit(self) -> float:
        """Mean of a sample."""
        sample = 64
        chosen = [number % len(self.world.devices) for number in range(sample)]
        return max(1.0, len(self._chunk(0, chosen, [0] * sample, None).happened) / sample)
