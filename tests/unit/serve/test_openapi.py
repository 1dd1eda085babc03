"""The OpenAPI document is valid 3.1 and complete; the page that shows it asks no other host."""

import re
from typing import Any

import jsonschema_rs
import pytest

from isotherm.serve.app import openapi_document

ROUTES = {
    "/heatmap/hourly",
    "/heatmap/daily",
    "/heatmap/weekly",
    "/v1/heatmap",
    "/v1/clients",
    "/v1/screens",
    "/v1/activity",
    "/v1/freshness",
    "/v1/live/windows",
    "/v1/background",
    "/v1/status",
    "/v1/healthz",
    "/metrics",
    "/v1/admin/rollup",
    "/v1/admin/verify",
    "/v1/admin/maps",
    "/v1/ledger",
    "/v1/ledger/marks",
    "/v1/dead",
    "/v1/dead/counts",
    "/v1/events",
    "/v1/events/{batch_id}",
    "/v1/admin/retention",
}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        node = found
    return node


def test_the_document_is_served_and_names_every_route(api: Any) -> None:
    document = api.get("/v1/openapi.json").json()
    assert document == openapi_document()
    assert document["openapi"].startswith("3.1")
    assert document["paths"].keys() == ROUTES


def test_every_reference_resolves_and_every_schema_is_one(api: Any) -> None:
    document = openapi_document()
    for name in re.findall(r'"\$ref":"([^"]+)"', api.get("/v1/openapi.json").text):
        assert resolve(document, {"$ref": name})
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_does_and_how_it_fails() -> None:
    document = openapi_document()
    for path, method, one in operations(document):
        assert one["summary"], path
        assert one["description"], path
        for parameter in one.get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])
        done = "204" if method == "delete" else "200"
        assert {done, "401", "503"} <= one["responses"].keys()
        for status, answer in one["responses"].items():
            found = resolve(document, answer)
            assert found["description"]
            if int(status) >= 400:
                assert list(found["content"]) == ["application/problem+json"], (path, method, status)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/heatmap/daily", {"client_id": "shop", "screen_id": "/home", "dt": "2026-02-09"}),
        ("/v1/heatmap", {"client_id": "shop", "screen_id": "/home", "from": "1770595200000", "to": "1770681600000"}),
        (
            "/heatmap/daily",
            {"client_id": "shop", "screen_id": "/home", "dt": "2026-02-09", "cells": "columns"},
        ),
        (
            "/v1/heatmap",
            {
                "client_id": "shop",
                "screen_id": "/home",
                "from": "1770595200000",
                "to": "1770681600000",
                "cells": "columns",
            },
        ),
        ("/v1/clients", {}),
        ("/v1/screens", {"client_id": "shop"}),
        ("/v1/activity", {"client_id": "shop", "from": "1770595200000", "to": "1770681600000"}),
        ("/v1/freshness", {"client_id": "shop"}),
        ("/v1/status", {}),
        ("/v1/healthz", {}),
    ],
)
def test_answers_have_the_shape_that_is_documented(api: Any, path: str, query: dict[str, str]) -> None:
    document = openapi_document()
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    body = api.get(path, params=query).json()
    jsonschema_rs.validate(schema, body)
    kinds = content["schema"].get("oneOf", [content["schema"]])
    assert body.keys() in [resolve(document, kind)["properties"].keys() for kind in kinds]


def test_the_page_and_its_files_ask_no_other_host(api: Any) -> None:
    page = api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert {"/docs/docs.css", "/docs/docs.js"} <= set(links)
    for link in links:
        assert link.startswith(("/", "#", "data:,")), link
        assert not link.startswith("//")
    texts = [page.text, *(api.get(f"/docs/docs.{kind}").text for kind in ("css", "js"))]
    for text in texts:
        assert "://" not in text
        assert "@import" not in text
        assert "innerHTML" not in text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_the_page_s_files_have_their_types(api: Any) -> None:
    assert api.get("/docs/docs.css").headers["content-type"].startswith("text/css")
    assert api.get("/docs/docs.js").headers["content-type"].startswith("text/javascript")
