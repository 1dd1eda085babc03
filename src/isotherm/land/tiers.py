"""The two tiers of the lake: hot files, and those of the archive. A file's path says which one it is of.

Archived files lie below `archive/` of the lake, or of the root that the setting `archive` names: the same path in
either place, so that an archive is moved by copying it. Whoever reads a file asks one lake for its path.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from isotherm.config import Settings
from isotherm.land.lake import Lake, Place, open_lake

HOT: Final = "hot"
ARCHIVE: Final = "archive"
_FOLDER: Final = f"{ARCHIVE}/"


def tier_of(path: str) -> str:
    """hot or archive."""
    return ARCHIVE if path.startswith(_FOLDER) else HOT


def in_tier(path: str, tier: str) -> str:
    """Where a new file of the tier goes whose path among hot files would be this one."""
    return f"{_FOLDER}{path}" if tier == ARCHIVE else path


def open_tiers(settings: Settings) -> Lake:
    """The lake of a deployment with its archive. Raises ConfigError as `open_lake` does."""
    hot = open_lake(settings.url("lake"), settings)
    return TieredLake(hot, open_lake(settings.archive, settings)) if settings.archive else hot


def roots_of(lake: Lake) -> Sequence[Lake]:
    """The lakes that files may lie in, the hot one first."""
    return lake.roots if isinstance(lake, TieredLake) else (lake,)


def root_of(lake: Lake, path: str) -> Lake:
    """The one of `roots_of` that this file lies in."""
    return lake.root_of(path) if isinstance(lake, TieredLake) else lake


class TieredLake:
    """See `isotherm.land.lake.Lake`: the hot lake, but archived paths belong to another one."""

    def __init__(self, hot: Lake, archive: Lake) -> None:
        self.roots: Sequence[Lake] = (hot, archive)
        self._hot, self._archive = hot, archive

    @property
    def url(self) -> str:
        return self._hot.url

    @property
    def place(self) -> Place:
        return self._hot.place

    def root_of(self, path: str) -> Lake:
        """Where the object lies."""
        return self._archive if tier_of(path) == ARCHIVE else self._hot

    def where(self, path: str) -> str:
        return self.root_of(path).where(path)

    def put(self, path: str, data: bytes | memoryview | BinaryIO) -> None:
        self.root_of(path).put(path, data)

    def get(self, path: str) -> bytes:
        return self.root_of(path).get(path)

    def open(self, path: str) -> BinaryIO:
        return self.root_of(path).open(path)

    def delete(self, path: str) -> None:
        self.root_of(path).delete(path)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        if prefix:
            yield from self.root_of(prefix.rstrip("/") + "/").list(prefix)
            return
        for lake, tier in ((self._hot, HOT), (self._archive, ARCHIVE)):
            yield from ((path, size) for path, size in lake.list() if tier_of(path) == tier)
