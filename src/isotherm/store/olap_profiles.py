"""The profiles of the tile store: ClickHouse settings that a query runs under, and what reaching a limit means."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from clickhouse_connect.driver.exceptions import DatabaseError

from isotherm.config import GIB, Settings
from isotherm.errors import Backpressure
from isotherm.store.olap import OlapDamaged, Profile

READ_SECONDS: Final = 30
JOB_SECONDS: Final = 3600
_TIMEOUT_EXCEEDED: Final = 159
_MEMORY_LIMIT_EXCEEDED: Final = 241
UNREADABLE: Final = frozenset({32, 33, 40, 74, 107, 131, 226, 228, 246, 271, 432, 740})
"""ClickHouse's codes for a file that ends too early, is not there, has a wrong checksum or cannot be unpacked."""


def profiles(settings: Settings) -> dict[Profile, dict[str, Any]]:
    """ClickHouse settings by profile. `readonly` comes last: after it no setting can be changed any more."""
    threads = settings.job_threads or os.cpu_count() or 1
    common: dict[str, Any] = {
        # Without it text is parsed to a double that may be one unit in the last place off: another cell.
        "precise_float_parsing": 1,
        # Off, because `client_id=...` in a lake path is a column of the file already.
        "use_hive_partitioning": 0,
        # A map's key fixes its partition, so FINAL need not look across partitions.
        "do_not_merge_across_partitions_select_final": 1,
        "output_format_arrow_string_as_string": 1,
        "output_format_arrow_compression_method": "none",
        # A lake file's footer has no checksum: where a column's name is damaged, its values must not pass for nulls.
        "input_format_parquet_allow_missing_columns": 0,
        # An hour can have thousands of small files, all named in one query.
        "max_query_size": 64 << 20,
        "glob_expansion_max_elements": 1_000_000,
        # A lake that does not answer must fail the job while somebody still waits for it: 500 tries take hours.
        "s3_retry_attempts": 5,
        "s3_request_timeout_ms": 30_000,
        # Without keys in the settings a lake in S3 is read in the role of the machine that runs the query.
        "s3_allow_server_credentials_in_user_queries": 1,
        "max_threads": threads,
        "max_memory_usage": settings.job_memory_bytes,
    }
    job = {"max_execution_time": JOB_SECONDS}
    least = min(GIB, settings.job_memory_bytes)
    return {
        "read": common | {"max_execution_time": READ_SECONDS, "max_memory_usage": least, "readonly": 1},
        "write": common | job,
        "migrate": common | job,
        "maintain": common | job | {"max_threads": 1},
    }


@contextmanager
def limits(profile: Profile, doubt: threading.Event) -> Generator[None]:
    """Turn reaching a limit of the profile into Backpressure, and a file that cannot be read into OlapDamaged; that
    sets `doubt`."""
    try:
        yield
    except DatabaseError as error:
        if error.code in UNREADABLE:
            doubt.set()
            raise OlapDamaged(str(error), code=error.code, name=error.name) from None
        if error.code not in (_TIMEOUT_EXCEEDED, _MEMORY_LIMIT_EXCEEDED):
            raise
        what = "time" if error.code == _TIMEOUT_EXCEEDED else "memory"
        raise Backpressure(
            f"a query of the profile {profile!r} reached its {what} limit; ask for less at once, or raise "
            f"job_memory_bytes ({error})",
            retry_after_s=5.0,
        ) from None
