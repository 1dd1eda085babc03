"""Content codings and media types: from the bytes of a request to its JSON text, within a size limit."""

import zlib
from collections.abc import Callable
from typing import Final

import brotli
from backports import zstd

from isotherm.errors import Problem
from isotherm.events import MAX_BODY_BYTES

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_WINDOW_LOG: Final = 23
"""8 MiB, the window that RFC 8878 asks every decoder to support; more would let a sender choose our memory."""

_CONTENT_TYPES: Final = frozenset({"application/json", "text/plain"})
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_READY: Final = frozenset({None, "", "application/json", "text/plain", "text/plain;charset=UTF-8"})
"""Content types as browsers send them, found without parsing."""

too_large: Final = "the body is larger than 512 KiB (before or after decompression): send fewer events in one request"


def check_content_type(value: str | None) -> None:
    """Raise Problem 415 unless the type is JSON or plain text in UTF-8, or absent."""
    if value in _READY:
        return
    media, _, parameters = str(value).partition(";")
    if media.strip().lower() not in _CONTENT_TYPES:
        raise Problem(415, f"content-type {media.strip()[:80]!r} is not taken: send application/json or text/plain")
    for parameter in parameters.split(";"):
        name, _, text = parameter.partition("=")
        if name.strip().lower() == "charset" and text.strip().strip('"').lower() not in _CHARSETS:
            raise Problem(415, f"charset {text.strip()[:40]!r} is not taken: send UTF-8")


def coding_of(value: str | None) -> str:
    """The one content coding of the request, `identity` when there is none; Problem 415 otherwise."""
    if not value:
        return "identity"
    layers = [layer.strip().lower() for layer in value.split(",")]
    named = [layer for layer in layers if layer not in ("", "identity")]
    if not named:
        return "identity"
    if len(named) > 1 or named[0] not in _CODINGS:
        raise Problem(415, f"content-encoding {value[:80]!r} is not taken: use one of {', '.join(sorted(_CODINGS))}")
    return named[0]


def json_text(body: bytes, content_encoding: str | None) -> bytes:
    """The request's JSON text, at most MAX_BODY_BYTES.

    A body that starts like gzip is unpacked without a Content-Encoding: a beacon cannot set one, and no JSON text
    starts so. Bytes after the compressed stream, further gzip members among them, are refused.
    Raises Problem 400 (broken stream), 413 (too large) or 415 (unknown coding).
    """
    coding = coding_of(content_encoding)
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, too_large)
    if coding == "identity":
        if not body.startswith(GZIP_MAGIC):
            return body
        coding = "gzip"
    if not body:
        raise Problem(400, f"the body is empty, content-encoding says {coding}")
    return _CODINGS[coding](body)


def _broken(coding: str, why: str) -> Problem:
    return Problem(400, f"the body is not one whole {coding} stream ({why})")


def _inflate(body: bytes, wbits: int, coding: str) -> bytes:
    stream = zlib.decompressobj(wbits)
    try:
        text = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise _broken(coding, str(error)) from None
    return _whole(text, stream.eof, stream.unused_data, coding)


def _whole(text: bytes, ended: bool, rest: bytes, coding: str) -> bytes:
    if len(text) > MAX_BODY_BYTES:
        raise Problem(413, too_large)
    if not ended:
        raise _broken(coding, "it is cut off")
    if rest:
        raise _broken(coding, f"{len(rest)} bytes follow its end")
    return text


def _gzip(body: bytes) -> bytes:
    return _inflate(body, 31, "gzip")


def _deflate(body: bytes) -> bytes:
    """RFC 9110 means zlib by "deflate"; some senders mean the bare stream. The zlib header tells them apart."""
    zlib_header = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflate(body, 15 if zlib_header else -15, "deflate")


def _brotli(body: bytes) -> bytes:
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    data = body
    try:
        while size <= MAX_BODY_BYTES and not stream.is_finished():
            part = stream.process(data, output_buffer_limit=MAX_BODY_BYTES + 1 - size)
            if not part and stream.can_accept_more_data():
                break
            data = b""
            parts.append(part)
            size += len(part)
    except brotli.error as error:
        raise _broken("br", str(error)) from None
    return _whole(b"".join(parts), size > MAX_BODY_BYTES or stream.is_finished(), b"", "br")


def _zstd(body: bytes) -> bytes:
    stream = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})
    try:
        text = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zstd.ZstdError as error:
        raise _broken("zstd", str(error)) from None
    return _whole(text, stream.eof, stream.unused_data, "zstd")


_CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
