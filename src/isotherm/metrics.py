"""Metrics as data: names, units and meanings. Every component emits received, sent, failed and dropped.

Beside these stand `process_*`: memory, CPU, open files and the start of the process, as the client library names them.

Where several processes share a port, a scrape reaches one of them and must tell of all. Such a process finds a folder
named in its environment: it counts in files there, in a place of its own, and whoever is asked adds them up. A process
that takes the place of a dead one goes on with its counts, so that none ever goes back.
"""

import fcntl
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)

SHARED_VARIABLES: Final = ("_ISOTHERM_SHARED_METRICS", "PROMETHEUS_MULTIPROC_DIR")
"""Both name the folder; the client library looks for the second one."""
_PLACE_BYTES: Final = 1 << 18
"""Several times what one process needs. It is taken from the disk at once: a full one must not stop a process later."""
_held: Final[list[int]] = []
"""The lock of this process's place, held for as long as it lives."""


def _take_place(folder: Path) -> int:
    """A place in the folder that no living process has; the lock on its file says so. Raises OSError."""
    for number in count():
        handle = os.open(folder / f"{number}.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        _held.append(handle)
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        for kind in ("counter", "histogram", "gauge_max"):
            _make_room(folder / f"{kind}_{number}.db")
        return number
    raise AssertionError("numbers do not end")


def _make_room(path: Path) -> None:
    if path.exists():
        return
    new = path.with_suffix(".new")
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, _PLACE_BYTES)
        else:
            os.pwrite(handle, bytes(_PLACE_BYTES), 0)
    finally:
        os.close(handle)
    new.rename(path)


SHARED: Final = Path(os.environ[SHARED_VARIABLES[0]]) if SHARED_VARIABLES[0] in os.environ else None
"""Where this process counts together with others; None: alone."""
if SHARED is not None:
    _place = _take_place(SHARED)
    values.ValueClass = values.MultiProcessValue(lambda: _place)

# A second series per counter that says when it was created; nobody asks for it.
disable_created_metrics()

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
_gauge: Final = partial(Gauge, multiprocess_mode="max")

