"""Every error is one problem object that names what is wrong, and never shows our insides."""

from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from sqlalchemy.exc import OperationalError

from isotherm.errors import Backpressure, IsothermError
from isotherm.store.olap import OlapDamaged

HOURLY = {"client_id": "shop", "screen_id": "/home", "dt": "2026-02-09", "hour": "3"}
RANGE = {"client_id": "shop", "screen_id": "/home", "from": "2026-02-09T00:00:00Z", "to": "2026-02-10T00:00:00Z"}


def check(answer: Any, status: int, field: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body = answer.json()
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    assert body.get("field") == field
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    return body


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/heatmap/hourly", {"client_id": None}, "client_id"),
        ("/heatmap/hourly", {"screen_id": None}, "screen_id"),
        ("/heatmap/hourly", {"dt": None}, "dt"),
        ("/heatmap/hourly", {"hour": None}, "hour"),
        ("/heatmap/hourly", {"client_id": ""}, "client_id"),
        ("/heatmap/hourly", {"client_id": "-shop"}, "client_id"),
        ("/heatmap/hourly", {"client_id": "shop\n"}, "client_id"),
        ("/heatmap/hourly", {"client_id": "s" * 65}, "client_id"),
        ("/heatmap/hourly", {"screen_id": ""}, "screen_id"),
        ("/heatmap/hourly", {"screen_id": "a|b"}, "screen_id"),
        ("/heatmap/hourly", {"screen_id": "ü" * 129}, "screen_id"),
        ("/heatmap/hourly", {"dt": "2026-02-30"}, "dt"),
        ("/heatmap/hourly", {"dt": "20260209"}, "dt"),
        ("/heatmap/hourly", {"dt": "0001-01-01"}, "dt"),
        ("/heatmap/hourly", {"dt": "9999-12-31"}, "dt"),
        ("/heatmap/hourly", {"dt": "2026-02-09\n"}, "dt"),
        ("/heatmap/hourly", {"dt": "２０２６-02-09"}, "dt"),
        ("/heatmap/hourly", {"hour": "24"}, "hour"),
        ("/heatmap/hourly", {"hour": "-1"}, "hour"),
        ("/heatmap/hourly", {"hour": "3\n"}, "hour"),
        ("/heatmap/hourly", {"event_type": "Click"}, "event_type"),
        ("/heatmap/hourly", {"event_type": ""}, "event_type"),
        ("/heatmap/hourly", {"event_type": ",".join(f"a{i}" for i in range(33))}, "event_type"),
        ("/heatmap/weekly", {"week_start": "2026-02-10"}, "week_start"),
        ("/heatmap/weekly", {"week_start": "2026-02-08"}, "week_start"),
        ("/v1/heatmap", {"from": "2026-02-09T00:30:00Z"}, "from"),
        ("/v1/heatmap", {"to": "2026-02-09T00:00:00.000001Z"}, "to"),
        ("/v1/heatmap", {"to": "2026-02-09T00:00:00"}, "to"),
        ("/v1/heatmap", {"to": "1770595200001"}, "to"),
        ("/v1/heatmap", {"to": "999999999999999"}, "to"),
        ("/v1/heatmap", {"to": "-3600000"}, "to"),
        ("/v1/heatmap", {"to": "tomorrow"}, "to"),
        ("/v1/heatmap", {"to": "2026-02-09T00:00:00Z"}, "to"),
        ("/v1/heatmap", {"from": None}, "from"),
        ("/v1/screens", {"limit": "0"}, "limit"),
        ("/v1/screens", {"limit": "x"}, "limit"),
        ("/v1/screens", {"cursor": "nonsense"}, "cursor"),
        ("/v1/screens", {"cursor": "WzEsMl0="}, "cursor"),
        ("/v1/screens", {"q": "x" * 257}, "q"),
        ("/v1/screens", {"from": "2026-02-10T00:00:00Z", "to": "2026-02-09T00:00:00Z"}, "to"),
        ("/v1/clients", {"cursor": "Ly8v"}, "cursor"),
        ("/v1/activity", {"step": "month"}, "step"),
        ("/v1/activity", {"step": "hour", "from": "2020-01-01T00:00:00Z"}, "step"),
    ],
)
def test_a_wrong_parameter_is_400_and_named(api: Any, path: str, query: dict[str, str | None], field: str) -> None:
    base = {"/heatmap/hourly": HOURLY, "/heatmap/weekly": HOURLY, "/v1/clients": {}}.get(path, RANGE)
    if path == "/v1/screens":
        base = {"client_id": "shop"}
    asked = {name: value for name, value in (base | query).items() if value is not None}
    body = check(api.get(path, params=asked), 400, field)
    assert body["detail"].startswith(field)


