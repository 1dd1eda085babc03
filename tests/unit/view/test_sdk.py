"""The SDK's two names, its integrity hash, and the same by the app and by the collector."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from serving import World

from isotherm import __version__
from isotherm.config import Settings, load_settings
from isotherm.errors import ConfigError
from isotherm.view import routes
from isotherm.view.address import collector_url
from isotherm.view.sdk import RELEASED, load_sdk, sdk_reply, versioned_name

ROOT = Path(__file__).parents[3]


def test_one_version_in_all_packages() -> None:
    for package in ("sdk", "dashboard", "api"):
        found = json.loads((ROOT / "web" / package / "package.json").read_text())["version"]
        assert found == __version__, package


def test_the_short_name_changes_soon_and_the_long_one_never(app: TestClient[Any], built: Path) -> None:
    body = (built / "sdk" / "isotherm.js").read_bytes()
    versioned = f"/isotherm-{__version__}-{hashlib.sha256(body).hexdigest()[:8]}.js"
    lives = {"/isotherm.js": "public, max-age=300", versioned: "public, max-age=31536000, immutable"}
    for path, life in lives.items():
        answer = app.get(path)
        assert answer.status_code == 200
        assert answer.content == body
        assert answer.headers["cache-control"] == life
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert app.get("/favicon.svg").headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "name", [f"isotherm-{__version__}-00000000.js", "isotherm-0.0.1-1a2b3c4d.js", "isotherm-.js", "isotherm--.js"]
)
def test_another_version_says_which_is_current(app: TestClient[Any], built: Path, name: str) -> None:
    sdk = load_sdk(built / "sdk" / "isotherm.js")
    assert sdk is not None
    answer = app.get(f"/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-store"
    assert sdk.versioned_path in answer.text


def test_the_integrity_hash_is_of_the_bytes_on_the_wire(app: TestClient[Any], built: Path) -> None:
    sdk = load_sdk(built / "sdk" / "isotherm.js")
    assert sdk is not None
    kind, _, digest = sdk.integrity.partition("-")
    assert kind == "sha384"
    with app.stream("GET", sdk.versioned_path, headers={"accept-encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert hashlib.sha384(gzip.decompress(packed)).digest() == base64.b64decode(digest)
    assert sdk.gzip_bytes == len(packed)


def test_the_demo_site_knows_the_collector(open_app: Callable[..., TestClient[Any]]) -> None:
    page = open_app(collect_port=7099).get("/demo/", headers={"host": "localhost:7080"})
    assert page.status_code == 200
    assert 'data-endpoint="http://localhost:7099"' in page.text
    assert "connect-src 'self' http://localhost:7099;" in page.headers["content-security-policy"]
    assert "script-src 'self';" in page.headers["content-security-policy"]
    named = open_app(collect_public_url="https://events.example/in/").get("/demo/shop/")
    assert 'data-endpoint="https://events.example/in"' in named.text
    assert "connect-src 'self' https://events.example;" in named.headers["content-security-policy"]


def test_a_host_header_cannot_write_into_the_page(open_app: Callable[..., TestClient[Any]]) -> None:
    for host in ('x"><script>', "a b", "x; script-src *", "é", "a/b", "user@evil", "", "a\n", "evil.example\n"):
        assert collector_url(Settings(), "http", host) == "http://localhost:7081", host
    assert collector_url(Settings(), "x:", "heat.example") == "http://heat.example:7081"
    app = open_app(host="0.0.0.0", token="t")
    assert "http://[::1]:7081" in app.get("/demo/", headers={"host": "[::1]:7080"}).text
    refused = app.get("/demo/", headers={"host": 'x"><script>'})
    assert refused.status_code == 400
    assert "<script>" not in refused.text


@pytest.mark.parametrize("url", ["events.example", "ftp://x", "http://a b", "http://x;y", 'http://x"', "http://x/?a=1"])
def test_an_address_of_the_collector_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="collect_public_url"):
        load_settings(collect_public_url=url)


def test_folders_of_the_demo_site_end_with_a_slash(app: TestClient[Any]) -> None:
    for path, target in (("/demo", "/demo/"), ("/demo/shop", "/demo/shop/")):
        answer = app.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, target)
    assert app.get("/demo/styles.css").headers["content-type"] == "text/css; charset=utf-8"


def test_the_demo_site_is_there_only_when_its_client_may_send(open_app: Callable[..., TestClient[Any]]) -> None:
    assert open_app(clients=["demo", "shop"]).get("/demo/").status_code == 200
    refused = open_app(clients=["shop"]).get("/demo/")
    assert refused.status_code == 404
    assert "clients" in refused.text


def test_the_facts_are_those_of_what_is_served(open_app: Callable[..., TestClient[Any]]) -> None:
    app = open_app(collect_port=7099)
    facts = app.get("/v1/sdk").json()
    content = app.get("/v1/openapi.json").json()["paths"]["/v1/sdk"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/SdkAnswer")
    assert (facts["version"], facts["path"]) == (__version__, "/isotherm.js")
    assert facts["collector_url"] == "http://127.0.0.1:7099"
    tag = re.fullmatch(
        r'<script async src="([^"]+)" integrity="([^"]+)" crossorigin="anonymous" data-endpoint="([^"]+)" '
        r'data-client="YOUR-CLIENT"></script>',
        facts["snippet"],
    )
    assert tag is not None
    assert tag[1] == facts["collector_url"] + facts["versioned_path"]
    assert tag[3] == facts["collector_url"]
    body = app.get(facts["versioned_path"]).content
    assert tag[2] == facts["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
    assert facts["bytes"] == len(body)
    public = open_app(collect_public_url="https://events.example").get("/v1/sdk").json()
    assert public["snippet"].startswith('<script async src="https://events.example/isotherm-')


def test_without_a_built_sdk_the_facts_say_what_to_do(make_world: Callable[..., World]) -> None:
    with make_world().client(routes.described()) as app:
        answer = app.get("/v1/sdk")
    assert answer.status_code == 503
    assert "make setup" in answer.json()["detail"]


def test_released_versions_are_served_for_good(tmp_path: Path, built: Path) -> None:
    old = b"// an older version\n"
    name = versioned_name(old, "0.0.9")
    (tmp_path / name).write_bytes(old)
    sdk = load_sdk(built / "sdk" / "isotherm.js", released=tmp_path)
    reply = sdk_reply(sdk, f"/{name}", "GET", {}.get)
    assert reply is not None
    assert (reply.status, reply.body) == (200, old)
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_what_is_released_bears_the_name_of_its_content() -> None:
    for path in RELEASED.glob("*.js"):
        version = path.name.split("-")[1]
        assert path.name == versioned_name(path.read_bytes(), version)
