"""Colour tables of the maps, the same as the dashboard's (web/dashboard/src/heat/palettes.ts; a test compares them)."""

from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

PaletteName = Literal["inferno", "viridis", "cividis", "magma", "classic"]
Theme = Literal["light", "dark"]

STOPS: Final[dict[PaletteName, str]] = {
    "inferno": "0000040c0826240c4f420a685d126e781c6d932667ae305cc73e4cdd513aed6925f8850ffca50afac62df2e661fcffa4",
    "magma": "0000040b092420114b3b0f7057157e721f818c2981a8327dc43c75de4968f1605dfa7f5efe9f6dfebf84fddea0fcfdbf",
    "viridis": "440154481a6c472f7d41448739568c31688e2a788e23888e1f988b22a88435b77954c5687ad151a5db36d2e21bfde725",
    "cividis": "00224e002e6c1e3a6f35456c47516c575d6d666970757575848279948e77a59c74b7a96ec8b866dbc75aeed649fee838",
    "classic": "2438c92a6df41fb5e42bcf9a57d84bc6e034fbd324fb8f1af0501ad11a1a",
}
"""Evenly spaced sRGB colours as hexadecimal digits, straight lines between them.

inferno, magma and viridis (S. van der Walt, N. Smith) and cividis (J. Nunez, C. Anderton, R. Renslow, "Optimizing
colormaps with consideration for color vision deficiency", PLOS ONE 13(7), 2018): every 17th of the 256 colours
published with matplotlib, which dedicates them to the public domain (CC0). "classic" is ours: the traffic-light
colours that people know from other heatmaps; neither uniform nor safe for colour-blind readers.
"""
BEGIN: Final[dict[PaletteName, float]] = {"inferno": 0.2, "magma": 0.2, "viridis": 0.0, "cividis": 0.0, "classic": 0.0}
"""Where on the published palette the scale begins: its black end would look like dirt on a page."""
DARK_LIFT: Final = 0.12
"""How much later it begins on a dark ground, which would swallow the darkest colours; "classic" has none."""


@cache
def table(palette: PaletteName, theme: Theme) -> npt.NDArray[np.uint8]:
    """256 colours with their opacity, shape (256, 4), RGBA, not premultiplied; entry 0 is transparent."""
    text = STOPS[palette]
    stops = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3).astype(float)
    begin = BEGIN[palette] + (DARK_LIFT if theme == "dark" and palette != "classic" else 0.0)
    at = np.linspace(0.0, 1.0, 256)
    places = (begin + (1 - begin) * at) * (len(stops) - 1)
    channels = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    rise = np.minimum(at / 0.55, 1.0)
    alpha = 255 * 0.94 * rise * rise * (3 - 2 * rise) * (0.8 + 0.2 * rise)
    return np.rint(np.stack([*channels, alpha], axis=1)).astype(np.uint8)
