"""What one visitor does: screens, pauses, strokes, scrolling and clicks, written down for all visitors of a chunk.

Times are milliseconds after the visit's start, positions CSS pixels on the page.
"""

from abc import ABC, abstractmethod
from bisect import bisect
from dataclasses import dataclass, field
from math import hypot
from random import Random
from typing import Final, NamedTuple

from isotherm.cli.simulation.layout import Choice, Device, Screen, Target, World
from isotherm.cli.simulation.motion import fitts_ms

PAGEVIEW, CLICK, TOUCH, MOVE, SCROLL = range(5)
KINDS: Final = ("pageview", "click", "touch", "mousemove", "scroll")
MOST_VIEWS: Final = 8
LONGEST_MS: Final = 20 * 60_000
"""No visit goes on longer than this, by much."""
_ACTS: Final = 26
_CLICKS: Final = {"link": 0.34, "button": 0.6, "field": 0.7, "picture": 0.05}


class View(NamedTuple):
    """One look at one screen."""

    visit: int
    number: int
    screen: Screen


@dataclass
class Trace:
    """Everything that the visitors of a chunk did. Rows begin with the view's place in `views`.

    points: (view, ms, kind, x, y); strokes: (view, ms, duration, x0, y0, x1, y1, bow);
    rolls: (view, ms, duration, scroll_y before, after).
    """

    views: list[View] = field(default_factory=list[View])
    points: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])
    strokes: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])
    rolls: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])


