"""Which routes need the token: each route of the whole app is listed here as open, or refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from litestar.testing import TestClient

from isotherm.serve.guard import PROGRAMS

OPEN = {
    "/",
    "/setup",
    "/system",
    "/c",
    "/c/{view:path}",
    "/assets/{name:path}",
    "/favicon.svg",
    "/isotherm.js",
    "/{name:str}",
    "/demo",
    "/demo/{name:path}",
    "/docs",
    "/docs/docs.css",
    "/docs/docs.js",
    "/v1/healthz",
}
PLACES = {"{view:path}": "shop/home", "{name:path}": "index-1a2b.js", "{name:str}": "isotherm-0.0.1-00000000.js"}


def filled(path: str) -> str:
    for name, value in PLACES.items():
        path = path.replace(name, value)
    return path


def routes_of(app: TestClient[Any]) -> dict[str, set[str]]:
    return {route.path: set(route.methods) - {"OPTIONS"} for route in app.app.routes}


def test_without_the_token_pages_are_open_and_data_is_not(open_app: Callable[..., TestClient[Any]]) -> None:
    app = open_app(token="secret")
    routes = routes_of(app)
    assert routes.keys() >= OPEN | {"/v1/clients", "/heatmap/daily", "/metrics", "/v1/admin/rollup", "/v1/openapi.json"}
    for path, methods in routes.items():
        for method in methods:
            answer = app.request(method, filled(path), follow_redirects=False)
            if path in OPEN:
                assert answer.status_code in (200, 308, 404), (method, path)
                assert answer.status_code != 404 or path in ("/{name:str}", "/demo/{name:path}"), path
            else:
                assert answer.status_code == 401, f"{method} {path} gives an answer to everybody"


def test_what_needs_the_token_begins_like_an_address_of_programs(app: TestClient[Any]) -> None:
    closed = routes_of(app).keys() - OPEN
    assert {path.split("/")[1] for path in closed} <= PROGRAMS


def test_only_the_header_with_the_right_token_opens(open_app: Callable[..., TestClient[Any]]) -> None:
    app = open_app(token="secret")
    for path, methods in routes_of(app).items():
        if path in OPEN:
            continue
        method = sorted(methods)[0]
        for given in ({}, {"authorization": "Bearer wrong"}, {"cookie": "token=secret"}):
            assert app.request(method, f"{filled(path)}?token=secret", headers=given).status_code == 401, path
        right = {"authorization": "Bearer secret"}
        assert app.request(method, filled(path), headers=right).status_code != 401, path


@pytest.mark.parametrize(
    "path",
    [
        "//v1/clients",
        "/v1//clients/",
        "/assets/../v1/clients",
        "/c/../v1/clients",
        "/demo/%2e%2e/v1/clients",
        "/isotherm-/../v1/clients",
        "/%76%31/clients",
        "/V1/clients",
        "/v1/healthz/../clients",
        "/docs/../metrics",
        "/nothing",
    ],
)
def test_no_spelling_of_a_path_gets_at_data(open_app: Callable[..., TestClient[Any]], path: str) -> None:
    app = open_app(token="secret")
    answer = app.get(path, follow_redirects=False)
    assert answer.status_code in (200, 401, 404)
    assert b'"clients"' not in answer.content
    assert b"isotherm_" not in answer.content
    if answer.status_code == 200:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_an_unknown_host_is_refused_for_pages_too(app: TestClient[Any]) -> None:
    assert app.get("/", headers={"host": "evil.example"}).status_code == 421
