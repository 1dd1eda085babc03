"""How a tool is fetched or built into a folder: by Maven, by Go, or by pip. Registries are the machine's own."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from services.programs import Missing, program

HERE = Path(__file__).parent
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
OLDEST_GO = (1, 21)
MACHINE = f"{platform.system()}-{platform.machine()}"


class FetchFailed(RuntimeError):
    """A fetch or build ended with an error; the message has the end of what it said."""


@dataclass(frozen=True)
class Recipe:
    """A tool of a version; `lane`s run at the same time, the tools of one lane one after the other."""

    name: str
    version: str
    lane: ClassVar[str]

    def build(self, target: Path) -> None:
        """Make the tool in the empty folder `target`; FetchFailed or Missing otherwise."""
        raise NotImplementedError

    def text(self) -> str:
        """All that decides what is built."""
        return repr(self)

    def digest(self) -> str:
        """Hash of the recipe: another recipe gives another folder."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:10]


@dataclass(frozen=True)
class JavaLibraries(Recipe):
    """The jars of `poms/NAME.xml` and all they need, in `libs/`."""

    without: tuple[str, ...] = ()
    lane: ClassVar[str] = "maven"

    @property
    def pom(self) -> Path:
        return HERE / "poms" / f"{self.name}.xml"

    def text(self) -> str:
        return f"{super().text()}\n{self.pom.read_text()}"

    def build(self, target: Path) -> None:
        # Maven writes beside the pom; the repository stays clean.
        shutil.copy(self.pom, target / "pom.xml")
        run(
            [program("mvn"), "-B", "-q", COPY, f"-DoutputDirectory={target / 'libs'}", "-DincludeScope=runtime"],
            cwd=target,
        )
        for pattern in self.without:
            for jar in (target / "libs").glob(pattern):
                jar.unlink()


@dataclass(frozen=True)
class GoProgram(Recipe):
    """A program of the Go module proxy, in the folder itself."""

    module: str = ""
    lane: ClassVar[str] = "go"

    def text(self) -> str:
        return f"{super().text()}\n{MACHINE}"

    def build(self, target: Path) -> None:
        _check_go(program("go"), self.name)
        run(
            [program("go"), "install", "-trimpath", "-ldflags", "-s -w", self.module],
            cwd=target, GOBIN=str(target), CGO_ENABLED="0",
        )  # fmt: skip


@dataclass(frozen=True)
class PythonEnvironment(Recipe):
    """Packages in a virtual environment of their own."""

    packages: tuple[str, ...] = field(default=())
    dependencies: bool = True
    lane: ClassVar[str] = "pip"

    def text(self) -> str:
        return f"{super().text()}\n{MACHINE} {sys.version_info[:2]}"

    def build(self, target: Path) -> None:
        run([sys.executable, "-m", "venv", "--without-pip", str(target)], cwd=target)
        options = () if self.dependencies else ("--no-deps",)
        python = str(target / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, *options, *self.packages], cwd=target)


def _check_go(go: str, tool: str) -> None:
    """Missing when Go is too old to fetch by itself the version that a module asks for."""
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if found < OLDEST_GO:
        needed = ".".join(map(str, OLDEST_GO))
        raise Missing(f"{said.strip() or 'go'} is too old for {tool}: install Go {needed} or newer (Debian: backports)")


def run(command: list[str], cwd: Path, **environment: str) -> None:
    """Run it to its end; FetchFailed with the end of its output."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    if done.returncode:
        said = "\n".join(line for line in done.stdout.splitlines() if line.strip())[-3000:]
        raise FetchFailed(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
