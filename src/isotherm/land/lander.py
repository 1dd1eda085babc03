"""The lander: reads the log from where the manifest says, writes files, lists them, then tells the log."""

import random
import threading
from collections import Counter
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import structlog
from msgspec import Struct

from isotherm.clock import SECOND_MS, Clock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog, Stored
from isotherm.land import ledger, rowhash, shapes
from isotherm.land.columns import Decoded, decode_records
from isotherm.land.lake import Lake, LakeUnavailable
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.parts import Mask, Part, describe, int64, split, without_known
from isotherm.land.store import Checkpoint, Planned, no_checkpoint, write_files
from isotherm.land.upkeep import Upkeep
from isotherm.land.waiting import Intake, Unlanded, Waiting, totals
from isotherm.metrics import COMPONENT_EVENTS, LAG_RECORDS, LANDED_FILES, LANDED_ROWS

CONSUMER: Final = "land"
_READ_BYTES: Final = 8 << 20
"""Records decoded at a time; their Python objects live only until they are columns."""
_READ_RECORDS: Final = 2_000
_IDLE_S: Final = 0.2
_BACKOFF_S: Final = (0.5, 30.0)

_log = structlog.get_logger("isotherm.land")


class Gap(Struct, frozen=True):
    """Records [first, last] that the log no longer had when the lander came for them."""

    partition: int
    first: int
    last: int
    noticed_at: int


class PartitionStatus(Struct, frozen=True):
    """`next_offset` is the first that is not landed; `lag` counts records up to the head."""

    partition: int
    next_offset: int
    head: int
    lag: int


class LanderStatus(Struct, frozen=True):
    """A picture of the lander. Times are in ms; `oldest_unlanded_ms` is an age, 0 when all is landed."""

    partitions: list[PartitionStatus]
    lag: int
    oldest_unlanded_ms: int
    last_landing_at: int | None
    last_error: str | None
    last_error_at: int | None
    gaps: list[Gap]


class _Buffer(Struct):
    """Records of one partition that are decoded and not yet landed: [first, next)."""

    first: int
    next: int
    decoded: list[Decoded]
    bytes: int = 0
    since: int = 0


