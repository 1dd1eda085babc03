"""The job on Flink: found by its name, submitted when there is none, started from its savepoint when it changed.

What must be known of it stands in its name. A job that Flink still knows goes on from its savepoint or last
checkpoint, and from its floor; one that is lost with its cluster starts from the log.
"""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from msgspec import Struct

from isotherm.clock import HOUR_MS, Clock
from isotherm.rollup.engines.flink.gateway import FlinkError, Session
from isotherm.rollup.engines.flink.sql import Job, floor_of
from isotherm.rollup.windows.begin import Begin
from isotherm.rollup.windows.rule import exact_from

START_S: Final = 120.0
OLD_MS: Final = 20 * HOUR_MS
"""An older checkpoint may have lost ids and counts to their time to live: the log is the better start."""
_ENDED: Final = frozenset({"FINISHED", "FAILED", "CANCELED"})
_ENDING: Final = frozenset({"FAILING", "CANCELLING"})
_LOOKS: Final = 2
"""A job recovers by itself: only when it is looked at more often than this and never runs is that an error."""
_POLL_S: Final = 0.5
_ASK_S: Final = 5.0

_log = structlog.get_logger("isotherm.stream")


class Known(Struct, frozen=True):
    """A job of this deployment as Flink lists it."""

    id: str
    name: str
    status: str
    started: str

    def is_of(self, job: Job) -> bool:
        return self.name == job.name or self.name.startswith(f"{job.name}.")


class Past(Struct, frozen=True):
    """Where a job can go on: a savepoint or checkpoint, and the floor of the job that made it."""

    path: str
    floor: int


