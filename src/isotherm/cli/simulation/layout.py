"""What is on the pages that simulated visitors look at: devices, screens, and the rectangles they aim at.

`isotherm simulate --screens FILE` reads this form (JSON; lengths in CSS pixels of the page):

    {"site": "https://shop.example",
     "devices": [{"name": "laptop", "viewport": [1440, 900], "device_pixel_ratio": 2, "touch": false, "share": 1}],
     "starts": {"/": 1},
     "screens": [{"screen_id": "/", "url": "/", "device": "laptop", "document": [1440, 3000], "targets": [
       {"anchor": "#buy", "kind": "button", "box": [600, 400, 180, 48], "weight": 3, "to": "/bag"}]}]}

`kind` is link, button, field, text, picture or area (an area is never aimed at). `to` is the url a click leads to,
`jump` the y to which it scrolls; `weight` (1 if absent) says how much it is wanted. Every device needs the screens
that its visitors can come to.
"""

from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from isotherm.errors import IsothermError
from isotherm.events import screen_id_ok

Floats = npt.NDArray[np.float64]
Length = Annotated[float, Meta(gt=0, le=100_000)]
Kind = Literal["link", "button", "field", "text", "picture", "area"]
STEP: Final = 100
"""Pixels of scrolling after which what can be seen is looked up anew."""
LEAST: Final = 4.0
"""Smallest side of a target, CSS pixels: a click keeps a pixel away from its edges."""


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """Something on a page; `box` is x, y, width and height on the page."""

    anchor: Annotated[str, Meta(max_length=512)]
    kind: Kind
    box: tuple[float, float, float, float]
    weight: Annotated[float, Meta(ge=0)] = 1.0
    to: str | None = None
    jump: float | None = None


class Device(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of machine, and the share of visits that come with it (shares are relative)."""

    name: str
    viewport: tuple[Length, Length]
    device_pixel_ratio: Annotated[float, Meta(gt=0, le=100)] = 1.0
    touch: bool = False
    share: Annotated[float, Meta(gt=0)] = 1.0


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """One screen as one device shows it; `document` is the page's width and height."""

    screen_id: str
    url: str
    device: str
    document: tuple[Length, Length]
    targets: list[Target]


class Layout(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file; `starts` gives the relative number of visits that begin at a url."""

    devices: Annotated[list[Device], Meta(min_length=1)]
    starts: Annotated[dict[str, Annotated[float, Meta(gt=0)]], Meta(min_length=1)]
    screens: Annotated[list[Page], Meta(min_length=1)]
    site: str = "https://site.example"


@dataclass(frozen=True)
class Choice:
    """Things to choose from by weight."""

    targets: list[Target]
    sums: list[float]


@dataclass
class Screen:
    """A page ready for visitors. `boxes` (targets, 4) and `anchors` are sorted small to large, for hit tests.

    `deepest` is how far it scrolls (px), `ways` are the links that lead on.
    """

    page: Page
    device: Device
    boxes: Floats
    anchors: list[str]
    deepest: float
    ways: Choice
    _seen: dict[int, tuple[Choice, Choice]] = field(default_factory=dict[int, tuple[Choice, Choice]])

    def seen(self, scroll: float) -> tuple[Choice, Choice]:
        """What can be pointed at, and what can be read, when the page is scrolled down by so many pixels."""
        step = int(scroll // STEP)
        found = self._seen.get(step)
        if found is None:
            found = self._seen[step] = self._look(step * STEP)
        return found

    def _look(self, top: float) -> tuple[Choice, Choice]:
        bottom = top + self.device.viewport[1]
        near = [t for t in self.page.targets if _visible(t.box, top + STEP, bottom)]
        things = [t for t in near if t.kind not in ("text", "area") and t.weight > 0]
        texts = [t for t in near if t.kind == "text" and t.weight > 0]
        return (
            Choice(things, list(accumulate(t.weight * _APPEAL[t.kind] for t in things))),
            Choice(texts, list(accumulate(t.weight * (t.box[2] * t.box[3]) ** 0.5 for t in texts))),
        )


_APPEAL: Final = {"link": 1.0, "button": 1.2, "field": 1.6, "picture": 3.0}


def _visible(box: tuple[float, float, float, float], top: float, bottom: float) -> bool:
    """Whether at least half of it, or as much of it as fills half the window, can be seen."""
    shown = min(box[1] + box[3], bottom) - max(box[1], top)
    return shown >= max(LEAST, min(box[3], bottom - top) / 2)


@dataclass(frozen=True)
class World:
    """All devices and screens, by device name and url."""

    site: str
    devices: list[Device]
    starts: dict[str, list[tuple[str, float]]]
    """Where visits of a device begin: urls and running sums of their weights."""
    screens: dict[tuple[str, str], Screen]


def read_layout(path: Path) -> World:
    """Read and check a layout file. Raises IsothermError with what is wrong and where."""
    try:
        layout = msgspec.json.decode(path.read_bytes(), type=Layout)
    except OSError as error:
        raise IsothermError(f"--screens {path}: cannot read it ({error.strerror})") from None
    except msgspec.DecodeError as error:
        raise IsothermError(
            f"--screens {path}: {error}. `isotherm simulate --help` shows the form of the file."
        ) from None
    return make_world(layout, str(path))


def make_world(layout: Layout, name: str) -> World:
    """The screens of a decoded layout; `name` is what errors call it. Raises IsothermError."""
    devices = {device.name: device for device in layout.devices}
    screens: dict[tuple[str, str], Screen] = {}
    for page in layout.screens:
        device = devices.get(page.device)
        if device is None:
            raise IsothermError(f"{name}: {page.screen_id} is for the device {page.device!r}, which is not declared")
        if not screen_id_ok(page.screen_id):
            raise IsothermError(f"{name}: {page.screen_id!r} is no screen id (1 to 256 bytes, no control characters)")
        screens[device.name, page.url] = _screen(page, device, name)
    starts: dict[str, list[tuple[str, float]]] = {}
    for device in layout.devices:
        here = [(url, weight) for url, weight in layout.starts.items() if (device.name, url) in screens]
        if not here:
            raise IsothermError(f"{name}: no screen in `starts` exists for the device {device.name!r}")
        starts[device.name] = list(zip((url for url, _ in here), accumulate(w for _, w in here), strict=True))
    return World(layout.site.rstrip("/"), layout.devices, starts, screens)


def _screen(page: Page, device: Device, name: str) -> Screen:
    width, height = page.document
    for target in page.targets:
        x, y, w, h = target.box
        if w < LEAST or h < LEAST or x < 0 or y < 0 or x + w > width + 1 or y + h > height + 1:
            raise IsothermError(
                f"{name}: {target.anchor} on {page.screen_id} ({page.device}) is not on the page or smaller than "
                f"{LEAST:.0f} px: its box is {list(target.box)}, the page {width:g} x {height:g}"
            )
    order = sorted(page.targets, key=lambda t: t.box[2] * t.box[3])
    ways = [t for t in page.targets if t.to is not None and t.weight > 0]
    return Screen(
        page,
        device,
        np.array([t.box for t in order], dtype=np.float64).reshape(-1, 4),
        [t.anchor for t in order],
        max(0.0, height - device.viewport[1]),
        Choice(ways, list(accumulate(t.weight for t in ways))),
    )
