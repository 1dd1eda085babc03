"""A sparse map's hash is that of all its counts, taken by hashlib and NumPy alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.rollup import hashes
from isotherm.rollup.grid import CELLS

MAPS = st.dictionaries(st.integers(0, CELLS - 1), st.integers(1, 2**64 - 1), max_size=30)


def plain(cells: dict[int, int]) -> str:
    counts = np.zeros(CELLS, "<u8")
    counts[list(cells)] = np.array(list(cells.values()), "<u8")
    return hashlib.sha256(counts.tobytes()).hexdigest()


def sparse(cells: dict[int, int]) -> str:
    return hashes.sparse_hash(np.array(list(cells), np.uint16), np.array(list(cells.values()), np.uint64))


@given(MAPS)
def test_the_hash_of_a_sparse_map_is_that_of_all_counts(cells: dict[int, int]) -> None:
    assert sparse(cells) == plain(cells)
    assert sparse(cells) == plain(cells), "remembered"


def test_edges_of_the_grid_and_of_a_stride() -> None:
    for first in (0, 1, 199, 200, 201, CELLS - 1):
        assert sparse({first: 1}) == plain({first: 1})


def test_no_more_is_remembered_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "REMEMBERED", 10)
    monkeypatch.setattr(hashes, "_remembered", {})
    for cell in range(35):
        assert sparse({cell: 2}) == plain({cell: 2})
        assert len(hashes._remembered) <= 10