DEAD_LETTERS = Counter(
    "isotherm_dead_letters",
    "Dead letters that were kept: bodies and records that could not be used, by stage and reason.",
    ["stage", "reason"],
    registry=REGISTRY,
)
DEAD_LETTERS_LOST = Counter(
    "isotherm_dead_letters_lost",
    "Dead letters that could not be kept: too many at once, or their log is full or away.",
    ["stage"],
    registry=REGISTRY,
)
BUILD = _gauge(
    "isotherm_build_info", "Always 1; the labels say what runs.", ["version", "python", "role"], registry=REGISTRY
)
COMPONENT_EVENTS = Counter(
    "isotherm_component_events",
    "What went through a component, by what became of it (received, sent, failed, dropped): events, but records for "
    "eventlog, requests for serve, and windows for stream where Flink counts. Behind the log, failed counts failures: "
    "what they met is tried again. Retention drops what has expired: that is all it receives.",
    ["component", "outcome"],
    registry=REGISTRY,
)
STEP_SECONDS = Counter(
    "isotherm_collect_step_seconds",
    "Seconds spent in each named step of the collector.",
    ["step"],
    registry=REGISTRY,
)
ANSWERS = Counter(
    "isotherm_collect_answers", "Answers of POST /events/batch by HTTP status.", ["status"], registry=REGISTRY
)
DROPPED = Counter(
    "isotherm_collect_dropped_events", "Events rejected at the door, by drop reason.", ["reason"], registry=REGISTRY
)
COMMIT_RECORDS = Histogram(
    "isotherm_log_commit_records",
    "Records that shared one fsync.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)
LAG_RECORDS = _gauge(
    "isotherm_log_lag_records",
    "Head minus landed, in records; of several landers each tells of its own partitions.",
    ["consumer"],
    registry=REGISTRY,
)
LAG_SECONDS = _gauge(
    "isotherm_log_lag_seconds",
    "For how long the oldest record waits that the consumer has not done, in seconds; 0 when none waits.",
    ["consumer"],
    registry=REGISTRY,
)
LOG_MAX_BYTES = _gauge(
    "isotherm_log_max_bytes", "Size limit of the log; 0 where the log has none of ours.", registry=REGISTRY
)
GAP_RECORDS = Counter(
    "isotherm_log_gap_records",
    "Records that the log had lost before they were landed; their events are in no map.",
    registry=REGISTRY,
)
GAP_RECORDS_RECENT = _gauge(
    "isotherm_log_gap_records_recent",
    "Records that the log had lost before they were landed, noticed in the last 24 hours, whoever noticed it.",
    registry=REGISTRY,
)
SINK_STILL = _gauge(
    "isotherm_sink_still_seconds",
    "For how long the committed offsets of the sink whose files are scanned have not moved, while records wait.",
    registry=REGISTRY,
)
SCANNED_FILES = _gauge(
    "isotherm_scanned_files",
    "Files of the sink that is scanned, by state: landed, due, unreadable.",
    ["state"],
    registry=REGISTRY,
)
LANDED_ROWS = Counter("isotherm_land_rows", "Rows listed in the lake's manifest.", registry=REGISTRY)
LANDED_FILES = Counter("isotherm_land_files", "Files listed in the lake's manifest.", registry=REGISTRY)
TILE_JOBS = Counter("isotherm_tile_jobs", "Tile jobs by level and outcome.", ["level", "outcome"], registry=REGISTRY)
TILE_JOB_SECONDS = Counter("isotherm_tile_job_seconds", "Seconds spent in tile jobs.", ["level"], registry=REGISTRY)
TILES_BEHIND = _gauge(
    "isotherm_tiles_behind_seconds",
    "Since when the published maps lack something that landed, in seconds; 0 when they hold all. Of days and weeks "
    "those that are over: the running ones are read from their parts.",
    ["level"],
    registry=REGISTRY,
)
TILES_FAILING = _gauge(
    "isotherm_tiles_failing_buckets",
    "Buckets whose last tile job in this process failed; it is tried again.",
    ["level"],
    registry=REGISTRY,
)
LEDGER_DIFFERENCE = _gauge(
    "isotherm_ledger_difference",
    "Hours of a client, of the last eight days, whose sums in the ledger do not close: it must be 0.",
    registry=REGISTRY,
)
DEAD_EVENTS = _gauge(
    "isotherm_dead_events",
    "Events of records that could not be used and are kept aside, received in the last eight days.",
    registry=REGISTRY,
)
VERIFIED_BUCKETS = _gauge(
    "isotherm_verified_buckets",
    "Buckets by what their last comparison with raw found: same, dirty (changed meanwhile), frozen, different, "
    "unreadable.",
    ["finding"],
    registry=REGISTRY,
)
VERIFIED_AT = _gauge(
    "isotherm_verified_timestamp_seconds", "When a bucket was last compared with raw; 0: never.", registry=REGISTRY
)
BACKUP_AT = _gauge(
    "isotherm_backup_last_success_timestamp_seconds",
    "When the newest backup that is known here was complete; 0: none is known.",
    registry=REGISTRY,
)
BACKUP_MAX_AGE = _gauge(
    "isotherm_backup_max_age_seconds", "How old the newest backup may be (backup_max_age_hours).", registry=REGISTRY
)
BACKUP_OBJECTS = _gauge(
    "isotherm_backup_objects",
    "Objects of the newest backup that is known here: received (what it consists of), sent (copied), dropped (were "
    "there already), failed: none, or it would not be complete.",
    ["outcome"],
    registry=REGISTRY,
)
STORE_BYTES = _gauge(
    "isotherm_store_bytes",
    "What a store holds, in bytes: log, lake (part: its format), tiles, database, dead (part: log, and the folder that "
    "takes letters when their log does not).",
    ["store", "part"],
    registry=REGISTRY,
)
DISK_FREE = _gauge(
    "isotherm_disk_free_bytes",
    "Free bytes of the disk that a store of this machine is on.",
    ["store"],
    registry=REGISTRY,
)
DISK_RESERVE = _gauge(
    "isotherm_disk_reserve_bytes", "With less than this free, the collector answers 503.", registry=REGISTRY
)
MEASURED_AT = _gauge(
    "isotherm_measured_timestamp_seconds",
    "When this process last measured what it has not for longest, of ledger, stores, disks and lag; what never could "
    "be counts from the first try. 0 before that.",
    registry=REGISTRY,
)
VERIFY_BUCKETS = _gauge(
    "isotherm_verify_buckets",
    "Buckets of the last nightly sample by what came of them: same, different, unreadable, dirty, frozen.",
    ["finding"],
    registry=REGISTRY,
)
VERIFY_AT = _gauge(
    "isotherm_verify_timestamp_seconds",
    "When the last nightly sample ended; 0 before the first one, and where verify_sample is 0.",
    registry=REGISTRY,
)
VERIFY_EVENTS = Counter(
    "isotherm_verify_events", "Raw events that nightly samples of this process read again.", registry=REGISTRY
)
LIVE_WINDOWS = _gauge("isotherm_live_windows", "Living windows that this process shows.", registry=REGISTRY)
DIRTY_BUCKETS = _gauge("isotherm_dirty_buckets", "Buckets that wait to be tiled again.", ["level"], registry=REGISTRY)
LOST_BUCKETS = _gauge(
    "isotherm_lost_buckets",
    "Published buckets whose maps went with a damaged part of the tile store, and that are not made again yet.",
    ["level"],
    registry=REGISTRY,
)
CACHE_CALLS = Counter(
    "isotherm_cache_calls",
    "Calls to a shared cache by outcome: answered, refused (full, no rights), failed, skipped while it is away.",
    ["outcome"],
    registry=REGISTRY,
)
QUERY_CACHE = Counter(
    "isotherm_query_cache",
    "Maps that were asked for and found (hit) or not (miss) in the cache.",
    ["outcome"],
    registry=REGISTRY,
)
QUERY_SECONDS = Histogram(
    "isotherm_query_seconds", "Seconds to answer a query API request.", ["route"], registry=REGISTRY
)


class Counts(NamedTuple):
    """The four counts of one component, which are shown from now on."""

    received: Counter
    sent: Counter
    failed: Counter
    dropped: Counter

    def add(self, received: int, sent: int) -> None:
        """What was not sent on was dropped."""
        self.received.inc(received)
        self.sent.inc(sent)
        self.dropped.inc(received - sent)

    @contextmanager
    def failing(self) -> Generator[None]:
        """Count what the block raises."""
        try:
            yield
        except Exception:
            self.failed.inc()
            raise


def counts(component: str) -> Counts:
    """The counts of a component: one of collect, eventlog, land, scan, rollup (hours), days, weeks, stream, serve,
    archive, retention (raw events) and retention_maps (the events counted in maps)."""
    return Counts(*(COMPONENT_EVENTS.labels(component, outcome) for outcome in Counts._fields))


def name_build(version: str, role: str) -> None:
    """Say what runs in this process; called once, when it starts."""
    if SHARED is None:
        BUILD.clear()
    BUILD.labels(version, platform.python_version(), role).set(1)


def render() -> bytes:
    """The Prometheus text exposition of this process."""
    return generate_latest(REGISTRY)
