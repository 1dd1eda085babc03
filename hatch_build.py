"""Build hook: a wheel or sdist without the built dashboard and SDK is refused, not shipped."""

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = Path("src", "isotherm", "view", "static")
NEEDED = ("dashboard/index.html", "sdk/isotherm.js", "sdk/isotherm.mjs", "sdk/isotherm.d.ts")


class WebFilesHook(BuildHookInterface[Any]):
    """Checks that what `make web` builds is there; pyproject.toml lists it as artifacts, since git ignores it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Refuse to build without the web files; an editable install, which `make setup` does first, needs none."""
        if version == "editable":
            return
        static = Path(self.root) / STATIC
        missing = [name for name in (*NEEDED, *_assets(static / "dashboard")) if not (static / name).is_file()]
        if missing:
            self.app.abort(
                f"the web files are not built: {STATIC.as_posix()} lacks {', '.join(missing)}. "
                "Run `make web` in a source checkout, or build from the sdist, which carries them."
            )


def _assets(dashboard: Path) -> list[str]:
    """Files that the dashboard's page names, by their path below the static folder."""
    page = dashboard / "index.html"
    names = re.findall(r'(?:src|href)="/([^"]+)"', page.read_text()) if page.is_file() else []
    return [f"dashboard/{name}" for name in names]
