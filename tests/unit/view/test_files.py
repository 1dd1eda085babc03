"""The dashboard and its assets: types, lifetimes, validators, packed forms, and nothing outside the folder."""

import gzip
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from litestar.testing import TestClient

from isotherm.view import routes
from isotherm.view.dashboard import FOLDER

SCRIPT = "/assets/index-1a2b.js"


@pytest.mark.parametrize("path", ["/", "/setup", "/system", "/c", "/c/", "/c/shop", "/c/shop/%2Fcheckout", "/c/a/b/c"])
def test_every_view_is_the_page(app: TestClient[Any], built: Any, path: str) -> None:
    answer = app.get(path)
    assert answer.status_code == 200
    assert answer.content == (built / "dashboard" / "index.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "img-src 'self' data: blob:" in policy
    assert "unsafe" not in policy


def test_assets_stay_for_a_year(app: TestClient[Any], built: Any) -> None:
    for name, kind in (("index-1a2b.js", "text/javascript; charset=utf-8"), ("inter-3c4d.woff2", "font/woff2")):
        answer = app.get(f"/assets/{name}", headers={"accept-encoding": "identity"})
        assert answer.status_code == 200
        assert answer.content == (built / "dashboard" / "assets" / name).read_bytes()
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "content-encoding" not in answer.headers
    icon = app.get("/favicon.svg")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=0.5, br;q=0", "gzip"),
        ("gzip;q=no", None),
        ("identity", None),
        ("", None),
    ],
)
def test_texts_are_packed_as_the_browser_can_read_them(app: TestClient[Any], accepted: str, coding: str | None) -> None:
    plain = app.get(SCRIPT, headers={"accept-encoding": "identity"})
    with app.stream("GET", SCRIPT, headers={"accept-encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) == len(raw)
    unpacked = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}[coding](raw)
    assert unpacked == plain.content
    if coding:
        assert len(raw) < len(plain.content)
        assert answer.headers["etag"] != plain.headers["etag"]


def test_pictures_and_fonts_are_not_packed(app: TestClient[Any]) -> None:
    answer = app.get("/assets/inter-3c4d.woff2", headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/", SCRIPT, "/favicon.svg", "/isotherm.js", "/demo/", "/demo/styles.css"])
def test_head_and_304(app: TestClient[Any], path: str) -> None:
    full = app.get(path)
    head = app.head(path)
    assert head.status_code == 200
    assert head.content == b""
    of_full, of_head = ({n: v for n, v in one.headers.items() if n != "x-request-id"} for one in (full, head))
    assert of_head == of_full
    tag = full.headers["etag"]
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = app.get(path, headers={"if-none-match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == full.headers["cache-control"]
    assert app.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_tag_changes_with_the_bytes(open_app: Callable[..., TestClient[Any]], built: Any) -> None:
    before = open_app().get("/").headers["etag"]
    (built / "dashboard" / "index.html").write_bytes(b"<!doctype html>another")
    assert open_app().get("/").headers["etag"] != before


@pytest.mark.parametrize(
    "path",
    [
        "/assets/missing.js",
        "/assets/",
        "/assets/../index.html",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/..%5c..%5csecret.txt",
        "/secret.txt",
        "/demo/..%2f..%2fsecret.txt",
        "/demo//etc/passwd",
        "/demo/nothing.html",
    ],
)
def test_what_is_not_there_is_not_the_page(app: TestClient[Any], path: str) -> None:
    answer = app.get(path)
    assert answer.status_code == 404
    assert b"nobody reads this" not in answer.content
    assert "text/html" not in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/v1/nothing", "/heatmap/yearly", "/v1", "/heatmap", "/nothing", "/nothing/at/all"])
def test_unknown_routes_of_the_api_are_problems(app: TestClient[Any], path: str) -> None:
    answer = app.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "openapi.json" in answer.json()["detail"]


BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nothing", "/nothing/at/all", "/setup/more", "/V1/clients", "/index.html"])
@pytest.mark.parametrize("settings", [{}, {"token": "secret"}])
def test_somebody_at_an_unknown_address_sees_the_page(
    open_app: Callable[..., TestClient[Any]], built: Any, path: str, settings: dict[str, str]
) -> None:
    app = open_app(**settings)
    page = app.get("/", headers=BROWSER)
    answer = app.get(path, headers=BROWSER | {"if-none-match": page.headers["etag"]})
    assert (answer.status_code, answer.content) == (404, page.content)
    assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert answer.headers["content-type"] == page.headers["content-type"]
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert "accept" in answer.headers["vary"].split(", ")
    head = app.head(path, headers=BROWSER)
    assert (head.status_code, head.content) == (404, b"")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/heatmap/yearly", "/metrics/x", "/docs/x"])
def test_browsers_too_get_the_problem_where_programs_ask(app: TestClient[Any], path: str) -> None:
    answer = app.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/assets/missing.js", "/demo/nothing/", "/isotherm-0.0.1-00000000.js"])
def test_browsers_too_get_a_line_where_files_are(app: TestClient[Any], path: str) -> None:
    answer = app.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_the_page_of_an_unknown_address_takes_no_unknown_host_and_no_other_method(app: TestClient[Any]) -> None:
    assert app.get("/nothing", headers=BROWSER | {"host": "evil.example"}).status_code == 421
    for method in ("POST", "PUT", "DELETE"):
        answer = app.request(method, "/nothing/at/all", headers=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_pages_take_no_other_method(app: TestClient[Any]) -> None:
    for path in ("/", SCRIPT, "/isotherm.js", "/demo/"):
        answer = app.post(path)
        assert answer.status_code == 405
        assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


def test_an_unbuilt_checkout_has_problems_at_unknown_addresses(make_world: Any, built: Any) -> None:
    (built / "dashboard" / "index.html").unlink()
    world = make_world()
    with world.client(routes.more(world.settings)) as app:
        answer = app.get("/nothing", headers=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_an_unbuilt_checkout_says_how_to_build(make_world: Any, built: Any) -> None:
    for path in [*built.rglob("*")]:
        if path.is_file() and "demo" not in path.parts:
            path.unlink()
    world = make_world()
    with world.client(routes.more(world.settings)) as app:
        page = app.get("/")
        assert page.status_code == 503
        assert "make setup" in page.text
        assert page.headers["cache-control"] == "no-store"
        assert "make setup" in app.get("/isotherm.js").text
        assert app.get("/isotherm.js").status_code == 404
        assert app.get("/v1/clients").status_code == 200


def test_files_come_from_the_package() -> None:
    assert FOLDER.parent.parent.name == "view"
