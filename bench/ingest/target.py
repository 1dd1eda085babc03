"""One server that durable ingest is measured on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """Its durability class (memory, page cache, fsync, queryable), its folder, and the process to account for.

    Either `url` (loaded over HTTP by wrk) or `units` (loaded by threads, see load.threads) is given.
    """

    name: str
    durability: str
    folder: Path
    pid: int
    url: str = ""
    units: Sequence[Callable[[], int]] = field(default=())
