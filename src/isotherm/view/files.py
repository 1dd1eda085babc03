"""Files that are served as they are: read once, packed once, answered with ETag, 304 and HEAD.

Nothing here knows a server: the app's routes and the collector both turn a `Reply` into an answer of theirs.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

import brotli

STATIC: Final = Path(__file__).parent / "static"
"""What `make setup` builds from web/ and the wheel carries."""

YEAR: Final = "public, max-age=31536000, immutable"
REVALIDATE: Final = "no-cache"
NOSNIFF: Final = {"x-content-type-options": "nosniff"}
PACK_MIN_BYTES: Final = 512
BROTLI_QUALITY: Final = 9
"""Within 2 % of the highest quality's size in a tenth of its time: files are packed when the program starts."""

MEDIA_TYPES: Final = {
    ".avif": "image/avif",
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_PACKED_TYPES: Final = ("text/", "image/svg+xml", "application/json", "application/manifest+json")

Ask = Callable[[str], str | None]
"""A request's header by its lower-case name; None when there is none."""


class Reply(NamedTuple):
    """One HTTP response; `body` is empty for HEAD and 304."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class File:
    """A file's bytes with what never changes about their answers; packed forms only where they are smaller."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]
    tag: str = field(init=False)
    packed: Mapping[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", blake2b(self.body, digest_size=12).hexdigest())
        object.__setattr__(self, "packed", _pack(self.body, self.media_type))

    def reply(self, method: str, ask: Ask) -> Reply:
        """The answer to GET or HEAD."""
        coding = _coding(ask("accept-encoding") or "", self.packed)
        tag = f'"{self.tag}-{coding}"' if coding else f'"{self.tag}"'
        headers = {**self.headers, "etag": tag, "vary": "accept-encoding"}
        if _holds(ask("if-none-match") or "", tag):
            return Reply(304, headers, b"")
        body = self.packed[coding] if coding else self.body
        headers |= {"content-type": self.media_type, "content-length": str(len(body))}
        if coding:
            headers["content-encoding"] = coding
        return Reply(200, headers, b"" if method == "HEAD" else body)


def plain(status: int, text: str, media_type: str = MEDIA_TYPES[".txt"]) -> Reply:
    """A short answer that nobody keeps."""
    body = (text.rstrip() + "\n").encode()
    headers = {"content-type": media_type, "cache-control": "no-store", "content-length": str(len(body))}
    return Reply(status, headers | NOSNIFF, body)


def media_type(name: str) -> str:
    """The media type by the name's ending; bytes that nobody runs when it is not a known one."""
    return MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def load(folder: Path, headers: Callable[[str], Mapping[str, str]]) -> dict[str, File]:
    """Every file below the folder by its path in it, with `/`; empty when there is no such folder.

    `headers` says, by that path, what the answers carry besides validators and type.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    names = [(path.relative_to(folder).as_posix(), path) for path in found]
    return {name: File(path.read_bytes(), media_type(name), headers(name)) for name, path in names}


def _pack(body: bytes, media_type: str) -> dict[str, bytes]:
    if len(body) < PACK_MIN_BYTES or not media_type.startswith(_PACKED_TYPES):
        return {}
    forms = {"br": brotli.compress(body, quality=BROTLI_QUALITY), "gzip": gzip.compress(body, 9, mtime=0)}
    return {coding: packed for coding, packed in forms.items() if len(packed) < len(body)}


def _coding(accepted: str, packed: Mapping[str, bytes]) -> str:
    """The smallest form that Accept-Encoding allows; empty for the bytes as they are."""
    allowed = {name for name, weight in map(_weight, accepted.split(",")) if weight > 0}
    return min((name for name in packed if name in allowed), key=lambda name: len(packed[name]), default="")


def _weight(part: str) -> tuple[str, float]:
    name, _, rest = part.partition(";")
    _, _, weight = rest.partition("=")
    try:
        return name.strip().lower(), float(weight) if weight else 1.0
    except ValueError:
        return name.strip().lower(), 0.0


def _holds(given: str, tag: str) -> bool:
    held = [part.strip().removeprefix("W/") for part in given.split(",")]
    return tag in held or held == ["*"]
