"""Records of the log -> counts per client, screen, event type and minute. No Python code runs per event.

Only what windows need is decoded: the rest of each event is skipped by the JSON parser, which is most of the work.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta, Struct

from isotherm.clock import MINUTE_MS
from isotherm.eventlog.port import Stored
from isotherm.events import (
    ENVELOPE_VERSION,
    FLAG_IMPORT,
    Millis,
    Moment,
    client_id_ok,
    event_times,
    event_types,
    record_id,
    screen_id_ok,
    times_ms,
)
from isotherm.rollup.windows.known import Bools, Known
from isotherm.rollup.windows.rule import EARLY_MS, LATE_MS

Ints = npt.NDArray[np.int64]
Key = tuple[str, str, str]
"""client_id, screen_id, event_type."""

_DENSE: Final = 4
"""Groups are counted in a table of all that may be while that is not this many times longer than the events."""


class _Event(Struct, gc=False):
    event_time: Moment
    event_type: str


class _Batch(Struct):
    events: list[_Event]


class _Record(Struct):
    """As much of an envelope as windows need."""

    v: int
    client_id: str
    screen_id: str
    batch_id: str
    received_at: Millis
    skew_ms: Annotated[int, Meta(ge=-(1 << 52), le=1 << 52)] = 0
    flags: list[str] = []
    positions: list[Annotated[int, Meta(ge=0, lt=1 << 20)]] | None = None
    batch: _Batch | None = None

    @property
    def id(self) -> bytes:
        return record_id(self.client_id, self.batch_id)

    @property
    def events(self) -> list[_Event]:
        return self.batch.events if self.batch is not None else []

    @property
    def places(self) -> Sequence[int]:
        return self.positions if self.positions is not None else range(len(self.events))

    @property
    def usable(self) -> bool:
        """Whether it is one that the lander would take, and live data with events in it."""
        return (
            bool(self.events)
            and FLAG_IMPORT not in self.flags
            and self.v == ENVELOPE_VERSION
            and (self.positions is None or len(self.positions) == len(self.events))
            and client_id_ok(self.client_id)
            and screen_id_ok(self.screen_id)
        )


class Groups(NamedTuple):
    """What some records add: `counts` events of `keys[key]` in each `minute` (since the epoch), the newest of them
    received at `newest` (ms). Each pair of key and minute is there once; arrays have one length.

    `events` were in the records, of live data; what was not counted is late, early, before the floor, or a duplicate.
    """

    keys: list[Key]
    key: Ints
    minute: Ints
    counts: Ints
    newest: Ints
    events: int


_decoder: Final = msgspec.json.Decoder(_Record)
_NONE: Final = np.empty(0, np.int64)


def group(records: Sequence[Stored], known: Known, floor: int) -> Groups:
    """Count the records' new events from `floor` (ms) on; `known` learns their batches."""
    decoded = [one for one in _decode(records) if one is not None and one.usable]
    events = sum(len(one.events) for one in decoded)
    pairs = [(one, keep) for one, keep in zip(decoded, known.fresh(decoded), strict=True) if keep is not False]
    # In order of receipt: the last of a group is its newest.
    pairs.sort(key=lambda pair: pair[0].received_at)
    if not pairs:
        return Groups([], _NONE, _NONE, _NONE, _NONE, events)
    return _count([one for one, _ in pairs], [keep for _, keep in pairs], floor, events)


def _decode(records: Sequence[Stored]) -> list[_Record | None]:
    try:
        return list(map(_decoder.decode, map(attrgetter("value"), records)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [_decode_one(record.value) for record in records]


def _decode_one(value: bytes) -> _Record | None:
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _count(records: list[_Record], keep: list[Bools | bool], floor: int, events: int) -> Groups:
    lengths = np.array([len(one.events) for one in records], np.int64)
    times = _times(records) + np.repeat(np.array([one.skew_ms for one in records], np.int64), lengths)
    received = np.repeat(np.array([one.received_at for one in records], np.int64), lengths)
    late = received - times
    counted = (late <= LATE_MS) & (late >= -EARLY_MS) & (times >= floor)
    if any(one is not True for one in keep):
        counted &= np.concatenate([np.broadcast_to(one, n) for one, n in zip(keep, lengths.tolist(), strict=True)])
    codes, names = _codes(records, lengths)
    if not counted.all():
        codes, times, received = codes[counted], times[counted], received[counted]
    return _grouped(names, codes, times // MINUTE_MS, received, events)


def _events(records: list[_Record]) -> Iterator[Any]:
    return chain.from_iterable([one.events for one in records])


def _times(records: list[_Record]) -> Ints:
    """The client's times in ms; a batch has integers or date-times, never both."""
    flat = list(map(event_times, _events(records)))
    try:
        return np.fromiter(flat, np.int64, len(flat))
    except TypeError:
        return np.concatenate([times_ms(one.events) for one in records])


def _codes(records: list[_Record], lengths: Ints) -> tuple[Ints, list[Key]]:
    """A number for each event's client, screen and type, and what the numbers mean."""
    types = pa.array(list(map(event_types, _events(records))), pa.string()).dictionary_encode()
    kinds: list[str] = types.dictionary.to_pylist()
    screens: dict[tuple[str, str], int] = {}
    numbers = [screens.setdefault((one.client_id, one.screen_id), len(screens)) for one in records]
    codes = np.repeat(np.array(numbers, np.int64) * len(kinds), lengths) + types.indices.to_numpy()
    return codes, [(*screen, kind) for screen in screens for kind in kinds]


def _grouped(names: list[Key], codes: Ints, minutes: Ints, received: Ints, events: int) -> Groups:
    if not len(codes):
        return Groups([], _NONE, _NONE, _NONE, _NONE, events)
    first = int(minutes.min())
    span = int(minutes.max()) - first + 1
    places = codes * span + (minutes - first)
    room = len(names) * span
    if room <= _DENSE * len(places) + 1024:
        table = np.bincount(places, minlength=room)
        newest = np.zeros(room, np.int64)
        # Of an index that comes several times, the last value stays, and they come in order of receipt.
        newest[places] = received
        found = np.flatnonzero(table)
        count, latest = table[found], newest[found]
    else:
        found, inverse, count = np.unique(places, return_inverse=True, return_counts=True)
        latest = np.zeros(len(found), np.int64)
        latest[inverse] = received
    return Groups(names, found // span, found % span + first, count.astype(np.int64), latest, events)
