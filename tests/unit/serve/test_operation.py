"""Status, health, metrics, and jobs on demand with their progress."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from isotherm import __version__
from isotherm.errors import Problem
from isotherm.rollup.buckets import Level
from isotherm.serve.app import create_app
from isotherm.store import tables
from isotherm.store.db import writing

WEEK = 1_770_595_200_000
JOB = {"from": "2026-02-09T00:00:00Z", "to": "2026-02-10T00:00:00Z"}


def test_status_joins_what_the_process_knows_with_the_stores(world: Any) -> None:
    world.mark("hour", WEEK, "shop")
    with writing(world.engine) as connection:
        for number, state in enumerate(("listed", "listed", "delisted")):
            row = {"path": f"p{number}", "state": state, "format": "parquet", "client_id": "shop", "hour": WEEK}
            connection.execute(sa.insert(tables.files).values(**row, rows=10, bytes=100, created_at=0))
    with world.client(status=lambda: {"lander": {"lag": 3}, "idle": True}) as api:
        body = api.get("/v1/status").json()
    assert body["lander"] == {"lag": 3}
    assert (body["version"], body["now"]) == (__version__, "2026-02-16T10:00:00.000Z")
    assert body["dirty"] == {"hour": 1, "day": 0, "week": 0}
    assert body["idle"] is False
    assert body["lake"] == {"parquet": {"files": 2, "rows": 20, "bytes": 200}}
    assert body["tiles"]["week"] == 6


@pytest.mark.parametrize(("facts", "idle"), [({}, True), ({"idle": True}, True), ({"idle": False}, False)])
def test_idle_is_what_both_say(world: Any, facts: dict[str, Any], idle: bool) -> None:
    with world.client(status=lambda: facts) as api:
        assert api.get("/v1/status").json()["idle"] is idle


@pytest.mark.parametrize(("level", "weeks_ago", "idle"), [("day", 0, True), ("week", 0, True), ("week", 1, False)])
def test_what_still_runs_does_not_keep_it_from_being_idle(world: Any, level: str, weeks_ago: int, idle: bool) -> None:
    world.mark(level, WEEK + (1 - weeks_ago) * Level.WEEK.ms, "shop")
    with world.client(status=dict) as api:
        body = api.get("/v1/status").json()
    assert body["idle"] is idle
    assert body["dirty"][level] == 1


def test_health(api: Any) -> None:
    answer = api.get("/v1/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_metrics_time_each_route(api: Any) -> None:
    api.get("/v1/clients")
    api.get("/heatmap/nonsense")
    answer = api.get("/metrics")
    text = answer.text
    assert answer.headers["content-type"].count("charset") == 1
    assert 'isotherm_query_seconds_count{route="/v1/clients"}' in text
    assert "nonsense" not in text


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_rollup_passes_what_was_asked_and_streams_each_step(world: Any) -> None:
    asked: list[dict[str, Any]] = []

    def backfill(**given: Any) -> Iterator[dict[str, Any]]:
        asked.append(given)
        yield from ({"done": n, "total": 3} for n in (1, 2, 3))

    with world.client(backfill=backfill) as api:
        found = lines(api.post("/v1/admin/rollup", json=JOB | {"client_id": "shop", "level": "day"}))
        assert found == [{"done": n, "total": 3} for n in (1, 2, 3)]
        lines(api.post("/v1/admin/rollup", json=JOB))
    day = {"start": WEEK, "end": WEEK + 86_400_000}
    assert asked == [
        {**day, "client_id": "shop", "level": Level.DAY},
        {**day, "client_id": None, "level": None},
    ]


def test_verify_takes_open_edges(world: Any) -> None:
    asked: list[dict[str, Any]] = []

    def verify(**given: Any) -> Iterator[dict[str, Any]]:
        asked.append(given)
        yield {"bucket": "hour", "same": True}

    with world.client(verify=verify) as api:
        assert lines(api.post("/v1/admin/verify"))[0]["same"] is True
        lines(api.post("/v1/admin/verify", json={"client_id": "shop", "from": JOB["from"]}))
        more = {"levels": ["day", "week"], "parallel": 2, "sample": 5, "seed": 7, "progress": True}
        lines(api.post("/v1/admin/verify", json=more))
    usual = {"levels": None, "parallel": None, "sample": None, "seed": 0, "progress": False}
    assert asked == [
        {"start": None, "end": None, "client_id": None, **usual},
        {"start": WEEK, "end": None, "client_id": "shop", **usual},
        {"start": None, "end": None, "client_id": None, **more, "levels": [Level.DAY, Level.WEEK]},
    ]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [(Problem(422, "the range is empty"), 422, "the range is empty"), (RuntimeError("secret"), 500, "log")],
)
def test_an_error_on_the_way_is_the_last_line(world: Any, error: Exception, status: int, detail: str) -> None:
    def backfill(**_: Any) -> Iterator[dict[str, Any]]:
        yield {"done": 1}
        raise error

    with world.client(backfill=backfill) as api:
        answer = api.post("/v1/admin/rollup", json=JOB)
        first, last = lines(answer)
    assert first == {"done": 1}
    assert last["error"]["status"] == status
    assert detail in last["error"]["detail"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/admin/rollup", b"", 400),
        ("/v1/admin/rollup", b"{", 400),
        ("/v1/admin/rollup", b'{"from": 1, "to": 2}', 400),
        ("/v1/admin/rollup", b'{"from":"2026-02-09T00:00:00Z","to":"2026-02-09T00:00:00Z"}', 400),
        ("/v1/admin/rollup", json.dumps(JOB | {"client_id": "../x"}).encode(), 400),
        ("/v1/admin/rollup", json.dumps(JOB | {"level": "year"}).encode(), 400),
        ("/v1/admin/rollup", json.dumps(JOB | {"lvel": "day"}).encode(), 400),
        ("/v1/admin/rollup", b" " * 20_000, 413),
        ("/v1/admin/verify", b'"\xff"', 400),
        ("/v1/admin/verify", b'{"levels":[]}', 400),
        ("/v1/admin/verify", b'{"levels":["year"]}', 400),
        ("/v1/admin/verify", b'{"sample":-1}', 400),
        ("/v1/admin/verify", b'{"parallel":0}', 400),
        ("/v1/admin/verify", b'{"from":"2026-02-09T00:00:00Z","to":"2026-02-08T00:00:00Z"}', 400),
    ],
)
def test_a_job_that_is_not_described_well_does_not_start(world: Any, path: str, body: bytes, status: int) -> None:
    def never(**_: Any) -> Iterator[dict[str, Any]]:
        raise AssertionError("started")

    with world.client(backfill=never, verify=never) as api:
        answer = api.post(path, content=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_process_without_jobs_says_so(api: Any) -> None:
    assert api.post("/v1/admin/rollup", json=JOB).status_code == 501
    assert api.post("/v1/admin/verify").status_code == 501
    assert api.post("/v1/admin/retention").status_code == 501


def test_a_round_of_retention_is_streamed_store_by_store(world: Any) -> None:
    steps = [{"store": "raw", "removed": {"hours": 1, "rows": 3, "bytes": 9}}, {"store": "tiles", "removed": {}}]
    with world.client(retention=lambda: iter(steps)) as api:
        answer = api.post("/v1/admin/retention")
        assert [json.loads(line) for line in answer.text.splitlines()] == steps
        assert api.post("/v1/admin/retention", json={"client_id": "x"}).status_code == 400


def wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.01)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], int]]:
    """Runs an application on uvicorn in a thread; gives its port."""
    started: list[tuple[uvicorn.Server, threading.Thread]] = []

    def run(app: Any) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        started.append((server, thread))
        wait(lambda: server.started)
        return listening.getsockname()[1]

    yield run
    for server, thread in started:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def test_a_job_stops_when_the_caller_goes_away(world: Any, serve: Callable[[Any], int]) -> None:
    stopped, done = threading.Event(), 0

    def backfill(**_: Any) -> Iterator[dict[str, Any]]:
        nonlocal done
        pause = threading.Event()
        try:
            while True:
                done += 1
                yield {"done": done}
                pause.wait(0.005)
        finally:
            stopped.set()

    connection = HTTPConnection("127.0.0.1", serve(create_app(world.deps(backfill=backfill))), timeout=20)
    connection.request("POST", "/v1/admin/rollup", json.dumps(JOB))
    answer = connection.getresponse()
    assert json.loads(answer.readline()) == {"done": 1}
    assert json.loads(answer.readline()) == {"done": 2}
    assert not stopped.is_set()
    answer.close()
    connection.close()
    assert stopped.wait(20)


def test_hooks_run_around_the_requests(world: Any) -> None:
    seen: list[str] = []
    with world.client(on_startup=[lambda: seen.append("up")], on_shutdown=[lambda: seen.append("down")]) as api:
        api.get("/v1/healthz")
        assert seen == ["up"]
    assert seen == ["up", "down"]
