"""A map as a small picture: log scale, smoothed a little, transparent where nothing is."""

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from isotherm.rollup.grid import GRID_H, GRID_W
from isotherm.view.palettes import PaletteName, Theme, table

WIDTH: Final = 160
MIN_HEIGHT: Final = 60
MAX_HEIGHT: Final = 640
"""A longer page is drawn narrower, so that no screen's shape makes more than WIDTH x MAX_HEIGHT pixels."""
MIN_WIDTH: Final = 32
_FALL: Final = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.3**2))
"""How far a cell's heat reaches, in cells: a spot of one cell is seen, a spot stays where it is."""

Field = npt.NDArray[np.float64]


def size_of(shape: tuple[float, float] | None) -> tuple[int, int]:
    """Width and height in pixels for a screen of this shape (any unit); without one, cells are squares."""
    w, h = shape or (GRID_W, GRID_H)
    height = WIDTH * h / w
    if height > MAX_HEIGHT:
        return max(MIN_WIDTH, round(WIDTH * MAX_HEIGHT / height)), MAX_HEIGHT
    return WIDTH, max(MIN_HEIGHT, round(height))


def thumbnail(counts: npt.NDArray[np.uint64], size: tuple[int, int], palette: PaletteName, theme: Theme) -> bytes:
    """The map as a PNG with a palette of 256 colours and their opacity.

    `counts` has shape (CELLS,), index cell_y * GRID_W + cell_x; `size` is (width, height) in pixels. The strongest
    colour is at the cells with the largest count and nowhere else.
    """
    levels = _levels(counts.reshape(GRID_H, GRID_W), size)
    picture = Image.frombytes("P", size, levels.tobytes())
    colours = table(palette, theme)
    picture.putpalette(colours[:, :3].tobytes())
    out = BytesIO()
    picture.save(out, "PNG", transparency=colours[:, 3].tobytes(), optimize=True)
    return out.getvalue()


def _levels(counts: npt.NDArray[np.uint64], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """0 to 255 per pixel, shape (height, width); 255 only in the hottest cells."""
    width, height = size
    top = int(counts.max())
    if not top:
        return np.zeros((height, width), np.uint8)
    scaled = np.log1p(counts.astype(float)) / np.log1p(float(top))
    small = _pool(_pool(scaled, height, 0), width, 1)
    soft = Image.fromarray(_spread(_spread(small, 0), 1).astype(np.float32))
    field = np.asarray(soft.resize(size, Image.Resampling.BICUBIC))
    field = np.clip(field / field.max(), 0, 1)
    # Steps of four: nobody sees the difference, and the file is a third smaller.
    levels = np.minimum(np.rint(field * 63) * 4, 252).astype(np.uint8)
    rows, columns = np.nonzero(counts == top)
    levels[(rows * 2 + 1) * height // (2 * GRID_H), (columns * 2 + 1) * width // (2 * GRID_W)] = 255
    return levels


def _spread(field: Field, axis: int) -> Field:
    """Each value reaches its neighbours, weaker with distance; the largest that arrives counts, so no peak is lost."""
    reach = len(_FALL) // 2
    padded = np.pad(field, [(reach, reach) if axis == one else (0, 0) for one in (0, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(_FALL), axis)
    return (windows * _FALL).max(axis=2)


def _pool(field: Field, size: int, axis: int) -> Field:
    """The field with at most `size` rows or columns, each the largest of those it stands for."""
    held = field.shape[axis]
    if size >= held:
        return field
    return np.maximum.reduceat(field, np.arange(size) * held // size, axis=axis)
