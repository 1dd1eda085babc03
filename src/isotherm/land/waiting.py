"""What the lander has read and not yet landed, per client: for whoever asks how fresh the maps are."""

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Final

from msgspec import Struct

from isotherm.clock import SECOND_MS
from isotherm.land.columns import Tally

RATE_S: Final = 10
"""Seconds over which the rate of arrival is taken."""


class Arrived(Struct, frozen=True):
    """Accepted events of one client, and the moments (ms) at which the oldest and the newest were received."""

    events: int
    oldest: int
    newest: int


class Unlanded(Struct, frozen=True):
    """Records [first, next) of one partition that were read and are not known to be landed.

    `arrived` is what they hold of the client asked for, None when that is nothing. Every record that was on the log
    at `read_until` (ms) was read; None until the head was reached once.
    """

    partition: int
    first: int
    next: int
    read_until: int | None
    arrived: Arrived | None


class Intake(Struct, frozen=True):
    """Accepted events read since the start, and how many came per second of the last ten."""

    events: int
    events_per_second: float


class _Partition(Struct):
    first: int
    next: int
    read_until: int | None = None
    arrived: dict[str, Arrived] = {}


class Waiting:
    """Written by the lander's thread, read by any."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._partitions: dict[int, _Partition] = {}
        self._counted: dict[int, int] = {}
        self._events = 0
        self._seconds: dict[int, int] = {}

    def resumed(self, partition: int, position: int) -> None:
        """Reading of the partition starts here; what was read before is forgotten."""
        with self._lock:
            self._partitions[partition] = _Partition(position, position)

    def taken(self, partition: int, following: int, tallies: Sequence[Tally], now_ms: int) -> None:
        """Records up to `following` were read; `tallies` are theirs."""
        arrived = totals(tallies)
        with self._lock:
            here = self._partitions[partition]
            here.arrived = joined(here.arrived, arrived)
            # What is read again, after an error, was counted the first time; newer records may come along with it.
            counted = self._counted.get(partition, 0)
            again = here.next < counted
            fresh = totals(tally for tally in tallies if tally.offset >= counted) if again else arrived
            self._count(sum(one.events for one in fresh.values()), now_ms // SECOND_MS)
            here.next = following
            self._counted[partition] = max(counted, following)

    def caught_up(self, partition: int, at_ms: int) -> None:
        """Nothing more was on the log when it was asked at this moment."""
        with self._lock:
            self._partitions[partition].read_until = at_ms

    def landed(self, partition: int) -> None:
        """All that was read is in the lake now."""
        with self._lock:
            here = self._partitions[partition]
            self._partitions[partition] = _Partition(here.next, here.next, here.read_until)

    def forgotten(self, partition: int) -> None:
        """What was read must be read again: until then nothing is known."""
        with self._lock:
            self._partitions.pop(partition, None)

    def of(self, client_id: str) -> list[Unlanded]:
        """The partitions that are being read, with what they hold of one client."""
        with self._lock:
            return [
                Unlanded(partition, here.first, here.next, here.read_until, here.arrived.get(client_id))
                for partition, here in sorted(self._partitions.items())
            ]

    def intake(self, now_ms: int) -> Intake:
        """How much arrives. The second that still runs is left out of the rate."""
        second = now_ms // SECOND_MS
        with self._lock:
            recent = sum(n for at, n in self._seconds.items() if second - RATE_S <= at < second)
            return Intake(self._events, recent / RATE_S)

    def _count(self, events: int, second: int) -> None:
        self._events += events
        self._seconds[second] = self._seconds.get(second, 0) + events
        for old in [at for at in self._seconds if at < second - RATE_S]:
            del self._seconds[old]


def totals(tallies: Iterable[Tally]) -> dict[str, Arrived]:
    """Per client what some records brought; records without accepted events, or of no known client, say nothing."""
    found: dict[str, Arrived] = {}
    for tally in tallies:
        events = 0 if tally.counts is None else sum(tally.counts.accepted.values())
        if events and tally.client_id:
            one = Arrived(events, tally.received_at, tally.received_at)
            known = found.get(tally.client_id)
            found[tally.client_id] = one if known is None else _sum(known, one)
    return found


def joined(left: Mapping[str, Arrived], right: Mapping[str, Arrived]) -> dict[str, Arrived]:
    """Both together, as a new mapping."""
    both = dict(left)
    for client_id, one in right.items():
        both[client_id] = _sum(both[client_id], one) if client_id in both else one
    return both


def _sum(left: Arrived, right: Arrived) -> Arrived:
    return Arrived(left.events + right.events, min(left.oldest, right.oldest), max(left.newest, right.newest))
