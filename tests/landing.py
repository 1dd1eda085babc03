"""For tests of landing: records as the collector writes them, tables of lake rows, and one deployment's stores."""

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from isotherm.clock import HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, Record
from isotherm.events import Counts, encode_envelope, record_id, record_key
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.land.schema import DICTIONARY, LAKE_SCHEMA

NOW = 1_795_000_000_000 - 1_795_000_000_000 % HOUR_MS + 10 * 60_000
Event = dict[str, Any]
Identity = tuple[str, str, int]


def event(ms: int, x: float | None = 0.25, y: float | None = 0.5, kind: str = "mousemove", **more: Any) -> Event:
    body: Event = {"event_time": ms, "event_type": kind} | more
    return body if x is None else body | {"x_norm": x, "y_norm": y}


def record(
    client_id: str,
    batch_id: str,
    events: Sequence[Event],
    *,
    screen_id: str = "home",
    received_at: int = NOW,
    skew_ms: int = 0,
    flags: Sequence[str] = (),
    positions: list[int] | None = None,
    batch: dict[str, Any] | None = None,
    **counts: Any,
) -> Record:
    """What the collector appends for one request."""
    hours = Counter(str((e["event_time"] + skew_ms) // HOUR_MS * HOUR_MS) for e in events)
    body = {"client_id": client_id, "screen_id": screen_id, "batch_id": batch_id, "events": list(events)}
    value = encode_envelope(
        client_id=client_id,
        screen_id=screen_id,
        batch_id=batch_id,
        received_at=received_at,
        skew_ms=skew_ms,
        flags=flags,
        counts=Counts(accepted=dict(hours), **counts),
        positions=positions,
        batch=msgspec.json.encode(body | (batch or {})) if events else None,
    )
    return Record(record_key(client_id, screen_id), value, received_at, record_id(client_id, batch_id))


@dataclass
class World:
    """One deployment's stores. `lander()` makes another lander of the same log and lake."""

    settings: Settings
    clock: ManualClock
    log: EventLog
    lake: LocalLake
    engine: Engine
    manifest: Manifest
    landers: list[Lander] = field(default_factory=list)

    def lander(self, checkpoint: Callable[[str], None] = lambda _: None) -> Lander:
        manifest = Manifest(self.engine, self.clock, self.settings.land_formats[0])
        return Lander(self.settings, self.log, self.lake, manifest, self.clock, checkpoint)

    def append(self, *records: Record) -> None:
        self.log.append(records)

    def frame(self, form: str = "parquet") -> pd.DataFrame:
        """All listed rows as pandas reads them from the files; not through our own reader."""
        read = pd.read_parquet if form == "parquet" else _read_jsonl
        frames = [read(self.lake.root / file.path) for file in self.manifest.listed(format=form)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["client_id"])

    def frame_of(self, path: str) -> pd.DataFrame:
        """The rows of one Parquet file."""
        return pd.read_parquet(self.lake.root / path)

    def identities(self, form: str = "parquet") -> list[Identity]:
        if form == "jsonl":
            frame = self.frame(form)
            return (
                sorted(zip(frame["client_id"], frame["batch_id"], frame["position"], strict=True)) if len(frame) else []
            )
        files = [self.lake.root / file.path for file in self.manifest.listed(format=form)]
        names = ["client_id", "batch_id", "position"]
        return sorted(
            row for f in files for row in zip(*pq.read_table(f, columns=names).to_pydict().values(), strict=True)
        )

    def objects(self) -> set[str]:
        return {path for path, _ in self.lake.list()}


def flipped(data: bytes, column: str) -> bytes:
    """A Parquet file with one bit turned over in the middle of the column's first pages, which are its values."""
    chunks = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    (chunk,) = (one for at in range(chunks.num_columns) if (one := chunks.column(at)).path_in_schema == column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    end = chunk.data_page_offset if chunk.has_dictionary_page else start + chunk.total_compressed_size
    harmed = bytearray(data)
    harmed[(start + end) // 2] ^= 4
    return bytes(harmed)


def _read_jsonl(path: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()])


DOUBLES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 0.29, 0.1, 5e-324, 1e-300, 1.7976931348623157e308, -1e22, 1e16]),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def _values(field: Any) -> st.SearchStrategy[Any]:
    if field.type in (DICTIONARY, pa.string()):
        values = TEXT
    elif pa.types.is_floating(field.type):
        values = DOUBLES
    else:
        top = 2**31 - 1 if field.type == pa.int32() else 253_402_300_799_999
        values = st.integers(0, top)
    return values | st.none() if field.nullable else values


def _column(values: list[Any], field: Any) -> pa.Array:
    if field.type == DICTIONARY:
        return pa.array(values, pa.string()).dictionary_encode()
    return (
        pa.array(values, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(values, field.type)
    )


@st.composite
def tables(draw: st.DrawFn, min_rows: int = 0, max_rows: int = 12) -> pa.Table:
    """Any table of the lake's schema."""
    size = draw(st.integers(min_rows, max_rows))
    fill = st.lists(st.none(), min_size=size, max_size=size)
    columns = []
    for one in LAKE_SCHEMA:
        values = st.lists(_values(one), min_size=size, max_size=size)
        columns.append(_column(draw(values | fill if one.nullable else values), one))
    return pa.table(columns, schema=LAKE_SCHEMA)


class LookedAt(threading.Event):
    """A signal to stop that knows by name which threads looked at it."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: set[str] = set()

    def is_set(self) -> bool:
        self.looked.add(threading.current_thread().name)
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self.looked.add(threading.current_thread().name)
        return super().wait(timeout)
