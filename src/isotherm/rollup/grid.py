"""The grid: the only place that says how many cells a map has and which cell a position falls in."""

from typing import Final

import numpy as np
import numpy.typing as npt

GRID_W: Final = 100
GRID_H: Final = 200
CELLS: Final = GRID_W * GRID_H
SPARSE_BELOW: Final = 2_000
"""A map with fewer non-zero cells than this is stored as (cells, counts); others as all counts."""


def cells_of(x_norm: npt.NDArray[np.float64], y_norm: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Cell index `cell_y * GRID_W + cell_x` of each position, both arrays in [0, 1], same shape as the input.

    `cell = min(floor(norm * size), size - 1)` in IEEE 754 double arithmetic: 0.29 * 100 is
    28.999999999999996, so 0.29 falls in cell 28.
    """
    cell_x = np.minimum(np.floor(x_norm * GRID_W), GRID_W - 1).astype(np.int64)
    cell_y = np.minimum(np.floor(y_norm * GRID_H), GRID_H - 1).astype(np.int64)
    return cell_y * GRID_W + cell_x


def cell_sql(x: str = "x_norm", y: str = "y_norm") -> str:
    """The same formula as a ClickHouse expression of an unsigned type over two Float64 expressions in [0, 1].

    The conversion to an integer cuts towards zero, which is floor for what is not negative, and faster.
    """
    return f"least(toUInt16({y} * {GRID_H}), {GRID_H - 1}) * {GRID_W} + least(toUInt16({x} * {GRID_W}), {GRID_W - 1})"
