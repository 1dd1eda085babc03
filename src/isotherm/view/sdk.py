"""The browser SDK under its two names, with the facts that a page needs to use it."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isotherm import __version__
from isotherm.view.files import NOSNIFF, STATIC, YEAR, Ask, File, Reply, media_type, plain

PATH: Final = "/isotherm.js"
VERSIONED: Final = "/isotherm-"
"""How the long-lived names begin: `/isotherm-<version>-<hash>.js`."""
BUILT: Final = STATIC / "sdk" / "isotherm.js"
RELEASED: Final = Path(__file__).parent / "released"
"""Scripts of released versions by their long-lived names: pages out there name them with an integrity hash."""
NOT_BUILT: Final = "the browser SDK has not been built: run `make setup` in the source folder, then start again"

_SHORT: Final = "public, max-age=300"
# Pages of any origin load it, some of them isolated (COEP) and some with an integrity check (CORS).
_ANY_ORIGIN: Final = {
    **NOSNIFF,
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "timing-allow-origin": "*",
}


@dataclass(frozen=True)
class Sdk:
    """The built script. `integrity` is for the versioned name: the short one changes with every upgrade."""

    body: bytes
    versioned_path: str
    integrity: str
    files: dict[str, File]

    @property
    def gzip_bytes(self) -> int:
        """Size of the body as gzip."""
        return len(self.files[PATH].packed.get("gzip", self.body))


def load_sdk(built: Path = BUILT, released: Path = RELEASED) -> Sdk | None:
    """The SDK as built, and every released one; None in a source checkout that has not been built yet."""
    if not built.is_file():
        return None
    body = built.read_bytes()
    versioned = f"/{versioned_name(body)}"
    files = {f"/{path.name}": _file(path.read_bytes(), path.name, YEAR) for path in sorted(released.glob("*.js"))}
    files |= {PATH: _file(body, PATH, _SHORT), versioned: _file(body, versioned, YEAR)}
    digest = base64.b64encode(hashlib.sha384(body).digest()).decode()
    return Sdk(body, versioned, f"sha384-{digest}", files)


def versioned_name(body: bytes, version: str = __version__) -> str:
    """The long-lived name of a script: one name, one content, for good."""
    return f"{VERSIONED.removeprefix('/')}{version}-{hashlib.sha256(body).hexdigest()[:8]}.js"


def _file(body: bytes, name: str, life: str) -> File:
    return File(body, media_type(name), {**_ANY_ORIGIN, "cache-control": life})


def sdk_reply(sdk: Sdk | None, path: str, method: str, ask: Ask) -> Reply | None:
    """The answer to GET or HEAD of the SDK's paths; None for a path that is none of them."""
    if sdk is not None and (file := sdk.files.get(path)):
        return file.reply(method, ask)
    if path != PATH and not (path.startswith(VERSIONED) and path.endswith(".js")):
        return None
    if sdk is None:
        return plain(404, NOT_BUILT)
    return plain(404, f"there is no such version of the SDK: the current one is {sdk.versioned_path}")


class CollectorFiles:
    """What the collector hands out beside taking events; made once in each of its processes."""

    def __init__(self) -> None:
        self._sdk = load_sdk()

    def __call__(self, path: str, method: str, ask: Ask) -> Reply | None:
        """The answer to GET or HEAD; None for a path that is not here."""
        return sdk_reply(self._sdk, path, method, ask)