class Visitor(ABC):
    """Somebody with a device. `run` writes the visit into the trace and returns its length in ms."""

    def __init__(self, chance: Random, world: World, device: Device, visit: int, trace: Trace) -> None:
        self.chance, self.world, self.device, self.trace = chance, world, device, trace
        self.visit = visit
        self.now = 0.0
        self.view = 0
        self.scroll = 0.0
        self.wide, self.high = device.viewport

    def run(self) -> float:
        """From arriving to leaving."""
        starts = self.world.starts[self.device.name]
        url: str | None = starts[bisect([s for _, s in starts], self.chance.random() * starts[-1][1])][0]
        for number in range(MOST_VIEWS):
            screen = self.world.screens.get((self.device.name, url)) if url is not None else None
            if screen is None or self.now > LONGEST_MS:
                break
            self.view = len(self.trace.views)
            self.trace.views.append(View(self.visit, number, screen))
            self.trace.points.append((self.view, self.now, PAGEVIEW, 0.0, 0.0))
            self.scroll = 0.0
            url = self._look_around(screen)
            self.now += self.chance.uniform(250, 900)
        return self.now

    def _look_around(self, screen: Screen) -> str | None:
        """Spend a while on a screen; the url to go on to, or None to leave."""
        chance = self.chance
        self.pause(chance.uniform(500, 1_800))
        for _ in range(min(5 + int(chance.expovariate(0.12)), _ACTS)):
            things, texts = screen.seen(self.scroll)
            roll = chance.random()
            if roll < 0.25 and texts.targets:
                self.read(self.pick(texts))
            elif roll < 0.64 and things.targets:
                target = self.pick(things)
                if self.use(target, certain=False) and (target.to is not None or self._jumped(screen, target)):
                    return target.to
            else:
                self._wander(screen)
            if self.now > LONGEST_MS:
                return None
        return self._go_on(screen) if chance.random() < 0.62 else None

    def _go_on(self, screen: Screen) -> str | None:
        """Follow one of the page's links, scrolling to it first when it is out of sight."""
        ways = screen.ways
        if not ways.targets:
            return None
        target = self.pick(ways)
        middle = target.box[1] + target.box[3] / 2
        while abs(middle - self.scroll - self.high / 2) > 0.45 * self.high:
            before = self.scroll
            self.roll(screen, middle - self.scroll - self.high * self.chance.uniform(0.35, 0.65))
            if self.scroll == before:
                break
        self.pause(self.chance.uniform(200, 700))
        self.use(target, certain=True)
        return target.to

    def _jumped(self, screen: Screen, target: Target) -> bool:
        """Follow a link within the page. Never leaves the screen."""
        if target.jump is not None:
            self.pause(80)
            self._roll(screen, target.jump - self.scroll, 500)
            self.pause(self.chance.uniform(600, 1_500))
        return False

    def _wander(self, screen: Screen) -> None:
        """Scroll: mostly down, and up again at the end."""
        down = self.chance.random() < (0.88 if self.scroll < screen.deepest - 1 else 0.0)
        by = self.high * self.chance.uniform(0.25, 0.8) * (1 if down else -1.2)
        self.roll(screen, by)
        self.pause(self.chance.lognormvariate(6.8, 0.5))

    def _roll(self, screen: Screen, by: float, duration: float) -> None:
        """Write down scrolling, as far as the page goes."""
        to = float(round(min(max(self.scroll + by, 0.0), screen.deepest)))
        if to == self.scroll:
            return
        self.trace.rolls.append((self.view, self.now, duration, self.scroll, to))
        self.now += duration
        self.scroll = to

    def pick(self, choice: Choice) -> Target:
        """One of them, by weight."""
        return choice.targets[bisect(choice.sums, self.chance.random() * choice.sums[-1])]

    def spot(self, target: Target, spread: float = 0.17) -> tuple[float, float]:
        """Where in a target's visible part somebody aims: whole pixels around its middle, one from its edges."""
        x, y, w, h = target.box
        top, bottom = max(y, self.scroll), min(y + h, self.scroll + self.high)
        if bottom - top < 3:
            top, bottom = y, y + h
        aim_x, aim_y = (
            self.chance.gauss(x + w / 2, w * spread),
            self.chance.gauss((top + bottom) / 2, (bottom - top) * spread),
        )
        # The next whole pixels inside: a box may begin between two.
        left, above = float(-(-x // 1)) + 1, float(-(-top // 1)) + 1
        right, below = float((x + w) // 1) - 1, float(bottom // 1) - 1
        return max(left, min(right, float(round(aim_x)))), max(above, min(below, float(round(aim_y))))

    def pause(self, milliseconds: float) -> None:
        """Do nothing."""
        self.now += milliseconds

    def press(self, kind: int, x: float, y: float) -> None:
        """Write down a click or touch."""
        self.trace.points.append((self.view, self.now, kind, x, y))

    @abstractmethod
    def read(self, text: Target) -> None: ...

    @abstractmethod
    def use(self, target: Target, *, certain: bool) -> bool:
        """Point at something and perhaps click it; whether it was clicked."""

    @abstractmethod
    def roll(self, screen: Screen, by: float) -> None: ...


class Mouse(Visitor):
    """Points, hovers, overshoots, corrects; scrolls by notches of a wheel."""

    def __init__(self, chance: Random, world: World, device: Device, visit: int, trace: Trace) -> None:
        super().__init__(chance, world, device, visit, trace)
        # In the window, not on the page: scrolling leaves it where it is.
        self.at = (chance.uniform(0.2, 0.8) * self.wide, chance.uniform(0.0, 0.3) * self.high)

    def read(self, text: Target) -> None:
        """Rest beside a text; some people follow the lines with the pointer."""
        chance = self.chance
        x, y, w, h = text.box
        self._move_to(*self.spot(text, 0.22), width=max(60.0, h))
        if chance.random() < 0.25 and w > 160:
            for line in range(chance.randint(1, min(5, 1 + int(h // 28)))):
                at_y = min(y + 14 + line * 28, y + h - 2)
                self._stroke(x + w * chance.uniform(0.02, 0.12), at_y, chance.uniform(240, 420), 0.02)
                self._stroke(x + w * chance.uniform(0.6, 0.97), at_y, chance.uniform(1_100, 2_000), 0.01)
        self._rest(min(9_000.0, 300 + (w * h) ** 0.5 * chance.uniform(2, 9)))

    def use(self, target: Target, *, certain: bool) -> bool:
        """Move there, hover, perhaps click."""
        chance = self.chance
        x, y = self.spot(target)
        self._move_to(x, y, width=min(target.box[2], target.box[3]))
        self._rest(chance.lognormvariate(5.7, 0.5))
        clicked = certain or chance.random() < _CLICKS[target.kind]
        if clicked:
            # A hover drifts; the finger falls where the hand aimed.
            if self._page() != (x, y):
                self._stroke(x, y, 70.0, 0.0)
            self.pause(chance.uniform(60, 160))
            self.press(CLICK, x, y)
            self.pause(chance.uniform(250, 900) if target.kind != "field" else chance.uniform(1_500, 6_000))
        return clicked

    def roll(self, screen: Screen, by: float) -> None:
        """Turn the wheel a few times."""
        left, step = abs(by), 100.0 * self.chance.randint(1, 3)
        while left > 0:
            self._roll(screen, step if by > 0 else -step, self.chance.uniform(120, 220))
            self.pause(self.chance.uniform(30, 260))
            left -= step

    def _page(self) -> tuple[float, float]:
        return self.at[0], self.at[1] + self.scroll

    def _move_to(self, x: float, y: float, width: float) -> None:
        """A stroke; long ones sometimes end beyond the target and are corrected."""
        chance = self.chance
        from_x, from_y = self._page()
        distance = hypot(x - from_x, y - from_y)
        if distance < 2:
            return
        duration = fitts_ms(distance, width) * chance.lognormvariate(0.0, 0.18)
        if distance > 240 and chance.random() < 0.32:
            beyond = 1.0 + chance.uniform(0.03, 0.09)
            over_x, over_y = from_x + (x - from_x) * beyond, from_y + (y - from_y) * beyond
            self._stroke(over_x + chance.gauss(0, 3), over_y + chance.gauss(0, 3), duration, chance.gauss(0, 0.06))
            self.pause(chance.uniform(70, 150))
            duration = fitts_ms(distance * 0.08, width) * chance.uniform(0.7, 1.1)
        self._stroke(x, y, duration, chance.gauss(0, 0.07))

    def _stroke(self, x: float, y: float, duration: float, bow: float) -> None:
        """Write down one stroke that stays inside the window."""
        from_x, from_y = self._page()
        x = min(max(x, 0.0), self.wide - 1)
        y = min(max(y, self.scroll), self.scroll + self.high - 1)
        self.trace.strokes.append((self.view, self.now, duration, from_x, from_y, x, y, bow))
        self.at = x, y - self.scroll
        self.now += duration

    def _rest(self, milliseconds: float) -> None:
        """Hold still as far as a hand can: it drifts by a pixel or two now and then."""
        end = self.now + milliseconds
        while (wait := self.chance.uniform(350, 1_100)) < end - self.now:
            self.pause(wait)
            x, y = self._page()
            self._stroke(x + self.chance.gauss(0, 1.6), y + self.chance.gauss(0, 1.3), 90.0, 0.0)
        self.now = max(self.now, end)


class Finger(Visitor):
    """Flicks and taps; no pointer moves between."""

    def read(self, text: Target) -> None:
        """Eyes only."""
        self.pause(min(9_000.0, 400 + (text.box[2] * text.box[3]) ** 0.5 * self.chance.uniform(4, 12)))

    def use(self, target: Target, *, certain: bool) -> bool:
        """Perhaps tap it. A tap is a touch, and the click that the browser makes of it."""
        chance = self.chance
        self.pause(chance.lognormvariate(6.6, 0.5))
        tapped = certain or chance.random() < _CLICKS[target.kind]
        if tapped:
            x, y = self.spot(target, 0.2)
            self.press(TOUCH, x, y)
            self.pause(chance.uniform(50, 120))
            self.press(CLICK, x, y)
            self.pause(chance.uniform(300, 1_000) if target.kind != "field" else chance.uniform(2_000, 8_000))
        return tapped

    def roll(self, screen: Screen, by: float) -> None:
        """Flick: the finger lands below the middle to go down, above it to go up; the page glides on."""
        chance = self.chance
        left = abs(by) * chance.uniform(0.9, 1.7)
        while left > 0:
            step = min(left, self.high * chance.uniform(0.25, 0.75))
            x = min(max(chance.gauss(0.64 * self.wide, 0.12 * self.wide), 2.0), self.wide - 2)
            y = min(max(chance.gauss(0.66 if by > 0 else 0.38, 0.09), 0.08), 0.95) * self.high
            self.press(TOUCH, float(round(x)), float(round(self.scroll + y)))
            self.pause(chance.uniform(40, 90))
            self._roll(screen, step if by > 0 else -step, chance.uniform(500, 1_100))
            self.pause(chance.uniform(80, 700))
            left -= step
