"""What every request passes before it is routed, and every answer on its way out.

The request's id, token, Host (against DNS rebinding), Origin of requests that change something, the page for addresses
that nobody knows, security headers, and the time an answer took.
"""

import hmac
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from litestar.utils import normalize_path

from isotherm import metrics
from isotherm.collect.trace import HEADER, RequestIds
from isotherm.config import Settings, is_loopback
from isotherm.errors import Problem
from isotherm.serve.more import Lost, Opened
from isotherm.serve.negotiate import names
from isotherm.serve.problems import PROBLEM_JSON, encode

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

PROGRAMS: Final = frozenset({"v1", "heatmap", "metrics", "docs", "assets", "demo"})
"""How addresses begin that programs ask for or that have pages of their own. All that needs the token is below."""

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_COUNTS: Final = metrics.counts("serve")


class Guard:
    """An ASGI application around the router; `opened` are the paths that need no token, `lost` is for unknown ones."""

    def __init__(self, app: ASGIApp, settings: Settings, opened: Opened, lost: Lost) -> None:
        self._app = app
        self._lost = lost
        self._opened = opened
        self._token = settings.token.encode()
        self._hosts = frozenset({"localhost", settings.host.lower(), *map(str.lower, settings.allowed_hosts)})
        self._loopback_only = is_loopback(settings.host)
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers.from_scope(scope)
        request_id = self._request_ids.of(headers.get(HEADER))
        # Every line that is logged on the way carries it, and a problem's body does: see `problems.encode`.
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._answer(scope, receive, _counted(_with_headers(send, request_id)), headers)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send, headers: Headers) -> None:
        began = time.perf_counter()
        method, path = scope["method"], normalize_path(scope["path"])
        _COUNTS.received.inc()
        try:
            self._check_host(headers)
            if page := self._lost_page(method, path, headers):
                await _send(*page, send)
                return
            self._check(method, path, headers)
        except Problem as problem:
            await _refuse(problem, send)
            return
        await self._app(scope, receive, send)
        _observe(scope, time.perf_counter() - began)

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._loopback_only and not self._host_ok(host):
            raise Problem(
                421,
                f"this server does not answer as {host!r}; ask for localhost, or add the name to allowed_hosts",
            )

    def _lost_page(self, method: str, path: str, headers: Headers) -> tuple[int, Mapping[str, str], bytes] | None:
        """What somebody sees who opens an unknown address in a browser; None for all that is no such visit."""
        visit = method in ("GET", "HEAD") and names(headers.get("accept", ""), "text/html")
        if not visit or path.split("/")[1] in PROGRAMS or self._opened.has(path):
            return None
        return self._lost(method, headers.get)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        if not self._opened.has(path):
            self._check_token(headers)
        if method not in SAFE_METHODS:
            _check_origin(headers, headers.get("host", ""))

    def _host_ok(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or is_loopback(name)

    def _check_token(self, headers: Headers) -> None:
        if not self._token:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Problem(
                401,
                "send the setting `token` as `Authorization: Bearer <token>`",
                headers={"www-authenticate": 'Bearer realm="isotherm"'},
            )


def _check_origin(headers: Headers, host: str) -> None:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Problem(403, "a page of another origin may not change anything here")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Problem(403, "a page of another site may not change anything here")


async def _refuse(problem: Problem, send: Send) -> None:
    body = encode(problem)
    headers = {
        "content-type": PROBLEM_JSON,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **problem.headers,
    }
    await _send(problem.status, headers, body, send)


async def _send(status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _counted(send: Send) -> Send:
    """Count answers as they begin: what was given, what was refused (4xx), and what failed (5xx)."""

    async def send_counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            {4: _COUNTS.dropped, 5: _COUNTS.failed}.get(message["status"] // 100, _COUNTS.sent).inc()
        await send(message)

    return send_counted


def _with_headers(send: Send, request_id: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers[HEADER] = request_id
        await send(message)

    return send_with_headers


def _observe(scope: Any, seconds: float) -> None:
    route = scope.get("path_template", "unknown")
    if not route.startswith("/v1/admin/"):
        metrics.QUERY_SECONDS.labels(route=route).observe(seconds)
