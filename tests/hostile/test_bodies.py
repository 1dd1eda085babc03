"""Bodies made to break parsers: refused or taken event by event, never a 5xx, and nobody else notices."""

import gzip
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from collecting import ROOT, RunningCollector, batch, event

from isotherm.collect.validate import parse
from isotherm.errors import Problem

SHARED = ROOT.parent / "shared" / "data"
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not SHARED.is_dir(), reason="shared data is absent"),
]

BOMBS = json.loads((SHARED / "bombs" / "MANIFEST.json").read_text()) if SHARED.is_dir() else []
SUITE = sorted((SHARED / "json_testsuite" / "test_parsing").glob("*.json")) if SHARED.is_dir() else []
TRANSFORM = sorted((SHARED / "json_testsuite" / "test_transform").glob("*.json")) if SHARED.is_dir() else []

CODINGS = {".gz": "gzip", ".br": "br", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".bin": "deflate"}
REFUSED = {400, 413, 415, 422}
UNPACK_LIMIT = 4 << 20
"""What a test is willing to unpack in order to send it plain."""


def send(collector: RunningCollector, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response | None:
    """None when the collector hung up on a body that it need not read to the end."""
    try:
        return collector.post(body, headers=headers or {})
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        assert len(body) > 512 * 1024
        return None


def still_fine(collector: RunningCollector) -> None:
    reply = collector.post(batch(2))
    assert (reply.status_code, reply.json()["accepted"]) == (202, 2)


def refused(reply: httpx.Response | None) -> None:
    assert reply is None or reply.status_code in REFUSED, reply.text


def expected(told: str) -> set[int]:
    """The statuses that the data's own words allow. JSON that is no batch is our 422, where they say 400."""
    if told.startswith("accept: 1000 events"):
        return {202, 422}
    if "415" in told and "413" not in told:
        return {415}
    return REFUSED


@pytest.mark.parametrize("entry", BOMBS, ids=lambda entry: entry["file"])
def test_bombs(entry: dict[str, Any], collector: RunningCollector) -> None:
    path = SHARED / "bombs" / entry["file"]
    body = path.read_bytes()
    layers = CODINGS[path.suffix]
    reply = send(collector, body, {"content-encoding": layers})
    assert reply is None or reply.status_code in expected(entry["expect"]), reply.text
    if path.suffix == ".gz":
        refused_or_batch(send(collector, body, {"content-type": "text/plain"}))
    if "of_gzip" in path.name or "x3" in path.name:
        refused(send(collector, body, {"content-encoding": "gzip, gzip"}))
    still_fine(collector)


def refused_or_batch(reply: httpx.Response | None) -> None:
    assert reply is None or reply.status_code in {202, *REFUSED}, reply.text


@pytest.mark.parametrize("entry", [e for e in BOMBS if ".json." in e["file"]], ids=lambda entry: entry["file"])
def test_bombs_plain(entry: dict[str, Any], collector: RunningCollector) -> None:
    if (entry["expands_to"] or 0) > UNPACK_LIMIT:
        return
    text = gzip.decompress((SHARED / "bombs" / entry["file"]).read_bytes())
    refused_or_batch(send(collector, text))
    still_fine(collector)


@pytest.mark.parametrize("path", SUITE + TRANSFORM, ids=lambda path: path.stem)
def test_json_suite_as_body_and_inside_an_event(path: Path, collector: RunningCollector) -> None:
    text = path.read_bytes()
    refused(send(collector, text))
    inside = (
        b'{"client_id":"shop","screen_id":"home","events":[%b,{"event_type":"x","event_time":%d,"attrs":{"v":%b}}]}'
    )
    good = event()
    reply = send(collector, inside % (json.dumps(good).encode(), good["event_time"], text))
    assert reply is not None
    if path.stem.startswith("y_"):
        # Valid JSON costs its own event at most; a lone value is taken.
        assert reply.status_code == 202
        assert reply.json()["accepted"] >= 1
    elif path.stem.startswith("n_") and not _valid_once_inside(text):
        assert reply.status_code == 400
    assert reply.status_code in {202, 400}


def _valid_once_inside(text: bytes) -> bool:
    """Some broken documents become good ones by what stands around them here, or by being empty."""
    try:
        json.loads(b'{"a":{"b":%b}}' % text, parse_constant=lambda name: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        return False
    return True


def test_what_the_suite_calls_invalid_is_never_parsed() -> None:
    """In process, so that a body which hides its fault behind an earlier 422 cannot pass."""
    for path in SUITE:
        if path.stem.startswith("n_"):
            with pytest.raises(Problem) as caught:
                parse(b"[%b]" % path.read_bytes() if path.stat().st_size else b"")
            assert caught.value.status in (400, 422)


def test_naughty_strings_everywhere(collector: RunningCollector) -> None:
    strings: list[str] = json.loads((SHARED / "json_naughty_strings" / "blns.json").read_text())
    events = [event(anchor=text[:512], attrs={"v": text, text: 1}) for text in strings]
    reply = collector.post(batch(events, url="https://shop.example/"))
    assert reply.json() | {"errors": []} == {"accepted": len(strings), "rejected": 0, "duplicate": 0, "errors": []}
    bodies = [batch(1) | {name: text} for text in strings for name in ("client_id", "screen_id", "batch_id")]
    bodies += [batch(1, session_id=text, url=text, sdk=text, unknown=text) for text in strings]
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(reply.status_code for reply in pool.map(collector.post, bodies))
    assert set(statuses) == {202, 422}
    types = collector.post(batch([event(event_type=text) for text in strings]))
    assert types.status_code == 202
    assert types.json()["rejected"] == sum(re.fullmatch(r"[a-z][a-z0-9_.$-]{0,63}", text) is None for text in strings)


def test_ids_made_to_break_out_are_refused_or_kept_apart(collector: RunningCollector) -> None:
    for text in (
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".",
        "a'; DROP TABLE",
        "a|b",
        "*",
        "%00",
        "a\x00b",
        "-a",
        "a b",
    ):
        assert collector.post(batch(1, client_id=text)).status_code == 422, text
    for text in ("a|b", "a\x00b", "a\nb", "a\x7fb", "a\x85b", ""):
        assert collector.post(batch(1, screen_id=text)).status_code == 422, text
    for text in ("../../etc/passwd", "' OR 1=1 --", "/checkout?step=2", "日本語"):
        assert collector.post(batch(1, screen_id=text)).status_code == 202, text


def test_header_nonsense(collector: RunningCollector) -> None:
    body = json.dumps(batch(1)).encode()
    for name, value in [
        (b"content-encoding", b"\xff\xfe"),
        (b"content-type", b"\xff"),
        (b"content-encoding", b"," * 500),
        (b"content-type", b";" * 5_000),
        (b"content-type", b"application/json;" + b"charset=utf-8;" * 500),
    ]:
        reply = httpx.post(f"{collector.url}/events/batch", content=body, headers=[(name, value)])
        assert reply.status_code in (202, 400, 415), (name, value[:20])
    for query in ("%ff%fe", "sent_at=" + "9" * 5_000, "&" * 1_000, "sent_at=%00", "source=%F0%9F%98%80", "a=" * 900):
        reply = httpx.post(f"{collector.url}/events/batch?{query}", content=body)
        assert reply.status_code in (202, 400, 422), query[:20]
    still_fine(collector)
