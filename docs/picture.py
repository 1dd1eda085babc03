"""Draws docs/demo.svg, the README's picture, from a running demo.

Usage: python docs/picture.py http://127.0.0.1:7080 docs/demo.svg
"""

import json
import struct
import sys
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np

from isotherm.cli.picture import colour
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.events import SIMULATED_SUFFIX, hour_of
from isotherm.view.demo import CLIENT, PAGES

SCREENS = (PAGES["home"], PAGES["lamp"], PAGES["journal"])
CELL_W, CELL_H, GAP, TOP = 2.6, 1.9, 26, 64
FONT = "font-family='ui-sans-serif, system-ui, sans-serif'"


def fetch(app: str, screen_id: str) -> dict[str, Any]:
    """The last eight days of one screen of the demo."""
    end = hour_of(SystemClock().now_ms()) + HOUR_MS
    query = {
        "client_id": f"{CLIENT}{SIMULATED_SUFFIX}",
        "screen_id": screen_id,
        "from": end - 8 * 24 * HOUR_MS,
        "to": end,
    }
    with urlopen(f"{app}/v1/heatmap?{urlencode(query)}") as response:
        return json.load(response)


def png(answer: dict[str, Any]) -> bytes:
    """The map as a PNG with a palette, one pixel per cell (https://www.w3.org/TR/png-3/)."""
    width, height = answer["grid_w"], answer["grid_h"]
    counts = np.zeros((height, width))
    for cell in answer["cells"]:
        counts[cell["cell_y"], cell["cell_x"]] = cell["count"]
    shades = np.rint(np.log1p(counts) / np.log1p(answer["max"]) * 255).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in shades)
    palette = b"".join(bytes.fromhex(colour(i / 255)[1:]) for i in range(256))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def panel(screen_id: str, answer: dict[str, Any], left: float) -> str:
    """One map, brightness by the logarithm of the count, and its caption."""
    width, height = answer["grid_w"] * CELL_W, answer["grid_h"] * CELL_H
    return (
        f"<image x='{left}' y='{TOP}' width='{width}' height='{height}' preserveAspectRatio='none' "
        f"style='image-rendering:pixelated' href='data:image/png;base64,{b64encode(png(answer)).decode()}'/>"
        f"<text x='{left}' y='{TOP + height + 20}' {FONT} font-size='13' fill='#e8e6f0'>{screen_id}</text>"
        f"<text x='{left}' y='{TOP + height + 37}' {FONT} font-size='12' fill='#a7a3b8'>"
        f"{answer['total']:,} moves, hottest cell {answer['max']:,}</text>"
    )


def legend(right: float) -> str:
    """From no event to the hottest cell."""
    steps = "".join(
        f"<rect x='{right - 200 + i * 4}' y='24' width='4.2' height='10' fill='{colour(i / 49)}'/>" for i in range(50)
    )
    return (
        f"<text x='{right - 208}' y='33' {FONT} font-size='11' fill='#a7a3b8' text-anchor='end'>none</text>{steps}"
        f"<text x='{right}' y='50' {FONT} font-size='11' fill='#a7a3b8' text-anchor='end'>hottest, log scale</text>"
    )


def draw(app: str) -> str:
    """The whole picture as SVG text."""
    answers = {screen_id: fetch(app, screen_id) for screen_id in SCREENS}
    first = next(iter(answers.values()))
    step = first["grid_w"] * CELL_W + GAP
    width, height = GAP + step * len(answers), TOP + first["grid_h"] * CELL_H + 56
    panels = "".join(panel(name, answer, GAP + i * step) for i, (name, answer) in enumerate(answers.items()))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' role='img'>"
        "<title>Heatmaps of three demo screens</title>"
        f"<rect width='100%' height='100%' rx='10' fill='#16121f'/>"
        f"<text x='{GAP}' y='40' {FONT} font-size='19' font-weight='600' fill='#f4f2fa'>Isotherm</text>"
        f"{legend(width - GAP)}{panels}</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(sys.argv[1].rstrip("/")))
