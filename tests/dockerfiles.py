"""What a Dockerfile says, for tests: no container engine is needed to see that it names things that exist."""

import fnmatch
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One FROM and what follows it."""

    image: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """The arguments of each such instruction, in order."""
        return [rest for kind, rest in self.steps if kind == instruction]


def stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile, with the default of each ARG before the first FROM filled in."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    found: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "ARG" and not found:
            name, _, arguments[name] = rest.partition("=")
        elif kind == "FROM":
            words = rest.split()
            image = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], words[0])
            found.append(Stage(image, words[2] if len(words) > 2 else ""))
        else:
            found[-1].steps.append((kind, rest.strip()))
    return found


def copied(stage: Stage) -> list[str]:
    """Paths that the stage takes from the build's folder."""
    words = [shlex.split(rest) for rest in stage.all("COPY")]
    own = [line for line in words if not any(word.startswith("--from") for word in line)]
    return [word for line in own for word in line[:-1] if not word.startswith("--")]


def programs(stage: Stage) -> set[str]:
    """The programs that the stage's RUN lines start."""
    started: set[str] = set()
    for line in stage.all("RUN"):
        inner = re.findall(r"\$\((\S+)", line)
        parts = re.split(r"&&|\|\||\||;", re.sub(r"\$\([^)]*\)", "X", re.sub(r"'[^']*'", "X", line)))
        started |= {part.split()[0] for part in parts if part.strip()} | set(inner)
    return started


def reaches_the_build(path: str, ignore: Path) -> bool:
    """Whether .dockerignore lets the path through: the last line that matches it decides."""
    given = path.rstrip("/")
    lets = True
    for line in ignore.read_text().splitlines():
        pattern = line.strip().lstrip("!").rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        ways = [given, *(str(parent) for parent in Path(given).parents if str(parent) != ".")]
        anywhere = pattern.startswith("**/")
        names = given.split("/") if anywhere else ways
        if any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in names):
            lets = line.strip().startswith("!")
    return lets
