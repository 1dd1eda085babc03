"""What the ledger costs: landing with and without it, in one process, in many short rounds that take turns.

A machine that others use changes its speed from one second to the next. So a round is short, four rounds are a block
(with, without, without, with), in which a steady drift cancels, and what counts is the median of the blocks' ratios.
Beside it, the share of landing's CPU time that is spent inside the ledger is measured in every round that has one.
"""

import gc
import shutil
import statistics
import time
from collections.abc import Sequence
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
from isotherm.land import books, effects, ledger, views
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.rollup import audit
from isotherm.store.db import open_db, reading

BATCHES_OF_A_VIEW: Final = 5
"""Of 200 events each: a page view of a minute or two."""
GATE: Final = 3.0
"""Percent of ingest that the ledger may cost."""


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Blocks of rounds over the same records; CPU seconds per million events of the landing process."""
    now_ms = SystemClock().now_ms()
    records = _records(sizes, now_ms)
    millions = len(records) * sizes.events / 1e6
    empty = folder / "empty.db"
    open_db(f"sqlite://{empty}").dispose()
    place = folder / "round"
    for counted in (True, False):
        _round(place, empty, records, now_ms, counted=counted)
    spent: dict[bool, list[float]] = {True: [], False: []}
    inside: list[float] = []
    ratios: list[float] = []
    for _ in range(sizes.ledger_blocks):
        of_block = {True: 0.0, False: 0.0}
        for counted in (True, False, False, True):
            seconds, own = _round(place, empty, records, now_ms, counted=counted)
            of_block[counted] += seconds
            spent[counted].append(seconds / millions)
            inside += [own / seconds] if counted else []
        ratios.append(of_block[True] / of_block[False])
    lower, middle, upper = (round(100 * (one - 1), 2) for one in _quartiles(ratios))
    return {
        "events": len(records) * sizes.events,
        "records": len(records),
        "page_views": -(-len(records) // BATCHES_OF_A_VIEW),
        "blocks": len(ratios),
        "with_cpu_s_per_million": round(statistics.median(spent[True]), 4),
        "without_cpu_s_per_million": round(statistics.median(spent[False]), 4),
        "added_percent": middle,
        "added_percent_quartiles": [lower, upper],
        "inside_percent": round(100 * statistics.median(inside), 2),
        "inside_percent_quartiles": [round(100 * one, 2) for one in (_quartiles(inside)[0], _quartiles(inside)[2])],
        "fastest_and_slowest_without": [round(one, 4) for one in (min(spent[False]), max(spent[False]))],
    }


def of_ingest(found: dict[str, Any], collector: float) -> tuple[float, float]:
    """Percent of the CPU time of collecting and landing that the ledger adds: by the rounds, and as timed inside.

    `collector` is what collecting takes, in CPU seconds per million events.
    """
    landing = found["without_cpu_s_per_million"]
    inside = found["inside_percent"] / 100
    added = (found["added_percent"] / 100 * landing, landing * inside / (1 - inside))
    by_rounds, by_inside = (round(100 * one / (collector + landing), 2) for one in added)
    return by_rounds, by_inside


def gate(found: dict[str, Any], ingest: dict[str, Any]) -> tuple[str, str, str, bool]:
    """The row of the report's gates, from the results of this part and of `ingest`."""
    cost = max(of_ingest(found, _collector(ingest)))
    return "the ledger, of the CPU time of collecting and landing", f"<= {GATE:g} %", f"{cost} %", cost <= GATE


def describe(found: dict[str, Any], ingest: dict[str, Any] | None) -> tuple[str, list[tuple[str, float]]]:
    """The report's words, and the rows of its table; `ingest` are the results of that part, if there are any."""
    (low, high), (least, most) = found["added_percent_quartiles"], found["inside_percent_quartiles"]
    said = (
        f"{found['records']:,} records of {found['events'] // found['records']} events, in {found['page_views']:,} "
        f"page views, landed in one process with and without the whole ledger, {found['blocks']} blocks of four "
        f"rounds (ABBA). It adds {found['added_percent']} % to landing's CPU time (median of the blocks' ratios; "
        f"quartiles {low} and {high}); timed inside, {found['inside_percent']} % of it is the ledger's (quartiles "
        f"{least} and {most})."
    )
    rows = [
        ("landing with it", found["with_cpu_s_per_million"]),
        ("landing without it", found["without_cpu_s_per_million"]),
    ]
    if ingest is not None:
        collector = _collector(ingest)
        by_rounds, by_inside = of_ingest(found, collector)
        rows.append(("collecting", collector))
        said += f" Of collecting and landing together it is {by_rounds} % by the rounds, {by_inside} % as timed inside."
    return said, rows


def _collector(ingest: dict[str, Any]) -> float:
    return ingest["targets"]["isotherm"]["cpu_s_per_million"]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def _records(sizes: Sizes, now_ms: int) -> list[Record]:
    """What the collector appends for bodies of the load: numbered batches of page views."""
    made = load_bodies.make(sizes.bodies, sizes.events, now_ms)
    accepted = {str(hour_of(now_ms)): sizes.events}
    records: list[Record] = []
    for number in range(sizes.ledger_records):
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


def _round(folder: Path, empty: Path, records: Sequence[Record], now_ms: int, *, counted: bool) -> tuple[float, float]:
    """CPU seconds of landing all the records in a deployment of its own, which is removed; and those in the ledger."""
    settings, clock = Settings(data=folder, log="memory://", log_max_bytes=1 << 40), ManualClock(now_ms)
    folder.mkdir()
    url = settings.url("db")
    shutil.copy(empty, url.removeprefix("sqlite://"))
    engine = open_db(url)
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
        lander.drain()
        seconds = time.process_time() - start
    try:
        _check(engine, Manifest(engine, clock), len(records), counted=counted)
    finally:
        log.close()
        engine.dispose()
        shutil.rmtree(folder)
    return seconds, watch.seconds


class _Watch:
    """CPU seconds of this thread inside everything that the ledger does."""

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
    """All of it: nothing is counted, looked up or written."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    for name in ("add_tallies", "add_rows"):
        stack.enter_context(patch.object(books.Books, name, nothing))
    for where, name in ((books, "write_screens"), (views, "count"), (effects, "fold")):
        stack.enter_context(patch.object(where, name, nothing))


def _check(engine: Any, manifest: Manifest, records: int, *, counted: bool) -> None:
    """What was measured did its work: every record's rows are listed, and every one is counted, or none is."""
    rows = sum(file.rows for file in manifest.listed())
    with reading(engine) as connection:
        landed = audit.totals(audit.event_hours(connection, audit.EVERYTHING))["landed"]
        sums = ledger.sums(ledger.read_in(connection))
    expected = [rows, rows, rows] if counted else [0, 0, 0]
    if rows < records or [landed, sums["landed"], sums["sequenced"]] != expected:
        raise AssertionError(f"rows {rows}, counted {landed}, {sums}")
