"""How processes report: one line per happening on standard error, for people on a terminal, JSON otherwise."""

import logging
import sys
from typing import Any

import structlog

from isotherm import __version__
from isotherm.config import Settings
from isotherm.metrics import name_build


def set_up_logs(settings: Settings, role: str) -> Any:
    """Set up structlog and the standard library's logging; returns a logger that carries the role's name."""
    name_build(__version__, role)
    people = sys.stderr.isatty()
    last: Any = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
    ]
    if not people:
        shared.append(structlog.processors.format_exc_info)
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _standard_library(level, [*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, last], role)
    return structlog.get_logger().bind(role=role)


def _standard_library(level: int, processors: list[Any], role: str) -> None:
    """Libraries' own records go the same way; below a warning they are of no use to the person who runs this."""

    def name_role(logger: Any, method: str, event: Any) -> Any:
        event["role"] = role
        return event

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[name_role, *processors]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
