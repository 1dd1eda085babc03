"""The collector's workers hand out the SDK that is built, as the app does."""

import base64
import gzip
import hashlib
from collections.abc import Iterator

import httpx
import pytest
from collecting import RunningCollector, batch

from isotherm import __version__
from isotherm.view.sdk import BUILT, load_sdk

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    data = tmp_path_factory.mktemp("handing-out") / "data"
    running = RunningCollector(data, files="isotherm.view.sdk:CollectorFiles", collect_workers=2).start()
    yield running
    assert running.stop() == 0


def versioned() -> str:
    return f"/isotherm-{__version__}-{hashlib.sha256(BUILT.read_bytes()).hexdigest()[:8]}.js"


@pytest.mark.parametrize("short", [True, False])
def test_both_names_for_pages_of_any_origin(collector: RunningCollector, short: bool) -> None:
    url = collector.url + ("/isotherm.js" if short else versioned())
    answer = httpx.get(url, headers={"origin": "https://shop.example", "accept-encoding": "identity"})
    assert answer.status_code == 200
    assert answer.content == BUILT.read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == (
        "public, max-age=300" if short else "public, max-age=31536000, immutable"
    )
    head = httpx.head(url, headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
    again = httpx.get(url, headers={"if-none-match": answer.headers["etag"], "accept-encoding": "identity"})
    assert (again.status_code, again.content) == (304, b"")


def test_the_integrity_hash_is_of_the_bytes_on_the_wire(collector: RunningCollector) -> None:
    sdk = load_sdk()
    assert sdk is not None
    with httpx.stream("GET", collector.url + versioned(), headers={"accept-encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) == sdk.gzip_bytes == int(answer.headers["content-length"])
    digest = base64.b64encode(hashlib.sha384(gzip.decompress(packed)).digest()).decode()
    assert sdk.integrity == f"sha384-{digest}"


def test_a_name_of_the_past_says_which_is_current(collector: RunningCollector) -> None:
    answer = httpx.get(f"{collector.url}/isotherm-0.0.1-1a2b3c4d.js")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert versioned() in answer.text


def test_it_still_takes_events_and_nothing_else(collector: RunningCollector) -> None:
    assert collector.post(batch(3)).status_code == 202
    assert httpx.get(f"{collector.url}/v1/healthz").status_code == 200
    for path in ("/", "/demo/", "/assets/index.js", "/isotherm.mjs"):
        answer = httpx.get(collector.url + path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    refused = httpx.post(f"{collector.url}/isotherm.js", content=b"{}")
    assert refused.status_code in (404, 405)
