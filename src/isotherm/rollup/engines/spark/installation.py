"""The Spark that is installed here: its program, and what its own settings file says."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

from isotherm.errors import ConfigError

_LINE: Final = re.compile(r"\s*(spark\.[^\s=:]+)(?:\s*[=:]\s*|\s+)(.*?)\s*")


def find_submit(name: str) -> Path:
    """The spark-submit program. Raises ConfigError that says what to install or which setting names it."""
    found = shutil.which(name)
    if found is None:
        raise ConfigError(
            f"engine: {name!r} is not a program here; install Apache Spark 4 (with Java 17; or: pip install pyspark), "
            "and give its spark-submit with the setting spark_submit"
        )
    return Path(found)


def own_options(program: Path) -> dict[str, str]:
    """The options in the installation's spark-defaults.conf, which spark-submit reads too; none without the file."""
    for folder in _settings_folders(program):
        file = folder / "spark-defaults.conf"
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            return {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line)) and found[2]}
    return {}


def _settings_folders(program: Path) -> list[Path]:
    """Where spark-submit looks, which takes the first that is named."""
    if named := os.environ.get("SPARK_CONF_DIR"):
        return [Path(named)]
    if home := os.environ.get("SPARK_HOME"):
        return [Path(home) / "conf"]
    beside = program.absolute().parent.parent
    # In an environment made by pip, Spark lies among the packages.
    return [beside / "conf", *sorted(beside.glob("lib/python3*/site-packages/pyspark/conf"))]
