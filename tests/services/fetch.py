"""Fetch and build the servers that tests start: `python -m services.fetch [NAME...]`, which `make services` calls.

Does nothing for what is there. Exit code 3 when a program is missing that somebody has to install (one line each),
1 when a fetch failed. What is fetched appears complete or not at all: it is made under another name and renamed.
`--for-tests` is for `make test`: a missing program is named and no error, since tests that need it are skipped; and
what another process is fetching now is left to it, since tests wait for what they need.
"""

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from services.programs import Missing, program
from services.recipes import FetchFailed, Recipe
from services.tools import TOOLS, cache, fetch_runs, fetching, place

INSTALLED = ("java", "redis-server", "postgres", "nginx", "chromium", "openssl", "promtool")
"""Programs that the servers and the tests of alert rules need, and that a person installs."""
MISSING, FAILED = 3, 1


def main(arguments: list[str]) -> int:
    for_tests = "--for-tests" in arguments
    names = [name for name in arguments if name != "--for-tests"]
    if unknown := [name for name in names if name not in TOOLS]:
        print(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}", file=sys.stderr)
        return 2
    lines = [] if names else [said for name in INSTALLED if (said := missing(name))]
    problems = fetch_all([TOOLS[name] for name in names or TOOLS], leave_others=for_tests)
    for line in dict.fromkeys([*lines, *map(str, problems)]):
        print(line, file=sys.stderr)
    if any(not isinstance(problem, Missing) for problem in problems):
        return FAILED
    return MISSING if (lines or problems) and not for_tests else 0


def fetch_all(recipes: list[Recipe], *, leave_others: bool) -> list[Exception]:
    """Fetch what is not there, the lanes side by side; the problems met."""
    wanted = [recipe for recipe in recipes if not place(recipe).exists()]
    lanes = dict.fromkeys(recipe.lane for recipe in wanted)
    with ThreadPoolExecutor(len(lanes) or 1) as pool:
        return [
            problem
            for problems in pool.map(
                lambda lane: fetch_lane([one for one in wanted if one.lane == lane], leave_others=leave_others), lanes
            )
            for problem in problems
        ]


def missing(name: str) -> str | None:
    """What to install for a program that is not there; None when it is."""
    try:
        program(name)
    except Missing as error:
        return str(error)
    return None


def fetch_lane(recipes: list[Recipe], *, leave_others: bool) -> list[Exception]:
    """Fetch the tools of one lane, one after the other; the problems met."""
    problems: list[Exception] = []
    lane = recipes[0].lane
    if leave_others and fetch_runs(lane):
        return []
    with fetching(lane):
        for recipe in recipes:
            try:
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
    os.nice(10)  # people and tests come first
    sys.exit(main(sys.argv[1:]))
