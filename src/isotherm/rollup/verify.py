"""Verification: rebuild what is published from the lake by NumPy, and compare cell by cell and by hash.

Hours are read in the order of units, some of them ahead by a pool of threads: NumPy and Arrow let go of the
interpreter while they work. Verdicts come in one order, however many threads there are.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine as Database

from isotherm.clock import Clock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.lake import Lake
from isotherm.land.late import raw_kept_from
from isotherm.land.manifest import LEASE_MS, LakeFile, Manifest, Snapshot
from isotherm.land.rowhash import add as add_hashes
from isotherm.land.rowhash import of_table
from isotherm.land.write import read_pieces
from isotherm.rollup.buckets import WEEK_MS, Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.recount import Part, Recount, parts, recount_part
from isotherm.rollup.verdicts import Finding, Progress, Verdict, last_verdicts, remember
from isotherm.rollup.verify_compare import compare, missing
from isotherm.rollup.verify_plan import Choice, Unit, rows_of, units_of
from isotherm.store.db import reading, writing
from isotherm.store.olap import Olap, OlapDamaged
from isotherm.store.tables import buckets, dirty, retired

__all__ = ["Choice", "Finding", "Progress", "Verdict", "Verifier", "verify"]

_AHEAD: Final = 3
"""Parts of files that are counted or wait to be, per thread, before the first of them is looked at."""
_REMEMBERED: Final = 200
"""Verdicts that are written at once."""
_SUSPECTS: Final = 20
"""Buckets that differ whose files are read whole, to say whether one is not what was landed."""
_PIECE_ROWS: Final = 1 << 20

Later = Callable[[], Any]
"""Waits for a result, or works it out."""


@dataclass(slots=True)
class _State:
    """Published rows by bucket; the buckets that changed since, that lost raw events, whose tiles were retired."""

    published: dict[Bucket, Any]
    changed: set[Bucket]
    faded: set[Bucket]
    retired: set[Bucket]


@dataclass(slots=True)
class _Job:
    """A unit with its files. `of_day` and `of_week` hold the sums so far, or what kept an hour from being counted."""

    unit: Unit
    snapshot: Snapshot
    state: _State
    renewed_at: int
    by_hour: dict[int, list[LakeFile]]
    of_day: "Recount | _Broken" = field(default_factory=Recount)
    of_week: "Recount | _Broken" = field(default_factory=Recount)


@dataclass(frozen=True, slots=True)
class _Broken:
    """An hour cannot be counted, or not as it was landed: which file is at fault."""

    finding: Finding
    file: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One hour of a unit, and its files being counted, part by part; without an hour, the unit's end."""

    job: _Job
    hour: Bucket | None
    counted: Sequence[tuple[LakeFile, Sequence[Later]]] = ()

    @property
    def rows(self) -> int:
        return sum(file.rows for file, _ in self.counted)