class Lander:
    """Lands one log. Several may run: the manifest lets each range of offsets land once."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        lake: Lake,
        manifest: Manifest,
        clock: Clock,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self._settings = settings
        self._log = log
        self._lake = lake
        self._manifest = manifest
        self._clock = clock
        self._checkpoint = checkpoint
        self._identity = log.identity
        self._dead = LocalLake.of_folder(settings.data.absolute() / "dead")
        self._buffers: dict[int, _Buffer] = {}
        self._waiting = Waiting()
        self._gaps: list[Gap] = []
        self._last_landing_at: int | None = None
        self._last_error: tuple[str, int] | None = None

    def step(self, *, force: bool = False) -> int:
        """Read what is there and land it if it is due by age or size, or if forced. Returns the rows landed.

        Whatever raises, nothing is lost: the next step starts again from the manifest.
        """
        return sum([self._step(partition, force=force) for partition in self._log.partitions()])

    def drain(self) -> int:
        """Land everything up to the heads as they are now. Returns the rows landed by this lander."""
        heads = {partition: self._log.head(partition) for partition in self._log.partitions()}
        rows = self.step(force=True)
        while any(self._manifest.next_offset(self._identity, p) < head for p, head in heads.items()):
            rows += self.step(force=True)
        return rows

    def run(self, stop: threading.Event) -> None:
        """Land until `stop` is set, then land what was read. Errors are logged, shown in `status`, and retried."""
        upkeep = Upkeep(self._settings, self._log, self._lake, self._manifest, self._clock, self._failed)
        beside = threading.Thread(target=upkeep.run, args=(stop,), name="upkeep")
        beside.start()
        try:
            self._run(stop)
        finally:
            stop.set()
            beside.join()

    def _run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                busy = self.step() > 0
                failures = 0
            except Exception as error:  # noqa: BLE001 - logged, counted and shown; only `stop` ends the lander
                failures += 1
                busy = False
                self._failed(error)
            stop.wait(0.0 if busy else _pause(failures))
        try:
            self.step(force=True)
        except Exception as error:  # noqa: BLE001 - what was read stays on the log and lands at the next start
            self._failed(error)

    def status(self) -> LanderStatus:
        """How far the lander is, from the manifest and the log."""
        partitions = [self._partition_status(partition) for partition in self._log.partitions()]
        error, error_at = self._last_error or (None, None)
        return LanderStatus(
            partitions=partitions,
            lag=sum(p.lag for p in partitions),
            oldest_unlanded_ms=max((self._age(p) for p in partitions), default=0),
            last_landing_at=self._last_landing_at,
            last_error=error,
            last_error_at=error_at,
            gaps=list(self._gaps),
        )

    def unlanded(self, client_id: str) -> list[Unlanded] | None:
        """What was read of a client's events and is not landed, by partition; None while that is not known.

        A partition's records are landed once the manifest's position has moved to their `next`, which may be a
        moment before this tells so.
        """
        found = self._waiting.of(client_id)
        return found if [one.partition for one in found] == sorted(self._log.partitions()) else None

    def intake(self) -> Intake:
        """How many events arrive, as far as they were read."""
        return self._waiting.intake(self._clock.now_ms())

    @property
    def log_identity(self) -> str:
        """Of the log that is landed, as the manifest names it."""
        return self._identity

    def _partition_status(self, partition: int) -> PartitionStatus:
        landed = self._manifest.next_offset(self._identity, partition)
        head = self._log.head(partition)
        lag = max(head - landed, 0)
        LAG_RECORDS.labels(CONSUMER).set(lag)
        return PartitionStatus(partition, landed, head, lag)

    def _age(self, at: PartitionStatus) -> int:
        waiting = self._log.read(at.partition, at.next_offset, max_records=1) if at.lag else []
        return max(self._clock.now_ms() - waiting[0].timestamp, 0) if waiting else 0

    def _step(self, partition: int, *, force: bool) -> int:
        try:
            buffer = self._buffers.get(partition) or self._resume(partition)
            while not self._full(buffer):
                asked_at = self._clock.now_ms()
                records = self._log.read(partition, buffer.next, max_records=_READ_RECORDS, max_bytes=_READ_BYTES)
                if not records:
                    self._waiting.caught_up(partition, asked_at)
                    break
                self._take(partition, buffer, records)
            if buffer.next > buffer.first and (force or self._full(buffer) or self._old(buffer)):
                return self._land(partition, buffer)
        except BaseException:
            self._buffers.pop(partition, None)
            self._waiting.forgotten(partition)
            raise
        return 0

    def _resume(self, partition: int) -> _Buffer:
        """Start at the manifest's position, and register with the log so that it deletes nothing we need."""
        position = self._manifest.next_offset(self._identity, partition)
        head = self._log.head(partition)
        if position > head:
            raise IsothermError(
                f"log partition {partition} ends at offset {head}, but the manifest has landed up to {position}: "
                "the log was replaced. Start with its old files, or with an empty data folder."
            )
        self._log.commit(CONSUMER, partition, position)
        self._waiting.resumed(partition, position)
        buffer = self._buffers[partition] = _Buffer(position, position, [])
        return buffer

    def _take(self, partition: int, buffer: _Buffer, records: list[Stored]) -> None:
        if not buffer.decoded:
            buffer.since = self._clock.now_ms()
        expected = buffer.next
        for record in records:
            if record.offset != expected:
                self._note_gap(Gap(partition, expected, record.offset - 1, self._clock.now_ms()))
            expected = record.offset + 1
        decoded = decode_records(records)
        buffer.decoded.append(decoded)
        self._waiting.taken(partition, expected, decoded.tallies, self._clock.now_ms())
        buffer.bytes += sum(len(record.value) for record in records)
        buffer.next = expected

    def _note_gap(self, gap: Gap) -> None:
        if (gap.partition, gap.first) not in {(g.partition, g.first) for g in self._gaps}:
            self._gaps.append(gap)
            _log.warning("records are missing from the log", partition=gap.partition, first=gap.first, last=gap.last)

    def _full(self, buffer: _Buffer) -> bool:
        return buffer.bytes >= self._settings.land_flush_bytes

    def _old(self, buffer: _Buffer) -> bool:
        return self._clock.now_ms() - buffer.since >= self._settings.land_flush_seconds * SECOND_MS

    def _land(self, partition: int, buffer: _Buffer) -> int:
        """Files, then the one transaction, then the log. Returns the rows landed, 0 if another lander was first."""
        self._keep_dead(buffer)
        counts: Counter[ledger.Key] = Counter()
        ledger.fold_tallies(counts, [tally for d in buffer.decoded for tally in d.tallies])
        parts = self._new_rows(buffer, counts)
        planned = self._plan(partition, buffer, parts)
        landing = self._landing(partition, buffer, parts, counts)
        del self._buffers[partition], parts
        buffer.decoded.clear()
        version, written = self._write(landing, planned)
        if version is None:
            self._waiting.forgotten(partition)
            _log.info("another lander was first", partition=partition, first=landing.first, last=landing.next - 1)
            return 0
        self._waiting.landed(partition)
        self._checkpoint("landed")
        self._log.commit(CONSUMER, partition, landing.next)
        self._checkpoint("committed")
        self._buffers[partition] = _Buffer(landing.next, landing.next, [])
        return self._count(written, counts)

    def _landing(self, partition: int, buffer: _Buffer, parts: list[Part], counts: "Counter[ledger.Key]") -> Landing:
        """What the one transaction says of these parts; the files come when they are written."""
        arrived = totals(tally for d in buffer.decoded for tally in d.tallies)
        said = {offset: shape for d in buffer.decoded for offset, shape in d.shapes.items()}
        return Landing(
            log=self._identity,
            partition=partition,
            first=buffer.first,
            next=buffer.next,
            files=[],
            counts=counts,
            received={(p.client_id, p.hour): int(int64(p.table, "received_at").min()) for p in parts},
            newest={client_id: one.newest for client_id, one in arrived.items()},
            shapes=shapes.fold(((p.client_id, int64(p.table, "log_offset")) for p in parts), said),
        )

    def _write(self, landing: Landing, planned: list[Planned]) -> tuple[int | None, list[LakeFile]]:
        version: int | None = None
        late = False
        try:
            written = write_files(self._lake, self._manifest, planned, self._checkpoint)
            version = self._manifest.land(msgspec.structs.replace(landing, files=written))
        except LakeUnavailable:
            # What was sent may still arrive: the sweeper takes it away when that can no longer be.
            late = True
            raise
        finally:
            if version is None and not late:
                self._manifest.discard(self._lake, [file.path for file, _ in planned])
        return version, written

    def _keep_dead(self, buffer: _Buffer) -> None:
        """Keep the bytes of unusable records; a file that is there is from an earlier try."""
        for record in [record for d in buffer.decoded for record in d.dead]:
            path = f"{record.partition}-{record.offset}.bin"
            if not self._dead.local_path(path).exists():
                self._dead.put(path, record.value)
            _log.warning("a record is unusable", partition=record.partition, offset=record.offset, kept=path)
        self._checkpoint("dead")

    def _new_rows(self, buffer: _Buffer, counts: "Counter[ledger.Key]") -> list[Part]:
        tables = [d.table for d in buffer.decoded if d.table.num_rows]
        if not tables:
            return []
        imported = np.concatenate([d.imported for d in buffer.decoded if d.table.num_rows])
        parts = list(split(pa.concat_tables(tables), imported))
        kept: list[Part] = []
        for part, mask in self._judged(parts):
            ledger.fold_rows(counts, part, mask)
            if mask.any():
                table = part.table if mask.all() else part.table.filter(pa.array(mask))
                kept.append(Part(part.client_id, part.hour, table, part.imported[mask]))
        return kept

    def _judged(self, parts: list[Part]) -> list[tuple[Part, Mask]]:
        """Each part with its new rows; only parts with imported rows have to look at the lake."""
        judged = [(part, np.ones(part.table.num_rows, np.bool_)) for part in parts if not part.imported.any()]
        suspects = [part for part in parts if part.imported.any()]
        if suspects:
            hours = [part.hour for part in suspects]
            clients = sorted({part.client_id for part in suspects})
            with self._manifest.snapshot(start=min(hours), end=max(hours) + 1, client_ids=clients) as snapshot:
                judged += without_known(suspects, self._lake, snapshot)
        return judged

    def _plan(self, partition: int, buffer: _Buffer, parts: list[Part]) -> list[Planned]:
        last = buffer.next - 1
        planned: list[Planned] = []
        for part in parts:
            source = OffsetRange(
                self._identity, partition, buffer.first, last, part.table.num_rows, rowhash.of_table(part.table)
            )
            stem = f"{partition}-{buffer.first}-{last}"
            planned += [(describe(part, f, [source], stem), part.table) for f in self._settings.land_formats]
        return planned

    def _count(self, written: list[LakeFile], counts: "Counter[ledger.Key]") -> int:
        self._last_landing_at = self._clock.now_ms()
        rows = sum(events for key, events in counts.items() if key[2] == "landed")
        dropped = sum(events for key, events in counts.items() if key[2] in ("landing_duplicate", "dead"))
        LANDED_ROWS.inc(rows)
        LANDED_FILES.inc(len(written))
        for outcome, events in (("received", rows + dropped), ("sent", rows), ("dropped", dropped)):
            COMPONENT_EVENTS.labels("land", outcome).inc(events)
        return rows

    def _failed(self, error: Exception) -> None:
        now = self._clock.now_ms()
        self._last_error = (f"{type(error).__name__}: {error}", now)
        COMPONENT_EVENTS.labels("land", "failed").inc()
        _log.exception("landing failed; it goes on by itself", at=iso(now))


def _pause(failures: int) -> float:
    """Seconds to wait: short when idle, doubling with jitter after errors."""
    if not failures:
        return _IDLE_S
    least, most = _BACKOFF_S
    return random.uniform(0.5, 1.0) * min(least * 2**failures, most)  # noqa: S311 - spreads retries, no secret
