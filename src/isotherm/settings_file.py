"""The settings file: reading it, and saying of a wrong setting what to write instead."""

import tomllib
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from isotherm.errors import ConfigError

_TABLES: Final = {
    "retention": "write a table per client, such as [retention.shop] with the line raw = 90 in the settings file, or "
    'the JSON object {"shop": {"raw": 90}} elsewhere',
}
_PAIRS: Final = "write a table of texts in the settings file, or name=value pairs separated by commas elsewhere"


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises ConfigError when this user may not look."""
    try:
        return path.is_file()
    except PermissionError:
        raise ConfigError(_not_ours(path)) from None


def read(path: Path) -> dict[str, Any]:
    """What stands in the file. Raises ConfigError when it is no TOML or may not be read, OSError when it is gone."""
    try:
        raw = path.read_bytes()
    except PermissionError:
        raise ConfigError(_not_ours(path)) from None
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        why = f"byte 0x{raw[error.start]:02x} is no UTF-8, at line {line}"
    except tomllib.TOMLDecodeError as error:
        why = str(error)
    raise ConfigError(f"{path}: is no TOML ({why}); mend that line, or move the file away")


def not_usable(error: ValidationError, path: Path | None, names: Collection[str]) -> ConfigError:
    """The error to raise: one line per wrong setting. `path` is the file that was read, `names` are all settings."""
    lines = [f"{'.'.join(map(str, one['loc'])) or 'settings'}: {_said(one, names)}" for one in error.errors()]
    source = f" ({path})" if path else ""
    return ConfigError(f"settings are not usable{source}:\n  " + "\n  ".join(lines))


def _said(error: ErrorDetails, names: Collection[str]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        like = get_close_matches(name, names, 1)
        meant = f" (did you mean {like[0]}?)" if like else ""
        return f"there is no such setting{meant}; `isotherm config --reference` lists all"
    if error["type"] == "dict_type":
        return _TABLES.get(name, _PAIRS)
    return error["msg"]


def _not_ours(path: Path) -> str:
    return f"{path}: this user may not read it; run the command as the user whom it belongs to, or let this one read it"
