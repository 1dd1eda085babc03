"""Built files that the tests make themselves, and the app over them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from serving import World

from isotherm.view import dashboard, routes, sdk, site

SCRIPT = b"window.isotherm = {};\n" + b"// a line of the script\n" * 200
PAGE = b'<!doctype html><title>Isotherm</title><script type="module" src="/assets/index-1a2b.js"></script>'
DEMO = b'<!doctype html><script src="/isotherm.js" data-endpoint="__COLLECTOR_URL__"></script>'
FILES = {
    "dashboard/index.html": PAGE,
    "dashboard/favicon.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "dashboard/assets/index-1a2b.js": SCRIPT,
    "dashboard/assets/inter-3c4d.woff2": bytes(range(256)) * 20,
    "sdk/isotherm.js": SCRIPT,
    "secret.txt": b"nobody reads this",
    "demo/site/index.html": DEMO,
    "demo/site/shop/index.html": DEMO,
    "demo/site/styles.css": b"body { margin: 0 }",
}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with built files, where the program looks for them."""
    root = tmp_path / "built"
    for name, body in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)
    monkeypatch.setattr(dashboard.Dashboard.__init__, "__defaults__", (root / "dashboard",))
    monkeypatch.setattr(sdk.load_sdk, "__defaults__", (root / "sdk" / "isotherm.js", sdk.RELEASED))
    monkeypatch.setattr(site.load_site, "__defaults__", (root / "demo" / "site",))
    return root


@pytest.fixture
def open_app(built: Path, make_world: Callable[..., World]) -> Iterator[Callable[..., TestClient[Any]]]:
    """The whole app with these settings."""
    clients: list[TestClient[Any]] = []

    def make(**settings: Any) -> TestClient[Any]:
        world = make_world(**settings)
        client = world.client(routes.more(world.settings))
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__()


@pytest.fixture
def app(open_app: Callable[..., TestClient[Any]]) -> TestClient[Any]:
    return open_app()
