"""From what visitors did to bodies for `POST /events/batch`: the fields, rounding and cuts of the browser SDK."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from isotherm import __version__
from isotherm.cli.simulation import motion
from isotherm.cli.simulation.layout import Screen
from isotherm.cli.simulation.visitor import CLICK, KINDS, MOVE, SCROLL, TOUCH, Trace, View

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BATCH_EVENTS: Final = 200
SDK: Final = f"isotherm-simulate/{__version__}"
_STEPS: Final = 1e5


class Beat(Struct, omit_defaults=True, gc=False):
    """One event on the wire."""

    event_time: int
    event_type: str
    x_norm: float | None = None
    y_norm: float | None = None
    x_px: int | None = None
    y_px: int | None = None
    scroll_y: int | None = None
    anchor: str | None = None
    ax: float | None = None
    ay: float | None = None


class Batch(Struct, omit_defaults=True, gc=False):
    """One body on the wire."""

    client_id: str
    screen_id: str
    batch_id: str
    session_id: str
    url: str
    viewport: dict[str, float]
    document: dict[str, float]
    device_pixel_ratio: float
    sdk: str
    sequence: dict[str, Any]
    events: list[Beat]


@dataclass(frozen=True)
class Load:
    """One body to send. `lines` are the running numbers of its events, `last` the time of its last one (ms)."""

    content: bytes
    lines: Sequence[int]
    last: int


@dataclass(frozen=True)
class Stream:
    """Everything that happened, by view and time; each array has one entry per event. Times are ms after the visit's
    start, positions whole CSS pixels of the page (for scroll and pageview: meaningless)."""

    view: Integers
    time: Integers
    kind: Integers
    x: Floats
    y: Floats
    scroll: Floats

    def __len__(self) -> int:
        return len(self.view)


def fraction(offset: Floats, size: Floats) -> Floats:
    """The SDK's rounding (web/sdk/src/coordinates.ts): clamped, five decimals, never into another cell."""
    exact = np.clip(offset / size, 0.0, 1.0)
    steps = np.floor(exact * _STEPS)
    down = steps / _STEPS
    moved = (np.floor(down * 200) < np.floor(exact * 200)) | (np.floor(down * 100) < np.floor(exact * 100))
    return np.where(moved, (steps + 1) / _STEPS, down)


def stream(trace: Trace, noise: np.random.Generator | None) -> Stream:
    """Sample strokes and scrolling, and put all events of a trace in order."""
    pages = np.array([(*v.screen.page.document, *v.screen.device.viewport) for v in trace.views]).reshape(-1, 4)
    points = np.array(trace.points, dtype=np.float64).reshape(-1, 5)
    paths = np.array(trace.strokes, dtype=np.float64).reshape(-1, 8)
    rolls = np.array(trace.rolls, dtype=np.float64).reshape(-1, 5)
    moved, rolled = motion.strokes(paths[:, 1:], noise), motion.scrolls(rolls[:, 1:])
    view = np.concatenate([points[:, 0], paths[moved.path, 0], rolls[rolled.path, 0]]).astype(np.int64)
    time = np.concatenate([points[:, 1], moved.time, rolled.time]).astype(np.int64)
    kind = np.concatenate([points[:, 2], np.full(len(moved.path), MOVE), np.full(len(rolled.path), SCROLL)])
    x = np.concatenate([points[:, 3], moved.x, rolled.x])
    y = np.concatenate([points[:, 4], moved.y, rolled.y])
    order = np.lexsort((time, view))
    view, time, kind, x, y = view[order], time[order], kind[order].astype(np.int64), x[order], y[order]
    scroll = _scroll_before(view, kind, y)
    wide, high, window_wide, window_high = pages[view].T
    x = np.clip(np.rint(x), 0.0, np.minimum(wide, window_wide) - 1)
    # Rounded or trembling, a pointer stays in its window; a scroll's y is the scrolling itself.
    inside = np.clip(np.rint(y), scroll, np.minimum(high, scroll + window_high) - 1)
    return Stream(view, time, kind, x, np.where(kind == SCROLL, np.rint(y), inside), scroll)


def _scroll_before(view: Integers, kind: Integers, y: Floats) -> Floats:
    """How far each event's page was scrolled down: the last scroll event of its view up to it, or 0."""
    place = np.where(kind == SCROLL, np.arange(len(view)), -1)
    first = np.concatenate([[True], view[1:] != view[:-1]]) if len(view) else np.zeros(0, bool)
    begins = np.maximum.accumulate(np.where(first, np.arange(len(view)), 0)) if len(view) else place
    latest = np.maximum.accumulate(place) if len(view) else place
    return np.where(latest >= begins, np.rint(y[latest]), 0.0)


def hits(screen: Screen, x: Floats, y: Floats) -> Integers:
    """Index of the smallest target under each position, -1 where there is none."""
    if not len(screen.boxes):
        return np.full(len(x), -1)
    left, top, w, h = screen.boxes.T
    across, down = x[:, None] - left, y[:, None] - top
    inside = (across >= 0) & (across <= w) & (down >= 0) & (down <= h)
    found = inside.argmax(axis=1)
    return np.where(inside[np.arange(len(x)), found], found, -1)


