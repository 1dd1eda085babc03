"""Reads recordings (JSON lines, CSV, Parquet) and cuts them into bodies for `POST /events/batch`.

Which rows share a body, and the body's batch_id, follow from the file's content, the mapping, the shift and the
defaults alone. So importing a file again, also after an interruption, sends the same batches: none counts twice.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import Raw, Struct

from isotherm.clock import DAY_MS
from isotherm.errors import IsothermError
from isotherm.events import MAX_EVENTS, client_id_ok, screen_id_ok

BODY_EVENTS: Final = min(1_000, MAX_EVENTS)
BODY_BYTES: Final = 400_000
PENDING_ROWS: Final = 200_000
BLOCK_BYTES: Final = 4 << 20
SHOWN: Final = 20
SIZES: Final = ("viewport", "document", "region")
BATCH_FIELDS: Final = ("session_id", "visitor_id", "url", *SIZES, "device_pixel_ratio", "sdk")
SERVER_FIELDS: Final = frozenset(
    {"batch_id", "position", "received_at", "client_time", "log_partition", "log_offset", "sequence", "dropped"}
)
"""Columns of a lake file that the server decides; a recording's values for them are left out."""

_NUMBERS: Final = frozenset({"x_norm", "y_norm", "x_px", "y_px", "ax", "ay", "scroll_y", "device_pixel_ratio"})
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_NONE: Final = Raw(b"")


