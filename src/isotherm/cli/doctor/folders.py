"""What the files of an embedded log say without opening it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from isotherm.cli.doctor.findings import Finding


def log_folder(folder: Path, check: str) -> Iterator[Finding]:
    """Files that were set aside, and a format that this version does not read; a folder that is not there is fine."""
    damaged = sorted(p.name for p in folder.glob("*.damaged-*"))
    if damaged:
        yield Finding(
            check, "warning", f"{len(damaged)} damaged files were set aside: {', '.join(damaged[:3])}",
            "check the disk; keep the files until you know what was in them (`isotherm log`)",
        )  # fmt: skip
    with contextlib.suppress(FileNotFoundError):
        text = (folder / "format.json").read_text()
        try:
            found = json.loads(text).get("format")
        except (ValueError, AttributeError):
            found = None
        if found != 1:
            yield Finding(
                check, "error", f"{folder} has format {found!r}; this version reads format 1",
                "use the version of isotherm that wrote it, or another --data",
            )  # fmt: skip
