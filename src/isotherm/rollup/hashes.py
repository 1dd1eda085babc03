"""The published hashes: ten lines of NumPy recompute them from a recount.

Map hash: SHA-256 of the counts as little-endian uint64, index cell_y * GRID_W + cell_x.
Bucket hash: SHA-256 of the sorted lines `screen_id TAB event_type TAB segment TAB map hash LF`, all-zero maps left out.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from isotherm.rollup.grid import CELLS

_STRIDE: Final = 200
"""Cells between two places from which hashing a map that begins with zeros can go on."""
REMEMBERED: Final = 1 << 18
"""Hashes of sparse maps that are kept, at about 200 bytes each. Most maps are as they were when their bucket is tiled
again, and a day of one hour is that hour."""
_remembered: dict[bytes, bytes] = {}


def map_hash(counts: npt.NDArray[np.integer]) -> str:
    """Hash of one map's counts, shape (CELLS,), as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(counts, "<u8").data).hexdigest()


def sparse_hash(cells: npt.NDArray[np.uint16], counts: npt.NDArray[np.uint64]) -> str:
    """`map_hash` of the map that has these counts in these cells, and nothing elsewhere."""
    content = hashlib.blake2b(cells.tobytes() + counts.tobytes(), digest_size=16).digest()
    found = _remembered.get(content)
    if found is None:
        if len(_remembered) >= REMEMBERED:
            _remembered.clear()
        found = _remembered[content] = _sparse_hash(cells, counts)
    return found.hex()


def _sparse_hash(cells: npt.NDArray[np.uint16], counts: npt.NDArray[np.uint64]) -> bytes:
    strides = int(cells.min()) // _STRIDE if len(cells) else 0
    skipped = strides * _STRIDE
    rest = np.zeros(CELLS - skipped, "<u8")
    rest[cells.astype(np.intp) - skipped] = counts
    state = _zeros()[strides].copy()
    state.update(rest.data)
    return state.digest()


@cache
def _zeros() -> list[Any]:
    """The hash's states after 0, 1, 2, ... strides of cells without a count."""
    states = [hashlib.sha256()]
    for _ in range(CELLS // _STRIDE):
        states.append(states[-1].copy())
        states[-1].update(bytes(8 * _STRIDE))
    return states


def map_line(screen_id: str, event_type: str, segment: str, counts: npt.NDArray[np.integer]) -> bytes:
    """The map's line in the bucket hash, UTF-8."""
    return hash_line(screen_id, event_type, segment, map_hash(counts))


def hash_line(screen_id: str, event_type: str, segment: str, digest: str) -> bytes:
    """`map_line` of a map whose hash is known."""
    return f"{screen_id}\t{event_type}\t{segment}\t{digest}\n".encode()


def bucket_hash(lines: Iterable[bytes]) -> str:
    """Hash over the lines of a bucket's maps that are not all zero, in any order."""
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()
