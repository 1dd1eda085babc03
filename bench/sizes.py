"""How much each measurement does: `FULL` is what docs/benchmarks.md reports, `QUICK` only shows that it runs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Sizes:
    """Counts and seconds of one run."""

    bodies: int
    """Distinct request bodies the load rotates over."""
    events: int
    """Events in a body."""
    connections: int
    remembered_ids: int
    """Batch ids the log knows before durable ingest is measured."""
    ingest_seconds: int
    ingest_rounds: int
    job_rows: tuple[int, ...]
    job_file_rows: int
    job_rounds: int
    verify_rows: int
    """Events of the hour that is recounted."""
    paced_rates: tuple[int, ...]
    """Events per second tried end to end, lowest first."""
    paced_seconds: int
    flood_seconds: int
    query_maps: int
    """Full maps in the tile table beside the ones that are read."""
    query_weeks: int
    query_requests: int
    idle_seconds: int
    loaded_seconds: int
    restart_bytes: int
    """What waits on the log when everything is killed."""
    restart_rounds: int
    sdk_seconds: int
    """How long a page with the SDK is used in a round."""
    sdk_rounds: int
    paint_visitors: int
    paint_rounds: int
    kafka_seconds: int
    kafka_rounds: int
    land_records: int
    """Records of `events` events on the topic that is landed to S3."""
    land_rounds: int
    ledger_records: int
    """Of `events` events: what one round lands."""
    ledger_blocks: int
    """Of four rounds each."""
    backup_mb: int
    """Of the lake that is backed up while others send."""
    backup_rate: int
    """Events per second that they send."""
    backup_seconds: int
    backup_pairs: int
    spark_rows: int
    spark_rounds: int
    window_probes: int
    """Batches whose way into a live window is timed, per engine."""
    window_rate: int
    """Events per second while the engines' CPU time is measured."""
    window_seconds: int


FULL: Final = Sizes(
    bodies=1_000,
    events=200,
    connections=64,
    remembered_ids=5_000_000,
    ingest_seconds=10,
    ingest_rounds=3,
    job_rows=(20_000_000, 42_000_000),
    job_file_rows=2_000_000,
    job_rounds=3,
    verify_rows=20_000_000,
    paced_rates=(300_000, 410_000, 510_000, 610_000),
    paced_seconds=30,
    flood_seconds=40,
    query_maps=11_000,
    query_weeks=52,
    query_requests=300,
    idle_seconds=30,
    loaded_seconds=30,
    restart_bytes=10**9,
    restart_rounds=5,
    sdk_seconds=10,
    sdk_rounds=3,
    paint_visitors=600,
    paint_rounds=15,
    kafka_seconds=4,
    kafka_rounds=6,
    land_records=10_000,
    land_rounds=3,
    ledger_records=1_500,
    ledger_blocks=24,
    backup_mb=3_000,
    backup_rate=100_000,
    backup_seconds=15,
    backup_pairs=6,
    spark_rows=20_000_000,
    spark_rounds=1,
    window_probes=40,
    window_rate=50_000,
    window_seconds=20,
)

QUICK: Final = Sizes(
    bodies=50,
    events=200,
    connections=8,
    remembered_ids=20_000,
    ingest_seconds=1,
    ingest_rounds=1,
    job_rows=(40_000, 60_000),
    job_file_rows=20_000,
    job_rounds=1,
    verify_rows=80_000,
    paced_rates=(20_000,),
    paced_seconds=2,
    flood_seconds=1,
    query_maps=100,
    query_weeks=3,
    query_requests=10,
    idle_seconds=1,
    loaded_seconds=1,
    restart_bytes=8 * 10**6,
    restart_rounds=1,
    sdk_seconds=1,
    sdk_rounds=1,
    paint_visitors=20,
    paint_rounds=2,
    kafka_seconds=1,
    kafka_rounds=1,
    land_records=300,
    land_rounds=1,
    ledger_records=300,
    ledger_blocks=1,
    backup_mb=20,
    backup_rate=10_000,
    backup_seconds=1,
    backup_pairs=1,
    spark_rows=40_000,
    spark_rounds=1,
    window_probes=3,
    window_rate=10_000,
    window_seconds=2,
)
