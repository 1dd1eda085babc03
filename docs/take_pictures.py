"""Takes the README's pictures of the real dashboard, from a running `isotherm demo`.

Usage: python docs/take_pictures.py http://127.0.0.1:7080

Writes docs/pictures/*.webp. What they show is what the demo has counted by then; give its maps a minute to fill.
"""

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

OUT: Final = Path(__file__).parent / "pictures"
CLIENT: Final = "demo-simulated"
QUALITY: Final = 82
LAPTOP: Final[dict[str, Any]] = {"viewport": {"width": 1440, "height": 900}, "device_scale_factor": 1.5}
PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium that is installed; SystemExit when none is."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise SystemExit(f"no browser found ({', '.join(NAMES)}); on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def map_address(app: str, screen: str, **look: Any) -> str:
    """A map of the last seven days."""
    return f"{app}/c/{CLIENT}/map?{urlencode({'screen': screen, **look})}"


def settled(page: Page) -> None:
    """Wait until the map, its table and its picture are there."""
    page.locator("table.cells tbody button").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1_000)


def take(browser: Browser, name: str, address: str, theme: str, device: dict[str, Any]) -> None:
    """One picture of one page in one theme."""
    context = browser.new_context(color_scheme=theme, **device)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    page.goto(address)
    if "/map?" in address:
        settled(page)
    else:
        page.wait_for_timeout(3_000)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = OUT / f"{name}.webp"
    image.save(path, quality=QUALITY, method=6)
    print(f"{path.relative_to(OUT.parent)}  {image.width} x {image.height}, {path.stat().st_size:,} bytes")
    context.close()


def main(app: str) -> None:
    OUT.mkdir(exist_ok=True)
    with chromium() as browser:
        for theme in ("light", "dark"):
            take(browser, f"map-{theme}", map_address(app, "/demo/"), theme, LAPTOP)
        take(browser, "screens", f"{app}/c/{CLIENT}", "light", LAPTOP)
        take(browser, "phone", map_address(app, "/demo/@under-700"), "light", PHONE)
        take(browser, "phone-dark", map_address(app, "/demo/lamp/@under-700", kind="click", radius=2), "dark", PHONE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1].rstrip("/"))
