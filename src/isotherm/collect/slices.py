"""Splitting a batch by event hour, for a log whose records bear the events' time (`log_timestamp = event`).

A slice is a record of its own with the facts of the whole request; `positions` says where in the client's body its
events stood, which is what duplicates are told by later: another attempt of the batch may be cut otherwise, when the
sender's clock is corrected by another amount. What is said of the whole request stands in the first slice alone.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isotherm.clock import HOUR_MS
from isotherm.collect.request import Parsed
from isotherm.collect.shapes import encode
from isotherm.collect.validate import split
from isotherm.eventlog.port import Record
from isotherm.events import times_ms

_OF_THE_REQUEST: Final = frozenset({"sequence", "dropped"})
"""Fields of a batch that would be counted twice if every slice had them."""

Times = npt.NDArray[np.int64]


class Slice(NamedTuple):
    """One record of a batch. `known` makes what is appended when the log knows it; `events` counts what it holds."""

    record: Record
    known: Callable[[], Record]
    events: int


class Piece(NamedTuple):
    """The events of one hour: its start and the first event's time (ms), their places in the body, and the batch."""

    hour: int
    first_ms: int
    positions: list[int]
    batch: bytes


def corrected(parsed: Parsed, skew_ms: int) -> Times:
    """The kept events' times after the correction of the sender's clock, int64 ms, shape (len(parsed.events),)."""
    if parsed.times and isinstance(parsed.times[0], datetime):
        return times_ms(parsed.events) + skew_ms
    return np.array(parsed.times, np.int64) + skew_ms


def one_line(text: bytes) -> bytes:
    """The JSON text without line breaks: outside of strings they are white space, inside none can be."""
    return text.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in text or b"\r" in text else text


def pieces(body: bytes, parsed: Parsed, skew_ms: int) -> Iterator[Piece]:
    """The batch's events by UTC hour, earliest first, each in the order of the body."""
    raws, times = split(body, parsed), corrected(parsed, skew_ms)
    hours = times - times % HOUR_MS
    order = np.argsort(hours, kind="stable")
    edges = np.flatnonzero(np.diff(hours[order])) + 1
    head: dict[str, Any] = dict(parsed.head)
    for places in np.split(order, edges):
        listed = places.tolist()
        yield Piece(
            hour=int(hours[listed[0]]),
            first_ms=int(times[places].min()),
            positions=[parsed.positions[at] for at in listed],
            batch=one_line(encode({**head, "events": [raws[at] for at in listed]})),
        )
        head = {name: value for name, value in head.items() if name not in _OF_THE_REQUEST}
