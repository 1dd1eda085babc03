"""How hands move: minimum-jerk strokes whose duration follows Fitts's law, sampled as the SDK samples them.

A reaching hand follows s(t) = 10 t^3 - 15 t^4 + 6 t^5 (Flash and Hogan, The Journal of Neuroscience 5(7), 1985), and
takes a + b log2(D / W + 1) for a target of width W at distance D (Fitts, Journal of Experimental Psychology 47(6),
1954; this form by MacKenzie, 1992).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOVE_EVERY_MS: Final = 50.0
SCROLL_EVERY_MS: Final = 200.0
FITTS_A_MS: Final = 110.0
FITTS_B_MS: Final = 145.0
TREMOR_PX: Final = 0.6
"""Standard deviation of what a hand adds to its path, CSS pixels."""


def minimum_jerk(t: Floats) -> Floats:
    """Share of the way at the share `t` of the time; both in [0, 1]."""
    return t * t * t * (10.0 - 15.0 * t + 6.0 * t * t)


def fitts_ms(distance: float, width: float) -> float:
    """Mean duration of a move to something `width` wide, `distance` away (same unit)."""
    return FITTS_A_MS + FITTS_B_MS * float(np.log2(distance / max(width, 1.0) + 1.0))


@dataclass(frozen=True)
class Samples:
    """Moments on the way: of which path, when (ms), where (px)."""

    path: Integers
    time: Floats
    x: Floats
    y: Floats


def _moments(duration: Floats, every: float) -> tuple[Integers, Floats]:
    """Path numbers and times after the start: every so many ms, and the end."""
    counts = np.maximum(1, np.ceil(duration / every)).astype(np.int64)
    path = np.repeat(np.arange(len(duration)), counts)
    within = np.arange(len(path)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return path, np.minimum(within * every, duration[path])


def strokes(paths: Floats, noise: np.random.Generator | None = None) -> Samples:
    """Sample strokes: rows of (start ms, duration ms, x0, y0, x1, y1, bow).

    A stroke bends sideways by `bow` times its length. The last sample is the resting position, exactly; the others
    carry the hand's tremor when `noise` is given.
    """
    start, duration, x0, y0, x1, y1, bow = paths.T
    path, after = _moments(duration, MOVE_EVERY_MS)
    share = np.divide(after, duration[path], out=np.ones_like(after), where=duration[path] > 0)
    way = minimum_jerk(share)
    bend = bow[path] * np.sin(np.pi * way)
    dx, dy = (x1 - x0)[path], (y1 - y0)[path]
    x, y = x0[path] + dx * way - dy * bend, y0[path] + dy * way + dx * bend
    resting = share >= 1.0
    x[resting], y[resting] = x1[path[resting]], y1[path[resting]]
    if noise is not None:
        moving = ~resting
        x[moving] += noise.normal(0.0, TREMOR_PX, int(moving.sum()))
        y[moving] += noise.normal(0.0, TREMOR_PX, int(moving.sum()))
    return Samples(path, start[path] + after, x, y)


def scrolls(paths: Floats) -> Samples:
    """Sample scrolling: rows of (start ms, duration ms, y0, y1); it slows down towards the end. `y` is scroll_y."""
    start, duration, y0, y1 = paths.T
    path, after = _moments(duration, SCROLL_EVERY_MS)
    share = np.divide(after, duration[path], out=np.ones_like(after), where=duration[path] > 0)
    way = np.where(share >= 1.0, 1.0, 1.0 - (1.0 - share) ** 3)
    y = y0[path] + (y1 - y0)[path] * way
    return Samples(path, start[path] + after, np.zeros_like(y), y)
