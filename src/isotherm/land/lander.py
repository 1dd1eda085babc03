"""The lander: reads the log from where the manifest says, writes files, lists them, then tells the log."""

import random
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec
import structlog

from isotherm.clock import MINUTE_MS, SECOND_MS, Clock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog, Stored
from isotherm.land import behind, gaps, poison
from isotherm.land.assemble import Fresh, measure, new_rows, plan, said_by
from isotherm.land.books import Books, Key
from isotherm.land.buffers import Buffer, LanderStatus, PartitionStatus, by_partition
from isotherm.land.dead import DeadBin, Failed
from isotherm.land.intake import SharedIntake
from isotherm.land.lake import Lake
from isotherm.land.landing import Gap, LakeFile, Landing
from isotherm.land.late import Rule
from isotherm.land.manifest import Manifest
from isotherm.land.scanned import claim_log
from isotherm.land.steady import believed
from isotherm.land.store import Checkpoint, Planned, no_checkpoint, write_and_land
from isotherm.land.upkeep import Upkeep
from isotherm.land.waiting import Intake, Unlanded, Waiting
from isotherm.land.write import encode
from isotherm.metrics import GAP_RECORDS, LAG_RECORDS, counts

CONSUMER: Final = "land"
_READ_BYTES: Final = 8 << 20
"""Records decoded at a time; their Python objects live only until they are columns."""
_READ_RECORDS: Final = 2_000
_IDLE_S: Final = 0.2
_BACKOFF_S: Final = (0.5, 30.0)
_TAIL_MS: Final = MINUTE_MS
"""While a partition gives nothing before its head, its tail is asked for this often."""

