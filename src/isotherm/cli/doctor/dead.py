"""The log of dead letters: it is there or can be made, may be written, keeps letters long enough, and has room."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from isotherm.cli.doctor.findings import Finding
from isotherm.cli.doctor.folders import log_folder
from isotherm.cli.output import size
from isotherm.config import Settings
from isotherm.land.aside import files_in, folder_of

NAME: Final = "dead_log"
_ALMOST: Final = 0.9


def check(settings: Settings) -> Iterator[Finding]:
    """On Kafka: the topic. Asks only. Raises ConfigError for a wrong setting."""
    from isotherm.cli.doctor.kafka import examine

    made = "with the first dead letter"
    for found in examine(settings.for_dead_letters(), group=False, made=made):
        # Its topic is kept by a setting of its own.
        advice = found.advice.replace("log_retention_days", "dead_retention_days")
        finding = found.finding.replace("log_retention_days", "dead_retention_days")
        yield msgspec.structs.replace(found, check=NAME, finding=finding, advice=advice)


def check_folders(settings: Settings) -> Iterator[Finding]:
    """On this machine: the folder of an embedded log, and the one that takes letters while their log does not."""
    dead = settings.for_dead_letters()
    parts = urlsplit(dead.url("log"))
    if parts.scheme == "lmdb":
        yield from _folder(Path(unquote(parts.path)), dead)
    left = folder_of(settings)
    if kept := len(list(files_in(left))):
        yield Finding(
            NAME, "warning", f"records in {left}: {kept:,}; their log took nothing when they came",
            "see that the log of dead letters can be written, and look at them there: `isotherm dead` only counts "
            f"them, and they go {settings.dead_retention_days} days (dead_retention_days) after they came",
        )  # fmt: skip


def _folder(folder: Path, settings: Settings) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding(NAME, "ok", f"{folder} is made with the first dead letter")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            NAME, "error", f"{folder} is no folder that this user can write to",
            "fix its owner, or name another place with dead_log: letters that cannot be kept are lost and counted",
        )  # fmt: skip
        return
    problems = list(log_folder(folder, NAME))
    yield from problems
    held = sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
    text = f"{folder} holds {size(held)} of at most {size(settings.log_max_bytes)} (dead_max_bytes)"
    if held > _ALMOST * settings.log_max_bytes:
        yield Finding(
            NAME, "warning", text,
            "a full one takes no more: `isotherm dead ls` shows what fills it; mend that, and raise dead_max_bytes",
        )  # fmt: skip
    elif not problems:
        yield Finding(NAME, "ok", text)
