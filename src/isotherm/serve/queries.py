"""The questions put to the tile store: one file each in sql/, named for its caller, named parameters only."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from isotherm.rollup.buckets import Bucket, Level

_FOLDER: Final = files(__package__ or "isotherm.serve") / "sql"


@cache
def sql(name: str) -> str:
    """Text of sql/<name>.sql."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def bucket_params(buckets: Sequence[Bucket]) -> dict[str, Any]:
    """The parameters `hours`, `days`, `weeks` of a question: bucket starts of each level in seconds."""
    return {f"{level}s": [bucket.start // 1000 for bucket in buckets if bucket.level is level] for level in Level}


def plan_params(plans: Mapping[str, Sequence[Bucket]]) -> dict[str, Any]:
    """The same for several clients: `clients`, and pairs of client and bucket start of each level."""
    pairs: dict[Level, list[tuple[str, int]]] = {level: [] for level in Level}
    for client_id, buckets in plans.items():
        for bucket in buckets:
            pairs[bucket.level].append((client_id, bucket.start // 1000))
    return {"clients": list(plans)} | {f"{level}s": found for level, found in pairs.items()}
