"""What commands print: tables and numbers for people, JSON for scripts."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from isotherm.clock import duration as duration
from isotherm.clock import iso

_WIDE: Final = 250
"""Columns of output that goes to a file or another program: nothing is folded there."""


def console() -> Console:
    """Standard output; without colour and frames when it is not a terminal."""
    return _console(stderr=False)


def errors() -> Console:
    """Standard error, for progress and warnings."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def print_json(value: Any) -> None:
    """One JSON document, indented, keys as they are."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> Table:
    """A frameless table; columns whose cells are numbers are aligned to the right."""
    body = [list(row) for row in rows]
    made = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = bool(body) and all(isinstance(row[index], int | float) for row in body)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        made.add_row(*(cell(value) for value in row))
    return made


def cell(value: Any) -> str:
    """Thousands separators for integers, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("[", "\\[")


def size(count: float) -> str:
    """Bytes for people, e.g. 3.2 MB (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def moment(ms: int | None) -> str:
    """A moment in UTC to the second, e.g. 2026-02-02 10:15:00."""
    return "" if ms is None else iso(ms)[:19].replace("T", " ")


def hour(ms: int | None) -> str:
    """The start of an hour in UTC, e.g. 2026-02-02 10:00."""
    return "" if ms is None else iso(ms)[:16].replace("T", " ")
