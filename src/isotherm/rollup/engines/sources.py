"""The lake's files as ClickHouse reads them: file() for a folder, s3() for a bucket, all files of a query named."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.exceptions import DatabaseError

from isotherm.errors import Backpressure, ConfigError, IsothermError
from isotherm.land.lake import Lake, LocalPlace, Place, S3Place
from isotherm.rollup.engines.port import RawFile

_GLOB: Final = re.compile(r"[*?{}\[\]\\']")
_ACCESS_DENIED: Final = 291
# Plain strings: as LowCardinality, each of these columns takes twice as long to read and to group by.
_KEYS: Final = "client_id String, screen_id String, event_type String"
_POSITION: Final = "x_norm Nullable(Float64), y_norm Nullable(Float64)"
_TIMES: Final = {
    "jsonl": ("JSONEachRow", "event_time Int64", "fromUnixTimestamp64Milli(max(event_time), 'UTC')"),
    "parquet": ("Parquet", "event_time DateTime64(3, \\'UTC\\')", "max(event_time)"),
}
"""Lake format: ClickHouse's format, the column of the event time, and its maximum."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table function over files (it may hold credentials), how to read the last event time in it, and its rows."""

    table: str
    time: str
    rows: int

    def __repr__(self) -> str:
        return f"Source({self.rows} rows)"


class Sources:
    """Makes sources of one lake. Raises IsothermError when the lake's name cannot stand in a query."""

    def __init__(self, lake: Lake) -> None:
        self._place: Place = lake.place
        self._where = lake.where("")
        self._root = str(lake.place.root) if isinstance(lake.place, LocalPlace) else lake.place.url
        if _GLOB.search(self._root):
            raise IsothermError(
                f"{self._where}: the tile engine cannot read a lake whose folder has one of * ? {{ }} [ ] ' or a "
                "backslash in its name; choose another folder (settings data or lake)"
            )

    def of(self, files: Sequence[RawFile]) -> Source:
        """These files, which are of one format, as one table."""
        kind, time, latest = _TIMES[files[0].format]
        function = "file" if isinstance(self._place, LocalPlace) else "s3"
        credentials = [_quoted(text) for text in self._secrets()]
        arguments = [f"'{self._glob(files)}'", *credentials, f"'{kind}'", f"'{_KEYS}, {time}, {_POSITION}'"]
        return Source(f"{function}({', '.join(arguments)})", latest, sum(file.rows for file in files))

    @contextmanager
    def reading(self) -> Generator[None]:
        """Around a query with a source in it: its errors say what to do, and hold no credentials."""
        try:
            yield
        except DatabaseError as error:
            if error.code == _ACCESS_DENIED and isinstance(self._place, LocalPlace):
                raise ConfigError(
                    f"{self._where}: the ClickHouse server may only read files below its user_files_path; put the "
                    "lake's folder there, under the same name on both sides, or move the lake to S3 (setting lake)"
                ) from None
            raise type(error)(self._masked(str(error)), code=error.code, name=error.name) from None
        except Backpressure as error:
            raise Backpressure(
                self._masked(str(error)), retry_after_s=error.retry_after_s, status=error.status
            ) from None

    def _glob(self, files: Sequence[RawFile]) -> str:
        paths = [f"{self._root}/{_plain(file.path)}" for file in files]
        start = paths[0].rfind("/") + 1 if len(paths) == 1 else _common(paths)
        names = ",".join(path[start:] for path in paths)
        return paths[0][:start] + (names if len(paths) == 1 else f"{{{names}}}")

    def _secrets(self) -> list[str]:
        if not isinstance(self._place, S3Place) or not self._place.access_key_id:
            return []
        given = (self._place.access_key_id, self._place.secret_access_key, self._place.session_token)
        return [text for text in given if text]

    def _masked(self, text: str) -> str:
        for secret in self._secrets():
            for form in (_quoted(secret)[1:-1], secret):
                text = text.replace(form, "***")
        return text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _common(paths: Sequence[str]) -> int:
    """Length of the longest folder prefix that all paths share."""
    first, last = min(paths), max(paths)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first.rfind("/", 0, same) + 1


def _plain(path: str) -> str:
    if _GLOB.search(path) or "," in path:
        raise IsothermError(f"{path}: not a name the lander gives a lake file; take it out of the lake")
    return path
