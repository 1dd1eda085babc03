"""JSON over HTTP, for the readiness checks and the control of servers under test."""

import json
from typing import Any
from urllib.request import Request, urlopen


def ask(url: str, body: object = None, *, method: str | None = None, seconds: float = 10) -> Any:
    """The decoded JSON answer; `body` is sent as JSON. HTTPError and URLError as urllib raises them."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"content-type": "application/json"}, method=method)
    with urlopen(request, timeout=seconds) as response:
        said = response.read()
    return json.loads(said) if said else None
