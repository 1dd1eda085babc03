"""Counting without cost: plain numbers on the hot path, handed to the metrics when they are scraped.

Where other processes tell of this one, its counts of events and answers are handed over before each answer, so that
they are right however it ends; the rest with `flush`, now and then. Only the event loop's thread counts and flushes, so
no lock is needed.
"""

from collections import Counter

from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, WAITING
from isotherm.metrics import ANSWERS, DROPPED, STEP_SECONDS, counts

STEP_NAMES = (*(name for name, _ in STEPS), *WAITING)


class Tally:
    """What one collector process did since the last scrape. `seconds` has one slot per step of `STEP_NAMES`."""

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._steps = [STEP_SECONDS.labels(name) for name in STEP_NAMES]
        self._received, self._sent, self._failed, self._dropped = counts("collect")
        self._answers = {202: ANSWERS.labels("202")}
        self.seconds = [0.0] * len(STEP_NAMES)
        self.answers: dict[int, int] = {}
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

    def answer(self, status: int) -> None:
        """A batch is answered now."""
        self.answers[status] = self.answers.get(status, 0) + 1
        if self._at_once:
            self._flush_counts()

    def flush(self) -> None:
        """Add everything to the metrics and start again from zero."""
        for place, seconds in enumerate(self.seconds):
            if seconds:
                self._steps[place].inc(seconds)
                self.seconds[place] = 0.0
        self._flush_counts()

    def _flush_counts(self) -> None:
        for status, answers in self.answers.items():
            if status not in self._answers:
                self._answers[status] = ANSWERS.labels(str(status))
            self._answers[status].inc(answers)
        self.answers.clear()
        rejected = 0
        if self.dropped:
            rejected = self.dropped.total()
            for reason, events in self.dropped.items():
                DROPPED.labels(reason).inc(events)
            self.dropped.clear()
        # Received first: whoever adds up between two of these sees a sum that does not claim too much.
        if self.received:
            self._received.inc(self.received)
        if self.sent:
            self._sent.inc(self.sent)
        if self.failed:
            self._failed.inc(self.failed)
        if rejected or self.duplicates:
            self._dropped.inc(rejected + self.duplicates)
        self.received = self.sent = self.failed = self.duplicates = 0
