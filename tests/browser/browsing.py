"""Helpers for tests in a real Chromium: the program, contexts that fail on errors, and small local sites."""

import re
import shutil
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
LAPTOP = (1440, 900)
PHONE = (390, 844)


def looks(theme: str) -> pytest.MarkDecorator:
    """Parametrises `viewport` and the argument named here: each width once and each theme once; crossed, as drills."""
    return pytest.mark.parametrize(
        ("viewport", theme),
        [
            pytest.param(LAPTOP, "light", id="laptop-light"),
            pytest.param(PHONE, "dark", id="phone-dark"),
            pytest.param(LAPTOP, "dark", id="laptop-dark", marks=pytest.mark.drill),
            pytest.param(PHONE, "light", id="phone-light", marks=pytest.mark.drill),
        ],
    )


def executable() -> str:
    """Path of the installed Chromium; RuntimeError that says what to install when there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"no browser found ({', '.join(NAMES)}); on Debian: apt-get install chromium")


@contextmanager
def chromium(*flags: str) -> Generator[Browser]:
    """A headless Chromium with our flags; closed at the end. One at a time in a process."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Complaints:
    """What pages of a context said that they should not have: uncaught errors and errors on the console."""

    expected: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def expect(self, *patterns: str) -> None:
        """Declare errors of this test (regular expressions, searched for); they need not occur."""
        self.expected.extend(patterns)

    def unexpected(self) -> list[str]:
        return [text for text in self.heard if not any(re.search(pattern, text) for pattern in self.expected)]


class Window:
    """A browser context with its own storage, and the complaints of its pages."""

    def __init__(self, context: BrowserContext, expected: Sequence[str] = ()) -> None:
        self.context = context
        self.complaints = Complaints(list(expected))
        context.on("weberror", lambda found: self.complaints.heard.append(f"uncaught: {found.error}"))
        context.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.heard.append(f"console: {message.text} ({message.location.get('url', '')})")

    def open(self, url: str) -> Page:
        """A new tab with this address, loaded."""
        page = self.context.new_page()
        page.goto(url)
        return page

    def close(self) -> None:
        """Close all tabs, then fail by what was heard and not expected."""
        self.context.close()
        unexpected = self.complaints.unexpected()
        assert not unexpected, "the page complained:\n" + "\n".join(unexpected)


def window(
    browser: Browser,
    viewport: tuple[int, int] = LAPTOP,
    *,
    colour_scheme: str = "light",
    scale: float = 1,
    phone: bool = False,
    reduced_motion: bool = False,
    expected: Sequence[str] = (),
    **more: Any,
) -> Window:
    """A context with this viewport (CSS px), `light` or `dark`, device pixels per CSS pixel, touch (phone: also a
    mobile viewport), and less motion. `expected` are errors the test declares; `more` goes to Playwright."""
    options: dict[str, Any] = {
        "viewport": {"width": viewport[0], "height": viewport[1]},
        "color_scheme": colour_scheme,
        "device_scale_factor": scale,
        "is_mobile": phone,
        "has_touch": phone,
        "reduced_motion": "reduce" if reduced_motion else "no-preference",
    }
    return Window(browser.new_context(**options | more), expected)


@dataclass(frozen=True)
class Resource:
    """What a path of a site answers."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status: int = 200


class QuietServer(ThreadingHTTPServer):
    """A server for tests: a browser that hangs up is no news."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Quiet(BaseHTTPRequestHandler):
    """Handlers that log nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass

    def give(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Site:
    """A local web site: paths and what they answer. Unknown paths are 404, /favicon.ico is empty."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {"/favicon.ico": Resource(b"", status=204)}
        self.asked: list[str] = []
        site = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                found = site.resources.get(urlsplit(self.path).path, Resource(b"not here", status=404))
                self.give(found.status, {"content-type": "text/html; charset=utf-8"} | dict(found.headers), found.body)

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def put(self, path: str, body: str | bytes, headers: Mapping[str, str] | None = None) -> str:
        """Serve this under the path from now on (HTML unless a header says otherwise); its address."""
        content = body.encode() if isinstance(body, str) else body
        self.resources[path] = Resource(content, {name.lower(): value for name, value in (headers or {}).items()})
        return f"{self.url}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
