"""Request bodies: smooth pointer paths in whole pixels of many window and page sizes, six decimals on the wire."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from isotherm.clock import HOUR_MS
from isotherm.events import hour_of

CLIENTS: Final = 4
SCREENS: Final = 8
WINDOWS: Final = ((1920, 1080), (1536, 864), (1366, 768), (2560, 1440), (1440, 900), (390, 844), (412, 915))
PACE_MS: Final = (8, 25)
"""Least and most time between two events of a path."""


class Body(NamedTuple):
    """A body cut where its batch id goes: head + id + tail is the JSON text."""

    client_id: str
    screen_id: str
    head: bytes
    tail: bytes
    times: list[int]
    x_norm: list[float]
    y_norm: list[float]


def make(count: int, events: int, now_ms: int, seed: int = 1) -> list[Body]:
    """`count` different bodies of `events` mouse moves each, all in the UTC hour of `now_ms`."""
    rng = np.random.default_rng(seed)
    return [_body(rng, number, events, hour_of(now_ms)) for number in range(count)]


def path(rng: np.random.Generator, steps: int) -> npt.NDArray[np.float64]:
    """One coordinate of a moving pointer: a speed that changes slowly, reflected at the edges; in [0, 1)."""
    speed = np.convolve(rng.normal(0, 1 / 400, steps), 0.85 ** np.arange(40))[:steps]
    place = rng.uniform() + np.cumsum(speed)
    return np.minimum(np.abs((place + 1) % 2 - 1), 1 - 2**-53)


def on_pixels(place: npt.NDArray[np.float64], size: Any) -> npt.NDArray[np.float64]:
    """Positions in [0, 1) as a browser reports them: whole pixels of `size`, six decimals."""
    return np.round(np.floor(place * size) / size, 6)


def _body(rng: np.random.Generator, number: int, events: int, hour: int) -> Body:
    window_w, window_h = WINDOWS[int(rng.integers(len(WINDOWS)))]
    page_h = window_h + int(rng.integers(0, 4 * window_h))
    client_id, screen_id = f"bench-{number % CLIENTS}", f"/shop/page-{int(rng.integers(SCREENS))}"
    x = on_pixels(path(rng, events), window_w).tolist()
    y = on_pixels(path(rng, events), page_h).tolist()
    pace = np.cumsum(rng.integers(*PACE_MS, events))
    times = (hour + int(rng.integers(0, HOUR_MS - int(pace[-1]))) + pace).tolist()
    facts = {
        "session_id": rng.bytes(12).hex(),
        "visitor_id": rng.bytes(16).hex(),
        "url": f"https://shop.example{screen_id}",
        "viewport": {"w": window_w, "h": window_h},
        "document": {"w": window_w, "h": page_h},
        "device_pixel_ratio": 1 if window_w > 1000 else 3,
        "sdk": "isotherm-bench",
    }
    moves = ",".join(
        f'{{"event_time":{t},"event_type":"mousemove","x_norm":{a:.6f},"y_norm":{b:.6f}}}'
        for t, a, b in zip(times, x, y, strict=True)
    )
    head = f'{{"client_id":"{client_id}","screen_id":"{screen_id}","batch_id":"'.encode()
    tail = b'",%b,"events":[%b]}' % (msgspec.json.encode(facts)[1:-1], moves.encode())
    return Body(client_id, screen_id, head, tail, times, x, y)


def write(bodies: list[Body], file: Path) -> None:
    """One body a line, its head and tail parted by a tab: what post.lua reads."""
    file.write_bytes(b"".join(b"%b\t%b\n" % (body.head, body.tail) for body in bodies))
