"""The OpenAPI document, and a page that shows it without asking any other host."""

from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar import Request, Response, get

from isotherm.serve.answer import answer
from isotherm.serve.deps import NamedDocument
from isotherm.serve.more import OPEN

_FOLDER: Final = files("isotherm.serve") / "docs"
_FILES: Final = {
    "/docs": ("index.html", "text/html"),
    "/docs/docs.css": ("docs.css", "text/css"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
}


@get("/v1/openapi.json", sync_to_thread=True, include_in_schema=False)
def openapi(request: Request[Any, Any, Any], document: NamedDocument) -> Response[bytes]:
    """This API as an OpenAPI 3.1 document."""
    return answer(request, lambda _: msgspec.json.encode(document))


@get(list(_FILES), sync_to_thread=False, include_in_schema=False, opt={OPEN: True})
def docs(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The documentation page and its two files."""
    name, media_type = _FILES[request.url.path.rstrip("/")]
    headers = {"cache-control": "no-cache"}
    return Response(_content(name), media_type=media_type, headers=headers)


@cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
