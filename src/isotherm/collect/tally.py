"""Counting without cost: plain numbers on the hot path, handed to the metrics when they are scraped.

Only the event loop's thread counts and flushes, so no lock is needed.
"""

from collections import Counter

from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, WAITING
from isotherm.metrics import ANSWERS, COMPONENT_EVENTS, DROPPED, STEP_SECONDS

STEP_NAMES = (*(name for name, _ in STEPS), *WAITING)


class Tally:
    """What one collector process did since the last scrape. `seconds` has one slot per step of `STEP_NAMES`."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.seconds = [0.0] * len(STEP_NAMES)
        self.answers: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()
        self.received = self.sent = self.failed = self.duplicates = 0

    def count(self, request: Request) -> None:
        """A request that got its 202: `accepted` is 0 for a duplicate."""
        self.received += request.accepted + request.rejected + request.duplicate
        self.sent += request.accepted
        if request.rejected:
            self.dropped.update(request.counts.rejected)
        self.duplicates += request.duplicate

    def count_failed(self, request: Request) -> None:
        """A request whose events were good and could not be stored."""
        self.received += request.accepted + request.rejected
        self.failed += request.accepted + request.rejected

    def flush(self) -> None:
        """Add everything to the metrics and start again from zero."""
        for name, seconds in zip(STEP_NAMES, self.seconds, strict=True):
            STEP_SECONDS.labels(name).inc(seconds)
        for status, answers in self.answers.items():
            ANSWERS.labels(str(status)).inc(answers)
        for reason, events in self.dropped.items():
            DROPPED.labels(reason).inc(events)
        outcomes = {
            "received": self.received,
            "sent": self.sent,
            "failed": self.failed,
            "dropped": self.dropped.total() + self.duplicates,
        }
        for outcome, events in outcomes.items():
            COMPONENT_EVENTS.labels("collect", outcome).inc(events)
        self._reset()
