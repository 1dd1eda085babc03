"""The folder for records that landing cannot use while the log of dead letters takes nothing, one file each."""

from collections.abc import Iterator
from pathlib import Path

from isotherm.config import Settings


def folder_of(settings: Settings) -> Path:
    """Where records go while the log of dead letters takes nothing, one file each."""
    return settings.data.absolute() / "dead"


def files_in(folder: Path) -> Iterator[Path]:
    """What lies there, and what was left of a file that was not written to its end; none where there is no folder."""
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if ".bin" in entry.name and entry.is_file())
