"""Log records -> one Arrow table of the lake's schema. No Python code runs per event: C-level maps and Arrow only."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from isotherm.errors import Unusable
from isotherm.eventlog.port import Stored
from isotherm.events import (
    ENVELOPE_VERSION,
    FLAG_AGAIN,
    FLAG_IMPORT,
    Batch,
    Counts,
    Envelope,
    Event,
    client_id_ok,
    decode_envelope,
    screen_id_ok,
    times_ms,
)
from isotherm.land.calm import no_cycles
from isotherm.land.rows import EVENT_SCHEMA, FACT_SCHEMA, NONE, Rows
from isotherm.land.schema import MOMENT
from isotherm.land.shapes import Shape, shape_of

_MOST_EVENTS: Final = 1_000_000
LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the last a path can name."""
_EVENT_DOUBLES: Final = ("x_norm", "y_norm", "x_px", "y_px", "scroll_y", "ax", "ay")
_BATCH_TEXTS: Final = ("session_id", "visitor_id", "url", "sdk")
_SIZES: Final = tuple((name, side) for name in ("viewport", "document", "region") for side in ("w", "h"))
_NO_ATTRS: Final = Event(event_time=0, event_type="").attrs


@lru_cache(1 << 16)
def _ids_ok(client_id: str, screen_id: str) -> bool:
    return client_id_ok(client_id) and screen_id_ok(screen_id)


class Tally(Struct, frozen=True):
    """What the record at this offset says for the ledger. `counts` is None when not even that could be read, and
    `screen_id` empty when the record names no screen."""

    offset: int
    client_id: str
    received_at: int
    counts: Counts | None
    dead: bool = False
    screen_id: str = ""


class BatchRef(NamedTuple):
    """One record's rows: whose they are, how many, and where in the sender's body if that is not 0, 1, 2, ...

    `again` says that the body was sent again by another than its sender; see FLAG_AGAIN.
    """

    client_id: str
    batch_id: str
    received_at: int
    rows: int
    positions: list[int] | None
    again: bool = False


class Decoded(Struct):
    """What some records hold: rows, tallies and dead letters.

    `batches` describes the rows record by record, in their order. `shapes` has, by log offset, what the records
    with rows say about their screens.
    """

    rows: Rows
    tallies: list[Tally]
    dead: list[Stored]
    shapes: dict[int, Shape]
    batches: list[BatchRef]


class _Facts(Struct):
    """As much of a record as the ledger needs, when the rest is unusable."""

    client_id: str
    received_at: int
    counts: Counts
    screen_id: str = ""


class _Work(Struct):
    record: Stored
    envelope: Envelope
    batch: Batch


def decode_records(records: Sequence[Stored]) -> Decoded:
    """Decode records of one partition. A record that cannot be used is set aside, it never stops the others."""
    with no_cycles:
        return _decode(records)


def dead_letter(record: Stored, *, bare: bool = False) -> Decoded:
    """The record as one that cannot be used; a `bare` one says nothing of itself and counts as one event of nobody."""
    tally = Tally(record.offset, "", record.timestamp, None, dead=True) if bare else _dead_tally(record)
    return Decoded(NONE, [tally], [record], {}, [])


def _decode(records: Sequence[Stored]) -> Decoded:
    dead: list[Stored] = []
    work: list[_Work] = []
    tallies: list[Tally] = []
    for record, envelope in zip(records, _envelopes(records), strict=True):
        if envelope is None:
            dead.append(record)
            continue
        if envelope.batch is not None and envelope.batch.events:
            work.append(_Work(record, envelope, envelope.batch))
        else:
            tallies.append(_tally(record, envelope))
    tables, spoilt = _build(work)
    dead += [item.record for item in spoilt]
    lost = {id(item) for item in spoilt}
    kept = [item for item in work if id(item) not in lost]
    tallies += [_tally(w.record, w.envelope) for w in kept]
    tallies += map(_dead_tally, dead)
    rows = _rows(tables, kept)
    shapes = {w.record.offset: shape for w in kept if (shape := shape_of(w.envelope, w.batch)) is not None}
    return Decoded(rows, tallies, dead, shapes, list(map(_batch_ref, kept)))


