"""Metrics as data: names, units and meanings. Every component emits received, sent, failed and dropped."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

# A second series per counter that says when it was created; nobody asks for it.
disable_created_metrics()

REGISTRY = CollectorRegistry(auto_describe=True)

COMPONENT_EVENTS = Counter(
    "isotherm_component_events",
    "Events that went through a component, by what became of them (received, sent, failed, dropped).",
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


def render() -> bytes:
    """The Prometheus text exposition of this process."""
    return generate_latest(REGISTRY)
