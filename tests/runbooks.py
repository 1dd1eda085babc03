"""Alerts, their pages, and the commands in these, for tests."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RUNBOOKS = ROOT / "docs" / "runbooks"
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules.yml"
SECTIONS = ("What it means", "What users see", "Look", "Do", "Why it happens", "Prevent")
_BLOCK = re.compile(r"^```sh run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\b(?:isotherm_[a-z0-9_]+|process_[a-z0-9_]+)\b")
_TEXT = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Command:
    """A command of a page, and what it must print."""

    text: str
    prints: tuple[str, ...]


def alerts() -> dict[str, dict[str, Any]]:
    """The rules by the alert's name."""
    return {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def pages() -> dict[str, Path]:
    return {path.stem: path for path in RUNBOOKS.glob("*.md") if path.stem != "README"}


def commands(page: Path) -> list[Command]:
    """The commands in the page's `sh run` blocks, which blank lines part; a line `# -> TEXT` says what is printed."""
    found: list[Command] = []
    for block in _BLOCK.findall(page.read_text()):
        for part in block.strip().split("\n\n"):
            lines = part.splitlines()
            said = tuple(line.removeprefix("# -> ") for line in lines if line.startswith("# -> "))
            found.append(Command("\n".join(line for line in lines if not line.startswith("# ->")), said))
    return found


def metric_names(expression: str) -> set[str]:
    """Metrics that a PromQL expression reads; what stands in braces are labels."""
    return set(_NAME.findall(_TEXT.sub("", expression)))
