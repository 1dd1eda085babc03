"""The raw lake's objects: create-only writes that are durable when they return, under one root."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from msgspec import Struct

from isotherm.adapters import Adapters, adapter
from isotherm.config import Settings
from isotherm.errors import IsothermError

ADAPTERS: Final[Adapters] = {
    "file": ("isotherm.land.lake_local:LocalLake.of_url", ""),
    "s3": ("isotherm.land.lake_s3:S3Lake.of_url", ""),
}
_FORBIDDEN: Final = ("", ".", "..")


class LocalPlace(Struct, frozen=True):
    """A lake in a folder of this machine, for engines that open the files themselves."""

    root: Path


class S3Place(Struct, frozen=True):
    """A lake in a bucket, for engines that read the files themselves.

    `endpoint` is a full URL, for AWS too; `prefix` has no slash at its ends and may be empty. Empty keys: the engine
    finds credentials as AWS's own programs do, which is the role of the machine. Never printed whole.
    """

    endpoint: str
    bucket: str
    prefix: str
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str

    @property
    def allow_http(self) -> bool:
        """Whether requests travel without TLS."""
        return self.endpoint.startswith("http://")

    @property
    def url(self) -> str:
        """The root as a path-style address, without a slash at its end: endpoint, bucket, prefix."""
        return "/".join(part for part in (self.endpoint, self.bucket, self.prefix) if part)

    def __repr__(self) -> str:
        return f"S3Place({self.url})"


Place = LocalPlace | S3Place


class Found(NamedTuple):
    """An object that was listed; `mark` is another one once it was written again."""

    path: str
    bytes: int
    mark: str


class LakeUnavailable(IsothermError):
    """The lake did not answer, or not as it should: nobody knows whether a write arrived. Trying again may help."""


class Lake(Protocol):
    """Objects by relative path. Every method may be called from any thread.

    All raise ValueError for a path that is not `checked`, and LakeUnavailable, within a bounded time, when the
    store cannot be reached or refuses. `place` says where the files are to engines that open them themselves.
    """

    @property
    def url(self) -> str: ...

    @property
    def place(self) -> Place: ...

    def where(self, path: str) -> str:
        """How a person finds the object ("": the lake itself): a file name or an s3:// address. Holds no secret."""
        ...

    def put(self, path: str, data: bytes | memoryview | BinaryIO) -> None:
        """Create the object, from memory or from an open file at its start; it is durable when this returns.

        Raises FileExistsError when the path is taken. It is there whole or not at all, whatever happens.
        """
        ...

    def get(self, path: str) -> bytes:
        """The object's bytes; FileNotFoundError when it is missing."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The object as a seekable file that reads only what is asked for; FileNotFoundError when it is missing."""
        ...

    def delete(self, path: str) -> None:
        """Remove the object and what an interrupted `put` left of it; a missing one is fine."""
        ...

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(path, bytes) of every object below the folder `prefix`, in no order."""
        ...


def open_lake(url: str, settings: Settings) -> Lake:
    """Open the lake at `url`: file:///absolute/path, or s3://bucket/prefix?endpoint=URL&region=NAME.

    A missing folder is made, a missing bucket is not. Raises ConfigError for an unknown scheme and for a place that
    cannot be used; a bucket that does not answer is not an error yet.
    """
    return adapter("lake", url, ADAPTERS)(url, settings)


def checked(path: str) -> str:
    """The path, if it is relative, plain and stays below the lake's root; ValueError otherwise.

    Plain means: segments without control characters, backslash or `#` (object_store keeps `name#1` for itself),
    none of them empty, `.` or `..`.
    """
    if any(part in _FORBIDDEN for part in path.split("/")):
        raise ValueError(f"not a path inside the lake: {path!r}")
    if any(c < " " or c in "\\#\x7f" for c in path):
        raise ValueError(f"a path in the lake has no control characters, backslash or '#': {path!r}")
    return path
