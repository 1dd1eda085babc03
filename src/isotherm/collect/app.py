"""The collector as an RSGI application: routes, and the walk of one batch through the steps."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic, perf_counter
from typing import Any, Final, Protocol

import structlog

from isotherm.clock import Clock
from isotherm.collect import answer, shared
from isotherm.collect.answer import JSON_HEADERS, Answer
from isotherm.collect.commit import GroupCommit
from isotherm.collect.cors import PREFLIGHT_HEADERS
from isotherm.collect.dead import Letter, of_refusal, of_rejections
from isotherm.collect.graves import Graves
from isotherm.collect.intake import Budget, Disconnected, Intake, Lease
from isotherm.collect.known import KnownIds
from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, Rules
from isotherm.collect.tally import Tally
from isotherm.collect.trace import HEADER, Complaints, RequestIds, ids
from isotherm.config import Settings
from isotherm.errors import Backpressure, IsothermError, Problem
from isotherm.eventlog.port import EventLog
from isotherm.metrics import SHARED, render

BATCH_PATH: Final = "/events/batch"
HEALTH_CACHE_S: Final = 1.0
HEALTH_TIMEOUT_S: Final = 4.0
"""Below the supervisor's five seconds: a log that hangs is reported, not waited for."""
FLUSH_S: Final = 1.0
"""Where others tell of this process: how old what they tell of its steps may be."""

_APPEND, _ANSWER = len(STEPS), len(STEPS) + 1

Route = Callable[[], Awaitable[Answer]]