class Verifier:
    """Compares tiles with raw events. One run at a time; `parallel` threads count and compare."""

    def __init__(
        self,
        database: Database,
        olap: Olap,
        lake: Lake,
        manifest: Manifest,
        clock: Clock,
        settings: Settings,
        parallel: int = 1,
    ) -> None:
        self.database = database
        self.olap = olap
        self.lake = lake
        self.manifest = manifest
        self.clock = clock
        self.settings = settings
        self.parallel = parallel
        self._suspected = 0
        self._held: list[Snapshot] = []

    def run(self, choice: Choice) -> Generator[Verdict | Progress]:
        """Verdicts on the chosen buckets, and how far it is: at the start, and after every hour that has events.

        Every verdict is written down, also when the caller stops early.
        """
        self._suspected = 0
        units = units_of(self.database, choice, self._raw_from)
        total = rows_of(self.database, units, self.manifest.default_format, self._raw_from)
        yield Progress(0, total)
        waiting: list[Verdict] = []
        read = 0
        with ExitStack() as stack:
            stack.callback(self._remember, waiting)
            stack.callback(self._release)
            later = stack.enter_context(_pool(self.parallel))
            for step, verdicts in self._judged(units, later):
                for verdict in verdicts:
                    waiting.append(verdict)
                    yield verdict
                if len(waiting) >= _REMEMBERED:
                    self._remember(waiting)
                if step.rows:
                    read += step.rows
                    yield Progress(read, max(read, total))

    def _judged(self, units: Sequence[Unit], later: Callable[..., Later]) -> Iterator[tuple[_Step, list[Verdict]]]:
        """Every step with its verdicts, in order; comparisons run behind while later hours are counted."""
        behind: deque[tuple[_Step, list[Later]]] = deque()
        for step in _ahead(self._planned(units, later), _AHEAD * self.parallel):
            behind.append((step, [later(judge) for judge in self._to_judge(step)]))
            while len(behind) > self.parallel - 1:
                yield self._settled(*behind.popleft())
        while behind:
            yield self._settled(*behind.popleft())

    def _settled(self, step: _Step, judged: Sequence[Later]) -> tuple[_Step, list[Verdict]]:
        found = [verdict for verdict in (judge() for judge in judged) if verdict is not None]
        if step.hour is None:
            self._held.remove(step.job.snapshot)
            self.manifest.release(step.job.snapshot)
        elif step.job.renewed_at + LEASE_MS // 4 < self.clock.now_ms():
            self.manifest.renew(step.job.snapshot)
            step.job.renewed_at = self.clock.now_ms()
        return step, found

    def _release(self) -> None:
        while self._held:
            self.manifest.release(self._held.pop())

    def _planned(self, units: Sequence[Unit], later: Callable[..., Later]) -> Iterator[_Step]:
        """The steps of all units; counting an hour's files begins when its step is taken."""
        for unit in units:
            job = self._open(unit)
            raw_from = self._raw_from(unit.client_id)
            for day in Bucket(Level.WEEK, unit.week).children():
                for hour in day.children():
                    if not unit.needs(hour):
                        continue
                    mine = job.by_hour.get(hour.start, ()) if hour.start >= raw_from else ()
                    yield _Step(job, hour, [(file, self._begin(file, later)) for file in mine])
            yield _Step(job, None)

    def _open(self, unit: Unit) -> _Job:
        with writing(self.database) as connection:
            snapshot = self.manifest.take(connection, start=unit.start, end=unit.end, client_ids=[unit.client_id])
        self._held.append(snapshot)
        by_hour: dict[int, list[LakeFile]] = {}
        for file in snapshot.files:
            by_hour.setdefault(file.hour, []).append(file)
        return _Job(unit, snapshot, self._state(unit.client_id, unit.week), self.clock.now_ms(), by_hour)

    def _begin(self, file: LakeFile, later: Callable[..., Later]) -> list[Later]:
        try:
            return [later(self._count, part) for part in parts(self.lake, file)]
        except IsothermError as error:
            broken = _Broken(Finding.UNREADABLE, self.lake.where(file.path), str(error))
            return [lambda: broken]

    def _count(self, part: Part) -> "Recount | _Broken":
        try:
            return recount_part(self.lake, part)
        except IsothermError as error:
            return _Broken(Finding.UNREADABLE, self.lake.where(part.file.path), str(error))

    def _counted(self, file: LakeFile, counted: Sequence[Later]) -> "Recount | _Broken":
        """The file's recount, when all its parts are done."""
        found: Recount | _Broken = Recount()
        for part in counted:
            found = _sum(found, part())
        if isinstance(found, Recount) and found.rows != file.rows:
            where = self.lake.where(file.path)
            changed = f"{where}: the lake file holds {found.rows:,} rows, {file.rows:,} were landed"
            return _Broken(Finding.DIFFERENT, where, changed)
        return found

    def _to_judge(self, step: _Step) -> Iterator[Later]:
        """The comparisons that the step makes possible: of its hour, and of the day and week that it ends."""
        job, hour = step.job, step.hour
        if hour is None:
            yield partial(self._judge, job, Bucket(Level.WEEK, job.unit.week), job.of_week)
            return
        of_hour: Recount | _Broken = Recount()
        for file, counted in step.counted:
            of_hour = _sum(of_hour, self._counted(file, counted))
        yield partial(self._judge, job, hour, of_hour)
        job.of_day = _sum(job.of_day, of_hour)
        day = hour.ancestors()[0]
        if not any(job.unit.needs(Bucket(Level.HOUR, at)) for at in range(hour.end, day.end, Level.HOUR.ms)):
            of_day, job.of_day = job.of_day, Recount()
            yield partial(self._judge, job, day, of_day)
            job.of_week = _sum(job.of_week, of_day)

    def _judge(self, job: _Job, bucket: Bucket, expected: "Recount | _Broken") -> Verdict | None:
        client_id, row = job.unit.client_id, job.state.published.get(bucket)
        if not job.unit.wants(bucket) or (row is None and bucket in job.state.retired):
            return None
        if bucket in job.state.changed or (row is not None and row.manifest_version > job.snapshot.version):
            return Verdict(bucket, client_id, Finding.DIRTY, detail="changed since it was published; a job will follow")
        if row is not None and (bucket in job.state.faded or bucket.start < self._raw_from(client_id)):
            return self._frozen(client_id, bucket, row.version)
        verdict = self._compared(client_id, bucket, expected, row)
        if verdict is None or verdict.finding is Finding.SAME:
            return verdict
        if self._moved_on(client_id, bucket, None if row is None else row.version):
            return Verdict(bucket, client_id, Finding.DIRTY, detail="published again while it was compared")
        return self._with_file(job, verdict)

    def _compared(self, client_id: str, bucket: Bucket, expected: "Recount | _Broken", row: Any) -> Verdict | None:
        if isinstance(expected, _Broken):
            if row is None:
                return None
            broken = Verdict(bucket, client_id, expected.finding, detail=expected.detail, version=row.version)
            return replace(broken, file=expected.file)
        if row is not None:
            try:
                return compare(self.olap, client_id, bucket, expected, row)
            except OlapDamaged as error:
                why = f"a part of the tile store is damaged, and is set aside and made again by itself: {error}"
                return Verdict(bucket, client_id, Finding.UNREADABLE, detail=why, version=row.version)
        kept = kept_from(bucket.level, self.clock.now_ms(), self.settings, client_id)
        if expected.names and bucket.start >= kept:
            return missing(bucket, client_id, expected.names[0], "raw events, but nothing was published")
        return None

    def _raw_from(self, client_id: str) -> int:
        """Start of the client's first hour whose raw events are kept (ms)."""
        return raw_kept_from(self.clock.now_ms(), self.settings, client_id)

    def _frozen(self, client_id: str, bucket: Bucket, version: int) -> Verdict:
        with reading(self.database) as connection:
            known = last_verdicts(connection, client_id, [bucket]).get(bucket)
        detail = "its raw events have expired"
        if known is not None:
            detail += f"; compared on {iso(known.verified_at)[:10]}: {known.finding}"
        return Verdict(bucket, client_id, Finding.FROZEN, detail=detail, version=version)

    def _with_file(self, job: _Job, verdict: Verdict) -> Verdict:
        """The verdict with the file that is not what was landed, if there is one."""
        if verdict.finding is not Finding.DIFFERENT or verdict.file is not None or self._suspected >= _SUSPECTS:
            return verdict
        self._suspected += 1
        for hour, mine in sorted(job.by_hour.items()):
            for file in mine if verdict.bucket.start <= hour < verdict.bucket.end else ():
                if not self._as_landed(file):
                    where = self.lake.where(file.path)
                    return replace(verdict, file=where, detail=f"{verdict.detail}; {where} is not what was landed")
        return verdict

    def _as_landed(self, file: LakeFile) -> bool:
        pieces = (of_table(table) for table in read_pieces(self.lake, file, _PIECE_ROWS))
        try:
            return add_hashes(pieces) == file.row_hash
        except IsothermError:
            return False

    def _moved_on(self, client_id: str, bucket: Bucket, version: int | None) -> bool:
        state = self._state(client_id, floor(Level.WEEK, bucket.start))
        row = state.published.get(bucket)
        return bucket in state.changed or (None if row is None else row.version) != version

    def _state(self, client_id: str, week: int) -> _State:
        def rows_of(table: sa.Table, *columns: sa.Column[Any]) -> sa.Select[Any]:
            within = (table.c.client_id == client_id, table.c.start >= week, table.c.start < week + WEEK_MS)
            return sa.select(*columns, table.c.start).where(*within)

        columns = (buckets.c.level, buckets.c.version, buckets.c.manifest_version, buckets.c.hash)
        with reading(self.database) as connection:
            published = {
                Bucket(Level(row.level), row.start): row for row in connection.execute(rows_of(buckets, *columns))
            }
            marks = [Bucket(Level(row.level), row.start) for row in connection.execute(rows_of(dirty, dirty.c.level))]
            gone = connection.execute(rows_of(retired, retired.c.what)).all()
        changed = {bucket for mark in marks for bucket in (mark, *mark.ancestors())}
        hours = [Bucket(Level.HOUR, row.start) for row in gone if row.what == "raw"]
        faded = {bucket for hour in hours for bucket in (hour, *hour.ancestors())}
        tiles = {Bucket(Level(row.what), row.start) for row in gone if row.what != "raw"}
        return _State(published, changed, faded, tiles)

    def _remember(self, waiting: list[Verdict]) -> None:
        # A tile store that cannot be read says nothing of the maps that are made again after it.
        verdicts = [one for one in waiting if one.finding is not Finding.UNREADABLE or one.file is not None]
        waiting.clear()
        if verdicts:
            with writing(self.database) as connection:
                remember(connection, verdicts, self.clock.now_ms())


