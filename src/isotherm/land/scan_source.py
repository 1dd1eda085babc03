"""Where a sink writes its files: a folder or a bucket that is only read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from isotherm.adapters import Adapters, adapter
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import Found

ADAPTERS: Final[Adapters] = {
    "file": ("isotherm.land.lake_local:LocalLake.of_url", ""),
    "s3": ("isotherm.land.lake_s3:S3Lake.of_url", ""),
}


class Source(Protocol):
    """Objects by relative path. Both methods raise what a `Lake` raises."""

    def where(self, path: str) -> str:
        """How a person finds the object; "" is the source itself, and names it for good."""
        ...

    def found(self) -> Iterator[Found]:
        """Every object, in no order."""
        ...

    def get(self, path: str) -> bytes:
        """The object's bytes; FileNotFoundError when it is missing."""
        ...


def open_source(settings: Settings) -> Source:
    """Open what `settings.scan` names: file:///absolute/path, or s3://bucket/prefix?endpoint=URL&region=NAME.

    Raises ConfigError for an unknown scheme, a folder that is not there, and a bucket that cannot be used.
    """
    url = settings.scan
    opener = adapter("scan", url, ADAPTERS)
    if url.startswith("file:") and not (folder := Path(unquote(urlsplit(url).path))).is_dir():
        raise ConfigError(f"scan: there is no folder {folder}; name the one that the sink writes to, or make it")
    try:
        return opener(url, settings)
    except ConfigError as error:
        raise ConfigError(str(error).replace("lake:", "scan:", 1)) from None
