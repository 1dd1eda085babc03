"""Flink's SQL gateway over its REST interface (v1): one session, statements one after the other.

The gateway answers a failed statement with HTTP 500 and a stack trace; what a person needs is the last cause in it.
"""

import http.client
import json
import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from isotherm.errors import ConfigError, IsothermError

ASK_S: Final = 20.0
STATEMENT_S: Final = 180.0
_POLL_S: Final = 0.1
_CAUSE: Final = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]*(?:Exception|Error): (.+)$", re.MULTILINE)
_DONE: Final = frozenset({"FINISHED", "ERROR", "CANCELED", "TIMEOUT", "CLOSED"})


class FlinkError(IsothermError):
    """Flink refuses, or cannot be reached; the message says why."""


class Session:
    """A session of the gateway at flink://host:port; a context manager that closes it.

    `secrets` are texts that no message may show.
    """

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        parts = urlsplit(url)
        if parts.scheme != "flink" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ConfigError(f"stream: {url!r} is not usable; write flink://host:port of Flink's SQL gateway")
        self._host, self._port = parts.hostname, parts.port
        self._handle = ""
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def __enter__(self) -> Self:
        self._handle = self._ask("POST", "/v1/sessions", {"sessionName": "isotherm"})["sessionHandle"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._ask("DELETE", f"/v1/sessions/{self._handle}")
        except FlinkError:
            # It ends by itself; what happened inside is what matters.
            return

    def settings(self) -> dict[str, str]:
        """The settings of Flink as the gateway has them."""
        return self._ask("GET", f"/v1/sessions/{self._handle}")["properties"]

    def run(self, statement: str) -> list[list[Any]]:
        """Run a statement; returns its rows. Raises FlinkError with the cause, never with the statement."""
        here = f"/v1/sessions/{self._handle}"
        operation = self._ask("POST", f"{here}/statements", {"statement": statement})["operationHandle"]
        here = f"{here}/operations/{operation}"
        end = time.monotonic() + STATEMENT_S
        while self._ask("GET", f"{here}/status")["status"] not in _DONE:
            if time.monotonic() > end:
                raise FlinkError(f"{self._where} is still at a statement after {STATEMENT_S:g} s; see its log")
            time.sleep(_POLL_S)
        rows: list[list[Any]] = []
        following: str | None = f"{here}/result/0?rowFormat=JSON"
        while following:
            answer = self._ask("GET", following)
            rows += [row["fields"] for row in answer["results"].get("data", ())]
            following = answer.get("nextResultUri")
            if answer["resultType"] == "NOT_READY":
                time.sleep(_POLL_S)
        self._ask("DELETE", f"{here}/close")
        return rows

    @property
    def _where(self) -> str:
        return f"Flink's SQL gateway at {self._host}:{self._port}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ASK_S)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise FlinkError(f"{self._where} does not answer ({error}); check `stream`, and that it runs") from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise FlinkError(f"{self._where}: {self.hidden(cause(said))}")
        return json.loads(said) if said else None

    def hidden(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def cause(said: bytes) -> str:
    """The last cause in the gateway's answer, in one line."""
    try:
        errors: list[str] = json.loads(said)["errors"]
    except (ValueError, KeyError, TypeError):
        return said.decode("utf-8", "replace")[:300] or "no reason given"
    text = "\n".join(errors)
    found = _CAUSE.findall(text)
    return str(found[-1]).strip() if found else text.strip().splitlines()[-1][:300]
