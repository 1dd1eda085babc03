"""Rows of the lake -> records of the log, as the collector made them: the way back from land to the log.

A record's rows stand one after the other in a file and share all that is said once per record, so runs of equal facts
are records again. Batch id, positions, times of receipt and the sender's own times are those of the rows.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Raw

from isotherm.clock import HOUR_MS
from isotherm.eventlog.port import MAX_RECORD_BYTES, Record
from isotherm.events import FLAG_IMPORT, FLAG_REPLAY, Counts, encode_envelope, hour_of, record_key, replay_id
from isotherm.land.parts import int64
from isotherm.land.rows import FACT_SCHEMA
from isotherm.land.schema import DICTIONARY
from isotherm.land.write import to_list

_EVENT_FIELDS: Final = (
    "event_time", "event_type", "x_norm", "y_norm", "x_px", "y_px", "anchor", "ax", "ay", "scroll_y", "attrs"
)  # fmt: skip
_Event: Final = msgspec.defstruct("_Event", [(name, Any, None) for name in _EVENT_FIELDS], omit_defaults=True, gc=False)
_TEXTS: Final = ("session_id", "visitor_id", "url", "sdk")
_SIZES: Final = ("viewport", "document", "region")
_NONE: Final = -1
_encoder: Final = msgspec.json.Encoder()
_FLAGS: Final = (FLAG_IMPORT, FLAG_REPLAY)


def records_of(
    table: pa.Table, now_ms: int, *, by_client: bool = False, max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Record]:
    """The records of some rows of one file, in the file's order; `by_client` as in the setting `log_key`.

    The log's own time of a record is `now_ms`, so that a log that forgets by time does not forget it at once.
    """
    if not table.num_rows:
        return
    times, skews = int64(table, "event_time"), _skews(table)
    edges = _edges(table, skews)
    facts = table.select(FACT_SCHEMA.names).take(pa.array(edges[:-1])).to_pylist()
    events, positions = _events(table, times - skews), int64(table, "position").tolist()
    for said, (start, end) in zip(facts, pairwise(edges), strict=True):
        rows = _Rows(said, int(skews[start]), events, positions, times)
        for value, held in rows.values(start, end, max_bytes):
            client_id, screen_id = said["client_id"], said["screen_id"]
            key = client_id if by_client else record_key(client_id, screen_id)
            one = replay_id(client_id, said["batch_id"], hour_of(int(times[start])), held)
            yield Record(key, value, now_ms, one)


class _Rows:
    """The rows of one record in columns of a whole table."""

    def __init__(
        self,
        said: dict[str, Any],
        skew_ms: int,
        events: Sequence[Any],
        positions: list[int],
        times: npt.NDArray[np.int64],
    ) -> None:
        self._said, self._skew, self._events = said, skew_ms, events
        self._positions, self._times = positions, times

    def values(self, start: int, end: int, max_bytes: int) -> Iterator[tuple[bytes, list[int]]]:
        """The record's value and its positions; several where one would be too long."""
        value = self._value(start, end)
        if len(value) <= max_bytes or end - start == 1:
            yield value, self._positions[start:end]
            return
        middle = (start + end) // 2
        yield from self.values(start, middle, max_bytes)
        yield from self.values(middle, end, max_bytes)

    def _value(self, start: int, end: int) -> bytes:
        said = self._said
        hours, counts = np.unique(self._times[start:end] // HOUR_MS, return_counts=True)
        accepted = {str(hour * HOUR_MS): count for hour, count in zip(hours.tolist(), counts.tolist(), strict=True)}
        return encode_envelope(
            client_id=said["client_id"],
            screen_id=said["screen_id"],
            batch_id=said["batch_id"],
            received_at=round(said["received_at"].timestamp() * 1000),
            skew_ms=self._skew,
            flags=_FLAGS,
            counts=Counts(accepted=accepted),
            positions=self._positions[start:end],
            batch=_batch(said, _encoder.encode(self._events[start:end])),
        )


def _batch(said: dict[str, Any], events: bytes) -> bytes:
    """The sender's body in the strict form. What it said of its own sequence and losses is in no row."""
    body: dict[str, Any] = {name: said[name] for name in ("client_id", "screen_id", "batch_id")}
    body |= {name: said[name] for name in (*_TEXTS, "device_pixel_ratio") if said[name] is not None}
    for name in _SIZES:
        if said[f"{name}_w"] is not None:
            body[name] = {"w": said[f"{name}_w"], "h": said[f"{name}_h"]}
    return b'%b,"events":%b}' % (_encoder.encode(body)[:-1], events)


def _events(table: pa.Table, own: npt.NDArray[np.int64]) -> list[Any]:
    """One object per row; times are the sender's own."""
    columns: dict[str, list[Any]] = {name: to_list(table.column(name).combine_chunks()) for name in _EVENT_FIELDS[1:]}
    columns["attrs"] = [None if text is None else Raw(text.encode()) for text in columns["attrs"]]
    return list(map(_Event, own.tolist(), *(columns[name] for name in _EVENT_FIELDS[1:])))


def _skews(table: pa.Table) -> npt.NDArray[np.int64]:
    """What was added to the sender's times: 0 where they stand as they were."""
    client = table.column("client_time").combine_chunks()
    if client.null_count == len(client):
        return np.zeros(len(client), np.int64)
    times = int64(table, "event_time")
    own = client.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(client.is_null().to_numpy(zero_copy_only=False), 0, times - own)


def _edges(table: pa.Table, skews: npt.NDArray[np.int64]) -> list[int]:
    """Where a record begins: wherever some fact is another one than in the row before; and the end."""
    size = table.num_rows
    changed = np.zeros(size, np.bool_)
    for values in (skews, *(_codes(table.column(name).combine_chunks()) for name in FACT_SCHEMA.names)):
        changed[1:] |= values[1:] != values[:-1]
    return [0, *np.flatnonzero(changed).tolist(), size]


def _codes(column: Any) -> npt.NDArray[np.int64]:
    """Numbers that are equal where the values are, bit by bit; nulls are equal."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64)
    if column.type == DICTIONARY:
        return column.indices.fill_null(_NONE).to_numpy(zero_copy_only=False).astype(np.int64)
    whole = column.cast(pa.int64()) if pa.types.is_integer(column.type) else column.view(pa.int64())
    values = whole.fill_null(0).to_numpy(zero_copy_only=False).copy()
    # No JSON number has these bits: they are a NaN's.
    values[column.is_null().to_numpy(zero_copy_only=False)] = _NONE
    return values