@dataclass(frozen=True)
class Columns:
    """Wire values of all events, as Python objects, column by column in the order of `Beat`."""

    values: tuple[list[Any], ...]

    def beats(self, start: int, end: int) -> list[Beat]:
        return list(map(Beat, *(column[start:end] for column in self.values)))


def columns(views: Sequence[View], happened: Stream, starts: Integers) -> Columns:
    """Fill in what an event carries; `starts` is each view's visit's start (ms since the epoch)."""
    kind, view = happened.kind, happened.view
    placed = (kind == MOVE) | (kind == CLICK) | (kind == TOUCH)
    wide, high = np.array([v.screen.page.document for v in views]).reshape(-1, 2)[view].T
    anchor = np.full(len(happened), None, dtype=object)
    ax, ay = np.zeros(len(happened)), np.zeros(len(happened))
    groups: dict[int, list[int]] = {}
    for number, one in enumerate(views):
        groups.setdefault(id(one.screen), []).append(number)
    for numbers in groups.values():
        screen = views[numbers[0]].screen
        rows = np.flatnonzero(placed & np.isin(view, numbers))
        found = hits(screen, happened.x[rows], happened.y[rows])
        rows, found = rows[found >= 0], found[found >= 0]
        anchor[rows] = np.array([*screen.anchors, None], dtype=object)[found]
        box = screen.boxes[found]
        ax[rows] = fraction(happened.x[rows] - box[:, 0], box[:, 2])
        ay[rows] = fraction(happened.y[rows] - box[:, 1], box[:, 3])
    held = placed & (anchor != None)  # noqa: E711 - compares elements
    scrolled = placed | (kind == SCROLL)
    scroll = np.where(kind == SCROLL, happened.y, happened.scroll)
    names = np.array(KINDS, dtype=object)
    return Columns(
        (
            (happened.time + starts[view]).tolist(),
            names[kind].tolist(),
            _where(placed, fraction(happened.x, wide)),
            _where(placed, fraction(happened.y, high)),
            _where(placed, happened.x.astype(np.int64)),
            _where(placed, happened.y.astype(np.int64)),
            _where(scrolled, scroll.astype(np.int64)),
            anchor.tolist(),
            _where(held, ax),
            _where(held, ay),
        )
    )


def _where(mask: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> list[Any]:
    found = values.astype(object)
    found[~mask] = None
    return found.tolist()


@dataclass(frozen=True)
class Label:
    """What the ids of a run are made of: the same run sends the same ids, another one never does."""

    client_id: str
    site: str
    run: str

    def id(self, *parts: object) -> str:
        text = "|".join(map(str, (self.client_id, self.run, *parts)))
        return blake2b(text.encode(), digest_size=16).hexdigest()


def loads(label: Label, views: Sequence[View], happened: Stream, starts: Integers, every_ms: int = 0) -> Iterator[Load]:
    """Bodies view by view, at most 200 events each; with `every_ms`, also at most so many ms of a view."""
    rows = columns(views, happened, starts)
    bounds = np.searchsorted(happened.view, np.arange(len(views) + 1))
    for place, (view, (start, end)) in enumerate(zip(views, pairwise(bounds.tolist()), strict=True)):
        cuts = _cuts(happened.time[start:end], start, every_ms)
        visit, head = label.id(view.visit), label.id(view.visit, view.number)
        for running, (first, past) in enumerate(pairwise(cuts)):
            sequence = {"view": head, "batch": running, "first_event": first - start}
            body = _batch(label, view, f"{head}-{running}", visit, sequence, rows.beats(first, past))
            last = int(happened.time[past - 1] + starts[place])
            yield Load(_encode(body), range(first + 1, past + 1), last)


_encode: Final = msgspec.json.Encoder().encode


def _cuts(times: Integers, start: int, every_ms: int) -> list[int]:
    if not every_ms:
        return [*range(start, start + len(times), BATCH_EVENTS), start + len(times)]
    slots = (times - times[0]) // every_ms
    edges = (np.flatnonzero(np.diff(slots)) + 1).tolist()
    cuts = [0]
    for edge in (*edges, len(times)):
        while edge - cuts[-1] > BATCH_EVENTS:
            cuts.append(cuts[-1] + BATCH_EVENTS)
        cuts.append(edge)
    return [start + cut for cut in cuts]


def _batch(
    label: Label, view: View, batch_id: str, session: str, sequence: dict[str, Any], events: list[Beat]
) -> Batch:
    page, device = view.screen.page, view.screen.device
    return Batch(
        label.client_id,
        page.screen_id,
        batch_id,
        session,
        f"{label.site}{page.url}",
        {"w": device.viewport[0], "h": device.viewport[1]},
        {"w": page.document[0], "h": page.document[1]},
        device.device_pixel_ratio,
        SDK,
        sequence,
        events,
    )
