"""Watching a sink by its committed offsets: a connector can say RUNNING while every commit fails."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from isotherm.clock import MINUTE_MS, SECOND_MS, Clock
from isotherm.eventlog.port import EventLog
from isotherm.metrics import LAG_RECORDS, SINK_STILL

STILL_MS: Final = 10 * MINUTE_MS
"""Connect commits once a minute by default; a sink that uploads large files may take several."""


class SinkStatus(Struct, frozen=True):
    """How far a sink is, by its consumer group. Records that wait, and the ms for which its offsets have not moved
    while some waited; `problem` says in words that they stand still."""

    group: str
    lag: int
    still_ms: int
    problem: str | None


class Watch:
    """Looks at one group now and then, and remembers when it moved."""

    def __init__(self, log: EventLog, group: str, clock: Clock, still_ms: int = STILL_MS) -> None:
        self._log = log
        self._group = group
        self._clock = clock
        self._still_ms = still_ms
        self._offsets: Mapping[int, int] | None = None
        self._moved_at = clock.now_ms()

    def look(self) -> SinkStatus:
        """Ask the log. Raises Backpressure while it does not answer."""
        now, picture = self._clock.now_ms(), self._log.status()
        offsets = picture.consumers.get(self._group)
        lag = picture.lag(self._group)
        if not lag or offsets != self._offsets:
            self._offsets, self._moved_at = offsets, now
        still = now - self._moved_at
        LAG_RECORDS.labels("sink").set(lag)
        SINK_STILL.set(still / SECOND_MS)
        return SinkStatus(self._group, lag, still, self._problem(offsets, lag, still))

    def _problem(self, offsets: Mapping[int, int] | None, lag: int, still: int) -> str | None:
        if not lag or still < self._still_ms:
            return None
        for_long = f"for {still // SECOND_MS} s, while {lag} records wait"
        if offsets is None:
            return (
                f"no sink has committed offsets as {self._group} {for_long}; see that the connector runs, and that "
                "scan_group is connect- with its name"
            )
        return (
            f"the offsets of {self._group} have not moved {for_long}; whatever the connector's status says, look into "
            "its worker's log for commits or uploads that fail"
        )


def standing_still(
    log: EventLog, group: str, clock: Clock, seconds: float, wait: Callable[[float], None], looks: int = 10
) -> str | None:
    """Watch for this long: what is wrong when the offsets have not moved; None once they do, or when nothing waits.

    Raises Backpressure while the log does not answer.
    """
    watch = Watch(log, group, clock, int(seconds * SECOND_MS))
    seen = watch.look()
    while seen.lag and not seen.problem:
        wait(seconds / looks)
        seen = watch.look()
        if not seen.still_ms:
            return None
    return seen.problem
