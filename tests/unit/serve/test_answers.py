"""ETag and 304, gzip, Arrow, and which form Accept chooses."""

import gzip
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.serve.cells import arrow_table, json_answer

WEEK = 1_770_595_200_000
DAY = 86_400_000
ASK = {"client_id": "shop", "screen_id": "/dense", "from": str(WEEK), "to": str(WEEK + DAY)}
ARROW = "application/vnd.apache.arrow.stream"


def table_of(answer: Any) -> pa.Table:
    return pa.ipc.open_stream(answer.content).read_all()


def test_an_answer_is_304_until_its_tiles_change(api: Any, world: Any) -> None:
    first = api.get("/v1/heatmap", params=ASK)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert tag.endswith('"')
    assert first.headers["cache-control"] == "private, no-cache"
    for held in (tag, f'"other", {tag}', f"W/{tag}"):
        again = api.get("/v1/heatmap", params=ASK, headers={"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get("/v1/heatmap", params=ASK, headers={"if-none-match": '"other"'}).status_code == 200
    world.put("shop", "/dense", WEEK + 5 * 3_600_000, {7: 1})
    world.publish()
    changed = api.get("/v1/heatmap", params=ASK, headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.json()["total"] == first.json()["total"] + 1
    assert changed.headers["etag"] != tag


def test_304_reads_no_tile(world: Any) -> None:
    with world.client() as api:
        tag = api.get("/v1/heatmap", params=ASK).headers["etag"]
    world.olap = None
    with world.client() as api:
        assert api.get("/v1/heatmap", params=ASK, headers={"if-none-match": tag}).status_code == 304


def test_a_hour_that_waits_changes_the_tag(api: Any, world: Any) -> None:
    tag = api.get("/v1/heatmap", params=ASK).headers["etag"]
    world.mark("hour", WEEK, "shop")
    changed = api.get("/v1/heatmap", params=ASK, headers={"if-none-match": tag})
    assert (changed.status_code, changed.json()["pending"]) == (200, 1)


def test_each_form_has_its_own_tag(api: Any) -> None:
    headers = [{"accept": a, "accept-encoding": e} for a in ("*/*", ARROW) for e in ("identity", "gzip")]
    answers = [api.get("/v1/heatmap", params=ASK, headers=one) for one in headers]
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == 4
    assert {answer.headers["vary"] for answer in answers} == {"Accept, Accept-Encoding"}
    kinds = [{**ASK, "event_type": kind} for kind in ("mousemove", "click")]
    assert len({api.get("/v1/heatmap", params=one).headers["etag"] for one in kinds}) == 2


def test_listings_have_tags_too(api: Any, world: Any) -> None:
    asked = (("/v1/clients", {}), ("/v1/screens", {"client_id": "shop"}), ("/v1/activity", ASK))
    for number, (path, query) in enumerate(asked, start=1):
        tag = api.get(path, params=query).headers["etag"]
        assert api.get(path, params=query, headers={"if-none-match": tag}).status_code == 304
        world.put("shop", "/dense", WEEK + 6 * 3_600_000, {number: number})
        world.publish()
        assert api.get(path, params=query, headers={"if-none-match": tag}).status_code == 200


def test_gzip_when_asked_and_worth_it(api: Any) -> None:
    plain = api.get("/v1/heatmap", params=ASK, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with api.stream("GET", "/v1/heatmap", params=ASK, headers={"accept-encoding": "br, gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert len(raw) * 4 < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    refused = api.get("/v1/heatmap", params=ASK, headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    small = api.get("/heatmap/daily", params=ASK | {"dt": "2026-02-15", "screen_id": "/dense"})
    assert "content-encoding" not in small.headers


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/*;q=0.5", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        (ARROW, ARROW),
        (f"{ARROW}, */*;q=0.1", ARROW),
        (f"{ARROW}, */*", ARROW),
        (f"application/json, {ARROW};q=0.9", "application/json"),
        (f"application/json;q=0.2, {ARROW};q=0.9", ARROW),
        ("APPLICATION/JSON", "application/json"),
    ],
)
def test_accept_chooses_the_form(api: Any, accept: str, form: str) -> None:
    answer = api.get("/v1/heatmap", params=ASK, headers={"accept": accept})
    assert answer.headers["content-type"].split(";")[0] == form


def test_arrow_holds_the_same_cells_and_the_other_members(api: Any) -> None:
    body = api.get("/v1/heatmap", params=ASK).json()
    table = table_of(api.get("/v1/heatmap", params=ASK, headers={"accept": ARROW}))
    assert table.to_pylist() == body.pop("cells")
    assert [str(column.type) for column in table.schema] == ["uint16", "uint16", "uint64"]
    assert {k.decode(): msgspec.json.decode(v) for k, v in table.schema.metadata.items()} == body


def test_arrow_listings_hold_the_same_rows(api: Any) -> None:
    for path, rows in (("/v1/clients", "clients"), ("/v1/screens", "screens"), ("/v1/activity", "steps")):
        body = api.get(path, params=ASK).json()
        table = table_of(api.get(path, params=ASK, headers={"accept": ARROW}))
        assert table.num_rows == len(body[rows])
        assert table.schema.names == list(body[rows][0])
        assert table["events"].to_pylist() == [row["events"] for row in body[rows]]
        assert {name.decode() for name in table.schema.metadata} == body.keys() - {rows}


@given(st.dictionaries(st.integers(0, 19_999), st.integers(1, 2**64 - 1), max_size=40))
def test_cells_as_json_and_arrow_are_the_counts(found: dict[int, int]) -> None:
    counts = np.zeros(20_000, np.uint64)
    for cell, count in found.items():
        counts[cell] = count
    expected = [{"cell_x": c % 100, "cell_y": c // 100, "count": n} for c, n in sorted(found.items())]
    assert msgspec.json.decode(json_answer(counts, {"a": [1]})) == {"a": [1], "cells": expected}
    assert msgspec.json.decode(json_answer(counts, {})) == {"cells": expected}
    assert arrow_table(counts).to_pylist() == expected
