"""Programs that a person installs, by name; one that is missing gives one line that says what to install."""

import os
import shutil
from pathlib import Path


class Missing(RuntimeError):
    """A program or a fetched tool is not there; the message is one line that says what to do."""


PACKAGES = {
    "java": "openjdk-17-jre-headless",
    "keytool": "openjdk-17-jre-headless",
    "mvn": "maven",
    "go": "golang",
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "nginx": "nginx-light",
    "chromium": "chromium",
    "openssl": "openssl",
    "wrk": "wrk",
    "promtool": "prometheus",
}
"""Program: the Debian package that has it."""

OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome")}
MORE_FOLDERS = {
    "postgres": ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin"),
    "initdb": ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin"),
    "nginx": ("/usr/sbin",),
    "go": ("/usr/local/go/bin",),
}
"""Where Debian and others keep programs that are not on PATH; of several versions the highest."""


def program(name: str) -> str:
    """Path of the program; Missing with what to install."""
    if found := find_program(name):
        return found
    raise Missing(f"{name} is missing: apt-get install {PACKAGES[name]}")


def find_program(name: str) -> str | None:
    """Path of the program, by PATH or where Debian keeps it; None when it is not there."""
    folders = [str(folder) for pattern in MORE_FOLDERS.get(name, ()) for folder in _newest_first(pattern)]
    # PostgreSQL's own folder first: what is on PATH may be a wrapper that chooses a cluster.
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    return next((found for one in (name, *OTHER_NAMES.get(name, ())) if (found := shutil.which(one, path=path))), None)


def _newest_first(pattern: str) -> list[Path]:
    return sorted(Path("/").glob(pattern.lstrip("/")), key=_version, reverse=True)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts if part.isdecimal())
