"""The demo's own files: the shop's pages, where everything on them is, and pictures of them.

`site/` is served under /demo/. `layout.json` and `backgrounds/` are made by `docs/measure_demo.py`, in a real
browser, and a test measures again: simulated visitors aim at what is really there.
"""

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SITE: Final = HERE / "site"
LAYOUT: Final = HERE / "layout.json"
BACKGROUNDS: Final = HERE / "backgrounds"

CLIENT: Final = "demo"
"""Whose data the pages send; the simulated visitors' client ends in the suffix that `isotherm.events` names."""

UNDER_700: Final = "@under-700"
"""What the SDK adds to a screen's id on a phone: the pages say data-breakpoints="700"."""

PAGES: Final = {"home": "/demo/", "lamp": "/demo/lamp/", "journal": "/demo/journal/", "bag": "/demo/bag/"}
"""Short name and address of every page; the address is the screen's id too."""


def backgrounds() -> dict[str, Path]:
    """The picture of each screen by its id, as `isotherm demo` uploads them (WebP)."""
    return {
        f"{address}{suffix}": BACKGROUNDS / f"{name}{suffix}.webp"
        for name, address in PAGES.items()
        for suffix in ("", UNDER_700)
    }
