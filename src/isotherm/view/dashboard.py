"""The dashboard's files: one page for every view, and assets whose names change with their content."""

from pathlib import Path
from typing import Final

from isotherm.view.files import NOSNIFF, REVALIDATE, STATIC, YEAR, Ask, Reply, load, plain

FOLDER: Final = STATIC / "dashboard"
PAGE: Final = "index.html"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DAY: Final = "public, max-age=86400"
_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Isotherm</title>
<h1>The dashboard has not been built yet</h1>
<p>In the source folder, run <code>make setup</code> and start Isotherm again. A wheel carries it built.</p>
<p>The API works without it: <a href="/docs">its description</a>.</p>
</html>
"""


class Dashboard:
    """The built files by their path, as they are in the folder when the program starts."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.files = load(folder, _headers)

    def page(self, method: str, ask: Ask) -> Reply:
        """The one page of the dashboard, or how to build it."""
        if file := self.files.get(PAGE):
            return file.reply(method, ask)
        return plain(503, _NOT_BUILT, "text/html; charset=utf-8")

    def lost(self, method: str, ask: Ask) -> Reply | None:
        """The same page at an address that nobody knows, where it says so; None when it is not built."""
        file = self.files.get(PAGE)
        if file is None:
            return None
        reply = file.reply(method, lambda name: None if name == "if-none-match" else ask(name))
        headers = {name: value for name, value in reply.headers.items() if name != "etag"}
        return Reply(404, headers | {"cache-control": "no-store", "vary": "accept, accept-encoding"}, reply.body)

    def asset(self, path: str, method: str, ask: Ask) -> Reply:
        """A file by its path in the folder; 404 in plain text for one that is not there."""
        if file := self.files.get(path):
            return file.reply(method, ask)
        return plain(404, "the dashboard has no such file; after an upgrade, reload the page")

    def root_files(self) -> list[str]:
        """Names of the files that are served at the root: the icon and the like."""
        return [name for name in self.files if "/" not in name and name != PAGE]


def _headers(name: str) -> dict[str, str]:
    if name == PAGE:
        return {**NOSNIFF, "cache-control": REVALIDATE, "content-security-policy": POLICY}
    return {**NOSNIFF, "cache-control": YEAR if name.startswith("assets/") else _DAY}
