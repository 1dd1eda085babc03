"""The heat layer in a real Chromium: its pixels, its two painters, its gestures, its picture."""

import base64
import io
import math
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.browsing import Site, Window
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

WEB = Path(__file__).parents[2] / "web"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
NO_WEBGL = """const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind === "webgl2" ? null : real.call(this, kind, ...more);
};"""
COUNT_DRAWS = """window.draws = 0;
const draw = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (...more) {
  window.draws += 1;
  return draw.apply(this, more);
};"""
PAINTERS = pytest.mark.parametrize("painter", ["webgl2", "2d"])

Pixels = NDArray[np.float64]
Cells = dict[tuple[int, int], int]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stage and a page's script, built as the dashboard is."""
    out = tmp_path_factory.mktemp("stage")
    config = "test/heat/stage/vite.config.ts"
    command = ["./npm", "exec", "--workspace", "dashboard", "--", "vite", "build", "--config", config, "--outDir"]
    done = subprocess.run([*command, str(out)], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def stage(bundle: Path, site: Site, open_window: Callable[..., Window]) -> Callable[..., Page]:
    """Opens the page with the stage under the dashboard's Content-Security-Policy."""
    site.put("/stage.js", (bundle / "stage.js").read_bytes(), {"content-type": "text/javascript"})
    site.put("/stage.css", (bundle / "stage.css").read_bytes(), {"content-type": "text/css"})
    for name, colour in (("white", 255), ("black", 0)):
        image = io.BytesIO()
        Image.new("RGB", (4, 4), (colour,) * 3).save(image, "PNG")
        site.put(f"/{name}.png", image.getvalue(), {"content-type": "image/png"})
    html = (
        '<!doctype html><html lang="en"><title>stage</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/stage.css">'
        '<main></main><script type="module" src="/stage.js"></script></html>'
    )
    address = site.put("/", html, {"content-security-policy": CSP})

    def opened(viewport: tuple[int, int] = (600, 400), *, painter: str = "webgl2", **options: Any) -> Page:
        context = open_window(viewport, **options)
        context.context.add_init_script(NO_WEBGL if painter == "2d" else COUNT_DRAWS)
        return context.open(address)

    return opened


def columns(cells: Cells, grid: tuple[int, int]) -> dict[str, Any]:
    """The API's answer with `cells=columns` for these counts."""
    counts = {y * grid[0] + x: count for (x, y), count in sorted(cells.items(), key=lambda item: item[0][::-1])}
    return {
        "grid_w": grid[0],
        "grid_h": grid[1],
        "cell": list(counts),
        "count": list(counts.values()),
        "total": sum(counts.values()),
        "max": max(counts.values(), default=0),
    }


def style(**more: Any) -> dict[str, Any]:
    return {"palette": "inferno", "scale": "log", "radius": 2, "opacity": 1} | more


def show(page: Page, **given: Any) -> None:
    """Give the stage something else, and wait until it is painted."""
    page.evaluate("given => window.show(given)", given)
    painted(page)


def painted(page: Page) -> None:
    # A size or an image comes in one frame, painting is asked for the next.
    page.evaluate("""async () => {
      await Promise.all([...document.images].map((image) => image.decode()));
      for (let i = 0; i < 4; i += 1) await new Promise(requestAnimationFrame);
    }""")


def shot(page: Page) -> Pixels:
    """What is seen, (height, width, 3), 0..255."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return np.asarray(image, dtype=np.float64)


def luminance(pixels: Pixels) -> Pixels:
    return pixels @ np.array([0.2126, 0.7152, 0.0722])


def spread(grid: tuple[int, int], seed: int = 5, hottest: tuple[int, int] = (63, 41)) -> Cells:
    """Clusters and strays over the grid, one cell hotter than all others."""
    random = np.random.default_rng(seed)
    cells: Cells = {}
    for centre, width, events in (((0.3, 0.2), 0.04, 900), ((0.62, 0.22), 0.02, 500), ((0.5, 0.7), 0.2, 700)):
        for x, y in random.normal(centre, width, (events, 2)):
            if 0 <= x < 1 and 0 <= y < 1:
                at = (math.floor(x * grid[0]), math.floor(y * grid[1]))
                cells[at] = cells.get(at, 0) + 1
    cells[hottest] = max(cells.values()) + 3
    return cells


@PAINTERS
@pytest.mark.parametrize("scale", [1, 2])
def test_radius_zero_shows_exactly_the_cells(stage: Callable[..., Page], painter: str, scale: int) -> None:
    grid = (17, 23)
    random = np.random.default_rng(1)
    drawn = {(int(x), int(y)): int(n) for x, y, n in random.integers((0, 0, 1), (17, 23, 60), (90, 3))}
    page = stage((601, 397), painter=painter, scale=scale)
    shape = {"w": 1202, "h": 794}
    show(page, columns=columns(drawn, grid), shape=shape, style=style(radius=0), background="/white.png")
    pixels = shot(page)
    height, width = pixels.shape[:2]
    xs = (np.arange(width) + 0.5) / width * grid[0]
    ys = (np.arange(height) + 0.5) / height * grid[1]
    counts = np.zeros((grid[1], grid[0]))
    for (x, y), count in drawn.items():
        counts[y, x] = count
    wanted = counts[np.floor(ys).astype(int)][:, np.floor(xs).astype(int)]
    # A pixel whose centre lies on an edge may go to either side.
    clear = (np.abs(ys - np.round(ys)) > 0.01)[:, None] & (np.abs(xs - np.round(xs)) > 0.01)[None, :]
    assert clear.mean() > 0.9
    assert np.array_equal(np.any(pixels < 255, axis=2)[clear], (wanted > 0)[clear])
    colours = {int(count): np.unique(pixels[clear & (wanted == count)], axis=0) for count in np.unique(wanted)}
    assert all(len(found) == 1 for found in colours.values()), "one colour per count"
    assert len({tuple(found[0]) for found in colours.values()}) == len(colours)


def test_both_painters_show_the_same(stage: Callable[..., Page]) -> None:
    pages = [stage(painter=painter) for painter in ("webgl2", "2d")]
    looks = [{}, {"scale": "linear", "radius": 4}, {"radius": 0}, {"palette": "viridis", "opacity": 0.6}]
    given: dict[str, Any] = {
        "columns": columns(spread((100, 200)), (100, 200)),
        "background": "/white.png",
        "camera": {"x": 0.5, "y": 0.3, "zoom": 1.7},
    }
    for look, (w, h) in product(looks, [(1440, 2400), (390, 2000), (2400, 500)]):
        for page in pages:
            show(page, **given, style=style(**look), shape={"w": w, "h": h})
        seen = [shot(page) for page in pages]
        away = np.abs(seen[0] - seen[1]).max(axis=2)
        assert np.ptp(seen[0]) > 60, "there is something to see"
        assert away.mean() < 0.7, (look, w, h)
        assert np.quantile(away, 0.99) <= 8, (look, w, h)


@PAINTERS
@pytest.mark.parametrize("scale", [1, 2])
def test_the_hottest_pixel_is_in_the_hottest_cell(stage: Callable[..., Page], painter: str, scale: int) -> None:
    grid, hottest = (100, 200), (63, 41)
    page = stage((900, 700), painter=painter, scale=scale)
    given = {"columns": columns(spread(grid), grid), "shape": {"w": 1440, "h": 2400}, "background": "/black.png"}
    for zoom in (1, 3, 12):
        camera = {"x": (hottest[0] + 3) / grid[0], "y": (hottest[1] + 4) / grid[1], "zoom": zoom}
        show(page, **given, camera=camera, highlight=None)
        bright = luminance(shot(page))
        ys, xs = np.nonzero(bright == bright.max())
        # Where the stage says this cell is, asked by its own outline.
        show(page, highlight={"x": hottest[0], "y": hottest[1]})
        box = page.locator(".heat-cell").bounding_box()
        assert box is not None
        inside = (xs / scale >= box["x"] - 0.5) & ((xs + 1) / scale <= box["x"] + box["width"] + 0.5)
        inside &= (ys / scale >= box["y"] - 0.5) & ((ys + 1) / scale <= box["y"] + box["height"] + 0.5)
        assert inside.all(), zoom
        page.mouse.move(1, 1)
        page.mouse.move((xs.mean() + 0.5) / scale, (ys.mean() + 0.5) / scale)
        assert page.evaluate("window.seen.hovered.at(-1)") == {"x": hottest[0], "y": hottest[1]}


@PAINTERS
@pytest.mark.parametrize("radius", [0, 3])
def test_an_empty_map_is_fully_transparent(stage: Callable[..., Page], painter: str, radius: int) -> None:
    page = stage(painter=painter)
    show(page, shape={"w": 600, "h": 400}, background="/white.png", style=style(radius=radius))
    assert (shot(page) == 255).all(), "no map"
    show(page, columns=columns({}, (100, 200)))
    assert (shot(page) == 255).all(), "a map of nothing"
    show(page, columns=columns({(50, 100): 1}, (100, 200)))
    assert (shot(page) < 255).any(), "a map of one event"


def test_a_lost_context_comes_back(stage: Callable[..., Page]) -> None:
    page = stage()
    cells = columns(spread((100, 200)), (100, 200))
    show(page, columns=cells, shape={"w": 900, "h": 900}, background="/white.png", style=style())
    before = shot(page)
    blank = page.evaluate("""async () => {
      const canvas = document.querySelector(".heat-canvas");
      const told = (name) => new Promise((done) => canvas.addEventListener(name, done, { once: true }));
      const context = canvas.getContext("webgl2");
      const losing = context.getExtension("WEBGL_lose_context");
      const [lost, back] = [told("webglcontextlost"), told("webglcontextrestored")];
      losing.loseContext();
      await lost;
      const blank = context.isContextLost();
      // Whether it may come back is known when all who listen were told.
      await new Promise((told) => setTimeout(told));
      losing.restoreContext();
      await back;
      return blank;
    }""")
    assert blank
    painted(page)
    assert np.array_equal(shot(page), before)


def test_the_processor_takes_over_from_a_context_that_stays_lost(stage: Callable[..., Page]) -> None:
    page = stage()
    cells = columns(spread((100, 200)), (100, 200))
    show(page, columns=cells, shape={"w": 900, "h": 900}, background="/white.png", style=style())
    before = shot(page)
    page.evaluate("""() => {
      window.first = document.querySelector(".heat-canvas");
      window.first.dataset.first = "";
      window.first.getContext("webgl2").getExtension("WEBGL_lose_context").loseContext();
    }""")
    expect(page.locator(".heat-canvas:not([data-first])")).to_have_count(1)
    painted(page)
    assert page.evaluate("document.querySelector('.heat-canvas').getContext('2d') !== null")
    after = shot(page)
    away = np.abs(after - before).max(axis=2)
    assert np.ptp(after) > 60, "there is something to see"
    assert away.mean() < 0.7
    assert np.quantile(away, 0.99) <= 8
    show(page, columns=columns({}, (100, 200)))
    assert (shot(page) == 255).all(), "it goes on painting"


def test_nothing_is_painted_when_nothing_changes(stage: Callable[..., Page]) -> None:
    page = stage()
    cells = columns(spread((100, 200)), (100, 200))
    show(page, columns=cells, shape={"w": 900, "h": 900}, background="/white.png")
    draws = page.evaluate("window.draws")
    assert draws > 0
    show(page, highlight={"x": 1, "y": 1}, style=style(), label="Another name")
    assert page.evaluate("window.draws") == draws
    show(page, style=style(opacity=0.5))
    assert page.evaluate("window.draws") == draws + 1


def test_the_canvas_follows_the_window(stage: Callable[..., Page]) -> None:
    page = stage((600, 400), scale=2)
    show(page, columns=columns(spread((100, 200)), (100, 200)), shape={"w": 900, "h": 900})
    size = "(({ width, height }) => [width, height])(document.querySelector('.heat-canvas'))"
    assert page.evaluate(size) == [1200, 800]
    page.set_viewport_size({"width": 333, "height": 555})
    painted(page)
    assert page.evaluate(size) == [666, 1110]


def test_contours_are_drawn_over_the_heat(stage: Callable[..., Page]) -> None:
    cells = columns({(x, y): 1 + 4 * min(x, y) for x in range(40) for y in range(40)}, (40, 40))
    for painter in ("webgl2", "2d"):
        page = stage(painter=painter)
        show(page, columns=cells, shape={"w": 600, "h": 400}, background="/black.png", style=style(scale="linear"))
        plain = luminance(shot(page))
        show(page, style=style(scale="linear", contours=True))
        lines = luminance(shot(page)) - plain
        assert (lines > 25).mean() > 0.005
        assert (np.abs(lines) < 1).mean() > 0.8


def test_wheel_drag_double_click_and_keys_move_the_map(stage: Callable[..., Page]) -> None:
    page = stage()
    show(page, columns=columns(spread((100, 200)), (100, 200)), shape={"w": 1200, "h": 6000})
    camera = "window.seen.camera"
    page.mouse.move(300, 200)
    page.mouse.wheel(0, 150)
    painted(page)
    # 600 CSS px for the whole width: the screen is 3000 px high, its top 200 px above the middle.
    assert page.evaluate(camera) == {"x": 0.5, "y": pytest.approx(350 / 3000), "zoom": pytest.approx(1)}
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    painted(page)
    zoomed = page.evaluate(camera)
    assert zoomed["zoom"] > 1.2
    assert zoomed["y"] == pytest.approx(350 / 3000)
    page.mouse.down()
    page.mouse.move(340, 170, steps=4)
    page.mouse.up()
    painted(page)
    dragged = page.evaluate(camera)
    assert dragged["x"] == pytest.approx(zoomed["x"] - 40 / 600 / zoomed["zoom"])
    assert dragged["y"] == pytest.approx(zoomed["y"] + 30 / 3000 / zoomed["zoom"])
    assert page.evaluate("window.seen.picked") == [], "a drag is no click"
    page.mouse.dblclick(340, 170)
    painted(page)
    assert page.evaluate(camera)["zoom"] == pytest.approx(dragged["zoom"] * 2)
    assert len(page.evaluate("window.seen.picked")) == 2
    page.get_by_role("application", name="Heat of the test page").focus()
    page.keyboard.press("0")
    painted(page)
    assert page.evaluate(camera) == {"x": 0.5, "y": 0.5, "zoom": pytest.approx(400 / 3000)}
    page.keyboard.press("0")
    painted(page)
    page.keyboard.press("End")
    painted(page)
    assert page.evaluate(camera) == {"x": 0.5, "y": pytest.approx(1 - 200 / 3000), "zoom": 1}
    page.keyboard.press("ArrowUp")
    page.keyboard.press("+")
    painted(page)
    assert page.evaluate(camera)["zoom"] == pytest.approx(1.5)


def test_the_page_scrolls_on_where_the_map_ends(stage: Callable[..., Page]) -> None:
    page = stage()
    show(page, columns=columns({(5, 5): 1}, (10, 10)), shape={"w": 600, "h": 600})
    taken = """async (delta) => {
      const event = new WheelEvent("wheel", { deltaY: delta, bubbles: true, cancelable: true });
      document.querySelector(".heat-stage").dispatchEvent(event);
      await new Promise(requestAnimationFrame);
      return event.defaultPrevented;
    }"""
    assert page.evaluate(taken, 200)
    assert not page.evaluate(taken, 200)
    assert page.evaluate(taken, -200)


def test_cells_are_read_with_the_keyboard(stage: Callable[..., Page]) -> None:
    page = stage()
    show(page, columns=columns(spread((100, 200)), (100, 200)), shape={"w": 1200, "h": 6000})
    page.keyboard.press("Tab")
    hovered = "window.seen.hovered.at(-1)"
    page.keyboard.press("Shift+ArrowRight")
    painted(page)
    assert page.evaluate(hovered) == {"x": 63, "y": 41}, "it begins at the hottest"
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(f"Shift+{key}")
        painted(page)
    assert page.evaluate(hovered) == {"x": 63, "y": 43}
    box = page.locator(".heat-cell").bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 400 - box["height"], "what is read is in view"
    page.keyboard.press("Enter")
    assert page.evaluate("window.seen.picked") == [{"x": 63, "y": 43}]
    page.keyboard.press("Escape")
    painted(page)
    assert page.evaluate(hovered) is None
    assert page.locator(".heat-cell").count() == 0


def test_fingers_pan_pinch_and_tap(stage: Callable[..., Page]) -> None:
    page = stage((390, 600), phone=True)
    show(page, columns=columns(spread((100, 200)), (100, 200)), shape={"w": 390, "h": 3900})
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        painted(page)

    fingers("touchStart", (200, 500))
    fingers("touchMove", (200, 450))
    fingers("touchMove", (200, 300))
    fingers("touchEnd")
    panned = page.evaluate("window.seen.camera")
    assert panned["y"] == pytest.approx((300 + 200) / 3900, abs=0.003)
    fingers("touchStart", (150, 300))
    fingers("touchStart", (150, 300), (250, 300))
    fingers("touchMove", (150, 300), (300, 300))
    fingers("touchMove", (100, 300), (300, 300))
    fingers("touchEnd")
    pinched = page.evaluate("window.seen.camera")
    assert pinched["zoom"] == pytest.approx(2 * panned["zoom"], rel=0.01)
    assert page.evaluate("window.seen.picked") == []
    page.touchscreen.tap(200, 300)
    painted(page)
    assert page.evaluate("window.seen.hovered.at(-1)") == page.evaluate("window.seen.picked[0]")
    assert page.evaluate("window.seen.picked[0]") is not None


@PAINTERS
def test_the_picture_holds_map_caption_and_legend(stage: Callable[..., Page], painter: str) -> None:
    page = stage(painter=painter)
    cells = columns(spread((100, 200)), (100, 200))
    show(page, columns=cells, shape={"w": 700, "h": 1500}, background="/black.png", style=style())
    options = {"title": "/demo/", "range": "mousemove, 2 February 2026", "counts": "2,100 events", "theme": "light"}
    image = Image.open(io.BytesIO(base64.b64decode(page.evaluate("given => window.png(given)", options))))
    assert image.format == "PNG"
    assert image.size[0] == 1400
    assert image.size[1] > 3000
    bright = luminance(np.asarray(image.convert("RGB"), dtype=np.float64))
    heat, caption = bright[:3000], bright[3000:]
    ys, xs = np.nonzero(heat == heat.max())
    assert set(zip((xs // 14).tolist(), (ys // 15).tolist(), strict=True)) == {(63, 41)}
    assert caption.mean() > 200, "light"
    assert (caption < 90).sum() > 500, "with ink on it"


def test_a_picture_of_a_long_page_is_bounded(stage: Callable[..., Page]) -> None:
    page = stage()
    cells = columns(spread((100, 200)), (100, 200))
    show(page, columns=cells, shape={"w": 390, "h": 30_000}, background=None)
    options = {"title": "x" * 300, "range": "a day", "counts": "2,100 events", "theme": "dark"}
    image = Image.open(io.BytesIO(base64.b64decode(page.evaluate("given => window.png(given)", options))))
    assert max(image.size) <= 8192
    assert image.size[0] / 390 == pytest.approx((image.size[1] - 90) / 30_000, rel=0.1)


def test_a_broken_background_leaves_a_blank_page(stage: Callable[..., Page], site: Site) -> None:
    site.put("/broken.png", b"no image", {"content-type": "image/png"})
    page = stage()
    page.evaluate("window.show({ background: '/broken.png', shape: { w: 600, h: 900 } })")
    page.locator(".heat-mark").first.wait_for()
    assert page.locator(".heat-page img").count() == 0
