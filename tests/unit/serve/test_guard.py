"""Token, Host, Origin and security headers, on routes and on what matches no route."""

from typing import Any

import pytest
from counting import Counting

PATHS = ["/v1/clients", "/v1/status", "/metrics", "/v1/openapi.json", "/nothing", "/heatmap/daily", "//v1//clients/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "Basic secret", "secret", "Bearer sécret"])
def test_with_a_token_every_route_asks_for_it(make_world: Any, path: str, given: str | None) -> None:
    with make_world(token="secret").client() as api:
        headers = {} if given is None else {"authorization": given.encode()}
        answer = api.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_right_token_opens_and_health_needs_none(make_world: Any) -> None:
    with make_world(token="secret").client() as api:
        assert api.get("/v1/clients", headers={"authorization": "Bearer secret"}).status_code == 200
        assert api.get("/v1/clients", headers={"authorization": "bearer secret"}).status_code == 200
        assert api.get("/v1/healthz").json() == {"status": "ok"}
        assert api.get("/docs").status_code == api.get("/docs/docs.css").status_code == 200
        assert api.get("/docs/../v1/clients").status_code == 401
        assert api.get("/docs/nothing").status_code == 401


@pytest.mark.parametrize(
    ("host", "ok"),
    [
        ("localhost", True),
        ("localhost:7080", True),
        ("LOCALHOST", True),
        ("127.0.0.1:7080", True),
        ("127.1.2.3", True),
        ("[::1]:7080", True),
        ("heat.example:443", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_on_loopback_only_known_names_are_answered(make_world: Any, host: str, ok: bool) -> None:
    with make_world(allowed_hosts=["heat.example"]).client() as api:
        answer = api.get("/v1/clients", headers={"host": host})
        assert answer.status_code == (200 if ok else 421)


def test_on_another_address_any_name_is_answered(make_world: Any) -> None:
    with make_world(host="0.0.0.0", token="t").client() as api:
        headers = {"host": "heat.example", "authorization": "Bearer t"}
        assert api.get("/v1/clients", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "ok"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_a_page_of_another_origin_changes_nothing(world: Any, headers: dict[str, str], ok: bool) -> None:
    ran: list[bool] = []

    def verify(**_: Any) -> Any:
        ran.append(True)
        yield {"done": 1}

    with world.client(verify=verify) as api:
        answer = api.post("/v1/admin/verify", headers=headers)
        assert answer.status_code == (200 if ok else 403)
        assert bool(ran) == ok
        assert api.get("/v1/clients", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/clients", "/nothing", "/docs", "/v1/heatmap"])
def test_security_headers_are_on_every_answer(api: Any, path: str) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_requests_are_counted_by_what_was_answered(world: Any) -> None:
    counting = Counting("serve")
    with world.client() as api:
        assert api.get("/v1/healthz").status_code == 200
        assert api.get("/v1/nothing").status_code == 404
        assert api.get("/v1/dead", params={"client_id": "shop"}).status_code == 501
    assert counting.found() == (3, 1, 1, 1)
