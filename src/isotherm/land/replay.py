"""Replay: raw events of the lake go back on a log, of this deployment or another one, and count once.

Nothing is remembered between runs. A record has an id of its own content, which a log that knows ids stores once; and
the lander compares its rows with what their hour already holds. So a replay may be killed and run again anywhere.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct

from isotherm.clock import HOUR_MS, Clock
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Record
from isotherm.land.lake import Lake
from isotherm.land.landing import LakeFile
from isotherm.land.manifest import LEASE_MS, Manifest
from isotherm.land.rebuild import records_of
from isotherm.land.write import read_pieces

_PIECE_ROWS: Final = 20_000
_APPEND_BYTES: Final = 4 << 20
_APPEND_RECORDS: Final = 1_000
_ROOM: Final = 0.5
"""Part of a log with a size limit that a replay fills at most: the rest is for what comes in meanwhile."""
_ASKED_BYTES: Final = 64 << 20
"""The log is asked for its size after so many bytes."""

_RENEW_MS: Final = LEASE_MS // 6


class Plan(Struct, frozen=True):
    """What a replay would read: client, event hour, rows and bytes of the files, oldest hour first."""

    hours: list[tuple[str, int]]
    rows: int
    bytes: int


class Progress(Struct, frozen=True):
    """So many rows of all are on the log now; `known` of the records it held already, or held under the same id.

    `waiting` says why the log takes nothing at the moment; None: it does.
    """

    rows: int
    total: int
    hour: int
    records: int
    known: int
    waiting: str | None = None


def plan(manifest: Manifest, start: int, end: int, client_ids: Sequence[str] | None) -> Plan:
    """The event hours of [start, end) in ms, of these clients (None: all)."""
    files = manifest.listed(start=start, end=end, client_ids=client_ids, format=manifest.default_format)
    hours = list(dict.fromkeys((file.client_id, file.hour) for file in files))
    return Plan(hours, sum(file.rows for file in files), sum(file.bytes for file in files))


class Replay:
    """Appends to one log. `wait` gets the seconds to wait before the log is asked again."""

    def __init__(
        self,
        lake: Lake,
        manifest: Manifest,
        log: EventLog,
        clock: Clock,
        *,
        by_client: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._lake, self._manifest, self._log, self._clock = lake, manifest, log, clock
        self._by_client, self._wait = by_client, wait
        self._rows = self._total = self._hour = self._records = self._known = 0
        self._unasked = _ASKED_BYTES

    def run(
        self, start: int, end: int, client_ids: Sequence[str] | None, *, partly: bool = False
    ) -> Iterator[Progress]:
        """Replay the event hours of [start, end) in ms, oldest first, with a step after every append.

        Raises IsothermError when a file cannot be read; what was appended until then counts once all the same. And
        ConfigError for an hour that is in another format than the one that is read; not with `partly`, which is for the
        log of another deployment alone.
        """
        form = self._manifest.default_format if partly else None
        planned = plan(self._manifest, start, end, client_ids)
        self._total = planned.rows
        for hour in sorted({hour for _, hour in planned.hours}):
            self._hour = hour
            # All rows, also those that no map holds: what becomes of them is decided where they land.
            chosen = self._manifest.snapshot(
                start=hour, end=hour + HOUR_MS, client_ids=client_ids, format=form, raw_only=None
            )
            with chosen as snapshot:
                renewed_at = self._manifest.clock.now_ms()
                for step in chain.from_iterable(map(self._file, snapshot.files)):
                    # A step may have waited for the log: the files must be there for as long as that takes.
                    if self._manifest.clock.now_ms() - renewed_at > _RENEW_MS:
                        self._manifest.renew(snapshot)
                        renewed_at = self._manifest.clock.now_ms()
                    yield step

    def _file(self, file: LakeFile) -> Iterator[Progress]:
        for table in read_pieces(self._lake, file, _PIECE_ROWS):
            found = records_of(
                table, self._clock.now_ms(), by_client=self._by_client, max_bytes=self._log.max_record_bytes
            )
            for some in _portions(found):
                yield from self._append(some)
            self._rows += table.num_rows
            yield self._progress()

    def _append(self, records: Sequence[Record]) -> Iterator[Progress]:
        while True:
            try:
                self._leave_room(sum(len(record.value) for record in records))
                done = self._log.append(records)
                break
            except Backpressure as busy:
                yield self._progress(str(busy))
                self._wait(busy.retry_after_s)
        self._records += len(done)
        self._known += sum(position is None for position in done)

    def _leave_room(self, size: int) -> None:
        """Raises Backpressure while the log is half full: what visitors send must not find it full."""
        self._unasked += size
        if self._unasked < _ASKED_BYTES:
            return
        status = self._log.status()
        if status.max_bytes and status.bytes > _ROOM * status.max_bytes:
            raise Backpressure("the log is half full; the replay goes on when some of it is landed and gone")
        self._unasked = 0

    def _progress(self, waiting: str | None = None) -> Progress:
        return Progress(self._rows, self._total, self._hour, self._records, self._known, waiting)


def _portions(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Records in calls of a size that a log takes at once."""
    some: list[Record] = []
    size = 0
    for record in records:
        if some and (size + len(record.value) > _APPEND_BYTES or len(some) >= _APPEND_RECORDS):
            yield some
            some, size = [], 0
        some.append(record)
        size += len(record.value)
    if some:
        yield some
