"""Speaks to the app that runs on a data folder."""

import http.client
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from isotherm.cli.processes import read_running
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.events import client_id_ok

_TIMEOUT: Final = 60.0
_JOB_TIMEOUT: Final = 24 * 3600.0


class AppClient:
    """The query and admin API of one app. Every method raises IsothermError with the app's own explanation."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, *, accept: str = "application/json", **query: Any) -> bytes:
        """The body of GET `path`; query parameters that are None are left out."""
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        target = f"{path}?{urlencode(given, doseq=True)}" if given else path
        with self._answer("GET", target, None, {"accept": accept}, _TIMEOUT) as response:
            return response.read()

    def get_json(self, path: str, **query: Any) -> Any:
        """The decoded JSON body of GET `path`."""
        return json.loads(self.get(path, **query))

    def put(self, path: str, content: bytes, media_type: str, **query: Any) -> Any:
        """The decoded JSON answer to PUT `path` with this body."""
        with self._answer(
            "PUT", f"{path}?{urlencode(query)}", content, {"content-type": media_type}, _TIMEOUT
        ) as answer:
            return json.loads(answer.read())

    def steps(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """POST `body` and yield the JSON object of each line as it comes; closing the iterator stops the job."""
        content = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        with self._answer("POST", path, content, {"content-type": "application/json"}, _JOB_TIMEOUT) as response:
            for line in response:
                step = json.loads(line)
                if "error" in step:
                    raise IsothermError(f"{self.url}: {step['error'].get('detail', step['error'])}")
                yield step

    @contextmanager
    def _answer(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> Generator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout)
        try:
            connection.request(method, target, body, {**self._headers, **headers})
            response = connection.getresponse()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise IsothermError(self._explained(response.status, response.read()))
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise IsothermError(
                f"{self.url} does not answer ({error or type(error).__name__}); it may be restarting, try again"
            ) from None
        finally:
            connection.close()

    def _explained(self, status: int, content: bytes) -> str:
        if status == HTTPStatus.UNAUTHORIZED:
            return f"{self.url} asks for its token: set ISOTHERM_TOKEN, --token or `token` in isotherm.toml"
        try:
            detail = json.loads(content)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = content[:300].decode(errors="replace")
        return f"{self.url} answers {status}: {detail}"


def running_app(settings: Settings) -> AppClient | None:
    """The app of the `isotherm up` on this data folder, or None when none runs."""
    running = read_running(settings.data)
    return None if running is None else AppClient(running.app, settings.token)


def require_client_id(client: str | None) -> None:
    """Raises IsothermError for what is no client id; None, which stands for all clients, is fine."""
    if client is not None and not client_id_ok(client):
        raise IsothermError(f"--client {client}: is not a client id ([A-Za-z0-9][A-Za-z0-9._-]{{0,63}})")


def require_data(settings: Settings) -> None:
    """Raise IsothermError when there is no data folder: a reading command makes none."""
    if not settings.data.is_dir():
        raise IsothermError(
            f"{settings.data.absolute()}: no such data folder. Name the right one with --data, or start with "
            f"`isotherm up --data {settings.data}`."
        )
