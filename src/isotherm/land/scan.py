"""The scanner: lands what a Kafka Connect sink has written, file by file, as the lander lands the log.

A file is landed by one manifest transaction, keyed by its path. One that has grown is landed from where it was landed
to; one that was written anew is landed as a whole. Rows that are in the lake already are dropped by the ids of their
batches, or, where the batch is older than ids are kept, by looking into the hour's files.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from isotherm.clock import SECOND_MS, Clock, iso
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, Stored
from isotherm.land import known, poison, scanned
from isotherm.land.assemble import Fresh, measure, new_rows, plan, said_by
from isotherm.land.books import Books
from isotherm.land.columns import Decoded
from isotherm.land.dead import DeadBin
from isotherm.land.lake import Found, Lake
from isotherm.land.lander import pause
from isotherm.land.landing import Landing
from isotherm.land.late import Rule
from isotherm.land.manifest import Manifest
from isotherm.land.scan_lines import Taken, dead_of, decoded, records_of, spared, take
from isotherm.land.scan_source import Source
from isotherm.land.scan_text import Unreadable, digest, lines_of, unpack
from isotherm.land.scan_upkeep import ScanUpkeep
from isotherm.land.scan_waits import NotLanded, Waiting, Waits
from isotherm.land.scan_watch import SinkStatus, Watch
from isotherm.land.scanned import Scanned, State
from isotherm.land.steady import believed
from isotherm.land.store import Checkpoint, Planned, no_checkpoint, write_and_land
from isotherm.land.write import encode
from isotherm.metrics import SCANNED_FILES, counts

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_CLIENT: Final = re.compile(r"(?:^|/)client_id=([^/]*)/")
GIVE_UP: Final = 20
"""Files that fail one after the other: then the fault is hardly theirs, and each of them may have cost a time-out."""

_TORN: Final = "its last line ends in the middle: a sink may still be writing it"

_log = structlog.get_logger("isotherm.land")
Progress = Callable[[int, int], None]


def no_progress(_done: int, _of: int) -> None:
    """The default of `Progress`, which is told how many files are done, and of how many."""


class ScannerStatus(Struct, frozen=True):
    """A picture of the scanner; times are in ms. `files` and `lines` are landed, `due` were found and are not.

    `misplaced` counts records since the start that lie under another client's folder, `ignored` objects of the last
    listing that are no files of lines. `sink` is None until the log was asked.
    """

    source: str
    files: int
    lines: int
    due: int
    waiting: list[Waiting]
    misplaced: int
    ignored: int
    last_scan_at: int | None
    last_landing_at: int | None
    last_error: str | None
    last_error_at: int | None
    sink: SinkStatus | None


class Scanner:
    """Lands the files of one sink. Several may run: of two that take the same file one wins."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        source: Source,
        lake: Lake,
        manifest: Manifest,
        clock: Clock,
        checkpoint: Checkpoint = no_checkpoint,
        dead: EventLog | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._source = source
        self._lake = lake
        self._manifest = manifest
        self._clock = clock
        self._checkpoint = checkpoint
        self._name = source.where("")
        self._dead = DeadBin(settings, dead)
        self._upkeep = ScanUpkeep(
            settings, log, lake, manifest, clock, self._failed, Watch(log, settings.scan_group, clock), self._dead
        )
        self._upkeep.source = self._name
        self._waits = Waits(source, clock)
        self._counts = counts("scan")
        self._due = self._ignored = self._misplaced = self._lost = 0
        self._last_scan_at: int | None = None
        self._last_landing_at: int | None = None
        self._last_error: tuple[str, int] | None = None

    @cached_property
    def log_identity(self) -> str:
        """Of the log whose records the files hold.

        Raises Backpressure while it cannot be asked, ConfigError when it is landed by a lander of its own.
        """
        identity = self._log.identity
        scanned.claim_log(self._manifest.engine, identity, "scan")
        return identity

    def drain(self, progress: Progress = no_progress) -> int:
        """Land all that can be landed now, also what another scanner was about to. Returns the rows."""
        rows = self.step(progress)
        while self._lost:
            rows += self.step(progress)
        return rows

    def step(self, progress: Progress = no_progress) -> int:
        """Land every file that is new or has changed. Returns the rows landed; `progress` is told files.

        Raises NotLanded at the end when some could not be; after GIVE_UP of them in a row the rest is left for the
        next step, which begins with it. Whatever raises, nothing is lost and nothing lands twice: the next step goes
        by the manifest again.
        """
        _ = self.log_identity
        files = self._list()
        states = scanned.look_up(self._manifest.engine, self._name)
        self._name_torn(files, states)
        self._upkeep.there = there = {found.path for found in files}
        todo = [found for found in files if self._changed(found, states.get(found.path))]
        self._due = len(todo)
        rows = self._land_all(self._waits.in_turn(there, todo), states, progress)
        self._last_scan_at = self._clock.now_ms()
        return rows

    def _land_all(self, todo: Sequence[Found], states: Mapping[str, State], progress: Progress) -> int:
        rows = self._lost = in_a_row = 0
        first: NotLanded | None = None
        for done, found in enumerate(todo):
            progress(done, len(todo))
            try:
                rows += self._land(found, states.get(found.path))
            except SQLAlchemyError:
                raise
            except Exception as error:  # noqa: BLE001 - shown with its file, and raised when the others were tried
                failed = self._waits.fail(found, error)
                first, in_a_row = first or failed, in_a_row + 1
                if in_a_row == GIVE_UP:
                    break
            else:
                self._waits.done(found.path)
                in_a_row = 0
                self._due -= 1
        self._measure()
        if first is not None:
            raise first
        progress(len(todo), len(todo))
        return rows

    def _name_torn(self, files: Sequence[Found], states: Mapping[str, State]) -> None:
        """Files that another run landed up to a line without an end, and that are still as they were."""
        for found in files:
            state = states.get(found.path)
            if state is not None and state.torn and state.mark == found.mark and not self._waits.waits(found):
                self._waits.wait(found, _TORN)

    def run(self, stop: threading.Event) -> None:
        """Scan until `stop` is set. Errors are logged, shown in `status`, and retried."""
        done = threading.Event()  # not `stop`: who watches that sees this thread alone
        beside = threading.Thread(target=self._upkeep.run, args=(done,), name="upkeep")
        beside.start()
        failures = 0
        try:
            while not stop.is_set():
                try:
                    self.step(partial(_stop_when, stop))
                    failures = 0
                except _Stopped:
                    break
                except Exception as error:  # noqa: BLE001 - logged, counted and shown; only `stop` ends the scanner
                    failures += 1
                    self._failed(error)
                stop.wait(pause(failures) if failures else self._settings.land_flush_seconds)
        finally:
            done.set()
            beside.join()

    def status(self) -> ScannerStatus:
        """How far scanning is, from the manifest and the last listing."""
        done = scanned.sums(self._manifest.engine, self._name)
        error, error_at = self._last_error or (None, None)
        return ScannerStatus(
            source=self._name,
            files=done.files,
            lines=done.lines,
            due=self._due,
            waiting=self._waits.all(),
            misplaced=self._misplaced,
            ignored=self._ignored,
            last_scan_at=self._last_scan_at,
            last_landing_at=self._last_landing_at,
            last_error=error,
            last_error_at=error_at,
            sink=self._upkeep.sink,
        )

    def _measure(self) -> None:
        landed = scanned.sums(self._manifest.engine, self._name).files
        for state, files in (("landed", landed), ("due", self._due), ("unreadable", len(self._waits))):
            SCANNED_FILES.labels(state).set(files)

    def _list(self) -> list[Found]:
        everything = list(self._source.found())
        files = sorted(found for found in everything if found.path.endswith(SUFFIXES))
        self._ignored = len(everything) - len(files)
        return files

    def _changed(self, found: Found, state: State | None) -> bool:
        if self._waits.waits(found):
            return False
        return state is None or state.mark != found.mark

    def _land(self, found: Found, before: State | None) -> int:
        """Land what is new in one file. Returns the rows, 0 when it has to wait or somebody else was first."""
        self._waits.read(found.path)
        try:
            text = unpack(self._source.get(found.path))
        except FileNotFoundError:
            return 0
        except (Unreadable, ValueError) as error:
            self._waits.wait(found, str(error))
            return 0
        start = self._start(text, before)
        lines = lines_of(text, start.lines, start.bytes)
        now = self._clock.now_ms()
        taken = take(records_of(lines, start.number, now), now)
        self._check_folder(found, taken.decoded)
        landed = digest(text, lines.end_byte)
        after = State(found.mark, start.number, lines.end_line, lines.end_byte, landed, lines.torn)
        del text
        rows = self._land_sparing(found, before, start, after, taken)
        if lines.torn:
            self._waits.wait(found, _TORN)
        return rows

    def _start(self, text: bytes, before: State | None) -> State:
        """Where landing goes on: behind what was landed if that still stands there, else at the beginning."""
        if before is not None and len(text) >= before.bytes and digest(text, before.bytes) == before.digest:
            return before
        return State("", scanned.draw(self._manifest.engine), 0, 0, "", torn=False)

    def _check_folder(self, found: Found, decoded: Sequence[Decoded]) -> None:
        """What the envelope says counts; a folder that says otherwise is told of."""
        folder = _CLIENT.search(found.path)
        if folder is None:
            return
        others = [t.client_id for one in decoded for t in one.tallies if t.client_id not in ("", folder[1])]
        if others:
            self._misplaced += len(others)
            _log.warning("records of another client than the folder says", file=found.path, records=len(others))

    def _land_sparing(self, found: Found, before: State | None, start: State, after: State, taken: Taken) -> int:
        """Land the lines. Those that landing fails at are dead letters from then on: they must not stop the others."""
        try:
            return self._land_lines(found, before, start, after, taken)
        except poison.SURROUNDINGS:
            raise
        except Exception as error:
            if (fewer := self._spared(found, before, start, after)) is None:
                raise
            where = self._source.where(found.path)
            _log.warning("landing failed at some lines", file=where, lines=len(fewer.failed), why=error)
            return self._land_lines(found, before, start, after, fewer)

    def _spared(self, found: Found, before: State | None, start: State, after: State) -> Taken | None:
        """The same lines without those that landing fails at, each tried alone; None when it is none of them, or when
        the file is another by now."""
        text = unpack(self._source.get(found.path))
        if digest(text, after.bytes) != after.digest:
            return None
        now = self._clock.now_ms()
        records = records_of(lines_of(text[: after.bytes], start.lines, start.bytes), start.number, now)

        def probe(some: Sequence[Stored]) -> None:
            for file, table in self._prepared(found, before, start, after, [decoded(some, now)])[1]:
                encode(table, file.format)

        return spared(records, now, probe)

    def _land_lines(self, found: Found, before: State | None, start: State, after: State, taken: Taken) -> int:
        self._dead.keep("scan", self.log_identity, list(dead_of(taken, self._source.where(found.path))))
        self._checkpoint("dead")
        landing, planned = self._prepared(found, before, start, after, taken.decoded)
        taken.decoded.clear()
        version, written = write_and_land(self._lake, self._manifest, landing, planned, self._checkpoint)
        if version is None:
            self._lost += 1
            _log.info("another lander was first", file=found.path)
            return 0
        self._checkpoint("landed")
        self._last_landing_at = self._clock.now_ms()
        return measure(self._counts, len(written), landing.counts)

    def _prepared(
        self, found: Found, before: State | None, start: State, after: State, some: Sequence[Decoded]
    ) -> tuple[Landing, list[Planned]]:
        """What is to be landed, and the files of it; nothing is written yet."""
        books = Books(self._settings.close_delay_seconds * SECOND_MS)
        books.add_tallies(tally for one in some for tally in one.tallies)
        rule = Rule(self._settings, believed(self._manifest.engine, self._clock.now_ms(), "land"))
        fresh = self._kept_from_now(new_rows(some, books, self._lake, self._manifest, rule, by_id=True))
        last = max(after.lines - 1, start.lines)
        planned = plan(fresh.parts, (self._name, start.number), start.lines, last, self._settings.land_formats)
        rows = sum(events for key, events in books.counts.items() if key[2] == "landed")
        landing = Landing(
            log=self._name,
            partition=start.number,
            first=start.lines,
            next=after.lines,
            files=[],
            counts=books.counts,
            screens=books.screens,
            views=books.views,
            scanned=Scanned(self._name, found.path, before, after, rows),
            **said_by(some, fresh),
        )
        return landing, planned

    def _kept_from_now(self, fresh: Fresh) -> Fresh:
        """Ids are kept from their landing on: a sink may bring old records, and their second copies after them."""
        if fresh.claims is None:
            return fresh
        now = self._clock.now_ms()
        changed = [{**row, "received_at": now} for row in fresh.claims.changed]
        return msgspec.structs.replace(fresh, claims=known.Claims(fresh.claims.before, fresh.claims.ids, changed))

    def _failed(self, error: Exception) -> None:
        now = self._clock.now_ms()
        self._last_error = (f"{type(error).__name__}: {error}", now)
        self._counts.failed.inc()
        _log.exception("scanning failed; it goes on by itself", at=iso(now))


class _Stopped(Exception):
    """The program ends between two files."""


def _stop_when(stop: threading.Event, _done: int, _of: int) -> None:
    if stop.is_set():
        raise _Stopped
