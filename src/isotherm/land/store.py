"""Writing new lake files: said in the manifest first, then durable, listed by the caller afterwards."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import pyarrow as pa

from isotherm.land.lake import Lake
from isotherm.land.manifest import LakeFile, Manifest
from isotherm.land.write import encode

Planned = tuple[LakeFile, pa.Table]
Checkpoint = Callable[[str], None]

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
