"""Metrics as data: names, units and meanings. Every component emits received, sent, failed and dropped.

Beside these stand `process_*`: memory, CPU, open files and the start of the process, as the client library names them.
"""

import platform

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# A second series per counter that says when it was created; nobody asks for it.
disable_created_metrics()

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

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
BUILD = Gauge(
    "isotherm_build_info", "Always 1; the labels say what runs.", ["version", "python", "role"], registry=REGISTRY
)
COMPONENT_EVENTS = Counter(
    "isotherm_component_events",
    "What went through a component, by what became of it (received, sent, failed, dropped): events, but records for "
    "eventlog and requests for serve. Behind the log, failed counts failures: what they met is tried again.",
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
LAG_RECORDS = Gauge(
    "isotherm_log_lag_records",
    "Head minus landed, in records; of several landers each tells of its own partitions.",
    ["consumer"],
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "isotherm_log_lag_seconds",
    "For how long the oldest record waits that the consumer has not done, in seconds; 0 when none waits.",
    ["consumer"],
    registry=REGISTRY,
)
LOG_MAX_BYTES = Gauge(
    "isotherm_log_max_bytes", "Size limit of the log; 0 where the log has none of ours.", registry=REGISTRY
)
GAP_RECORDS = Counter(
    "isotherm_log_gap_records",
    "Records that the log had lost before they were landed; their events are in no map.",
    registry=REGISTRY,
)
SINK_STILL = Gauge(
    "isotherm_sink_still_seconds",
    "For how long the committed offsets of the sink whose files are scanned have not moved, while records wait.",
    registry=REGISTRY,
)
SCANNED_FILES = Gauge(
    "isotherm_scanned_files",
    "Files of the sink that is scanned, by state: landed, due, unreadable.",
    ["state"],
    registry=REGISTRY,
)
LANDED_ROWS = Counter("isotherm_land_rows", "Rows listed in the lake's manifest.", registry=REGISTRY)
LANDED_FILES = Counter("isotherm_land_files", "Files listed in the lake's manifest.", registry=REGISTRY)
TILE_JOBS = Counter("isotherm_tile_jobs", "Tile jobs by level and outcome.", ["level", "outcome"], registry=REGISTRY)
TILE_JOB_SECONDS = Counter("isotherm_tile_job_seconds", "Seconds spent in tile jobs.", ["level"], registry=REGISTRY)
TILES_BEHIND = Gauge(
    "isotherm_tiles_behind_seconds",
    "Since when the published maps lack something that landed, in seconds; 0 when they hold all. Of days and weeks "
    "those that are over: the running ones are read from their parts.",
    ["level"],
    registry=REGISTRY,
)
TILES_FAILING = Gauge(
    "isotherm_tiles_failing_buckets",
    "Buckets whose last tile job in this process failed; it is tried again.",
    ["level"],
    registry=REGISTRY,
)
LEDGER_DIFFERENCE = Gauge(
    "isotherm_ledger_difference",
    "Hours of a client, of the last eight days, whose sums in the ledger do not close: it must be 0.",
    registry=REGISTRY,
)
DEAD_EVENTS = Gauge(
    "isotherm_dead_events",
    "Events of records that could not be used and are kept aside, received in the last eight days.",
    registry=REGISTRY,
)
VERIFIED_BUCKETS = Gauge(
    "isotherm_verified_buckets",
    "Buckets by what their last comparison with raw found: same, dirty (changed meanwhile), frozen, different.",
    ["finding"],
    registry=REGISTRY,
)
VERIFIED_AT = Gauge(
    "isotherm_verified_timestamp_seconds", "When a bucket was last compared with raw; 0: never.", registry=REGISTRY
)
BACKUP_AT = Gauge(
    "isotherm_backup_last_success_timestamp_seconds",
    "When the newest backup that is known here was complete; 0: none is known.",
    registry=REGISTRY,
)
STORE_BYTES = Gauge(
    "isotherm_store_bytes",
    "What a store holds, in bytes: log, lake (part: its format), tiles, database, dead.",
    ["store", "part"],
    registry=REGISTRY,
)
DISK_FREE = Gauge(
    "isotherm_disk_free_bytes",
    "Free bytes of the disk that a store of this machine is on.",
    ["store"],
    registry=REGISTRY,
)
DISK_RESERVE = Gauge(
    "isotherm_disk_reserve_bytes", "With less than this free, the collector answers 503.", registry=REGISTRY
)
MEASURED_AT = Gauge(
    "isotherm_measured_timestamp_seconds",
    "When ledger, stores and disks were last measured by this process; 0 before the first time.",
    registry=REGISTRY,
)
VERIFY_BUCKETS = Gauge(
    "isotherm_verify_buckets",
    "Buckets of the last nightly sample by what came of them: same, different, unreadable, dirty, frozen.",
    ["finding"],
    registry=REGISTRY,
)
VERIFY_AT = Gauge(
    "isotherm_verify_timestamp_seconds",
    "When the last nightly sample ended; 0 before the first one.",
    registry=REGISTRY,
)
VERIFY_EVENTS = Counter(
    "isotherm_verify_events", "Raw events that nightly samples of this process read again.", registry=REGISTRY
)
LIVE_WINDOWS = Gauge("isotherm_live_windows", "Living windows that this process shows.", registry=REGISTRY)
DIRTY_BUCKETS = Gauge("isotherm_dirty_buckets", "Buckets that wait to be tiled again.", ["level"], registry=REGISTRY)
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


def name_build(version: str, role: str) -> None:
    """Say what runs in this process; called once, when it starts."""
    BUILD.clear()
    BUILD.labels(version, platform.python_version(), role).set(1)


def render() -> bytes:
    """The Prometheus text exposition of this process."""
    return generate_latest(REGISTRY)
