"""What the tests fetch and build: name, version and recipe of each tool, and where it lies.

A tool lies complete in the folder `NAME-VERSION-HASH`, HASH of its recipe, or it does not lie there at all. All are
under `.services/` in the repository, or under the folder that ISOTHERM_SERVICES_CACHE names, which outlives clones.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.programs import Missing
from services.recipes import GoProgram, JavaLibraries, PythonEnvironment, Recipe

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 1800

TOOLS: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        JavaLibraries("kafka", "4.3.1"),
        JavaLibraries("connect", "4.3.1"),
        JavaLibraries("s3a", "3.5.0", without=("slf4j-api-*.jar",)),
        JavaLibraries("flink-connectors", "2.3.0"),
        PythonEnvironment("spark", "4.3.0", ("pyspark==4.3.0", "numpy==2.4.6", "pyarrow==26.0.1")),
        PythonEnvironment("flink", "2.3.0", ("apache-flink-libraries==2.3.0",), dependencies=False),
        GoProgram("versitygw", "1.8.0", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"),
        GoProgram("helm", "4.3.1", "helm.sh/helm/v4/cmd/helm@v4.3.1"),
        GoProgram("minio", "20260212", "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"),
    )
}


def cache() -> Path:
    """The folder that holds the tools, made when it is missing."""
    folder = Path(os.environ.get("ISOTHERM_SERVICES_CACHE") or ROOT / ".services").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def place(recipe: Recipe) -> Path:
    """The folder where the tool lies when it is complete."""
    return cache() / f"{recipe.name}-{recipe.version}-{recipe.digest()}"


def folder(name: str) -> Path:
    """The folder of a fetched tool; waits while another process fetches it; Missing says what to do."""
    recipe = TOOLS[name]
    found = place(recipe)
    deadline = time.monotonic() + WAIT_SECONDS
    while not found.exists() and fetch_runs(recipe.lane) and time.monotonic() < deadline:
        time.sleep(0.5)
    if not found.exists():
        raise Missing(f"{name} {recipe.version} is not there: make services")
    return found


@contextmanager
def fetching(lane: str) -> Iterator[None]:
    """One process at a time fetches the tools of a lane; the others wait here, and find them done."""
    with (cache() / f".{lane}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_runs(lane: str) -> bool:
    """Whether a process is fetching tools of the lane now."""
    with (cache() / f".{lane}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
