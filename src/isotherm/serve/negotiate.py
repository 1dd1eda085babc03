"""What the caller can read: the media type by Accept, and gzip by Accept-Encoding."""

import zlib
from typing import Any, Final, Literal

from litestar import Request

from isotherm.errors import Problem

Form = Literal["json", "arrow"]
JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
GZIP_LEVEL: Final = 1
GZIP_MIN_BYTES: Final = 1_024


def form_of(request: Request[Any, Any, Any]) -> Form:
    """JSON unless Arrow is preferred. Raises Problem 406 when neither is acceptable."""
    accept = request.headers.get("accept") or "*/*"
    json, arrow = _quality(accept, JSON), _quality(accept, ARROW)
    if not json and not arrow:
        raise Problem(406, f"answers come as {JSON} or {ARROW}; name one of them in Accept")
    return "arrow" if arrow > json else "json"


def takes_gzip(request: Request[Any, Any, Any]) -> bool:
    """Whether Accept-Encoding allows gzip."""
    return _weights(request.headers.get("accept-encoding", "")).get("gzip", 0.0) > 0


def names(accept: str, media_type: str) -> bool:
    """Whether Accept asks for this very type; a wildcard does not."""
    return _weights(accept).get(media_type, 0.0) > 0


def gzip(body: bytes) -> bytes:
    """The body as one gzip member, the same bytes for the same body."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _quality(accept: str, media_type: str) -> float:
    weights = _weights(accept)
    main = media_type.split("/")[0]
    for candidate in (media_type, f"{main}/*", "*/*"):
        if candidate in weights:
            # Among equals the more specific range wins, so that "arrow, */*" gives Arrow.
            return weights[candidate] and weights[candidate] + (0.0001 if candidate == media_type else 0.0)
    return 0.0


def _weights(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name:
            found[name] = _weight(parameters)
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