class Files(Protocol):
    """What is handed out beside taking events; made before the first request, asked with GET and HEAD only."""

    def __call__(
        self, path: str, method: str, ask: Callable[[str], str | None]
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        """Status, headers and body; `ask` gives a request's header. None for a path that is not here."""
        ...


class Collector:
    """An RSGI application over one event log. The server calls the lifecycle hooks with its event loop."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        clock: Clock,
        files: Files | None = None,
        ids: KnownIds | None = None,
        dead: Callable[[], EventLog] | None = None,
    ) -> None:
        self._log = log
        self._ids = ids
        self._files = files
        self._clock = clock
        self._token = settings.token.encode()
        self._rules = Rules.of(settings, log.max_record_bytes)
        self._budget = Budget(settings.max_in_flight_bytes)
        self._intake = Intake(settings.body_timeout_s)
        self._tally = Tally(at_once=SHARED is not None)
        self._timer: asyncio.TimerHandle | None = None
        self._commit: GroupCommit | None = None
        self._open_dead = dead
        self._graves: Graves | None = None
        self._health: tuple[float, Answer] | None = None
        self._health_lock = asyncio.Lock()
        self._logger = structlog.get_logger("isotherm.collect")
        self._request_ids = RequestIds()
        self._complaints = Complaints(self._logger)
        self._routes: dict[str, dict[str, Route]] = {
            "/v1/healthz": {"GET": self._healthz, "HEAD": self._healthz},
            "/metrics": {"GET": self._metrics},
            BATCH_PATH: {"OPTIONS": self._preflight},
        }

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._commit = GroupCommit(self._log, loop, self._ids)
        if self._open_dead is not None:
            self._graves = Graves(self._open_dead, loop)
        self._intake.start(loop)
        if SHARED is not None:
            self._flush_in_turn(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._intake.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._commit is not None:
            self._commit.close()
        if self._graves is not None:
            self._graves.close()
        if self._ids is not None:
            self._ids.close()
        self._log.close()
        self._tally.flush()

    def _flush_in_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """What is not counted before each answer, for the process that is asked."""
        self._tally.flush()
        self._timer = loop.call_later(FLUSH_S, self._flush_in_turn, loop)

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        request_id = self._request_ids.of(scope.headers.get(HEADER))
        try:
            if scope.path == BATCH_PATH and scope.method == "POST":
                reply = await self._batch(scope, proto, request_id)
                self._tally.answer(reply.status)
            else:
                reply = self._refused(scope) or self._file(scope) or await self._other(scope.path, scope.method)
        except Disconnected:
            return
        except Exception:
            self._logger.exception("request failed", path=scope.path, request_id=request_id)
            reply = self._own_error()
        reply = answer.named(reply, request_id)
        proto.response_bytes(reply.status, reply.headers, reply.body)

    def _own_error(self) -> Answer:
        return answer.problem(Problem(500, "the collector met an error of its own; its log has the details"))

    async def _batch(self, scope: Any, proto: Any, request_id: str) -> Answer:
        lease = Lease(self._budget)
        request: Request | None = None
        header = scope.headers.get
        try:
            body = await self._intake.read(proto, header("content-length"), lease)
            request = Request(
                body, self._clock.now_ms(), header("content-type"), header("content-encoding"), scope.query_string
            )
            request.header = header
            try:
                return await self.collect(request, lease)
            except Problem as error:
                await self._bury(of_refusal(request, error, self._rules.clients))
                raise
        except Disconnected:
            raise
        except Problem as error:
            self._complaints.tell(error.status, error.title, request_id, request, error.extra.get("field"))
            return answer.problem(error)
        except Backpressure as error:
            self._complaints.tell(error.status, str(error), request_id, request)
            return answer.backpressure(error)
        except Exception:
            self._logger.exception("request failed", path=scope.path, request_id=request_id, **ids(request))
            return self._own_error()
        finally:
            lease.release()

    async def collect(self, request: Request, lease: Lease) -> Answer:
        """Take one request through the steps. Raises Problem or Backpressure; returns once it is on disk."""
        seconds = self._tally.seconds
        start = perf_counter()
        for place, (_, step) in enumerate(STEPS):
            step(request, self._rules)
            end = perf_counter()
            seconds[place] += end - start
            start = end
        letter = of_rejections(request) if request.rejections else None
        await self._append(request, lease)
        end = perf_counter()
        seconds[_APPEND] += end - start
        self._tally.count(request)
        reply = answer.accepted(request)
        seconds[_ANSWER] += perf_counter() - end
        await self._bury(letter)
        return reply

    async def _bury(self, letter: Letter | None) -> None:
        """Keep what is refused, in part or as a whole, for a person to look at."""
        if letter is not None and self._graves is not None:
            await self._graves.put(letter)

    async def _append(self, request: Request, lease: Lease) -> None:
        """Wait until the record is on disk; meanwhile hold nothing but the record, and count what it takes."""
        assert self._commit is not None
        if request.slices:
            await self._append_slices(self._commit, request, lease)
            return
        assert request.record is not None
        assert request.known_record is not None
        growth = len(request.record.value) - lease.size
        if growth > 0:
            lease.grow(growth)
        request.forget_content()
        try:
            new = await self._commit.append(request.record, request.known_record)
        except (Backpressure, RuntimeError):
            self._tally.count_failed(request)
            raise
        if not new:
            request.duplicate, request.accepted = request.accepted, 0

    async def _append_slices(self, commit: GroupCommit, request: Request, lease: Lease) -> None:
        """Wait until all records of a batch that was split are on disk."""
        growth = sum(len(one.record.value) for one in request.slices) - lease.size
        if growth > 0:
            lease.grow(growth)
        request.forget_content()
        try:
            new = await commit.append_all([(one.record, one.known) for one in request.slices])
        except (Backpressure, RuntimeError):
            self._tally.count_failed(request)
            raise
        known = sum(one.events for one, is_new in zip(request.slices, new, strict=True) if not is_new)
        request.duplicate, request.accepted = known, request.accepted - known

    def _refused(self, scope: Any) -> Answer | None:
        """401 for metrics without the token, when there is one; everything else here is for everybody."""
        if not self._token or scope.path != "/metrics":
            return None
        scheme, _, given = (scope.headers.get("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return None
        said = "metrics are for those who know the token: send it as Authorization: Bearer TOKEN"
        return answer.problem(Problem(401, said, headers={"www-authenticate": "Bearer"}))

    def _file(self, scope: Any) -> Answer | None:
        if self._files is None or scope.method not in ("GET", "HEAD"):
            return None
        found = self._files(scope.path, scope.method, scope.headers.get)
        return found and Answer(found[0], list(found[1].items()), found[2])

    async def _other(self, path: str, method: str) -> Answer:
        routes = self._routes.get(path)
        if routes is None:
            return answer.problem(Problem(404, f"there is nothing here: events go to POST {BATCH_PATH}"))
        route = routes.get(method)
        if route is None:
            allowed = sorted({*routes, "POST"} if path == BATCH_PATH else routes)
            return answer.problem(Problem(405, f"{method} is not taken here", headers={"allow": ", ".join(allowed)}))
        return await route()

    async def _preflight(self) -> Answer:
        return Answer(204, PREFLIGHT_HEADERS, b"")

    async def _metrics(self) -> Answer:
        self._tally.flush()
        said = render() if SHARED is None else shared.render(SHARED)
        return Answer(200, [("content-type", "text/plain; version=0.0.4; charset=utf-8")], said)

    async def _healthz(self) -> Answer:
        """200 when the log can take a write. The log is asked once a second at most, off the event loop."""
        async with self._health_lock:
            if self._health is None or monotonic() - self._health[0] > HEALTH_CACHE_S:
                self._health = (monotonic(), await self._ask_log())
            return self._health[1]

    async def _ask_log(self) -> Answer:
        if self._commit is None or not self._commit.alive():
            return answer.backpressure(Backpressure("the commit thread is not running: restart the collector"))
        try:
            await asyncio.wait_for(asyncio.to_thread(self._log.healthy), HEALTH_TIMEOUT_S)
        except Backpressure as error:
            return answer.backpressure(error)
        except TimeoutError:
            return answer.backpressure(Backpressure(f"the log did not answer within {HEALTH_TIMEOUT_S:g} s"))
        except IsothermError as error:
            return answer.backpressure(Backpressure(str(error)))
        return Answer(200, [*JSON_HEADERS, ("cache-control", "no-store")], b'{"status":"ready"}')


def create(
    settings: Settings,
    log: EventLog,
    clock: Clock,
    files: Files | None = None,
    ids: KnownIds | None = None,
    dead: Callable[[], EventLog] | None = None,
) -> Collector:
    """The collector's RSGI application. `ids` is for logs that keep none; `dead` opens the log of dead letters when
    there is a first one, without it none are kept. It closes all when the server ends it."""
    return Collector(settings, log, clock, files, ids, dead)
