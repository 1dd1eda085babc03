"""From a body to an HTTP answer: strong ETag, 304, gzip, and the headers every answer about data carries."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec
import pyarrow as pa
from litestar import Request, Response

from isotherm.serve.cells import arrow_stream
from isotherm.serve.kept import kept
from isotherm.serve.negotiate import ARROW, GZIP_MIN_BYTES, JSON, Form, form_of, gzip, takes_gzip
from isotherm.store.cache import Cache

_REVALIDATE: Final = "private, no-cache"
_VARY: Final = "Accept, Accept-Encoding"
_GZIP: Final = b"\x1f\x8b"
"""How a gzip member starts, and neither JSON nor an Arrow stream does."""

AnyRequest = Request[Any, Any, Any]


def answer(
    request: AnyRequest,
    build: Callable[[Form], bytes],
    *,
    identity: Any = None,
    headers: Mapping[str, str] | None = None,
    cache: Cache | None = None,
) -> Response[bytes]:
    """Answer with what `build` makes in the form the caller reads, or 304 when the caller has it already.

    `identity` is JSON-encodable and says all that the answer depends on: the ETag then comes from it, a 304 builds
    nothing, and what is in `cache` is not built again. Without it the ETag comes from the body. Raises Problem 406.
    """
    form = form_of(request)
    packed = takes_gzip(request)
    body = build(form) if identity is None else None
    seed = body if body is not None else msgspec.json.encode((request.url.path, identity))
    # Each representation has its own tag: a strong one stands for the bytes on the wire.
    digest = f"{blake2b(seed, digest_size=16).hexdigest()}-{form}{'-gzip' if packed else ''}"
    common = {**(headers or {}), "etag": f'"{digest}"', "cache-control": _REVALIDATE, "vary": _VARY}
    if has(request, common["etag"]):
        return Response(b"", status_code=304, headers=common, media_type=_media_type(form))
    content = kept(cache, digest, lambda: _wire(build(form), packed)) if body is None else _wire(body, packed)
    if content.startswith(_GZIP):
        common["content-encoding"] = "gzip"
    return Response(content, headers=common, media_type=_media_type(form))


def _wire(body: bytes, packed: bool) -> bytes:
    return gzip(body) if packed and len(body) >= GZIP_MIN_BYTES else body


def listing(request: AnyRequest, name: str, rows: pa.Table, members: Mapping[str, Any]) -> Response[bytes]:
    """Answer with a table: its rows under `name` in JSON, as the table itself in Arrow."""

    def build(form: Form) -> bytes:
        if form == "arrow":
            return arrow_stream(rows, members)
        return msgspec.json.encode({**members, name: rows.to_pylist(maps_as_pydicts="strict")})

    return answer(request, build)


def _media_type(form: Form) -> str:
    return ARROW if form == "arrow" else JSON


def has(request: AnyRequest, tag: str) -> bool:
    """Whether the caller says that it holds the answer with this ETag."""
    held = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in held
