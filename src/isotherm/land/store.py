"""Writing new lake files: said in the manifest first, then durable, listed by the caller afterwards."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import pyarrow as pa

from isotherm.land.lake import Lake, LakeUnavailable
from isotherm.land.landing import Landing
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.land.write import encode

Planned = tuple[LakeFile, pa.Table]
Checkpoint = Callable[[str], None]

STEPS: Final = ("dead", "pending", "written", "landed", "committed")
"""Names that `checkpoint` gets while records are landed, in order; files of a sink have no position to commit."""
_THREADS: Final = 4
"""Files that are encoded and fsynced at the same time; fsyncs of one disk share its journal."""


def no_checkpoint(_: str) -> None:
    """The default of `Checkpoint`, a seam for tests that stop the program between two steps."""


def write_files(
    lake: Lake, manifest: Manifest, planned: Sequence[Planned], checkpoint: Checkpoint = no_checkpoint
) -> list[LakeFile]:
    """Write the files and return them with their sizes. What raises on the way leaves pending files behind."""
    manifest.pending([file for file, _ in planned])
    checkpoint("pending")

    def write(item: Planned) -> LakeFile:
        file, table = item
        data = encode(table, file.format)
        lake.put(file.path, data)
        return msgspec.structs.replace(file, bytes=len(data))

    if len(planned) < 2:
        written = list(map(write, planned))
    else:
        with ThreadPoolExecutor(min(_THREADS, len(planned)), thread_name_prefix="lake-write") as pool:
            written = list(pool.map(write, planned))
    checkpoint("written")
    return written


def write_and_land(
    lake: Lake, manifest: Manifest, landing: Landing, planned: Sequence[Planned], checkpoint: Checkpoint
) -> tuple[int | None, list[LakeFile]]:
    """Write the files, then land them with what `landing` says. Returns the manifest version and the files.

    The version is None when somebody else was first: then our files are gone again.
    """
    version: int | None = None
    late = False
    try:
        written = write_files(lake, manifest, planned, checkpoint)
        version = manifest.land(msgspec.structs.replace(landing, files=written))
    except LakeUnavailable:
        # What was sent may still arrive: the sweeper takes it away when that can no longer be.
        late = True
        raise
    finally:
        if version is None and not late:
            manifest.discard(lake, [file.path for file, _ in planned])
    return version, written
