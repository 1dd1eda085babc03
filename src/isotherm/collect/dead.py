"""Dead letters: what could not be accepted or landed for reasons that may be ours, whole, with why.

A letter is one record of a log of its own. It holds the bytes as they came, so that they can be sent through the same
door again once the reason is gone.
"""

import base64
import re
from hashlib import blake2b
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from backports import zstd
from msgspec import Struct

from isotherm.collect.decode import json_text
from isotherm.collect.request import Request
from isotherm.collect.shapes import BATCH_FIELDS, encode
from isotherm.collect.steps import skew_ms
from isotherm.errors import DropReason, Problem, Unusable
from isotherm.eventlog.port import Record
from isotherm.events import client_id_ok

Stage = Literal["collect", "land", "scan"]
Encoding = Literal["text", "base64", "base64+zstd"]

VERSION: Final = 1
AT_THE_DOOR: Final[dict[str, str]] = {
    "unreadable": "the body cannot be unpacked, or is no JSON in UTF-8",
    "no_batch": "the body is JSON, and not a batch of the contract",
    **{
        reason.value: "an event of the batch was rejected so; the others were accepted"
        for reason in DropReason
        if reason not in (DropReason.TOO_OLD, DropReason.TOO_FAR_AHEAD)
    },
}
BEHIND_THE_LOG: Final[dict[str, str]] = {
    "unusable": "a record of the log that is no envelope of the strict form",
    "lander_error": "a record that landing failed at",
}
REASONS: Final[dict[str, str]] = AT_THE_DOOR | BEHIND_THE_LOG
"""Why a letter is one. Closed: what is too old, too far ahead, too large or of an undeclared client is none.

The stage collect has the first ones, land and scan the others.
"""

_REFUSED: Final = {400: "unreadable", 422: "no_batch"}
_NOT_OURS: Final = frozenset({DropReason.TOO_OLD, DropReason.TOO_FAR_AHEAD})
_PLAIN_HEADERS: Final = ("content-type", "content-encoding")
_HEADER_CHARACTERS: Final = 200
_FAMILIES: Final = (
    ("isotherm", "isotherm"), ("edg/", "edge"), ("opr/", "opera"), ("firefox/", "firefox"), ("chrome/", "chrome"),
    ("safari/", "safari"), ("okhttp", "okhttp"), ("python", "python"), ("curl/", "curl"),
)  # fmt: skip
_CLIENT: Final = re.compile(rb'"client_id"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_SMALL_BYTES: Final = 64 << 10
_DETAIL: Final = 500


class Origin(Struct, frozen=True):
    """Which record of which log a letter was made of."""

    log: str
    partition: int
    offset: int


class Head(Struct, frozen=True, kw_only=True):
    """A letter without its body. `id` is the same for the same letter; `time` is when the body or record was received
    (ms); `client_id` is None while nobody can tell. `bytes` are the body's.

    `skew_ms` and `batch_id` are what the body was, or would have been, accepted with; "" where it names its batch.
    """

    v: int = VERSION
    id: str
    reason: str
    stage: Stage
    time: int
    client_id: str | None
    headers: dict[str, str] = {}
    skew_ms: int = 0
    batch_id: str = ""
    detail: str = ""
    origin: Origin | None = None
    bytes: int


class Letter(Head, frozen=True, kw_only=True):
    """One dead letter. `body` is text as it is, or bytes in base64, packed if they are many."""

    encoding: Encoding
    body: str

    @property
    def content(self) -> bytes:
        """The original bytes."""
        if self.encoding == "text":
            return self.body.encode()
        data = base64.b64decode(self.body)
        return zstd.decompress(data) if self.encoding == "base64+zstd" else data


_encoder: Final = msgspec.json.Encoder()
_letters: Final = msgspec.json.Decoder(Letter)
_heads: Final = msgspec.json.Decoder(Head)


def decode_head(value: bytes) -> Head:
    """What a record of the log of dead letters says, without the body. Raises Unusable for what is none."""
    return _decoded(_heads, value)


def decode_letter(value: bytes) -> Letter:
    """A record of the log of dead letters. Raises Unusable for what is none."""
    return _decoded(_letters, value)


def _decoded(decoder: Any, value: bytes) -> Any:
    try:
        found = decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unusable(f"this record is no dead letter ({error})") from None
    if found.v != VERSION:
        raise Unusable(f"this dead letter has the form {found.v}; this version of isotherm reads {VERSION}")
    return found


def letter(
    body: bytes,
    *,
    reason: str,
    stage: Stage,
    time: int,
    client_id: str | None,
    headers: dict[str, str] | None = None,
    skew_ms: int = 0,
    batch_id: str = "",
    detail: str = "",
    origin: Origin | None = None,
    key: str | None = None,
) -> Letter:
    """A letter about these bytes. Its id follows from the `key`, else from what it says."""
    said = f"{stage}\0{reason}\0{batch_id}\0" if key is None else f"{stage}\0{key}"
    digest = blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16)
    if key is None:
        digest.update(body)
    encoding, text = _written(body)
    return Letter(
        id=digest.hexdigest(),
        reason=reason,
        stage=stage,
        time=time,
        client_id=client_id,
        headers=headers or {},
        skew_ms=skew_ms,
        batch_id=batch_id,
        detail=detail[:_DETAIL],
        origin=origin,
        bytes=len(body),
        encoding=encoding,
        body=text,
    )


