"""`isotherm config`: the settings in effect and where each comes from."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from isotherm import settings_file
from isotherm.cli.options import AsJson, Everything
from isotherm.cli.output import console, print_json, table
from isotherm.config import SECRETS, STORES, Settings, as_text, without_password


def command(
    settings: Everything | None = None,
    *,
    reference: Annotated[
        bool, Parameter(help="Print the reference of all settings (Markdown).", negative=(), show_default=False)
    ] = False,
    json: AsJson = False,
) -> int:
    """The settings in effect and where each comes from.

    Flags beat ISOTHERM_* variables, these beat the settings file, the file beats the defaults. Takes all flags,
    to show what they would change. Passwords and tokens are not printed.
    """
    if reference:
        from isotherm.cli.reference import settings_page

        print(settings_page(), end="")
        return 0
    flags = settings or Everything()
    chosen = flags.settings()
    file = flags.config or chosen.data / "isotherm.toml"
    rows = [(name, _shown(name, value), source(name, flags, file)) for name, value in chosen.model_dump().items()]
    if json:
        print_json({name: {"value": value, "source": where} for name, value, where in rows})
    else:
        _say(chosen, rows, file)
    return 0


def _shown(name: str, value: Any) -> str:
    if name in SECRETS and value:
        return "(set)"
    if name in STORES:
        return without_password(value)
    return as_text(value)


def source(name: str, flags: Everything, file: Path) -> str:
    """Which of the four places gave the setting its value."""
    if name in {f.name for f in fields(flags)} and getattr(flags, name) is not None:
        return "flag"
    if any(variable.upper() == f"ISOTHERM_{name.upper()}" for variable in os.environ):
        return "environment"
    if file.is_file() and name in settings_file.read(file):
        return str(file)
    return "default"


def _say(chosen: Settings, rows: list[tuple[str, str, str]], file: Path) -> None:
    out = console()
    out.print(table(("setting", "value", "from"), rows))
    out.print()
    for store in STORES:
        out.print(f"{store:<5} {without_password(chosen.url(store))}", markup=False)
    there = "read" if file.is_file() else "not there"
    out.print(f"file  {file} ({there})", markup=False)
