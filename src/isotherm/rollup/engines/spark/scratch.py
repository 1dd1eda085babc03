"""A job's folder in the lake: what Spark is to read and what it wrote. No reader of the lake looks there.

The manifest lists no file of it, so nothing in it is ever taken for events. A job removes its folder; what a crash
left behind goes at a later start, when it is older than any job can be.
"""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Final

from isotherm.clock import HOUR_MS
from isotherm.errors import IsothermError
from isotherm.land.lake import Lake, LakeUnavailable, LocalPlace
from isotherm.land.tiers import root_of

FOLDER: Final = "_jobs"
KEPT_MS: Final = 6 * HOUR_MS
_GLOB: Final = re.compile(r"[*?{}\[\]\\]")


def url_of(lake: Lake, path: str) -> str:
    """The object as Spark finds it. Raises IsothermError for a name that Spark would take for a pattern."""
    place = root_of(lake, path).place
    if isinstance(place, LocalPlace):
        url = f"file://{place.root}/{path}"
    else:
        url = "s3a://" + "/".join(part for part in (place.bucket, place.prefix, path) if part)
    if _GLOB.search(url):
        raise IsothermError(
            f"{url}: Spark cannot read a lake with one of * ? {{ }} [ ] or a backslash in its name; choose another"
        )
    return url


class Scratch:
    """A context manager: the folder is gone when it ends, or later when the lake cannot be reached then."""

    def __init__(self, lake: Lake, version: int, now_ms: int) -> None:
        self._lake = lake
        self._folder = f"{FOLDER}/{now_ms:013d}-{version}-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(LakeUnavailable, OSError):
            _remove(self._lake, self._folder)

    def url(self, name: str) -> str:
        """A file or folder in it, as Spark finds it."""
        return url_of(self._lake, f"{self._folder}/{name}")

    def put(self, name: str, data: bytes | memoryview) -> None:
        self._lake.put(f"{self._folder}/{name}", data)

    def open_written(self, name: str) -> Iterator[BinaryIO]:
        """The Parquet files that Spark wrote to a folder of it, one after the other."""
        for path in sorted(path for path, _ in self._lake.list(f"{self._folder}/{name}")):
            # Beside them may lie checksums, marks of folders, and parts of attempts that failed.
            if path.endswith(".parquet") and "/_" not in path.removeprefix(self._folder) and "/." not in path:
                with self._lake.open(path) as file:
                    yield file

    def lines(self, name: str) -> list[bytes]:
        """The lines of the text files that Spark wrote to a folder of it."""
        paths = sorted(path for path, _ in self._lake.list(f"{self._folder}/{name}"))
        texts = [self._lake.get(path) for path in paths if path.endswith(".txt") and "/." not in path]
        return [line for text in texts for line in text.splitlines() if line.strip()]


def sweep(lake: Lake, now_ms: int) -> int:
    """Remove the folders of jobs that cannot run any more; returns how many there were."""
    names = {path.split("/")[1] for path, _ in lake.list(FOLDER) if path.count("/") > 1}
    old = [name for name in names if _started(name) < now_ms - KEPT_MS]
    for name in old:
        _remove(lake, f"{FOLDER}/{name}")
    return len(old)


def _started(name: str) -> int:
    """When the job began, by its folder's name; a name that is none of ours counts as long ago."""
    time = name.partition("-")[0]
    return int(time) if time.isdecimal() else 0


def _remove(lake: Lake, folder: str) -> None:
    for path, _ in list(lake.list(folder)):
        lake.delete(path)
    if isinstance(lake.place, LocalPlace):
        shutil.rmtree(lake.place.root / folder, ignore_errors=True)
