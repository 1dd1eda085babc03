"""The installed Chromium, for measurements in a browser."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from isotherm.errors import IsothermError

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SOFTWARE_WEBGL: Final = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@contextmanager
def chromium(*flags: str) -> Generator[Browser]:
    """A headless Chromium, closed at the end. Raises IsothermError when none is installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise IsothermError(f"bench: no browser ({', '.join(NAMES)}); on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()
