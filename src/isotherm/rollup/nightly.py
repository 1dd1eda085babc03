"""The nightly sample: some published buckets are recounted by themselves, and what came of it is told.

A thread of its own, so that tiling never waits for it, and a lease, so that of several processes one does it. What the
last night found is in the database: a restart forgets nothing, and runs nothing twice.
"""

import os
import sys
import threading
import time
from contextlib import closing, suppress
from typing import Any, Final

import sqlalchemy as sa
import structlog

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, iso
from isotherm.land import rounds
from isotherm.metrics import VERIFY_AT, VERIFY_BUCKETS, VERIFY_EVENTS
from isotherm.rollup.leases import Busy, lease
from isotherm.rollup.verdicts import Finding, Tally, Verdict
from isotherm.rollup.verify import Choice, Verifier
from isotherm.store.db import reading
from isotherm.store.tables import buckets

ROUND: Final = "verify"
"""Its row in the table of rounds, and its member of `rounds` in GET /v1/status."""
_NAMED: Final = 20
"""Buckets that were found wrong are named up to so many; the log names all."""
_LOOK_MS: Final = MINUTE_MS
_LATER_MS: Final = 15 * MINUTE_MS
"""After a failure. What lies further ahead was noted before the clock was set back."""
_WAIT_S: Final = 1.0
_NICE: Final = 10

_log = structlog.get_logger("isotherm.verify")


class Nightly:
    """Verifies a sample once a night. One thread runs it; settings: verify_sample, verify_hour, verify_minutes."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self.settings = verifier.settings
        self.clock = verifier.clock
        self._look_at = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, which a run that is under way heeds. Errors are logged, and tried again later."""
        _give_way()
        while not stop.is_set():
            if not self.clock.now_ms() < self._look_at <= self.clock.now_ms() + _LATER_MS:
                self._look_at = self.clock.now_ms() + _LOOK_MS
                try:
                    self.step(stop)
                except Exception:  # noqa: BLE001 - logged; only `stop` ends the thread
                    _log.exception("the nightly verification failed; it is tried again in a while")
                    self._look_at = self.clock.now_ms() + _LATER_MS
            stop.wait(_WAIT_S)

    def step(self, stop: threading.Event | None = None) -> bool:
        """Verify the night's sample when it is due, and tell of the last one. Whether it was due, and ours to do.

        Where the sample is turned off, an old one is not told of: nobody is to miss the next.
        """
        if not self.settings.verify_sample:
            _tell(None, {})
            return False
        ran_at, did = self._last()
        _tell(ran_at, did)
        if not self._is_due(ran_at):
            return False
        with suppress(Busy), lease(self.verifier.database, self.clock, "nightly verification"):
            ran_at, _ = self._last()
            if self._is_due(ran_at):
                did = self._sample(stop or threading.Event())
                now = self.clock.now_ms()
                rounds.note(self.verifier.database, ROUND, now, did)
                _tell(now, did)
                return True
        return False

    def _last(self) -> tuple[int | None, dict[str, Any]]:
        return rounds.of(self.verifier.database, ROUND)

    def _is_due(self, ran_at: int | None) -> bool:
        """Once after each night's hour; the first time when something was published before it. A last time that lies
        ahead says that the clock was set back since."""
        now = self.clock.now_ms()
        hour = self.settings.verify_hour * HOUR_MS
        night = (now - hour) // DAY_MS * DAY_MS + hour
        if ran_at is not None:
            return ran_at < night or ran_at > now
        with reading(self.verifier.database) as connection:
            first = connection.execute(sa.select(sa.func.min(buckets.c.published_at))).scalar()
        return first is not None and first < night

    def _sample(self, stop: threading.Event) -> dict[str, Any]:
        """Recount until the sample is through, the time is over, or `stop` is set; what it came to."""
        now = self.clock.now_ms()
        choice = Choice(sample=self.settings.verify_sample, seed=now // DAY_MS)
        tally, began, complete = Tally(), time.monotonic(), True
        wrong: list[dict[str, Any]] = []
        with closing(self.verifier.run(choice)) as steps:
            for step in steps:
                tally.add(step)
                if isinstance(step, Verdict) and step.finding in (Finding.DIFFERENT, Finding.UNREADABLE):
                    _log.error("a published bucket is not what its raw events say", **_named(step))
                    wrong.append(_named(step))
                if stop.is_set() or time.monotonic() - began > self.settings.verify_minutes * 60:
                    complete = False
                    break
        VERIFY_EVENTS.inc(tally.read)
        did = {
            "sample": self.settings.verify_sample,
            "seed": choice.seed,
            "complete": complete,
            "buckets": tally.findings.total(),
            **{finding.value: tally.findings[finding] for finding in Finding},
            "maps": tally.maps,
            "events": tally.read,
            "seconds": round(time.monotonic() - began, 3),
            "differences": wrong[:_NAMED],
        }
        _log.info("verified a sample", **{name: value for name, value in did.items() if name != "differences"})
        return did


def _named(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values, for the log and for whoever asks."""
    values = {
        "level": verdict.bucket.level.value,
        "start": iso(verdict.bucket.start),
        "client_id": verdict.client_id,
        "finding": verdict.finding.value,
        "detail": verdict.detail,
        "screen_id": verdict.screen_id,
        "event_type": verdict.event_type,
        "cell_x": verdict.cell_x,
        "cell_y": verdict.cell_y,
        "expected": verdict.expected,
        "found": verdict.found,
        "file": verdict.file,
    }
    return {name: value for name, value in values.items() if value is not None}


def _tell(ran_at: int | None, did: dict[str, Any]) -> None:
    VERIFY_AT.set((ran_at or 0) / 1000)
    for finding in Finding:
        VERIFY_BUCKETS.labels(finding.value).set(did.get(finding.value, 0))


def _give_way() -> None:
    """Let the operating system prefer every other thread; only Linux knows priorities of single threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
