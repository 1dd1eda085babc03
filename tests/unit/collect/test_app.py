"""The application without a server: what the log does to the answers."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from collecting import RunningCollector, batch, event, now_ms

from isotherm.clock import ManualClock
from isotherm.collect.app import Collector, create
from isotherm.collect.commit import GroupCommit
from isotherm.collect.intake import Budget, Intake, Lease
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError, Problem
from isotherm.eventlog.port import Position, Record
from isotherm.events import decode_envelope


class FakeLog:
    """A log whose next appends fail as told, or wait until `gate` is set."""

    max_record_bytes = 1 << 22

    def __init__(self) -> None:
        self.groups: list[list[Record]] = []
        self.errors: list[Exception] = []
        self.ids: set[bytes] = set()
        self.gate = Event()
        self.gate.set()
        self.unhealthy: Exception | None = None
        self.asked = 0
        self.closed = False

    def append(self, records: Sequence[Record]) -> list[Position | None]:
        self.gate.wait(20)
        if self.errors:
            raise self.errors.pop(0)
        self.groups.append(list(records))
        answers: list[Position | None] = []
        for record in records:
            known = record.id is not None and record.id in self.ids
            answers.append(None if known else Position(0, 0))
            if record.id is not None:
                self.ids.add(record.id)
        return answers

    def healthy(self) -> None:
        self.asked += 1
        if self.unhealthy:
            raise self.unhealthy

    def close(self) -> None:
        self.closed = True


class Headers(dict[str, str]):
    pass


class Scope:
    def __init__(self, method: str, path: str, headers: dict[str, str], query: str = "") -> None:
        self.method, self.path, self.query_string = method, path, query
        self.headers = Headers(headers)


class Proto:
    """One request as granian hands it over: a body, whole or in chunks."""

    def __init__(self, body: bytes, chunks: list[bytes] | None = None) -> None:
        self.body, self.chunks = body, chunks
        self.answer: tuple[int, dict[str, str], bytes] | None = None

    async def __call__(self) -> bytes:
        return self.body

    async def __aiter__(self) -> Any:
        for chunk in self.chunks or [self.body, b""]:
            yield chunk

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = status, dict(headers), body


async def ask(
    app: Collector, body: Any = b"", method: str = "POST", path: str = "/events/batch", **options: Any
) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    chunks = options.get("chunks")
    headers = {} if chunks else {"content-length": str(len(content))}
    proto = Proto(content, chunks)
    await app.__rsgi__(Scope(method, path, headers | options.get("headers", {})), proto)
    return proto.answer


def run(test: Callable[[Collector, FakeLog], Any], ids: Any = None, **settings: Any) -> None:
    """Run the coroutine against an application with a fake log, with the lifecycle the server gives it."""

    async def main() -> None:
        log = FakeLog()
        app = create(Settings(**settings), log, ManualClock(now_ms()), ids=ids)  # pyright: ignore[reportArgumentType]
        loop = asyncio.get_running_loop()
        app.__rsgi_init__(loop)
        try:
            await test(app, log)
        finally:
            log.gate.set()
            app.__rsgi_del__(loop)
        assert log.closed

    asyncio.run(main())


def test_many_requests_share_one_commit() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        log.gate.clear()
        waiting = [asyncio.ensure_future(ask(app, batch(3, batch_id=f"b{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        log.gate.set()
        answers = await asyncio.gather(*waiting)
        assert [status for status, _, _ in answers] == [202] * 50
        assert sum(map(len, log.groups)) == 50
        assert len(log.groups) <= 3

    run(test)


def test_a_known_batch_is_recorded_as_counts() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        body = batch([event(), event(), 5], batch_id="b")
        first = json.loads((await ask(app, body))[2])
        second = json.loads((await ask(app, body))[2])
        assert (first["accepted"], first["rejected"], first["duplicate"]) == (2, 1, 0)
        assert (second["accepted"], second["rejected"], second["duplicate"]) == (0, 1, 2)
        last = decode_envelope(log.groups[-1][0].value)
        assert last.batch is None
        assert last.counts.duplicate == 2

    run(test)


@pytest.mark.parametrize(
    ("error", "status", "wait_s", "wait_ms"),
    [
        (Backpressure("full", retry_after_s=2.4), 503, "3", 2400),
        (Backpressure("too fast", retry_after_s=0.05, status=429), 429, "1", 50),
    ],
)
def test_backpressure_says_when_to_come_back(error: Backpressure, status: int, wait_s: str, wait_ms: int) -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        log.errors = [error]
        answer = await ask(app, batch(2))
        assert answer[0] == status
        assert answer[1]["retry-after"] == wait_s
        assert json.loads(answer[2])["next_retry_after_ms"] == wait_ms
        assert (await ask(app, batch(2)))[0] == 202

    run(test)


def test_backpressure_while_a_duplicate_is_recorded() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        await ask(app, batch(1, batch_id="b"))
        commit = log.append

        def fail_on_counts(records: Sequence[Record]) -> list[Position | None]:
            if records[0].id is None:
                raise Backpressure("full")
            return commit(records)

        log.append = fail_on_counts  # type: ignore[method-assign]
        assert (await ask(app, batch(1, batch_id="b")))[0] == 503

    run(test)


def test_an_unexpected_error_is_500_without_details_and_the_next_request_works() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        log.errors = [OSError("secret path")]
        status, headers, body = await ask(app, batch(1))
        assert status == 500
        assert headers["content-type"] == "application/problem+json"
        assert b"secret" not in body
        assert (await ask(app, batch(1)))[0] == 202

    run(test)


class FailingIds:
    """Ids of a log whose topic is unfit for one question, then fit again; nothing can be told to them."""

    def __init__(self) -> None:
        self.errors: list[Exception] = [ConfigError("log: the topic raw cannot be used as it is")]
        self.told = 0

    def known(self, records: Sequence[Record]) -> list[bool]:
        if self.errors:
            raise self.errors.pop()
        return [False] * len(records)

    def remember(self, records: Sequence[Record]) -> None:
        self.told += len(records)
        raise ConfigError("log: the topic raw cannot be used as it is")

    def close(self) -> None:
        pass


def test_a_log_that_cannot_be_asked_for_ids_answers_and_takes_batches_later() -> None:
    ids = FailingIds()

    async def test(app: Collector, log: FakeLog) -> None:
        assert (await ask(app, batch(1)))[0] == 500
        assert log.groups == []
        assert (await ask(app, batch(1)))[0] == 202
        assert (await ask(app, batch(1)))[0] == 202
        assert (await ask(app, method="GET", path="/v1/healthz"))[0] == 200
        assert app._budget.used == 0

    run(test, ids)
    assert ids.told == 2


def test_bodies_in_flight_are_bounded() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        log.gate.clear()
        text = json.dumps(batch(1, url="u" * 2_000)).encode()
        size = len(text) + 100_000
        bodies = [text + b" " * 100_000 for _ in range(2 * (1 << 20) // size)]
        waiting = [asyncio.ensure_future(ask(app, body)) for body in bodies]
        done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result()[0] for task in done} == {503}
        log.gate.set()
        answers = await asyncio.gather(*waiting)
        assert {status for status, _, _ in answers} == {202, 503}
        assert (await ask(app, bodies[0]))[0] == 202

    run(test, max_in_flight_bytes=1 << 20)


def test_chunks_are_joined_and_capped() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        text = json.dumps(batch(1)).encode()
        assert (await ask(app, chunks=[text[:9], text[9:], b""]))[0] == 202
        assert (await ask(app, chunks=[b" " * 300_000, b" " * 300_000, text, b""]))[0] == 413

    run(test)


def test_a_broken_connection_leaves_nothing() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        text = json.dumps(batch(1)).encode()
        assert await ask(app, chunks=[text, b"", b""]) is None
        assert await ask(app, text, headers={"content-length": str(len(text) + 1)}) is None
        assert log.groups == []

    run(test)


def test_a_declared_size_far_over_the_limit_is_refused_unread() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        assert (await ask(app, b"", headers={"content-length": str(5_000_000)}))[0] == 413
        assert (await ask(app, b"", headers={"content-length": "9" * 30}))[0] == 400

    run(test)


def test_a_slow_body_is_refused_and_its_room_given_back() -> None:
    async def main() -> None:
        intake, budget = Intake(0.05), Budget(1 << 20)
        lease = Lease(budget)
        never = asyncio.Event()

        async def slow() -> bytes:
            await never.wait()
            return b""

        intake.start(asyncio.get_running_loop())
        with pytest.raises(Problem) as caught:
            await intake.read(slow, "100", lease)
        assert caught.value.status == 400
        assert budget.used == 100
        lease.release()
        assert budget.used == 0
        intake.stop()

    asyncio.run(main())


def test_health_follows_the_log_and_asks_it_rarely() -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        for _ in range(5):
            assert (await ask(app, method="GET", path="/v1/healthz"))[0] == 200
        assert log.asked == 1

    run(test)


@pytest.mark.parametrize("error", [Backpressure("the disk is full"), ConfigError("log: the disk is full")])
def test_health_says_why_not(error: Exception) -> None:
    async def test(app: Collector, log: FakeLog) -> None:
        log.unhealthy = error
        status, headers, body = await ask(app, method="GET", path="/v1/healthz")
        assert status == 503
        assert "the disk is full" in json.loads(body)["detail"]
        assert "retry-after" in headers

    run(test)


def test_closing_appends_what_waits() -> None:
    async def main() -> None:
        log = FakeLog()
        log.gate.clear()
        commit = GroupCommit(log, asyncio.get_running_loop())  # pyright: ignore[reportArgumentType]
        record = Record("a|b", b"{}", 0)
        waiting = [asyncio.ensure_future(commit.append(record, lambda: record)) for _ in range(9)]
        await asyncio.sleep(0)
        log.gate.set()
        commit.close()
        assert await asyncio.gather(*waiting) == [True] * 9
        assert not commit.alive()

    asyncio.run(main())


def test_files_are_asked_for_what_is_read_only() -> None:
    asked: list[tuple[str, str]] = []

    def files(path: str, method: str, ask: Callable[[str], str | None]) -> Any:
        asked.append((method, path))
        return (200, {"x-coding": str(ask("accept-encoding"))}, b"file") if path == "/file" else None

    async def main() -> None:
        app = create(Settings(), FakeLog(), ManualClock(now_ms()), files)  # pyright: ignore[reportArgumentType]
        loop = asyncio.get_running_loop()
        app.__rsgi_init__(loop)
        got = await ask(app, method="GET", path="/file", headers={"accept-encoding": "gzip", "x-request-id": "r-1"})
        assert got == (200, {"x-coding": "gzip", "x-request-id": "r-1"}, b"file")
        assert (await ask(app, method="HEAD", path="/file"))[0] == 200
        assert (await ask(app, method="GET", path="/v1/healthz"))[0] == 200
        assert (await ask(app, method="GET", path="/other"))[0] == 404
        before = len(asked)
        assert (await ask(app, batch(1)))[0] == 202
        assert (await ask(app, method="POST", path="/file"))[0] == 404
        assert (await ask(app, method="OPTIONS", path="/events/batch"))[0] == 204
        assert len(asked) == before
        app.__rsgi_del__(loop)

    asyncio.run(main())


@pytest.mark.system
def test_routes_of_the_running_collector(collector: RunningCollector) -> None:
    get = httpx.get(collector.url + "/events/batch")
    assert (get.status_code, get.headers["allow"]) == (405, "OPTIONS, POST")
    assert httpx.get(collector.url + "/nothing").status_code == 404
    assert httpx.get(collector.url + "/nothing").headers["content-type"] == "application/problem+json"
    preflight = httpx.options(collector.url + "/events/batch", headers={"origin": "https://shop.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "content-encoding" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    posted = collector.post(batch(1))
    assert posted.headers["access-control-allow-origin"] == "*"
    assert posted.headers["access-control-expose-headers"] == "retry-after, x-request-id"


@pytest.mark.system
def test_metrics_count_events_and_time_steps(collector: RunningCollector) -> None:
    def counted(name: str) -> float:
        lines = httpx.get(collector.url + "/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    sent = 'isotherm_component_events_total{component="collect",outcome="sent"}'
    before = counted(sent)
    collector.post(batch([event(), event(), 3]))
    assert counted(sent) == before + 2
    for step in ("decode", "validate", "authorise", "limit", "enrich", "append", "answer"):
        assert counted(f'isotherm_collect_step_seconds_total{{step="{step}"}}') > 0


@pytest.mark.system
def test_metrics_of_the_collector_need_the_token_when_there_is_one(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data", token="secret").start()
    try:
        url = running.url + "/metrics"
        refused = httpx.get(url)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert httpx.get(url, headers={"authorization": "Bearer other"}).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer secret"}).status_code == 200
        assert httpx.get(running.url + "/v1/healthz").status_code == 200
        assert running.post(batch(1)).status_code == 202
    finally:
        assert running.stop() == 0


def test_an_import_is_told_every_reason(collector: RunningCollector) -> None:
    events = [event(x_norm=7)] * 25 + [event(event_type="No")] * 30 + [event()]
    answer = collector.post(batch(events), params={"source": "import"}).json()
    assert (answer["accepted"], answer["rejected"], len(answer["errors"])) == (1, 55, 20)
    assert answer["reasons"] == {"bad_position": 25, "bad_event_type": 30}
    assert "reasons" not in collector.post(batch(events)).json()
