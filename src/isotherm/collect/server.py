"""Runs the collector: granian workers on the collector's port, until SIGTERM or SIGINT."""

import ctypes
import errno
import gc
import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

from isotherm import __version__
from isotherm.clock import SystemClock
from isotherm.collect import shared
from isotherm.collect.app import Collector, create
from isotherm.collect.known import KnownIds
from isotherm.config import Settings, is_loopback
from isotherm.errors import ConfigError
from isotherm.eventlog.port import open_dead_log, open_log
from isotherm.metrics import name_build
from isotherm.store.cache import open_cache

SETTINGS_VARIABLE: Final = "_ISOTHERM_COLLECTOR"
"""How the settings reach the workers: JSON of {"parent": process id, "settings": {...}, "files": name or null}."""

CONNECTIONS: Final = 2_048
"""Open connections per worker; more wait in the listen queue."""
HEADER_TIMEOUT_MS: Final = 10_000
DRAIN_S: Final = 20
"""A worker that has not answered its last requests by then is killed; what it acknowledged is on disk."""
_PR_SET_PDEATHSIG: Final = 1
SWITCH_S: Final = 0.000_5
"""How long the event loop may keep the interpreter while the commit thread wants it; Python's default of 5 ms is as
long as several commits."""
COLLECT_AFTER: Final = (50_000, 50, 100)
"""Garbage collection thresholds. Requests leave no cycles behind, and walking all objects stalls all requests."""


def run(settings: Settings, files: str | None = None) -> None:
    """Serve on `collect_host`:`collect_port` with `collect_workers` processes; blocks until told to stop.

    `files` is what is handed out beside taking events: the name (`package.module:name`) of something that each
    worker calls once for its `Files`. Port 0 takes a free port. Raises ConfigError when the address may not or
    cannot be used, or the log at scale cannot. Leaves by SystemExit when workers keep dying.
    """
    check_address(settings)
    host = "127.0.0.1" if settings.collect_host == "localhost" else settings.collect_host
    port = _free_port(host, settings.collect_port)
    _check_log(settings)
    handed = {"parent": os.getpid(), "settings": settings.model_dump(mode="json"), "files": files}
    os.environ[SETTINGS_VARIABLE] = json.dumps(handed)
    structlog.get_logger("isotherm.collect").info("collector starts", host=host, port=port, pid=os.getpid())
    with _counting_together(settings):
        _server(settings, host, port).serve()


@contextmanager
def _counting_together(settings: Settings) -> Generator[None]:
    """Several processes on one port tell their metrics as one. Raises ConfigError when there is no place for that."""
    if settings.collect_workers == 1:
        yield
        return
    # A process that is forked off has its metrics already, in its own memory.
    multiprocessing.set_start_method("spawn", force=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(shared.folder(settings.data.absolute()))
        except OSError as error:
            raise ConfigError(
                f"collect_workers: the workers' metrics find no place ({error}); make /dev/shm or the data folder "
                "writable, or set collect_workers to 1"
            ) from error
        yield


def _server(settings: Settings, host: str, port: int) -> Any:
    return Granian(
        f"{__name__}:build",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=settings.collect_workers,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop if sys.platform != "win32" else Loops.auto,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        websockets=False,
        backlog=4_096,
        backpressure=CONNECTIONS,
        log_level=LogLevels(settings.log_level),
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_S,
    )


def _check_log(settings: Settings) -> None:
    """Say what is wrong with a log at scale before workers start that would say it again and again."""
    if urlsplit(settings.url("log")).scheme not in ("memory", "lmdb"):
        open_log(settings, SystemClock()).close()


def check_address(settings: Settings) -> None:
    """Without declared clients anyone could write: then the collector stays on this machine. Raises ConfigError."""
    if not settings.clients and not is_loopback(settings.collect_host):
        raise ConfigError(
            f"collect_host: {settings.collect_host} can be reached from other machines and `clients` is empty, so "
            "anyone could write; list the client ids that may send in `clients` (ISOTHERM_CLIENTS=shop,blog), or set "
            "collect_host to 127.0.0.1"
        )


def _free_port(host: str, port: int) -> int:
    """The port to use. granian's workers share their port, so one that is taken would not show by itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"collect_port: {port} is in use on {host}; stop what listens there or set another collect_port"
                ) from None
            raise ConfigError(f"collect_host: cannot listen on {host}:{port} ({error.strerror})") from None
        return int(probe.getsockname()[1])


def build() -> Collector:
    """One worker's application; granian calls it in the worker process."""
    handed = json.loads(os.environ[SETTINGS_VARIABLE])
    die_with_parent(handed["parent"])
    settings = Settings(**handed["settings"])
    if not structlog.is_configured():
        _set_up_log(settings.log_level)
    name_build(__version__, "collect")
    _calm_the_interpreter()
    clock = SystemClock()
    files = pkgutil.resolve_name(handed["files"])() if handed["files"] else None
    log = open_log(settings, clock)
    ids = None if log.knows_ids else KnownIds(log, open_cache(settings, clock))
    return create(settings, log, clock, files, ids, partial(open_dead_log, settings, clock))


def _calm_the_interpreter() -> None:
    """Settings of this process for many small requests and one thread that commits them."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _name_role(logger: Any, method: str, line: Any) -> Any:
    line["role"] = "collect"
    return line


def _set_up_log(level: str) -> None:
    """One line of JSON per entry. Plain tracebacks: the pretty ones take 50 ms each, on the event loop."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        processors=[
            _name_role,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux); leave at once if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the collector's main process is gone")
