"""Made-up visitors for `isotherm demo`: they rest, aim at a target, overshoot a little, sometimes click."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import msgspec
import numpy as np

CLIENT: Final = "demo"
SDK: Final = "isotherm-demo"
STEP_MS: Final = 40
BATCH: Final = 200


@dataclass(frozen=True)
class Target:
    """Something on a page that people aim at: centre, spread, and how often it is chosen and clicked."""

    x: float
    y: float
    spread: float
    weight: float
    clicks: float


SCREENS: Final[dict[str, tuple[Target, ...]]] = {
    "shop/home": (
        Target(0.14, 0.045, 0.02, 1.0, 0.3),
        Target(0.86, 0.045, 0.025, 1.6, 0.5),
        Target(0.50, 0.26, 0.07, 4.0, 0.25),
        Target(0.24, 0.55, 0.05, 2.2, 0.4),
        Target(0.50, 0.55, 0.05, 2.6, 0.5),
        Target(0.76, 0.55, 0.05, 1.5, 0.3),
        Target(0.50, 0.88, 0.10, 0.6, 0.05),
    ),
    "shop/product": (
        Target(0.30, 0.34, 0.09, 3.0, 0.15),
        Target(0.74, 0.46, 0.03, 3.4, 0.7),
        Target(0.74, 0.30, 0.05, 1.8, 0.1),
        Target(0.30, 0.72, 0.08, 1.6, 0.1),
    ),
    "shop/checkout": (
        Target(0.38, 0.28, 0.06, 2.4, 0.5),
        Target(0.38, 0.44, 0.06, 2.0, 0.5),
        Target(0.70, 0.62, 0.025, 3.0, 0.8),
    ),
}


def _journey(rng: np.random.Generator, targets: tuple[Target, ...], start_ms: int) -> list[dict[str, Any]]:
    """One visitor's events: minimum-jerk strokes between targets, s(t) = 10t^3 - 15t^4 + 6t^5."""
    weights = np.array([t.weight for t in targets])
    at = rng.random(2)
    now = start_ms
    events: list[dict[str, Any]] = []
    for target in rng.choice(np.array(targets, dtype=object), size=rng.integers(4, 10), p=weights / weights.sum()):
        goal = rng.normal((target.x, target.y), (target.spread, target.spread * 0.6))
        t = np.linspace(0, 1, int(rng.integers(8, 22)))
        pace = (10 * t**3 - 15 * t**4 + 6 * t**5)[:, None]
        bow = np.sin(np.pi * t)[:, None] * rng.normal(0, 0.035, 2)
        rest = np.repeat(goal[None, :], int(rng.integers(2, 14)), axis=0) + rng.normal(0, 0.004, 2)
        path = np.clip(np.vstack([at + (goal - at) * pace + bow, rest]), 0.0, 1.0).round(5)
        for x, y in path.tolist():
            events.append({"event_time": now, "event_type": "mousemove", "x_norm": x, "y_norm": y})
            now += STEP_MS
        if rng.random() < target.clicks:
            x, y = path[-1].tolist()
            events.append({"event_time": now, "event_type": "click", "x_norm": x, "y_norm": y})
        at = goal
        now += int(rng.exponential(900))
    return events


def batches(visitors: int, now_ms: int, span_ms: int, seed: int = 7) -> Iterator[tuple[bytes, int]]:
    """Bodies for POST /events/batch and their numbers of events, spread over the `span_ms` before `now_ms`."""
    rng = np.random.default_rng(seed)
    names = list(SCREENS)
    for _ in range(visitors):
        screen = names[int(rng.choice(len(names), p=(0.5, 0.3, 0.2)))]
        start = now_ms - int(rng.beta(1.2, 2.5) * span_ms) - 60_000
        events = _journey(rng, SCREENS[screen], start)
        for first in range(0, len(events), BATCH):
            part = events[first : first + BATCH]
            body = {"client_id": CLIENT, "screen_id": screen, "batch_id": str(uuid4()), "sdk": SDK, "events": part}
            yield msgspec.json.encode(body), len(part)
