"""The lake's files as ClickHouse reads them: file() for a folder, s3() for a bucket, all files of a query named."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.exceptions import DatabaseError

from isotherm.errors import Backpressure, ConfigError, IsothermError
from isotherm.land.lake import Lake, LocalPlace, Place, S3Place
from isotherm.land.tiers import root_of, roots_of
from isotherm.land.write import unreadable
from isotherm.rollup.engines.port import RawFile
from isotherm.store.olap_profiles import UNREADABLE

_GLOB: Final = re.compile(r"[*?{},\[\]\\']")
"""What cannot stand in a query that names many files: `{a,b}` takes a comma only inside, and none can be escaped."""
_ACCESS_DENIED: Final = 291
_DAMAGED: Final = UNREADABLE | {8, 117}
"""ClickHouse's codes for a file it cannot make sense of. 8: a column is missing; 117: among others, a page has not the
checksum that was written."""
_AT_FAULT: Final = re.compile(r"\(in file/uri (.+?)\): ", re.DOTALL)
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
    """Makes sources of a lake's files, in whichever of its roots they lie. Raises IsothermError when the name of one
    cannot stand in a query."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._roots = {id(root): _Root(root) for root in roots_of(lake)}

    def of(self, files: Sequence[RawFile]) -> Source:
        """These files, which are of one format, as one table."""
        by_root: dict[int, list[RawFile]] = {}
        for file in files:
            by_root.setdefault(id(root_of(self._lake, file.path)), []).append(file)
        tables = [self._roots[one].table(mine) for one, mine in by_root.items()]
        table = tables[0] if len(tables) == 1 else f"({' UNION ALL '.join(f'SELECT * FROM {one}' for one in tables)})"
        return Source(table, _TIMES[files[0].format][2], sum(file.rows for file in files))

    @contextmanager
    def reading(self) -> Generator[None]:
        """Around a query with a source in it: its errors say what to do, and hold no credentials.

        Raises IsothermError that names the file when one of the lake is damaged.
        """
        try:
            yield
        except DatabaseError as error:
            local = [root for root in self._roots.values() if isinstance(root.place, LocalPlace)]
            if error.code == _ACCESS_DENIED and local:
                raise ConfigError(
                    f"{local[0].where}: the ClickHouse server may only read files below its user_files_path; put the "
                    "lake's folder there, under the same name on both sides, or move the lake to S3 (setting lake)"
                ) from None
            text = self._masked(str(error))
            if error.code in _DAMAGED and (file := _AT_FAULT.search(text)):
                raise unreadable(file[1], text) from None
            raise type(error)(text, code=error.code, name=error.name) from None
        except Backpressure as error:
            raise Backpressure(
                self._masked(str(error)), retry_after_s=error.retry_after_s, status=error.status
            ) from None

    def _masked(self, text: str) -> str:
        for secret in [secret for root in self._roots.values() for secret in root.secrets()]:
            for form in (_quoted(secret)[1:-1], secret):
                text = text.replace(form, "***")
        return text


class _Root:
    """One place that files lie in."""

    def __init__(self, lake: Lake) -> None:
        self.place: Place = lake.place
        self.where = lake.where("")
        self._root = str(lake.place.root) if isinstance(lake.place, LocalPlace) else lake.place.url
        if _GLOB.search(self._root):
            raise IsothermError(
                f"{self.where}: the tile engine cannot read a lake whose folder has one of * ? {{ }} [ ] ' , or a "
                "backslash in its name; choose another folder (settings data or lake)"
            )

    def table(self, files: Sequence[RawFile]) -> str:
        """The table function over these files, which are of one format."""
        kind, time, _ = _TIMES[files[0].format]
        function = "file" if isinstance(self.place, LocalPlace) else "s3"
        credentials = [_quoted(text) for text in self.secrets()]
        arguments = [f"'{self._glob(files)}'", *credentials, f"'{kind}'", f"'{_KEYS}, {time}, {_POSITION}'"]
        return f"{function}({', '.join(arguments)})"

    def _glob(self, files: Sequence[RawFile]) -> str:
        paths = [f"{self._root}/{_plain(file.path)}" for file in files]
        start = paths[0].rfind("/") + 1 if len(paths) == 1 else _common(paths)
        names = ",".join(path[start:] for path in paths)
        return paths[0][:start] + (names if len(paths) == 1 else f"{{{names}}}")

    def secrets(self) -> list[str]:
        """What must not be said."""
        if not isinstance(self.place, S3Place) or not self.place.access_key_id:
            return []
        given = (self.place.access_key_id, self.place.secret_access_key, self.place.session_token)
        return [text for text in given if text]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _common(paths: Sequence[str]) -> int:
    """Length of the longest folder prefix that all paths share."""
    first, last = min(paths), max(paths)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first.rfind("/", 0, same) + 1


def _plain(path: str) -> str:
    if _GLOB.search(path):
        raise IsothermError(f"{path}: not a name the lander gives a lake file; take it out of the lake")
    return path