class FlinkJob:
    """One deployment's job. `begin` says where a job without a past starts."""

    def __init__(self, url: str, job: Job, begin: Callable[[], Begin], clock: Clock) -> None:
        self._url = url
        self._job = job
        self._begin = begin
        self._clock = clock
        self._looks = 0
        self.floor = 0
        """Start (ms) of the first window that the job counts, as far as it was looked at."""

    def ensure(self, *, restart: bool = False) -> str:
        """Have exactly this job running; returns a line that says what was done. Raises FlinkError.

        Call it from one process at a time.
        """
        with Session(self._url, self._job.secrets) as session:
            known = self._known(session)
            live = [one for one in known if one.status not in _ENDED]
            ending = [one for one in live if one.status in _ENDING]
            if ending:
                return self._wait_for(session, ending[0], ending[0].status)
            same = [one for one in live if one.is_of(self._job)]
            if same and not restart:
                _stop_all(session, [one for one in live if one is not same[0]])
                return self._look_at(session, same[0])
            saved = _stop_all(session, live)
            past = saved or self._checkpoint(session, known)
            return self._start(session, past)

    def _look_at(self, session: Session, one: Known) -> str:
        self.floor = floor_of(one.name)
        if one.status != "RUNNING":
            return self._wait_for(session, one, one.status)
        # A job whose tasks find no machine runs by its own word.
        counts = (_rest(session, f"/jobs/{one.id}") or {}).get("status-counts", {})
        waiting = [state for state, tasks in counts.items() if tasks and state not in ("RUNNING", "FINISHED")]
        if waiting:
            return self._wait_for(session, one, f"RUNNING, but tasks of it are {waiting[0]}")
        self._looks = 0
        return f"job {one.id} runs"

    def _wait_for(self, session: Session, one: Known, status: str) -> str:
        """Give it some time. Raises FlinkError when it has had that."""
        self._looks += 1
        if self._looks <= _LOOKS:
            return f"job {one.id} is {status}"
        why = _why(session, one.id)
        raise FlinkError(f"job {one.id} is {status} and counts nothing: {why}; see Flink's dashboard")

    def _known(self, session: Session) -> list[Known]:
        found = [Known(*map(str, row[:4])) for row in session.run("SHOW JOBS")]
        ours = [one for one in found if one.name.startswith(f"{self._job.family}-")]
        return sorted(ours, key=lambda one: one.started, reverse=True)

    def _start(self, session: Session, past: Past | None) -> str:
        if past is not None:
            try:
                started = self._submit(session, past)
            except FlinkError as error:
                _log.warning(
                    "the job cannot start from its past; it starts from the log", path=past.path, why=str(error)
                )
            else:
                return f"job {started} goes on from {past.path}"
        return f"job {self._submit(session, None)} starts from the log"

    def _submit(self, session: Session, past: Past | None) -> str:
        if past is None:
            begin = self._begin()
            since, floor, path = begin.since, max(begin.floor, exact_from(begin.since)), ""
        else:
            since, floor, path = 0, past.floor, past.path
        (started,) = self._run(session, self._job.statements(since=since, exact_from=floor, recover_from=path))
        self._await(session, started)
        self.floor, self._looks = floor, 0
        return started

    def _run(self, session: Session, statements: list[str]) -> list[str]:
        rows: list[list[Any]] = []
        for statement in ("RESET", *_drops(statements), *statements):
            rows = session.run(statement)
        return [str(row[0]) for row in rows]

    def _await(self, session: Session, started: str) -> None:
        """Return when the job runs. Raises FlinkError when it failed."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            (status,) = [one.status for one in self._known(session) if one.id == started] or ["CREATED"]
            if status == "RUNNING":
                return
            if status in _ENDED | _ENDING:
                why = _why(session, started)
                raise FlinkError(f"Flink gave up job {started} ({status.lower()}): {why}")
            time.sleep(_POLL_S)
        raise FlinkError(f"job {started} does not start within {START_S:g} s; does the cluster have free slots?")

    def _checkpoint(self, session: Session, known: list[Known]) -> Past | None:
        """The last savepoint or checkpoint of the newest job that has one, if Flink still tells."""
        oldest = self._clock.now_ms() - OLD_MS
        for one in known:
            latest = (_rest(session, f"/jobs/{one.id}/checkpoints") or {}).get("latest", {})
            made = [latest[kind] for kind in ("savepoint", "completed") if latest.get(kind)]
            if made:
                newest = max(made, key=lambda checkpoint: checkpoint["trigger_timestamp"])
                if newest["trigger_timestamp"] < oldest:
                    return None
                return Past(newest["external_path"], floor_of(one.name))
        return None


def _stop_all(session: Session, jobs: list[Known]) -> Past | None:
    """Stop jobs, each with a savepoint; returns that of the first, which is the newest.

    One that cannot make a savepoint is cancelled: its last checkpoint stays.
    """
    saved: list[Past] = []
    for one in jobs:
        try:
            rows = session.run(f"STOP JOB '{one.id}' WITH SAVEPOINT")
            saved += [Past(str(row[0]), floor_of(one.name)) for row in rows]
        except FlinkError as error:
            _log.warning("a job could not be stopped with a savepoint; it is cancelled", job=one.id, why=str(error))
            session.run(f"STOP JOB '{one.id}'")
    return saved[0] if saved else None


def _drops(statements: list[str]) -> list[str]:
    """What makes room for tables and views of an earlier try in the same session."""
    heads = [statement.split("`")[:2] for statement in statements if statement.startswith("CREATE TEMPORARY")]
    return [f"DROP TEMPORARY {head.split()[2]} IF EXISTS `{name}`" for head, name in reversed(heads)]


def _why(session: Session, job: str) -> str:
    told = _rest(session, f"/jobs/{job}/exceptions") or {}
    entries = told.get("exceptionHistory", {}).get("entries") or [{}]
    text = str(entries[0].get("stacktrace", ""))
    causes = [line for line in text.splitlines() if line.startswith("Caused by: ")]
    return session.hidden(
        (causes or text.splitlines() or ["it tells of no exception; are there task managers with free slots?"])[-1]
    )


def _rest(session: Session, path: str) -> dict[str, Any] | None:
    """What the job manager says, where its address is known and can be reached from here; only the past depends
    on it."""
    settings = session.settings()
    host, port = settings.get("rest.address"), settings.get("rest.port", "8081")
    if not host:
        return None
    connection = http.client.HTTPConnection(host, int(port), timeout=_ASK_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read()
        return json.loads(said) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        _log.info("the job manager does not tell about earlier checkpoints", address=f"{host}:{port}", why=str(error))
        return None
    finally:
        connection.close()