_log = structlog.get_logger("isotherm.land")


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
        shared: SharedIntake | None = None,
        dead: EventLog | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._lake = lake
        self._manifest = manifest
        self._clock = clock
        self._checkpoint = checkpoint
        self._shared = shared
        self._dry: set[int] = set()
        self._full = False
        self._tails_asked: dict[int, int] = {}
        self._formats = settings.land_formats
        self._dead = DeadBin(settings, dead)
        self._buffers: dict[int, Buffer] = {}
        self._assigned: list[int] = []
        self._all: list[int] = []
        self._waiting = Waiting()
        self._counts = counts("land")
        self._last_landing_at: int | None = None
        self._last_error: tuple[str, int] | None = None

    def step(self, *, force: bool = False) -> int:
        """Read what is there, as far as there is room, and land it if it is due by age or size, or if forced. Returns
        the rows landed.

        Only of the partitions that are this lander's now. Whatever raises, nothing is lost: the next step starts
        again from the manifest.
        """
        self._all = sorted(self._log.partitions())
        self._assigned = sorted(self._log.assigned(CONSUMER))
        self._forget([p for p in self._buffers if p not in self._assigned])
        return self._step(self._assigned, force=force)

    def drain(self) -> int:
        """Land everything up to the heads as they are now, also of other landers' partitions; whoever is first lands.

        Returns the rows landed by this lander.
        """
        self._all = sorted(self._log.partitions())
        heads = self._log.heads(self._all)
        rows = self._step(self._all, force=True)
        while late := self._behind(heads):
            rows += self._step(late, force=True)
            # What cannot be read, such as marks of transactions at the end, has no rows to wait for.
            heads = {p: head for p, head in heads.items() if p not in self._dry}
        return rows

    def _behind(self, heads: dict[int, int]) -> list[int]:
        landed = self._manifest.progress(self.log_identity)
        return [p for p, head in heads.items() if (landed[p].next_offset if p in landed else 0) < head]

    def run(self, stop: threading.Event) -> None:
        """Land until `stop` is set, then land what was read. Errors are logged, shown in `status`, and retried."""
        upkeep = Upkeep(self._settings, self._log, self._lake, self._manifest, self._clock, self._failed, self._dead)
        done = threading.Event()  # not `stop`: who watches that sees this thread alone
        beside = threading.Thread(target=upkeep.run, args=(done,), name="upkeep")
        beside.start()
        try:
            self._run(stop)
        finally:
            done.set()
            beside.join()

    def _run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                busy = self.step() > 0 or self._full
                failures = 0
            except Exception as error:  # noqa: BLE001 - logged, counted and shown; only `stop` ends the lander
                failures += 1
                busy = False
                self._failed(error)
            stop.wait(0.0 if busy else pause(failures))
        try:
            self.step(force=True)
        except Exception as error:  # noqa: BLE001 - what was read stays on the log and lands at the next start
            self._failed(error)

    def status(self) -> LanderStatus:
        """How far landing is, from the manifest and the log."""
        partitions = behind.landed(self._log, self._manifest, self.log_identity)
        error, error_at = self._last_error or (None, None)
        return LanderStatus(
            partitions=partitions,
            assigned=list(self._assigned),
            lag=sum(p.lag for p in partitions),
            oldest_unlanded_ms=self._oldest_ms(partitions),
            retention_ms=self._log.retention_ms,
            last_landing_at=self._last_landing_at,
            last_error=error,
            last_error_at=error_at,
            gaps=gaps.newest(self._manifest.engine, self.log_identity),
        )

    def _oldest_ms(self, partitions: Sequence[PartitionStatus]) -> int:
        """Age of the oldest record that waits. Of partitions that others read, the log is asked for a few."""
        buffers = dict(self._buffers)
        times = [b.oldest for p in partitions if (b := buffers.get(p.partition)) and b.oldest is not None]
        others = [p for p in partitions if p.partition not in buffers or not buffers[p.partition].decoded]
        if (oldest := behind.oldest_received(self._log, others)) is not None:
            times.append(oldest)
        return max(self._clock.now_ms() - min(times), 0) if times else 0

    def unlanded(self, client_id: str) -> list[Unlanded] | None:
        """What was read of a client's events and is not landed, by partition; None while that is not known.

        It is not while some partition is another lander's. A partition's records are landed once the manifest's
        position has moved to their `next`, which may be a moment before this tells so.
        """
        found = self._waiting.of(client_id)
        return found if found and [one.partition for one in found] == self._all else None

    def intake(self) -> Intake:
        """How many events arrive, as far as this lander read them."""
        return self._waiting.intake(self._clock.now_ms())

    @cached_property
    def log_identity(self) -> str:
        """Of the log that is landed, as the manifest names it.

        Raises Backpressure while the log cannot be asked, ConfigError when it is landed by scanning a sink's files.
        """
        identity = self._log.identity
        claim_log(self._manifest.engine, identity, "log")
        return identity

    def _step(self, partitions: Sequence[int], *, force: bool) -> int:
        """Read and land once: before it reads on, a lander asks again what is its own, and whether it shall stop."""
        asked_at = self._clock.now_ms()
        rows = 0
        try:
            heads = self._log.heads(partitions)
            self._resume(heads)
            self._measure(heads)
            self._full = self._read(heads)
            if self._shared is not None:
                self._shared.tell(self.intake().events)
            for partition in self._due(partitions, force=force, full=self._full):
                rows += self._land(partition, self._buffers[partition])
                # Another lander was first: where to go on is in the manifest.
                self._resume({partition: heads[partition]})
            self._measure(heads)
        except BaseException:
            self._forget(list(self._buffers))
            raise
        for partition in partitions:
            if self._buffers[partition].next >= heads[partition] or partition in self._dry:
                self._waiting.caught_up(partition, asked_at)
        return rows

    def _measure(self, heads: Mapping[int, int]) -> None:
        LAG_RECORDS.labels(CONSUMER).set(sum(max(head - self._buffers[p].first, 0) for p, head in heads.items()))

    def _forget(self, partitions: Sequence[int]) -> None:
        """Drop what was read of these: it is read again, by whoever has them now."""
        for partition in partitions:
            self._buffers.pop(partition, None)
            self._tails_asked.pop(partition, None)
            self._waiting.forgotten(partition)

    def _resume(self, heads: Mapping[int, int]) -> None:
        """Start partitions that have no buffer at the manifest's position, and register with the log so that it
        deletes nothing we need."""
        fresh = [partition for partition in heads if partition not in self._buffers]
        landed = self._manifest.progress(self.log_identity) if fresh else {}
        for partition in fresh:
            position = landed[partition].next_offset if partition in landed else 0
            # A head that was asked for a moment ago may lie below what another lander has landed since.
            if position > heads[partition] and position > (head := self._log.head(partition)):
                raise IsothermError(
                    f"log partition {partition} ends at offset {head}, but the manifest has landed up to {position}: "
                    "the log was replaced. Start with its old files, or with an empty data folder."
                )
            self._log.commit(CONSUMER, partition, position)
            self._waiting.resumed(partition, position)
            self._buffers[partition] = Buffer(position, position, [])

    def _read(self, heads: Mapping[int, int]) -> bool:
        """Read these partitions up to the heads. False when that is done, True when there is no room for more."""
        buffers = {partition: self._buffers[partition] for partition in heads}
        self._dry = set()
        while late := [p for p, buffer in buffers.items() if buffer.next < heads[p]]:
            if sum(buffer.bytes for buffer in self._buffers.values()) >= self._settings.land_flush_bytes:
                return True
            positions = {partition: buffer.next for partition, buffer in buffers.items()}
            records = self._log.read_some(CONSUMER, positions, max_records=_READ_RECORDS, max_bytes=_READ_BYTES)
            if not records:
                self._dry = set(late)
                self._pass_lost({partition: buffers[partition] for partition in late})
                break
            for partition, mine in by_partition(records).items():
                self._take(partition, buffers[partition], mine)
        return sum(buffer.bytes for buffer in self._buffers.values()) >= self._settings.land_flush_bytes

    def _due(self, partitions: Sequence[int], *, force: bool, full: bool) -> list[int]:
        """What is to be landed now: all when forced, else by age, and when there is no room, what takes most of it."""
        waiting = [p for p in partitions if self._buffers[p].next > self._buffers[p].first]
        share = sum(self._buffers[p].bytes for p in waiting) / (2 * max(len(waiting), 1))
        return [p for p in waiting if force or self._old(p) or (full and self._buffers[p].bytes >= share)]

    def _take(self, partition: int, buffer: Buffer, records: list[Stored]) -> None:
        decoded = buffer.take(records, self._clock.now_ms())
        self._waiting.taken(partition, buffer.next, decoded.tallies, self._clock.now_ms())

    def _pass_lost(self, dry: Mapping[int, Buffer]) -> None:
        """Pass what the log has lost of partitions that give nothing: no record comes whose offset would show it.

        Marks of transactions, which nobody is given either, stand behind the tail: they are no loss.
        """
        now = self._clock.now_ms()
        if all(abs(now - self._tails_asked.get(partition, -_TAIL_MS)) < _TAIL_MS for partition in dry):
            return
        tails = self._log.status().tail
        for partition, buffer in dry.items():
            self._tails_asked[partition] = now
            buffer.lose(partition, tails.get(partition, 0), now)
            self._waiting.taken(partition, buffer.next, (), now)

    def _old(self, partition: int) -> bool:
        waited_ms = self._clock.now_ms() - self._buffers[partition].since
        # Less than nothing: the clock was set back, nobody knows by how much.
        return waited_ms < 0 or waited_ms >= self._settings.land_flush_seconds * SECOND_MS

    def _land(self, partition: int, buffer: Buffer) -> int:
        """Files, then the one transaction, then the log. Returns the rows landed, 0 if another lander was first.

        Records that landing fails at are dead letters from then on: they must not stop their partition.
        """
        try:
            return self._land_all(partition, buffer)
        except poison.SURROUNDINGS as error:
            error.add_note(f"while landing offsets {buffer.first} to {buffer.next - 1} of partition {partition}")
            raise
        except Exception as error:
            if (spared := self._spared(partition, buffer)) is None:
                raise
            _log.warning("landing failed at some records", partition=partition, records=len(spared.failed), why=error)
            self._buffers[partition] = spared
            return self._land_all(partition, spared)

    def _land_all(self, partition: int, buffer: Buffer) -> int:
        self._keep_dead(buffer)
        landing, planned = self._prepared(partition, buffer)
        del self._buffers[partition]
        buffer.decoded.clear()
        version, written = write_and_land(self._lake, self._manifest, landing, planned, self._checkpoint)
        if version is None:
            self._waiting.forgotten(partition)
            _log.info("another lander was first", partition=partition, first=landing.first, last=landing.next - 1)
            return 0
        self._waiting.landed(partition)
        _tell(landing.gaps)
        self._checkpoint("landed")
        self._log.commit(CONSUMER, partition, landing.next)
        self._checkpoint("committed")
        self._buffers[partition] = Buffer(landing.next, landing.next, [])
        _log.debug("landed", partition=partition, first=landing.first, last=landing.next - 1, files=len(written))
        return self._count(written, landing.counts)

    def _prepared(self, partition: int, buffer: Buffer) -> tuple[Landing, list[Planned]]:
        """What is to be landed, and the files of it; nothing is written yet."""
        books = Books(self._settings.close_delay_seconds * SECOND_MS)
        books.add_tallies(tally for d in buffer.decoded for tally in d.tallies)
        rule = Rule(self._settings, believed(self._manifest.engine, self._clock.now_ms(), "land"))
        fresh = new_rows(buffer.decoded, books, self._lake, self._manifest, rule, by_id=not self._log.knows_ids)
        planned = plan(fresh.parts, (self.log_identity, partition), buffer.first, buffer.next - 1, self._formats)
        return self._landing(partition, buffer, fresh, books), planned

    def _spared(self, partition: int, buffer: Buffer) -> Buffer | None:
        """The same records without those that landing fails at, each tried alone; None when it is none of them."""
        records: list[Stored] = []
        at = buffer.first
        while at < buffer.next and (more := self._log.read(partition, at)):
            records += [record for record in more if record.offset < buffer.next]
            at = more[-1].offset + 1

        def probe(some: Sequence[Stored]) -> None:
            tried = Buffer(some[0].offset, some[-1].offset + 1, [poison.decode(some)], newest=buffer.newest)
            for file, table in self._prepared(partition, tried)[1]:
                encode(table, file.format)

        bad = poison.poisoned(records, probe)
        if not bad:
            return None
        return msgspec.structs.replace(buffer, decoded=[poison.without(records, bad)], failed=bad)

    def _landing(self, partition: int, buffer: Buffer, fresh: Fresh, books: Books) -> Landing:
        """What the one transaction says of these rows; the files come when they are written."""
        return Landing(
            log=self.log_identity,
            partition=partition,
            first=buffer.first,
            next=buffer.next,
            files=[],
            counts=books.counts,
            screens=books.screens,
            views=books.views,
            received_until=buffer.newest,
            gaps=buffer.gaps,
            **said_by(buffer.decoded, fresh),
        )

    def _keep_dead(self, buffer: Buffer) -> None:
        """Keep the bytes of unusable records."""
        failed: list[Failed] = []
        for decoded in buffer.decoded:
            said = {tally.offset: tally for tally in decoded.tallies if tally.dead}
            for record in decoded.dead:
                whose, detail = said[record.offset], buffer.failed.get(record.offset)
                reason = "unusable" if detail is None else "lander_error"
                place = f"{record.partition}-{record.offset}"
                failed.append(Failed(record, place, whose.client_id, whose.received_at, reason, detail or ""))
        self._dead.keep("land", self.log_identity, failed)
        self._checkpoint("dead")

    def _count(self, written: list[LakeFile], counts: Mapping[Key, int]) -> int:
        self._last_landing_at = self._clock.now_ms()
        return measure(self._counts, len(written), counts)

    def _failed(self, error: Exception) -> None:
        now = self._clock.now_ms()
        self._last_error = (f"{type(error).__name__}: {error}", now)
        self._counts.failed.inc()
        _log.exception("landing failed; it goes on by itself", at=iso(now))


def _tell(found: Sequence[Gap]) -> None:
    for gap in found:
        GAP_RECORDS.inc(gap.last - gap.first + 1)
        _log.warning("records were gone from the log", partition=gap.partition, first=gap.first, last=gap.last)


def pause(failures: int) -> float:
    """Seconds to wait: short when idle, doubling with jitter after errors."""
    if not failures:
        return _IDLE_S
    least, most = _BACKOFF_S
    return random.uniform(0.5, 1.0) * min(least * 2**failures, most)  # noqa: S311 - spreads retries, no secret
