"""Health and metrics of a role that serves nothing itself: land, rollup and stream.

Probes and Prometheus have to reach such a process too. A role looks at its stop event in every round of its loop, so
that event is also where its pulse can be felt: one that hangs inside a library stops looking.
"""

import hmac
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import Any, Final

from isotherm.cli.processes import claim, url_of
from isotherm.config import Settings, is_loopback
from isotherm.errors import ConfigError
from isotherm.metrics import render

STALLED_S: Final = 4500.0
"""A role that has not looked at its stop event for so long hangs: no job may run longer than an hour."""

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"


class Pulse(threading.Event):
    """A stop event that remembers when its role last looked at it."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = time.monotonic()

    def is_set(self) -> bool:
        self._seen = time.monotonic()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._seen = time.monotonic()
        return super().wait(timeout)

    def idle_s(self) -> float:
        """Seconds since the role last looked."""
        return time.monotonic() - self._seen


def check_pulse(settings: Settings) -> None:
    """Raise ConfigError when metrics would stand open to the network."""
    if settings.health_port and not is_loopback(settings.health_host) and not settings.token:
        raise ConfigError(
            f"health_host: {settings.health_host} can be reached from other machines, so /metrics needs a token. Set "
            "`token` (ISOTHERM_TOKEN, a long random text), or keep health_host = 127.0.0.1."
        )


@contextmanager
def watched(settings: Settings, logger: Any) -> Generator[Pulse]:
    """The role's stop event, watched over HTTP on `health_port` while the block runs; not at all when that is 0.

    `/v1/healthz` is open: 200, or 503 for a role that hangs. `/metrics` needs the token when one is set.
    Raises ConfigError when the port is taken, or open to the network without a token.
    """
    pulse = Pulse()
    if not settings.health_port:
        yield pulse
        return
    check_pulse(settings)
    server = _Server(settings, pulse)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    logger.info("health", url=f"{url_of(settings.health_host, settings.health_port)}/v1/healthz")
    try:
        yield pulse
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, settings: Settings, pulse: Pulse) -> None:
        self.address_family = AF_INET6 if ":" in settings.health_host else AF_INET
        self.token = settings.token
        self.pulse = pulse
        super().__init__((settings.health_host, settings.health_port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = claim(settings.health_host, settings.health_port, "health_port")
        self.server_activate()


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0
    server_version = "isotherm"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        server = self.server
        assert isinstance(server, _Server)
        if path == "/v1/healthz":
            self._health(server.pulse)
        elif path != "/metrics":
            self._answer(404, _JSON, b'{"title":"Not Found","status":404}')
        elif server.token and not self._knows(server.token):
            self._answer(401, _JSON, b'{"title":"Unauthorized","status":401}')
        else:
            self._answer(200, _TEXT, render())

    def _health(self, pulse: Pulse) -> None:
        if pulse.idle_s() > STALLED_S:
            self._answer(503, _JSON, b'{"status":"stalled"}')
        else:
            self._answer(200, _JSON, b'{"status":"ok"}')

    def _knows(self, token: str) -> bool:
        scheme, _, given = (self.headers.get("authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        if status == 401:
            self.send_header("www-authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: a probe every few seconds is no news."""
