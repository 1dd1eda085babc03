"""The published hashes: ten lines of NumPy recompute them from a recount.

Map hash: SHA-256 of the counts as little-endian uint64, index cell_y * GRID_W + cell_x.
Bucket hash: SHA-256 of the sorted lines `screen_id TAB event_type TAB segment TAB map hash LF`, all-zero maps left out.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def map_hash(counts: npt.NDArray[np.integer]) -> str:
    """Hash of one map's counts, shape (CELLS,), as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(counts, "<u8").data).hexdigest()


def map_line(screen_id: str, event_type: str, segment: str, counts: npt.NDArray[np.integer]) -> bytes:
    """The map's line in the bucket hash, UTF-8."""
    return f"{screen_id}\t{event_type}\t{segment}\t{map_hash(counts)}\n".encode()


def bucket_hash(lines: Iterable[bytes]) -> str:
    """Hash over the lines of a bucket's maps that are not all zero, in any order."""
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()
