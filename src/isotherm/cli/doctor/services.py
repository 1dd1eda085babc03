"""Runs the checks of services beside each other, each within a deadline, and keeps secrets out of what they say."""

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from isotherm.cli.doctor.findings import Check, Finding
from isotherm.config import SECRETS, STORES, Settings, without_password
from isotherm.errors import ConfigError

DEADLINE_S: Final = 20.0
"""For all checks together: they run at the same time. Longer than any time-out of the clients in them."""

_CHECKS: Final[dict[str, dict[str, str]]] = {
    "log": {"kafka": "kafka"},
    "dead_log": {"kafka": "dead"},
    "lake": {"s3": "s3"},
    "olap": {"clickhouse": "clickhouse", "clickhouses": "clickhouse"},
    "db": {"postgresql": "postgresql"},
    "cache": {"redis": "redis", "rediss": "redis"},
    "engine": {"spark": "spark", "spark+local": "spark", "spark+k8s": "spark"},
    "stream": {"flink": "flink"},
    "scan": {"file": "scan", "s3": "scan"},
}
"""Setting -> URL scheme -> module of this package. What is not named here needs no server."""


class _Run:
    """One check in a thread that nobody has to wait for."""

    def __init__(self, setting: str, url: str, settings: Settings) -> None:
        self._setting, self._url, self._settings = setting, url, settings
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=self._guarded, name=f"doctor {setting}", daemon=True)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            module = _CHECKS[self._setting][self._url.partition(":")[0]]
            check: Check = import_module(f"isotherm.cli.doctor.{module}").check
            for finding in check(self._settings):
                self._found.append(finding)
        except ConfigError as error:
            self._found.append(Finding(self._setting, "error", "cannot be used as it is set", str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what was found
            self._found.append(self._broken(error))

    def _broken(self, error: Exception) -> Finding:
        said = " ".join(str(error).split())[:300]
        advice = f"see whether {self._shown} is right and runs, and what its own log says"
        return Finding(self._setting, "error", f"{type(error).__name__}: {said}", advice)

    @property
    def _shown(self) -> str:
        return without_password(self._url).partition("?")[0]

    def findings(self, until: float) -> list[Finding]:
        """What it found by the moment `until`, on the monotonic clock."""
        self._thread.join(max(until - time.monotonic(), 0.0))
        found = list(self._found)
        if self._thread.is_alive():
            advice = "it takes connections and hangs, or packets to it are dropped: look at the service and firewalls"
            found.append(Finding(self._setting, "error", f"{self._shown} does not answer within the deadline", advice))
        return found


def examine_services(settings: Settings, deadline_s: float | None = None) -> Iterator[Finding]:
    """Check every service that the settings name, at the same time; takes `deadline_s` at most (20 s).

    Writes only probes, and removes them. No finding holds a password.
    """
    runs: list[_Run] = []
    for setting, url in _urls(settings):
        try:
            find_adapter(setting, url)
        except ConfigError as error:
            yield Finding(setting, "error", "cannot be used as it is set", _hidden(str(error), settings))
            continue
        if url.partition(":")[0] in _CHECKS[setting]:
            runs.append(_Run(setting, url, settings))
    until = time.monotonic() + (DEADLINE_S if deadline_s is None else deadline_s)
    for run in runs:
        for found in run.findings(until):
            yield Finding(found.check, found.grade, _hidden(found.finding, settings), _hidden(found.advice, settings))


def _urls(settings: Settings) -> Iterator[tuple[str, str]]:
    yield from ((name, settings.url(name)) for name in STORES)
    yield "dead_log", settings.for_dead_letters().url("log")
    yield "engine", settings.engine
    if settings.stream != "builtin":
        yield "stream", settings.stream
    if settings.scan:
        yield "scan", settings.scan


def find_adapter(setting: str, url: str) -> None:
    """Import what the URL's scheme needs. Raises ConfigError for an unknown one and for an extra that is missing."""
    from isotherm.adapters import adapter
    from isotherm.eventlog import port as log
    from isotherm.land import lake, scan_source
    from isotherm.rollup.engines import port as engines
    from isotherm.store import cache, db, olap

    known: dict[str, Any] = {
        "log": log.ADAPTERS, "dead_log": log.ADAPTERS, "lake": lake.ADAPTERS, "olap": olap.ADAPTERS, "db": db.ADAPTERS,
        "cache": cache.ADAPTERS, "engine": engines.ADAPTERS, "scan": scan_source.ADAPTERS,
    }  # fmt: skip
    if setting == "stream":
        if not url.startswith("flink://"):
            raise ConfigError(f"stream: {without_password(url)!r} is not usable; known: builtin, flink://host:port")
    else:
        adapter(setting, url, known[setting])  # pyright: ignore[reportArgumentType] - one of the names it takes


def _hidden(text: str, settings: Settings) -> str:
    """The text without any of our secrets, whatever a client put into its error."""
    for secret in sorted(_secrets(settings), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(settings: Settings) -> set[str]:
    found: set[str] = set()
    for name in SECRETS:
        value = getattr(settings, name)
        options = value.items() if isinstance(value, dict) else [(name, value)]
        found |= {str(text) for key, text in options if isinstance(value, str) or _names_a_secret(str(key))}
    for name in STORES:
        parts = urlsplit(settings.url(name))
        if "@" in parts.netloc and parts.password:
            found |= {parts.password, unquote(parts.password)}
    return {secret for secret in found if secret}


def _names_a_secret(option: str) -> bool:
    return any(word in option.lower() for word in ("password", "secret", "token", "key", "jaas"))
