"""A heatmap in the terminal: half blocks in colour, or a ramp of characters where there is none."""

from typing import Final

import numpy as np
import numpy.typing as npt
from rich.text import Text

# Five anchors of viridis (perceptually uniform, readable for colour-blind people), dark to bright.
_ANCHORS: Final = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=float)
_RAMP: Final = " .:-=+*#%@"


def shrink(counts: npt.NDArray[np.int64], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Sum a (height, width) grid into (rows, columns) and scale by log1p to [0, 1]; both sizes must divide."""
    height, width = counts.shape
    summed = counts.reshape(rows, height // rows, columns, width // columns).sum(axis=(1, 3))
    peak = np.log1p(summed.max(initial=0))
    return np.log1p(summed) / peak if peak else np.zeros((rows, columns))


def colour(value: float) -> str:
    """The colour of a value in [0, 1], as #rrggbb."""
    place = value * (len(_ANCHORS) - 1)
    low = min(int(place), len(_ANCHORS) - 2)
    red, green, blue = _ANCHORS[low] + (_ANCHORS[low + 1] - _ANCHORS[low]) * (place - low)
    return f"#{int(red):02x}{int(green):02x}{int(blue):02x}"


def in_colour(heat: npt.NDArray[np.float64]) -> Text:
    """Two rows of `heat` (values in [0, 1]) per line of text."""
    text = Text()
    for upper, lower in zip(heat[0::2], heat[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", style=f"{colour(above)} on {colour(below)}")
        text.append("\n")
    return text


def in_characters(heat: npt.NDArray[np.float64]) -> str:
    """One line of text per two rows of `heat`, for terminals and files without colour."""
    paired = np.maximum(heat[0::2], heat[1::2])
    index = np.minimum((paired * len(_RAMP)).astype(int), len(_RAMP) - 1)
    return "\n".join("".join(_RAMP[i] for i in row) for row in index.tolist())
