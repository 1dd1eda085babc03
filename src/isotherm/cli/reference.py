"""Writes docs/reference/ from the code: `make docs`. A test checks that the pages are current."""

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from isotherm.config import Settings, as_text
from isotherm.errors import DROP_REASONS
from isotherm.metrics import REGISTRY

WIDTH = 100
_MADE_BY = "<!-- made by `make docs` from the code; do not edit -->\n\n"


def settings_page() -> str:
    """Every setting with its variable, default and meaning."""
    rows: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in ("", [], {}) else as_text(default)
        rows.append((f"`{name}`", f"`ISOTHERM_{name.upper()}`", f"`{shown}`" if shown else "", str(field.description)))
    return (
        "# Settings\n\n"
        + _MADE_BY
        + "Flags beat the environment, the environment beats the TOML file (`--config FILE`, or `isotherm.toml` in\n"
        "the data folder), the file beats the defaults. `isotherm config` shows what is in force and where it comes\n"
        "from.\n\n" + _table(("setting", "variable", "default", "meaning"), rows)
    )


def metrics_page() -> str:
    """Every metric with its kind and meaning."""
    rows = [
        (f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, family.documentation)
        for family in REGISTRY.collect()
        if not family.name.startswith("process_")
    ]
    return (
        "# Metrics\n\n"
        + _MADE_BY
        + "In the Prometheus text format under `/metrics` of the collector and of the app, and of the roles `land`,\n"
        "`rollup` and `stream` on their `health_port`. On Linux, `process_*` tell memory, CPU, open files and the\n"
        "start of each process. Several collector workers (`collect_workers`) answer as one: whichever is asked tells\n"
        "the sums of all, also of those that ended. Alerts over them are in `deploy/prometheus`, a dashboard in\n"
        "`deploy/grafana`.\n\n" + _table(("metric", "kind", "meaning"), sorted(rows))
    )


def drop_reasons_page() -> str:
    """Every reason for which an event can be rejected."""
    rows = [(f"`{reason}`", text) for reason, text in DROP_REASONS.items()]
    return (
        "# Drop reasons\n\n"
        + _MADE_BY
        + "Why an event was not kept: the `reason` of an entry in a 202's `errors`, and of the ledger.\n\n"
        + _table(("reason", "meaning"), rows)
    )


def commands_page() -> str:
    """The help of every command, as the terminal shows it."""
    from isotherm.cli import app

    parts = ["# Commands\n\n", _MADE_BY]
    # All at once: a command's line in the list of commands comes from its module, which is imported when asked for.
    for names in list(_command_names(app)):
        console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
        app.help_print(list(names), console=console)
        text = "\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines())  # type: ignore[attr-defined]
        parts.append(f"## isotherm {' '.join(names)}".rstrip() + f"\n\n```\n{text}\n```\n\n")
    return "".join(parts).rstrip() + "\n"


def _command_names(app: Any, prefix: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    yield prefix
    for name in app:
        if name.startswith("-"):
            continue
        child = app[name]
        if child.show:
            yield from _command_names(child, (*prefix, name))


def http_document() -> str:
    """The OpenAPI document of the query API."""
    from isotherm.serve.app import openapi_document
    from isotherm.view.routes import described

    document = msgspec.json.encode(openapi_document(described()), order="sorted")
    return msgspec.json.format(document, indent=2).decode() + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


PAGES = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "drop-reasons.md": drop_reasons_page,
    "commands.md": commands_page,
    "openapi.json": http_document,
}


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