def _rows(tables: "Sequence[_Tables]", work: Sequence[_Work]) -> Rows:
    """The rows of all these records, whose tables are those of some records each."""
    if not work:
        return NONE
    record = np.repeat(np.arange(len(work)), _lengths(work))
    imported = np.array([FLAG_IMPORT in w.envelope.flags for w in work], np.bool_)[record]
    events, facts = (pa.concat_tables(parts) for parts in zip(*tables, strict=True))
    return Rows(events, facts, record, imported)


def _batch_ref(work: _Work) -> BatchRef:
    envelope = work.envelope
    rows, again = len(work.batch.events), FLAG_AGAIN in envelope.flags
    return BatchRef(envelope.client_id, envelope.batch_id, envelope.received_at, rows, envelope.positions, again)


def _envelopes(records: Sequence[Stored]) -> Iterable[Envelope | None]:
    try:
        envelopes: list[Envelope] = list(map(decode_envelope, map(attrgetter("value"), records)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return map(_envelope, records)
    return map(_checked, envelopes)


def _envelope(record: Stored) -> Envelope | None:
    try:
        return _checked(decode_envelope(record.value))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _checked(envelope: Envelope) -> Envelope | None:
    batch = envelope.batch
    usable = (
        envelope.v == ENVELOPE_VERSION
        and _ids_ok(envelope.client_id, envelope.screen_id)
        and 0 <= envelope.received_at <= LATEST_MS
        and _counts_ok(envelope.counts)
        and (batch is None or envelope.positions is None or len(envelope.positions) == len(batch.events))
    )
    return envelope if usable else None


def _tally(record: Stored, said: Envelope) -> Tally:
    return Tally(record.offset, said.client_id, said.received_at, said.counts, screen_id=said.screen_id)


def _counts_ok(counts: Counts) -> bool:
    """Whether the ledger can hold them: no collector counts more events in a request."""
    numbers = (*counts.accepted.values(), *counts.rejected.values(), counts.duplicate)
    return min(numbers) >= 0 and max(numbers) <= _MOST_EVENTS


def _dead_tally(record: Stored) -> Tally:
    """Whose events died, as far as the record still says it."""
    try:
        facts = msgspec.json.decode(record.value, type=_Facts)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Tally(record.offset, "", record.timestamp, None, dead=True)
    known = client_id_ok(facts.client_id) and 0 <= facts.received_at <= LATEST_MS and _counts_ok(facts.counts)
    if not known:
        return Tally(record.offset, "", record.timestamp, None, dead=True)
    screen_id = facts.screen_id if screen_id_ok(facts.screen_id) else ""
    return Tally(record.offset, facts.client_id, facts.received_at, facts.counts, dead=True, screen_id=screen_id)


_Tables = tuple[pa.Table, pa.Table]
"""Of EVENT_SCHEMA and of FACT_SCHEMA."""


def _build(work: list[_Work]) -> tuple[list[_Tables], list[_Work]]:
    """Tables of all usable records in order, and the unusable ones, found by halving."""
    if not work:
        return [], []
    try:
        return [_tables(work)], []
    except (ValueError, TypeError, OverflowError, Unusable):
        if len(work) == 1:
            return [], work
    middle = len(work) // 2
    first, spoilt_first = _build(work[:middle])
    second, spoilt_second = _build(work[middle:])
    return first + second, spoilt_first + spoilt_second


def _lengths(work: Sequence[_Work]) -> npt.NDArray[np.int64]:
    return np.array([len(w.batch.events) for w in work], np.int64)


def _tables(work: Sequence[_Work]) -> _Tables:
    """The rows of usable records. Raises ValueError and its like when some record is unusable after all."""
    events = list(chain.from_iterable([w.batch.events for w in work]))
    lengths = _lengths(work)
    columns = _event_columns(events) | _times(work, lengths) | {"position": _positions(work, lengths)}
    return _table(columns, EVENT_SCHEMA), _table(_facts(work), FACT_SCHEMA)


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _event_columns(events: list[Event]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: _doubles(events, name) for name in _EVENT_DOUBLES}
    columns["event_type"] = pa.array(list(map(attrgetter("event_type"), events)), pa.string()).dictionary_encode()
    anchors = list(map(attrgetter("anchor"), events))
    columns["anchor"] = _nulls(anchors, pa.string()) or pa.array(anchors, pa.string())
    columns["attrs"] = _attrs(list(map(attrgetter("attrs"), events)))
    return columns


def _nulls(values: list[Any], kind: Any) -> Any:
    """A column of nulls if nothing else is in `values`, else None."""
    return pa.nulls(len(values), kind) if values.count(None) == len(values) else None


def _doubles(events: list[Event], name: str) -> Any:
    get = attrgetter(name)
    values: Iterable[float | None] = map(get, events)
    if get(events[0]) is None:
        values = list(values)
        if values.count(None) == len(values):
            return pa.nulls(len(values), pa.float64())
    # NumPy reads None as NaN, and no JSON number is NaN: every NaN is a null.
    return pa.array(np.fromiter(values, np.float64, len(events)), from_pandas=True)


def _attrs(values: list[Any]) -> Any:
    if values.count(_NO_ATTRS) == len(values):
        return pa.nulls(len(values), pa.string())
    text = pa.array(list(map(bytes, values)), pa.binary())
    # The cast refuses bytes that are no UTF-8: msgspec.Raw has not looked at them.
    given = pc.call_function("binary_length", [text]).to_numpy() > 0
    return pc.call_function("if_else", [pa.array(given), text, pa.scalar(None, pa.binary())]).cast(pa.string())


def _facts(work: Sequence[_Work]) -> dict[str, Any]:
    """The columns with a value per record."""
    facts: dict[str, Any] = {
        "client_id": _texts([w.envelope.client_id for w in work]),
        "screen_id": _texts([w.envelope.screen_id for w in work]),
        "batch_id": _texts([w.envelope.batch_id for w in work]),
        "received_at": pa.array([w.envelope.received_at for w in work], pa.int64()).cast(MOMENT),
        "log_partition": pa.array([w.record.partition for w in work], pa.int32()),
        "log_offset": pa.array([w.record.offset for w in work], pa.int64()),
        "device_pixel_ratio": pa.array([w.batch.device_pixel_ratio for w in work], pa.float64()),
    }
    for name in _BATCH_TEXTS:
        facts[name] = _texts([getattr(w.batch, name) for w in work])
    for name, side in _SIZES:
        sizes = [getattr(w.batch, name) for w in work]
        facts[f"{name}_{side}"] = pa.array([size and getattr(size, side) for size in sizes], pa.float64())
    return facts


def _texts(values: list[str | None]) -> Any:
    return pa.array(values, pa.string()).dictionary_encode()


def _times(work: Sequence[_Work], lengths: npt.NDArray[np.int64]) -> dict[str, Any]:
    own = np.concatenate([times_ms(w.batch.events) for w in work])
    skews = np.repeat(np.array([w.envelope.skew_ms for w in work], np.int64), lengths)
    times = own + skews
    if times.min() < 0 or times.max() > LATEST_MS:
        raise Unusable("an event lies outside the years 1970 to 9999")
    corrected = skews != 0
    client = pa.array(own, pa.int64(), mask=~corrected) if corrected.any() else pa.nulls(len(own), pa.int64())
    return {"event_time": pa.array(times).cast(MOMENT), "client_time": client.cast(MOMENT)}


def _positions(work: Sequence[_Work], lengths: npt.NDArray[np.int64]) -> Any:
    given = [w.envelope.positions if w.envelope.positions is not None else range(len(w.batch.events)) for w in work]
    counted = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if all(w.envelope.positions is None for w in work):
        return pa.array(counted.astype(np.int32))
    return pa.array(np.fromiter(chain.from_iterable(given), np.int64, len(counted))).cast(pa.int32())
