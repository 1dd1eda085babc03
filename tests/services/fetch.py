"""Fetch and build the servers that tests start: `python -m services.fetch [NAME...]`, which `make services` calls.

Does nothing for what is there. Exit code 3 when a program is missing that somebody has to install (one line each),
1 when a fetch failed. What is fetched appears complete or not at all: it is made under another name and renamed.
"""

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from services.programs import Missing, program
from services.recipes import FetchFailed, Recipe
from services.tools import TOOLS, cache, fetching, place

INSTALLED = ("java", "redis-server", "postgres", "initdb", "nginx", "chromium", "openssl")
"""Programs that the servers need and that a person installs."""
MISSING, FAILED = 3, 1


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        print(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}", file=sys.stderr)
        return 2
    problems = [] if names else [said for name in INSTALLED if (said := missing(name))]
    wanted = sorted((TOOLS[name] for name in names or TOOLS), key=lambda recipe: recipe.lane)
    lanes = [list(recipes) for _, recipes in groupby(wanted, key=lambda recipe: recipe.lane)]
    with ThreadPoolExecutor(len(lanes)) as pool:
        failures = [failure for lane in pool.map(fetch_lane, lanes) for failure in lane]
    problems += [str(failure) for failure in failures if isinstance(failure, Missing)]
    failed = [failure for failure in failures if not isinstance(failure, Missing)]
    for line in dict.fromkeys([*problems, *map(str, failed)]):
        print(line, file=sys.stderr)
    return FAILED if failed else MISSING if problems else 0


def missing(name: str) -> str | None:
    """What to install for a program that is not there; None when it is."""
    try:
        program(name)
    except Missing as error:
        return str(error)
    return None


def fetch_lane(recipes: list[Recipe]) -> list[Exception]:
    """Fetch what is not there of one lane; the problems it met."""
    problems: list[Exception] = []
    for recipe in recipes:
        if place(recipe).exists():
            continue
        try:
            with fetching(recipe.lane):
                fetch(recipe)
        except (Missing, FetchFailed) as error:
            problems.append(error)
    return problems


def fetch(recipe: Recipe) -> None:
    """Fetch one tool, unless another process just did; a line says how long it took."""
    target = place(recipe)
    if target.exists():
        return
    _sweep(recipe)
    started = time.monotonic()
    # Under a name of its own: a fetch that is interrupted never looks complete.
    partial = cache() / f".partial-{recipe.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        recipe.build(partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{recipe.name} {recipe.version}: {time.monotonic() - started:.0f} s", flush=True)


def _sweep(recipe: Recipe) -> None:
    """A cache that outlives clones keeps other versions: another clone may use them. Ours keeps one of each."""
    if cache().name != ".services":
        return
    for old in cache().glob(f"{recipe.name}-[0-9]*"):
        if old != place(recipe) and old.name.rsplit("-", 2)[0] == recipe.name:
            shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
