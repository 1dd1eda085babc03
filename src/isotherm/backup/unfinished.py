"""The file in a data folder that says that a restore into it is not done: nothing of this machine may use it before."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from isotherm.errors import IsothermError

FILE: Final = "restore.json"


class Mark(Struct, frozen=True):
    """Which backup is being restored."""

    backup: str
    source: str


def read_file(data: Path) -> Mark | None:
    """The mark in the data folder; None when no restore is under way there."""
    try:
        return msgspec.json.decode((data / FILE).read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return Mark("", "")


def write_file(data: Path, mark: Mark) -> None:
    new = data / f"{FILE}.new"
    new.write_bytes(msgspec.json.encode(mark) + b"\n")
    new.replace(data / FILE)


def remove_file(data: Path) -> None:
    (data / FILE).unlink(missing_ok=True)


def refuse_unfinished(data: Path) -> None:
    """Raise IsothermError while a restore into this data folder is not done."""
    mark = read_file(data)
    if mark is not None:
        raise IsothermError(
            f"{data.absolute()}: a restore into this folder was interrupted and has to be finished first. Run the "
            f"same `isotherm restore --from ... --data {data}` again (from {mark.source or 'the same place'}), or "
            "remove the folder and start over."
        )