def test_a_week_that_starts_on_another_day_is_told_its_monday(api: Any) -> None:
    body = api.get("/heatmap/weekly", params=HOURLY | {"week_start": "2026-02-12"}).json()
    assert body["nearest"] == "2026-02-09"


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/nothing", "/v1", "/docs/../etc/passwd", "/v1/openapi.yaml"])
def test_an_unknown_route_is_404(api: Any, path: str) -> None:
    check(api.get(path), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_method_a_route_does_not_have_is_405(api: Any, method: str) -> None:
    answer = api.request(method, "/v1/heatmap")
    check(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "query"),
    [("/heatmap/hourly", HOURLY), ("/v1/heatmap", RANGE), ("/v1/activity", RANGE), ("/v1/screens", {})],
)
def test_an_unknown_client_is_404(api: Any, path: str, query: dict[str, str]) -> None:
    assert "nobody" in check(api.get(path, params=query | {"client_id": "nobody"}), 404)["detail"]


@pytest.mark.parametrize(
    ("path", "query"), [("/heatmap/hourly", HOURLY), ("/v1/heatmap", RANGE), ("/v1/activity", RANGE)]
)
def test_an_unknown_screen_is_404(api: Any, path: str, query: dict[str, str]) -> None:
    assert "/nowhere" in check(api.get(path, params=query | {"screen_id": "/nowhere"}), 404)["detail"]


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "application/xml, text/*"])
def test_a_form_we_do_not_have_is_406(api: Any, accept: str) -> None:
    check(api.get("/v1/heatmap", params=RANGE, headers={"accept": accept}), 406)


class Broken:
    """A tile store that fails in a given way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def query(self, *_: Any, **__: Any) -> Any:
        raise self.error

    def ping(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (DatabaseError("Code: 999 at secret-host"), 503, None),
        (OlapDamaged("Code: 40 in a part at secret-host", code=40), 503, "made again by itself"),
        (Backpressure("reached its time limit", retry_after_s=4.2), 503, "time limit"),
        (IsothermError("rebuild them with `isotherm rollup`"), 500, "rebuild"),
        (RuntimeError("secret of ours"), 500, None),
    ],
)
def test_a_failing_tile_store(world: Any, error: Exception, status: int, shown: str | None) -> None:
    world.olap = Broken(error)
    with world.client() as api:
        answer = api.get("/v1/heatmap", params=RANGE)
        body = check(answer, status)
        assert "secret" not in answer.text
        assert shown is None or shown in body["detail"]
        assert ("retry-after" in answer.headers) == (status == 503)
        if status == 503:
            assert int(answer.headers["retry-after"]) >= 1
        check(api.get("/v1/healthz"), status)


def test_a_failing_database_is_503(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT secret", {}, Exception("database is locked"))

    monkeypatch.setattr(world.engine, "connect", fail)
    with world.client() as api:
        for path in ("/v1/clients", "/v1/status", "/v1/healthz"):
            answer = api.get(path)
            check(answer, 503)
            assert "secret" not in answer.text