def _sum(one: "Recount | _Broken", other: "Recount | _Broken") -> "Recount | _Broken":
    """Both together as another recount; what is broken stays so, and what cannot be read counts more."""
    if isinstance(one, _Broken):
        return other if isinstance(other, _Broken) and other.finding is Finding.UNREADABLE else one
    if isinstance(other, _Broken):
        return other
    if not one.rows:
        return other
    found = Recount()
    found.add(one)
    found.add(other)
    return found


@contextmanager
def _pool(threads: int) -> Generator[Callable[..., Later]]:
    """A function that begins `work(*arguments)` in a thread, or with one thread leaves it until it is waited for."""
    if threads <= 1:
        yield partial
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")

    def later(work: Callable[..., Any], *arguments: Any) -> Later:
        return pool.submit(work, *arguments).result

    try:
        yield later
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(steps: Iterator[_Step], most: int) -> Iterator[_Step]:
    """The steps, taken early so that about `most` of their files are being counted."""
    taken: deque[_Step] = deque()
    size = 0
    for step in steps:
        taken.append(step)
        size += _parts(step)
        while size > most and taken:
            first = taken.popleft()
            size -= _parts(first)
            yield first
    yield from taken


def _parts(step: _Step) -> int:
    return 1 + sum(len(counted) for _, counted in step.counted)


def verify(
    verifier: Verifier,
    client_ids: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    **more: Any,
) -> Iterator[Verdict]:
    """Compare the published buckets of these clients (None: all) that lie in [start, end) with the raw events.

    `more` are other members of a Choice. Only the verdicts, without the progress.
    """
    choice = Choice(client_ids=client_ids, start=start, end=end, **more)
    return (step for step in verifier.run(choice) if isinstance(step, Verdict))
