"""Dead letters of landing: records that could not be landed, kept before the landing that leaves them out."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

import structlog
from msgspec import Struct

from isotherm.clock import DAY_MS
from isotherm.collect.dead import BEHIND_THE_LOG, Origin, Stage, letter, record_of
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, Stored
from isotherm.land.aside import files_in, folder_of
from isotherm.land.assemble import keep
from isotherm.land.lake_local import LocalLake
from isotherm.metrics import DEAD_LETTERS

CONSUMER: Final = "dead"
_log = structlog.get_logger("isotherm.land")

# They are shown as 0 from the start: the first increase of a counter that comes into being with it is not seen.
for _stage, _reason in product(("land", "scan"), BEHIND_THE_LOG):
    DEAD_LETTERS.labels(_stage, _reason)


class Failed(Struct, frozen=True):
    """A record that could not be landed; `place` names it in its log for good. `client_id` is "" when not known."""

    record: Stored
    place: str
    client_id: str
    received_at: int
    reason: str
    detail: str = ""


class DeadBin:
    """Where landing leaves what it cannot use: the log of dead letters, or, while that takes nothing, a folder."""

    def __init__(self, settings: Settings, log: EventLog | None) -> None:
        self._log = log
        self._folder = LocalLake.of_folder(folder_of(settings))
        self._kept_ms = settings.dead_retention_days * DAY_MS

    def keep(self, stage: Stage, log: str, failed: Sequence[Failed]) -> None:
        """Keep the bytes of these records of the log of this identity; durable when it returns, each once at every
        try of the same landing. Raises OSError when not even the folder can be written."""
        if not failed:
            return
        kept = self._append(stage, log, failed)
        for one in failed:
            where = kept or keep(self._folder, log, one.place, one.record.value)
            _log.warning("a record is unusable", place=one.place, reason=one.reason, detail=one.detail, kept=where)

    def expire(self, now_ms: int) -> list[str]:
        """Give back what is past its days: in the folder, and in a log that does not do so by itself. Returns the names
        of what was deleted."""
        try:
            gone = list(self._expire_folder(now_ms))
        finally:
            expired = self._expire_log(now_ms)
        return gone + expired

    def _expire_folder(self, now_ms: int) -> Iterator[str]:
        """By the time of writing: of what cannot be used no other is known."""
        for file in files_in(self._folder.root):
            try:
                if file.stat().st_mtime_ns // 1_000_000 < now_ms - self._kept_ms:
                    file.unlink()
                    yield file.name
            except FileNotFoundError:
                continue  # another lander's upkeep was first

    def _expire_log(self, now_ms: int) -> list[str]:
        if self._log is None or self._log.retention_ms is not None:
            return []
        heads = self._log.heads(self._log.partitions())
        for partition, head in heads.items():
            self._log.commit(CONSUMER, partition, head)
        return self._log.expire(now_ms, heads)

    def _append(self, stage: Stage, log: str, failed: Sequence[Failed]) -> str | None:
        """Where they are; None when the log cannot take them now."""
        if self._log is None:
            return None
        letters = [
            letter(
                one.record.value,
                reason=one.reason,
                stage=stage,
                time=one.received_at,
                client_id=one.client_id or None,
                detail=one.detail,
                origin=Origin(log, one.record.partition, one.record.offset) if stage == "land" else None,
                key=f"{log}\0{one.place}",
            )
            for one in failed
        ]
        try:
            positions = self._log.append(list(map(record_of, letters)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with that log, the bytes go to the folder
            _log.warning("the log of dead letters took nothing", why=str(error))
            return None
        for one, position in zip(letters, positions, strict=True):
            if position is not None:
                DEAD_LETTERS.labels(one.stage, one.reason).inc()
        return "dead letters"
