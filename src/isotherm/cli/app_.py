"""`isotherm app`, which `isotherm up` starts: query API, lander, scheduler and live windows in one process.

It is the one owner of the chDB folder. Hidden from the help: people start `up`, or the roles one by one.
"""

import asyncio
import os
import socket
import time
from functools import partial
from typing import Annotated, Any, Final

import msgspec
import uvicorn
from cyclopts import Parameter

from isotherm.cli.checks import check_exposure
from isotherm.cli.jobs import (
    backfill_job,
    find_job,
    find_unlanded,
    nightly,
    retention_job,
    serving_facts,
    status_facts,
    verify_job,
)
from isotherm.cli.logs import set_up_logs
from isotherm.cli.measure import Measures
from isotherm.cli.options import Everything
from isotherm.cli.processes import claim, die_with_parent, make_folder, url_of
from isotherm.cli.reach import ask_collector
from isotherm.cli.roles import Parts, Workers, stop_signals
from isotherm.config import Settings
from isotherm.serve.app import create_app
from isotherm.serve.deps import Deps
from isotherm.view import routes as view

DRAIN_SECONDS: Final = 15.0


def command(
    settings: Everything | None = None,
    *,
    parent: Annotated[int, Parameter(help="End when this process, our parent, ends.")] = 0,
) -> int:
    """Query API, lander, scheduler and live windows in one process; what `isotherm up` starts beside the collector."""
    if parent:
        die_with_parent(parent)
    chosen = (settings or Everything()).settings()
    return run_app(chosen, "app", with_jobs=True, supervised=bool(parent))


def run_app(settings: Settings, role: str, *, with_jobs: bool, supervised: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; `with_jobs` adds lander, scheduler and live windows. Returns the exit code."""
    check_exposure(settings, app=True, collector=False)
    make_folder(settings.data)
    logger = set_up_logs(settings, role)
    listening = claim(settings.host, settings.port, "port")
    address = url_of(settings.host, listening.getsockname()[1])
    with Parts(settings) as parts:
        parts.measures = Measures(parts, log=with_jobs, tiles=True)
        server = _server(parts, with_jobs=with_jobs)
        workers = Workers(logger, lambda: _ask(server))
        with stop_signals(lambda: _ask(server), ignore_interrupt=supervised):
            try:
                if with_jobs:
                    _start_jobs(parts, workers)
                workers.start("measures", parts.measures.run)
                logger.info("serving", url=address, pid=os.getpid())
                _serve(server, listening)
                logger.info("stopping")
            finally:
                # Before the stores are closed, which they work on.
                stopped = workers.join()
            if with_jobs and not workers.broken:
                _drain(parts, logger)
        logger.info("stopped")
    if not stopped:
        logger.error("a thread did not stop in time")
    return 1 if workers.broken or not stopped else 0


def _server(parts: Parts, *, with_jobs: bool) -> uvicorn.Server:
    told: dict[str, Any] = {"status": partial(_facts_of_serving, parts)}
    if with_jobs:
        told = {"status": partial(_facts, parts)}
        # A sink holds what it has read by itself: how much of a client that is, nobody can ask it.
        told |= {} if parts.settings.scan else {"unlanded": find_unlanded(parts)}
    deps = Deps(
        settings=parts.settings,
        engine=parts.engine,
        olap=parts.olap,
        clock=parts.clock,
        cache=parts.cache,
        answers=parts.answers,
        backfill=backfill_job(parts),
        verify=verify_job(parts),
        find=find_job(parts),
        dead=parts.letters,
        retention=retention_job(parts),
        **told,
    )
    config = uvicorn.Config(
        create_app(deps, view.more(parts.settings)),
        log_config=None,
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def _facts(parts: Parts) -> dict[str, Any]:
    measured = parts.measures.facts()
    collector = msgspec.to_builtins(ask_collector(parts.settings))
    facts: dict[str, Any] = status_facts(parts) | measured | {"collector": collector}
    if parts.settings.scan:
        facts["lander"]["oldest_unlanded_ms"] = parts.measures.waits_ms
    return facts


def _facts_of_serving(parts: Parts) -> dict[str, Any]:
    return serving_facts(parts) | parts.measures.facts()


def _start_jobs(parts: Parts, workers: Workers) -> None:
    """All are made before one is started: what refuses to start ends the process at once.

    What the tile store lost while it opened is marked before anybody can ask for it.
    """
    parts.scheduler.jobs.mender.mend(thorough=False)
    jobs = {
        "lander": parts.scanner.run if parts.settings.scan else parts.lander.run,
        "scheduler": parts.scheduler.run,
        "verify": nightly(parts).run,
        "stream": parts.stream.run,
    }
    for name, run in jobs.items():
        workers.start(name, run)


def _drain(parts: Parts, logger: Any) -> None:
    """Land what the log still holds, as long as a supervisor may wait; the rest lands after the next start."""
    if parts.settings.scan:
        return
    deadline = time.monotonic() + DRAIN_SECONDS
    while (lag := parts.lander.status().lag) and time.monotonic() < deadline:
        parts.lander.step(force=True)
    if lag:
        logger.warning("records are left on the log; they are landed after the next start", records=lag)


def _ask(server: uvicorn.Server) -> None:
    server.should_exit = True


def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """uvicorn without its own signal handling, which would raise the signal again after a clean stop."""
    listening.listen(2048)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with runner:
        # `_serve` is `serve` without capture_signals.
        runner.run(server._serve([listening]))  # pyright: ignore[reportPrivateUsage]


def _loop_factory() -> Any:
    import uvloop

    return uvloop.new_event_loop
