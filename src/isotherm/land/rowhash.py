"""The order-free hash of rows: equal for Parquet and JSONL, whatever the order and the split into files.

Recipe, all in arithmetic modulo 2**64. A row has eight words: for client_id, screen_id, event_type and batch_id
the first eight bytes (little-endian) of BLAKE2b-64 of the UTF-8 text; event_time in milliseconds and position as
they are; for x_norm and y_norm the bits of the double, or NULL_WORD. The row's value is
``mix(sum(word * multiplier))`` with the multipliers below in the order of COLUMNS. The hash is two sums over the
rows, of ``value`` and of ``mix(value + MULTIPLIERS[0])``, written as 32 hexadecimal digits. Hashes of disjoint sets
of rows add up, half by half: `add`.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

COLUMNS: Final = ("client_id", "screen_id", "event_type", "batch_id", "event_time", "position", "x_norm", "y_norm")
MULTIPLIERS: Final = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
        0x8EBC6AF09C88C6E3,
        0x589965CC75374CC3,
    ],
    np.uint64,
)
NULL_WORD: Final = np.uint64(0x7FF8_0000_0000_0001)
ZERO: Final = "0" * 32
_MASK: Final = (1 << 64) - 1
_BLOCK: Final = 1 << 15


def mix(value: Words) -> Words:
    """The finaliser of SplitMix64, element by element."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def row_values(table: pa.Table) -> Words:
    """One 64-bit value per row, shape (rows,)."""
    total = np.zeros(table.num_rows, np.uint64)
    for name, multiplier in zip(COLUMNS, MULTIPLIERS, strict=True):
        _accumulate(total, _column(table, name), multiplier)
    for start in range(0, len(total), _BLOCK):
        total[start : start + _BLOCK] = mix(total[start : start + _BLOCK])
    return total


def of_values(values: Words) -> str:
    """The hash of the rows with these values."""
    second = 0
    for start in range(0, len(values), _BLOCK):
        second += int(mix(values[start : start + _BLOCK] + MULTIPLIERS[0]).sum(dtype=np.uint64))
    return f"{int(values.sum(dtype=np.uint64)):016x}{second & _MASK:016x}"


def of_table(table: pa.Table) -> str:
    """The hash of a table of the lake's schema."""
    return of_values(row_values(table))


def add(hashes: Iterable[str]) -> str:
    """The hash of all the rows together."""
    pairs = [(int(text[:16], 16), int(text[16:], 16)) for text in hashes]
    return f"{sum(a for a, _ in pairs) & _MASK:016x}{sum(b for _, b in pairs) & _MASK:016x}"


def _column(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _accumulate(total: Words, column: Any, multiplier: np.uint64) -> None:
    if pa.types.is_dictionary(column.type):
        weighted = text_words(column.dictionary.to_pylist()) * multiplier
        total += weighted[column.indices.to_numpy(zero_copy_only=False)]
    elif pa.types.is_floating(column.type):
        total += _double_words(column) * multiplier
    else:
        whole = column.cast(pa.int64()) if pa.types.is_integer(column.type) else column.view(pa.int64())
        total += whole.to_numpy().view(np.uint64) * multiplier


def text_words(texts: Iterable[str]) -> Words:
    """BLAKE2b-64 of each text, as little-endian uint64."""
    joined = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def _double_words(column: Any) -> Words:
    words = column.fill_null(0.0).to_numpy().view(np.uint64)
    return words if not column.null_count else np.where(column.is_null().to_numpy(False), NULL_WORD, words)
