"""What ClickHouse's HTTP interface puts on the wire: parameters, forms, encodings, credentials, error codes."""

import base64
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Self

import lz4.frame

try:
    from compression import zstd  # type: ignore[import-not-found]
except ImportError:
    from backports import zstd

TRANSPORT = frozenset(
    {
        "wait_end_of_query", "buffer_size", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
        "enable_http_compression", "cancel_http_readonly_queries_on_client_close", "client_protocol_version",
        "query_id", "session_timeout", "session_check", "user", "password", "role", "quota_key",
    }
)  # fmt: skip
"""What the HTTP interface keeps for itself; chDB never sees it."""

_CODE = re.compile(r"Code: (\d+)\. DB::[A-Za-z]*Exception: (.*)", re.DOTALL)
_INSERT = re.compile(rb"\s*(INSERT\s+INTO\s+[^;]{1,4000}?)\s+FORMAT\s+([A-Za-z]+)[ \t]*\r?\n?", re.IGNORECASE)
_CLUSTER = re.compile(r"\s+ON CLUSTER '[^']*'")
_STATUS = {516: 403, 497: 403, 164: 403, 60: 404, 81: 404, 62: 400, 115: 404}


@dataclass
class Asked:
    """One statement: its text, result format, inserted data in that format, database, settings and parameters."""

    sql: str
    format: str
    data: bytes | None
    database: str
    session: str
    settings: dict[str, str]
    params: dict[str, str]


class QueryError(Exception):
    """ClickHouse's error code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def of(cls, message: str) -> Self:
        found = _CODE.search(message)
        return cls(int(found[1]), found[2].strip()) if found else cls(1001, message)


def status_of(code: int) -> int:
    """HTTP status of an error."""
    return _STATUS.get(code, 500)


def without_cluster(sql: str) -> str:
    """The statement as one node of the cluster runs it."""
    return _CLUSTER.sub("", sql)


def split_insert(text: bytes) -> tuple[str, str, bytes | None]:
    """Statement, format and data of an INSERT with data behind it; anything else as it is."""
    found = _INSERT.match(text)
    if found is None or re.search(rb"\bSELECT\b", found[1], re.IGNORECASE):
        return text.decode(), "", None
    return found[1].decode(), found[2].decode(), text[found.end() :]


def credentials(headers: Any, given: Mapping[str, str]) -> tuple[str, str]:
    """User and password: headers of ClickHouse's own, Basic, or parameters."""
    if user := headers.get("X-ClickHouse-User"):
        return user, headers.get("X-ClickHouse-Key", "")
    kind, _, value = headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, password
    return given.get("user", "default"), given.get("password", "")


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Fields of a multipart form."""
    message: Any = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True).decode()
        for part in message.iter_parts()
    }


def uncompressed(body: bytes, encoding: str) -> bytes:
    """The body as it was before the client packed it."""
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return gzip.decompress(body)
        case "lz4":
            return lz4.frame.decompress(body)
        case "zstd":
            return zstd.decompress(body)
        case _:
            raise QueryError(36, f"Unknown compression method {encoding}")


def compress(body: bytes, accepted: str) -> tuple[bytes, str]:
    """The body packed in one of the accepted ways, and its name; as it is when there is none."""
    wanted = {part.split(";")[0].strip() for part in accepted.split(",")}
    for name, pack in (("lz4", lz4.frame.compress), ("zstd", zstd.compress), ("gzip", gzip.compress)):
        if name in wanted:
            return pack(body), name
    return body, ""