class Row(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The common row: ids and an event. Values that are only passed on stay text."""

    client_id: str = ""
    screen_id: str = ""
    event_time: int | str | None = None
    event_type: str = ""
    x_norm: Raw = _NONE
    y_norm: Raw = _NONE
    x_px: Raw = _NONE
    y_px: Raw = _NONE
    anchor: Raw = _NONE
    ax: Raw = _NONE
    ay: Raw = _NONE
    scroll_y: Raw = _NONE
    attrs: Raw = _NONE


Key = tuple[str, str, tuple[tuple[str, bytes], ...]]
_ids: Final = attrgetter("client_id", "screen_id")
_rows: Final = msgspec.json.Decoder(Row)
_encoder: Final = msgspec.json.Encoder()


class Body(Struct, frozen=True):
    """One request: its JSON text, and the line (or row number) of each event."""

    content: bytes
    lines: Sequence[int]


@dataclass
class Plan:
    """How rows become events. `mapping` is field -> (value in the file -> value on the wire)."""

    mapping: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, dict[str, str]])
    shift_days: int = 0
    client: str = ""
    screen: str = ""

    def fingerprint(self) -> str:
        """The same text for the same plan."""
        return json.dumps([self.mapping, self.shift_days, self.client, self.screen], sort_keys=True)


def parse_mapping(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """`FIELD:from=to`, several times, as field -> from -> to. Raises IsothermError for another form."""
    mapping: dict[str, dict[str, str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        old, equals, new = rest.partition("=")
        if not (colon and equals and name and old):
            raise IsothermError(f"--map {text}: write it as FIELD:from=to, for example event_type:move=mousemove")
        mapping.setdefault(name, {})[old] = new
    return mapping


@dataclass
class _Pending:
    rows: list[Any] = field(default_factory=list[Any])
    lines: list[int] = field(default_factory=list[int])


class Cutter:
    """Cuts rows into bodies. `bad` counts rows that cannot be sent, `examples` names the first of them."""

    def __init__(self, plan: Plan, content_hash: str) -> None:
        self.plan = plan
        self.seed = f"{content_hash}|{plan.fingerprint()}"
        self.bad = 0
        self.examples: list[tuple[int, str]] = []
        self.last_time: int | str | None = None
        self._index = 0
        self._pending: dict[Key, _Pending] = {}
        self._waiting = 0
        self._days: dict[str, str] = {}
        self._types = plan.mapping.get("event_type", {})
        self._plain = set(plan.mapping) <= {"event_type"}

    def refuse(self, line: int, why: str, count: int = 1) -> None:
        """Count rows that cannot be sent."""
        self.bad += count
        if len(self.examples) < SHOWN:
            self.examples.append((line, why))

    def lines(self, block: bytes, first: int) -> Iterator[Body]:
        """Take whole lines of JSON, the first of which is line `first`; yields the bodies that are full."""
        rows = self._decode(block) if self._plain else None
        if rows is None:
            yield from self._one_by_one(block, first)
            return
        at = first
        for (client, screen), group in groupby(rows, _ids):
            run = list(group)
            self._change(run)
            yield from self._add((client or self.plan.client, screen or self.plan.screen, ()), run, at)
            at += len(run)

    def _decode(self, block: bytes) -> list[Row] | None:
        """The rows of the block, or None when not every line is a common row."""
        try:
            rows = _rows.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        return rows if len(rows) == lines else None

    def _change(self, rows: list[Row]) -> None:
        """Map and shift in place, and take the ids out: they belong to the batch."""
        mapped, days = self._types.get, self.plan.shift_days
        self.last_time = rows[-1].event_time
        for row in rows:
            row.client_id = row.screen_id = ""
            row.event_type = mapped(row.event_type, row.event_type)
            if days:
                row.event_time = self._shifted(row.event_time)

    def _one_by_one(self, block: bytes, first: int) -> Iterator[Body]:
        for number, line in enumerate(block.splitlines(), first):
            if not line.strip():
                continue
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.refuse(number, f"not JSON: {error}")
                continue
            if isinstance(value, dict):
                yield from self.row(value, number)
            else:
                self.refuse(number, "not a JSON object")

    def row(self, row: dict[str, Any], line: int) -> Iterator[Body]:
        """Take one row of any shape; yields the bodies that are full."""
        for name, values in self.plan.mapping.items():
            if name in row:
                row[name] = values.get(str(row[name]), row[name])
        for name in SERVER_FIELDS & row.keys():
            del row[name]
        client, screen = row.pop("client_id", None) or self.plan.client, row.pop("screen_id", None) or self.plan.screen
        if not isinstance(client, str) or not isinstance(screen, str):
            self.refuse(line, "client_id and screen_id must be texts")
            return
        self.last_time = row.get("event_time")
        if self.plan.shift_days and "event_time" in row:
            row["event_time"] = self._shifted(row["event_time"])
        shared = tuple((name, _encoder.encode(row.pop(name))) for name in BATCH_FIELDS if name in row)
        yield from self._add((client, screen, shared), [row], line)

    def _shifted(self, time: Any) -> Any:
        """The event time moved by whole days; what is no time stays as it is, for the collector to refuse."""
        if isinstance(time, str):
            day = time[:10]
            moved = self._days.get(day)
            if moved is None:
                moved = self._days[day] = _moved(day, self.plan.shift_days)
            return moved + time[10:]
        return time + self.plan.shift_days * DAY_MS if isinstance(time, int) else time

    def _add(self, key: Key, rows: list[Any], line: int) -> Iterator[Body]:
        pending = self._pending.get(key)
        if pending is None:
            if (why := _wrong_ids(key)) is not None:
                self.refuse(line, why, len(rows))
                return
            pending = self._pending[key] = _Pending()
        pending.rows += rows
        pending.lines += range(line, line + len(rows))
        self._waiting += len(rows)
        while len(pending.rows) >= BODY_EVENTS:
            yield from self._cut(key, pending)
        if self._waiting >= PENDING_ROWS:
            yield from self.rest()

    def _cut(self, key: Key, pending: _Pending) -> Iterator[Body]:
        rows, lines = pending.rows[:BODY_EVENTS], pending.lines[:BODY_EVENTS]
        del pending.rows[:BODY_EVENTS], pending.lines[:BODY_EVENTS]
        self._waiting -= len(rows)
        yield from self._bodies(key, rows, lines)

    def _bodies(self, key: Key, rows: list[Any], lines: list[int]) -> Iterator[Body]:
        """One body, or several when the rows are long."""
        client, screen, shared = key
        number = f"{self.seed}|{client}|{screen}|{self._index}"
        content = _encoder.encode(
            {
                "client_id": client,
                "screen_id": screen,
                "batch_id": "imp-" + hashlib.sha256(number.encode()).hexdigest()[:40],
                **{name: Raw(text) for name, text in shared},
                "events": rows,
            }
        )
        if len(content) <= BODY_BYTES:
            self._index += 1
            yield Body(content, lines)
        elif len(rows) == 1:
            self.refuse(lines[0], f"the event is larger than {BODY_BYTES:,} bytes")
        else:
            half = len(rows) // 2
            yield from self._bodies(key, rows[:half], lines[:half])
            yield from self._bodies(key, rows[half:], lines[half:])

    def rest(self) -> Iterator[Body]:
        """The bodies of all rows that still wait."""
        for key, pending in self._pending.items():
            while pending.rows:
                yield from self._cut(key, pending)
        self._pending.clear()


def _moved(day: str, days: int) -> str:
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return day


def _wrong_ids(key: Key) -> str | None:
    client, screen, _ = key
    if not client:
        return "no client_id; name one for the whole file with --client"
    if not screen:
        return "no screen_id; name one for the whole file with --screen"
    if not client_id_ok(client):
        return f"client_id {client[:80]!r} does not match [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}"
    if not screen_id_ok(screen):
        return f"screen_id {screen[:80]!r} is not 1 to 256 bytes without control characters and |"
    return None


def content_hash(path: Path) -> str:
    """SHA-256 of the file, in hex. Raises IsothermError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IsothermError(f"{path}: cannot be read ({error.strerror})") from None


def bodies(path: Path, name: str, cutter: Cutter, raw: IO[bytes]) -> Iterator[Body]:
    """All bodies of one file; `name` decides the format, `raw` is the open file (its position shows progress).

    Raises IsothermError when the file cannot be read to its end.
    """
    plain = name.removesuffix(".gz")
    try:
        if plain.endswith((".parquet", ".pq")):
            yield from _parquet(path, cutter, raw)
        else:
            content: Any = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
            yield from _csv(content, cutter) if plain.endswith(".csv") else _json_lines(content, cutter)
    except (EOFError, gzip.BadGzipFile) as error:
        raise IsothermError(f"{name}: damaged gzip file ({error}); what stood before the damage was sent") from None
    except ValueError as error:
        raise IsothermError(f"{name}: cannot be read: {error}") from None
    yield from cutter.rest()


def _json_lines(content: IO[bytes], cutter: Cutter) -> Iterator[Body]:
    line, rest = 1, b""
    while block := content.read(BLOCK_BYTES):
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            rest += block
            continue
        whole, rest = rest + head + newline, tail
        yield from cutter.lines(whole, line)
        line += whole.count(b"\n")
    if rest:
        yield from cutter.lines(rest, line)


def _csv(content: IO[bytes], cutter: Cutter) -> Iterator[Body]:
    import pyarrow as pa
    from pyarrow import csv

    # All columns as text: numbers reach the collector digit by digit as the file has them.
    names = csv.open_csv(content, read_options=csv.ReadOptions(block_size=1 << 20)).schema.names
    content.seek(0)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    line = 2
    for batch in csv.open_csv(content, convert_options=convert):
        columns = [_texts(name, batch.column(name).to_pylist()) for name in batch.schema.names]
        for number, values in enumerate(zip(*columns, strict=True), line):
            row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            yield from cutter.row(row, number)
        line += batch.num_rows


def _texts(name: str, values: list[str]) -> list[Any]:
    """A CSV column's texts as what the wire wants; empty means absent."""
    if name in _NUMBERS:
        return [None if v == "" else Raw(v.encode()) if _NUMBER.fullmatch(v) else v for v in values]
    if name == "event_time":
        return [int(v) if v.lstrip("-").isdecimal() else v or None for v in values]
    if name == "attrs" or name in SIZES:
        return [_as_object(v) for v in values]
    return [v or None for v in values]


def _as_object(text: str | None) -> Any:
    if not text:
        return None
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return text
    return Raw(text.encode())


def _parquet(path: Path, cutter: Cutter, raw: IO[bytes]) -> Iterator[Body]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 1
    for batch in pq.ParquetFile(pa.PythonFile(raw, mode="r")).iter_batches(65_536):
        names = batch.schema.names
        columns = [_values(pa, name, batch.column(name)) for name in names]
        for number, values in enumerate(zip(*columns, strict=True), line):
            row = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            _sizes(row)
            yield from cutter.row(row, number)
        line += batch.num_rows


def _values(pa: Any, name: str, column: Any) -> list[Any]:
    """A Parquet column's values as what the wire wants."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64()).to_pylist()
    if name == "attrs" and not pa.types.is_nested(column.type):
        return [_as_object(value) for value in column.to_pylist()]
    return column.to_pylist()


def _sizes(row: dict[str, Any]) -> None:
    """A lake file's viewport_w, viewport_h and so on as the wire's viewport and document."""
    for name in SIZES:
        w, h = row.pop(f"{name}_w", None), row.pop(f"{name}_h", None)
        if w is not None and h is not None and name not in row:
            row[name] = {"w": w, "h": h}
