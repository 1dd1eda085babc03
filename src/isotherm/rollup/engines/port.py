"""The port of a batch engine: what turns raw files, or finer maps, into the maps of one bucket.

A *map* is the counts of one client, screen, event type and segment in one bucket. An engine inserts maps under
the job's version and nothing else: what is published, and which version wins, is decided one level up (`jobs`).
Each map appears whole or not at all; after an error some maps of the version may be there and others not.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from isotherm.adapters import Adapters, adapter
from isotherm.config import Settings
from isotherm.land.lake import Lake
from isotherm.rollup.buckets import Bucket
from isotherm.store.olap import Olap


class RawFile(Protocol):
    """One listed file of the lake; `path` is relative to its root, `format` is parquet or jsonl."""

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def rows(self) -> int: ...


class Engine(Protocol):
    """Fills the table of maps; every method may be called from any thread.

    Raises IsothermError when a limit is reached or a file cannot be read.
    """

    def tile(self, bucket: Bucket, files: Sequence[RawFile], version: int) -> None:
        """Insert the maps of all rows of these files, which are one snapshot of the bucket's raw events."""
        ...

    def roll_up(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        """Insert the bucket's maps as sums of its children's maps, for these clients."""
        ...

    def clear_vanished(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        """Insert an all-zero map for every map of these clients that an older version has and this one has not."""
        ...

    def close(self) -> None:
        """End what the engine keeps running between jobs; the next job starts it again."""
        ...


Opener = Callable[[Settings, Olap, Lake], Engine]

_SPARK: Final = ("isotherm.rollup.engines.spark.engine:SparkEngine.open", "")
ADAPTERS: Final[Adapters] = {
    "clickhouse": ("isotherm.rollup.engines.clickhouse:ClickHouseEngine.open", ""),
    "spark": _SPARK,
    "spark+local": _SPARK,
    "spark+k8s": _SPARK,
}


def open_engine(settings: Settings, olap: Olap, lake: Lake) -> Engine:
    """The batch engine that `settings.engine` names. Raises ConfigError for an unknown one."""
    opener: Opener = adapter("engine", settings.engine, ADAPTERS)
    return opener(settings, olap, lake)
