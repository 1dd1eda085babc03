"""Upkeep beside the scanner: as beside the lander, and a look at the sink."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import structlog

from isotherm.clock import DAY_MS, Clock
from isotherm.config import Settings
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog
from isotherm.land import scanned
from isotherm.land.dead import DeadBin
from isotherm.land.lake import Lake
from isotherm.land.manifest import Manifest
from isotherm.land.scan_watch import SinkStatus, Watch
from isotherm.land.upkeep import Upkeep

GONE_MS: Final = 35 * DAY_MS
"""What is known of a file that the sink's store has no longer is kept this long after its landing."""

_log = structlog.get_logger("isotherm.land")


class ScanUpkeep(Upkeep):
    """`there` names the files of the last listing, None before the first; `sink` is how far the sink was seen."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        lake: Lake,
        manifest: Manifest,
        clock: Clock,
        failed: Callable[[Exception], None],
        watch: Watch,
        dead: DeadBin | None = None,
    ) -> None:
        super().__init__(settings, log, lake, manifest, clock, failed, dead)
        self._watch = watch
        self._group = settings.scan_group
        self._warned = False
        self.there: Collection[str] | None = None
        self.source: str | None = None
        self.sink: SinkStatus | None = None

    def parts(self, now_ms: int) -> list[Callable[[], object]]:
        """See `Upkeep.parts`."""
        return [self._look, partial(self._forget_gone, now_ms), *super().parts(now_ms)]

    def _forget_gone(self, now_ms: int) -> None:
        if self.there is not None and self.source is not None:
            scanned.forget_gone(self._manifest.engine, self.source, self.there, now_ms - GONE_MS)

    def _look(self) -> None:
        try:
            self.sink = self._watch.look()
        except Backpressure:
            # The brokers are away: that is no news of the sink.
            return
        if self.sink.problem and not self._warned:
            _log.warning("the sink stands still", problem=self.sink.problem)
        # Its text tells seconds, and so is another one at every look.
        self._warned = self.sink.problem is not None

    def expire_log(self, now_ms: int) -> None:
        """Only what the sink has committed may go: before it has begun, others' offsets say nothing of it."""
        if self.sink is not None and (committed := self._log.status().consumers.get(self._group)):
            self._expire_log(now_ms, committed)

    def forget_ids(self, now_ms: int) -> int:
        """By the clock: what is older when it comes is compared with the lake."""
        return self._forget_until(now_ms)

    def _landed_until(self, now_ms: int) -> int:
        """The sink's files come in no order: what was received a day ago is believed to be landed."""
        return now_ms - DAY_MS