def _written(body: bytes) -> tuple[Encoding, str]:
    if len(body) > _SMALL_BYTES:
        return "base64+zstd", base64.b64encode(zstd.compress(body, 3)).decode()
    try:
        return "text", body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()


def record_of(one: Letter) -> Record:
    """The letter as a record; its key is the client's id, so that a client's letters keep their order."""
    return Record(one.client_id or "", _encoder.encode(one), one.time, bytes.fromhex(one.id))


def of_refusal(request: Request, error: Problem, clients: frozenset[str]) -> Letter | None:
    """The letter about a body that was refused as a whole; None when the reason is no content of ours to look at.

    None for a replay, too: the letter that it was made of is still there, and knows more of the batch than its body.
    """
    reason = _REFUSED.get(error.status)
    if reason is None or request.parsed is not None or request.replayed or not request.original:
        return None
    text = _text(request)
    client_id, sent_at = _hints(text)
    if clients and client_id is not None and client_id not in clients:
        return None
    given = _sent_at_of(request.query)
    return letter(
        request.original,
        reason=reason,
        stage="collect",
        time=request.received_at,
        client_id=client_id,
        headers=scrubbed(request),
        skew_ms=skew_ms(sent_at if given is None else given, request.received_at),
        detail=error.detail,
    )


def of_rejections(request: Request) -> Letter | None:
    """The letter about a batch of which events were rejected; None when they are too old or too far ahead only, and
    for a replay."""
    ours = [one for one in request.rejections if one.reason not in _NOT_OURS]
    if not ours or request.replayed or not request.original:
        return None
    first = ours[0]
    where = f"event {first.index}" + (f", {first.field}" if first.field else "")
    return letter(
        request.original,
        reason=first.reason.value,
        stage="collect",
        time=request.received_at,
        client_id=request.facts.client_id,
        headers=scrubbed(request),
        skew_ms=request.skew_ms,
        batch_id="" if request.facts.batch_id else request.batch_id,
        detail=f"{len(ours)} events rejected, the first one: {where}: {first.reason.value} {first.detail}".rstrip(),
    )


def scrubbed(request: Request) -> dict[str, str]:
    """What of the headers is kept: nothing that names a person, a session or a key."""
    found = {name: value for name in _PLAIN_HEADERS if (value := request.header(name))}
    if site := _site(request.header("origin") or ""):
        found["origin"] = site
    if agent := request.header("user-agent"):
        lower = agent.lower()
        found["user-agent"] = next((family for mark, family in _FAMILIES if mark in lower), "other")
    return {name: value[:_HEADER_CHARACTERS] for name, value in found.items()}


def _site(origin: str) -> str | None:
    """Scheme and host of an address, without what else it may hold."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme in ("http", "https") and parts.hostname else None


def _text(request: Request) -> bytes:
    """The body's JSON text if it can be unpacked, else what came."""
    if request.body is not request.original:
        return request.body
    try:
        return json_text(request.original, request.content_encoding)
    except Problem:
        return request.original


class _Hints(Struct):
    client_id: Any = None
    sent_at: Any = None


_hints_of: Final = msgspec.json.Decoder(_Hints)


def _hints(text: bytes) -> tuple[str | None, Any]:
    """Whose body it seems to be, and when it says that it was sent."""
    try:
        found = _hints_of.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        match = _CLIENT.search(text)
        named = match[1].decode() if match else None
        return named if named is not None and client_id_ok(named) else None, None
    named = found.client_id if isinstance(found.client_id, str) and client_id_ok(found.client_id) else None
    return named, _moment(encode(found.sent_at))


def _sent_at_of(query: str) -> Any:
    try:
        given = parse_qs(query, max_num_fields=16).get("sent_at")
    except ValueError:
        return None
    return _moment(given[-1].encode() if given[-1].isdigit() else encode(given[-1])) if given else None


def _moment(raw: bytes) -> Any:
    try:
        return BATCH_FIELDS["sent_at"](raw)
    except (msgspec.MsgspecError, ValueError):
        return None
