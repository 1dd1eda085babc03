"""The demo site: pages with the SDK on them, and the address of the collector written into them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from isotherm.config import Settings
from isotherm.view.demo import CLIENT, SITE
from isotherm.view.files import NOSNIFF, REVALIDATE, Ask, File, Reply, load, plain

PLACEHOLDER: Final = b"__COLLECTOR_URL__"
_DAY: Final = "public, max-age=86400"
_HEADERS: Final = {**NOSNIFF, "referrer-policy": "same-origin", "cross-origin-resource-policy": "same-origin"}


@dataclass(frozen=True)
class Site:
    """The site's files by path, and whether its client may send at all."""

    files: dict[str, File]
    may_send: bool

    def reply(self, path: str, method: str, ask: Ask, collector: str) -> Reply:
        """The answer to GET or HEAD of `/demo` + `path`; `collector` is its address as the browser sees it."""
        if not self.may_send:
            return plain(
                404, f"the demo site sends as client {CLIENT!r}, which may not send here: add it to the setting clients"
            )
        if path and not path.startswith("/"):
            path = f"/{path}"
        name = path.lstrip("/")
        if not path or (name and not name.endswith("/") and f"{name}/index.html" in self.files):
            moved = {"location": f"/demo/{name}/" if name else "/demo/", "cache-control": REVALIDATE}
            return Reply(308, {**_HEADERS, **moved, "content-length": "0"}, b"")
        if not name or name.endswith("/"):
            name += "index.html"
        file = self.files.get(name)
        if file is None:
            return plain(404, "the demo site has no such page: it starts at /demo/")
        if name.endswith(".html"):
            file = _page(file.body, collector)
        return file.reply(method, ask)


def may_send(settings: Settings) -> bool:
    """Whether the demo site's client may send here; without that the site is not served."""
    return not settings.clients or CLIENT in settings.clients


def load_site(settings: Settings, folder: Path = SITE) -> Site:
    """The demo site as it is in the package."""

    def headers(name: str) -> dict[str, str]:
        return {**_HEADERS, "cache-control": REVALIDATE if name.endswith((".html", ".js", ".css")) else _DAY}

    return Site(load(folder, headers), may_send(settings))


@lru_cache(32)
def _page(body: bytes, collector: str) -> File:
    """A page for one address of the collector; there are few, and each is packed once."""
    parts = urlsplit(collector)
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self' {parts.scheme}://{parts.netloc}; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'"
    )
    headers = {**_HEADERS, "cache-control": REVALIDATE, "content-security-policy": policy}
    return File(body.replace(PLACEHOLDER, collector.encode()), "text/html; charset=utf-8", headers)
