"""What the ledger costs: landing with and without its event hours, screens and page views, in one process, in turns.

And, steadier on a machine that others use, the share of landing's CPU time that is spent in the ledger as a whole.
"""

import gc
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgspec

from bench.load import bodies as load_bodies
from bench.sizes import Sizes
from isotherm.clock import ManualClock, SystemClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import Record
from isotherm.events import Counts, ViewSequence, encode_envelope, hour_of, record_key
from isotherm.land import books, effects, views
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.rollup import audit
from isotherm.store.db import open_db, reading

BATCHES_OF_A_VIEW: Final = 5
"""Of 200 events each: a page view of a minute or two."""


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Pairs of rounds over the same records; CPU seconds per million events of the landing process, medians."""
    now_ms = SystemClock().now_ms()
    records = _records(sizes, now_ms)
    events = len(records) * sizes.events
    _round(folder / "warm", records[: len(records) // 4], now_ms, counted=True)
    found: dict[bool, list[float]] = {True: [], False: []}
    parts: list[float] = []
    for at in range(sizes.land_rounds * 2):
        first = at % 2 == 0
        for counted in (first, not first):
            seconds, inside = _round(folder / f"{at}-{counted}", records, now_ms, counted=counted)
            found[counted].append(seconds / events * 1e6)
            parts += [100 * inside / seconds] if counted else []
        print(f"  with {found[True][-1]:.4f}, without {found[False][-1]:.4f} CPU s per million events", flush=True)
    shares = [100 * (with_it / without - 1) for with_it, without in zip(found[True], found[False], strict=True)]
    return {
        "events": events,
        "records": len(records),
        "page_views": -(-len(records) // BATCHES_OF_A_VIEW),
        "rounds": len(shares),
        "with_cpu_s_per_million": round(statistics.median(found[True]), 4),
        "without_cpu_s_per_million": round(statistics.median(found[False]), 4),
        "added_percent": round(statistics.median(shares), 2),
        "added_percent_each": [round(share, 2) for share in shares],
        "ledger_percent": round(statistics.median(parts), 2),
        "ledger_percent_each": [round(part, 2) for part in parts],
    }


def _records(sizes: Sizes, now_ms: int) -> list[Record]:
    """What the collector appends for bodies of the load: numbered batches of page views."""
    made = load_bodies.make(sizes.bodies, sizes.events, now_ms)
    accepted = {str(hour_of(now_ms)): sizes.events}
    records: list[Record] = []
    for number in range(sizes.land_records):
        view, batch = divmod(number, BATCHES_OF_A_VIEW)
        # The batches of a view come from one page: the same client and screen.
        body = made[view % len(made)]
        sequence = ViewSequence(f"view-{view}", batch, batch * sizes.events)
        said = b',"sequence":%b' % msgspec.json.encode(sequence)
        text = b"%bb-%d%b%b}" % (body.head, number, body.tail[:-1], said)
        value = encode_envelope(
            client_id=body.client_id,
            screen_id=body.screen_id,
            batch_id=f"b-{number}",
            received_at=now_ms,
            skew_ms=0,
            flags=(),
            counts=Counts(accepted=accepted, sequence=sequence),
            batch=text,
        )
        records.append(Record(record_key(body.client_id, body.screen_id), value, now_ms))
    return records


def _round(folder: Path, records: Sequence[Record], now_ms: int, *, counted: bool) -> tuple[float, float]:
    """CPU seconds of landing all the records in a deployment of its own, which is removed; and those in the ledger."""
    settings, clock = Settings(data=folder, log="memory://", log_max_bytes=1 << 40), ManualClock(now_ms)
    folder.mkdir()
    engine = open_db(settings.url("db"))
    log = MemoryLog("memory://", settings, clock)
    log.append(records)
    lander = Lander(settings, log, open_lake(settings.url("lake"), settings), Manifest(engine, clock), clock)
    gc.collect()
    watch = _Watch()
    with ExitStack() as stack:
        if counted:
            watch.over(stack)
        else:
            _leave_out(stack)
        start = time.process_time()
        rows = lander.drain()
        seconds = time.process_time() - start
    try:
        _check(engine, rows, counted=counted)
    finally:
        log.close()
        engine.dispose()
        shutil.rmtree(folder)
    return seconds, watch.seconds


class _Watch:
    """CPU seconds of this thread inside everything that the ledger does, by hour of receipt too."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, stack: ExitStack) -> None:
        for where, name in ((books.Books, "add_tallies"), (books.Books, "add_rows"), (books, "write_screens"),
                            (views, "count"), (effects, "fold")):  # fmt: skip
            stack.enter_context(patch.object(where, name, self._timed(getattr(where, name))))

    def _timed(self, function: Any) -> Any:
        def timed(*given: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*given)
            finally:
                self.seconds += time.thread_time() - start

        return timed


def _leave_out(stack: ExitStack) -> None:
    """The ledger by hour of receipt alone, as landing cannot do without."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    def no_counts(*_: Any) -> Mapping[Any, int]:
        return {}

    for name in ("_add", "_add_screens", "_add_view"):
        stack.enter_context(patch.object(books.Books, name, nothing))
    stack.enter_context(patch.object(books, "write_screens", nothing))
    stack.enter_context(patch.object(views, "count", no_counts))


def _check(engine: Any, rows: int, *, counted: bool) -> None:
    """What was measured did its work: every row landed, and every event counted or left out."""
    with reading(engine) as connection:
        found = audit.totals(audit.event_hours(connection, audit.EVERYTHING))
    expected = rows if counted else 0
    if not rows or found["landed"] != expected:
        raise AssertionError(f"landed {rows}, counted {found['landed']}")
