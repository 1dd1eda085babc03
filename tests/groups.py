"""Tests of one `xdist_group` run on one worker, with any version of pytest, and what takes long starts early.

pytest-xdist 3.8 tells its scheduler the groups by a suffix of the tests' ids, which pytest 9.2 no longer lets it set:
the marks then do nothing, and nobody says so. Here the workers write down the groups, and the scheduler reads them.
"""

import json
import shutil
import tempfile
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDER = pytest.StashKey[Path]()
LAST = "screenshots"
"""The group that starts when nothing else waits: it is for people to look at."""
SECONDS = 3
"""What a test of a group takes, roughly."""


class GroupScheduling(LoadScopeScheduling):
    """Gives tests of one group to one worker, and all others one by one.

    What may take the longest comes first, so that no worker is left alone with it at the end: a test by its limit, and
    a large group by its tests.
    """

    _in_order = False

    @cached_property
    def written(self) -> dict[str, Any]:
        """All workers collect the same tests, so any of their files will do."""
        found = sorted(self.config.stash[FOLDER].glob("*.json"))
        return json.loads(found[0].read_bytes())

    def _split_scope(self, nodeid: str) -> str:
        return self.written["groups"].get(nodeid, nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        if not self._in_order:
            self.workqueue = OrderedDict(sorted(self.workqueue.items(), key=self._place))
            self._in_order = True
        super()._assign_work_unit(node)

    def _place(self, unit: tuple[str, dict[str, bool]]) -> tuple[bool, float]:
        scope, tests = unit
        longest = max(self.written["limits"].get(test, 0) for test in tests)
        return scope == LAST, -max(longest, SECONDS * len(tests))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[FOLDER] = Path(tempfile.mkdtemp(prefix="isotherm-groups-"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        shutil.rmtree(config.stash[FOLDER], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the controller, before a worker starts."""
    node.workerinput["groups"] = str(node.config.stash[FOLDER])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their module share a worker, so that it is made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def shares(item: pytest.Item) -> bool:
    """Whether the test, or a fixture of it, asks for a fixture of module scope."""
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(made.scope == "module" for found in known.values() for made in found)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In a worker, before it tells the controller what it collected."""
    given = getattr(session.config, "workerinput", None)
    if given is None:
        return
    found: dict[str, dict[str, Any]] = {"groups": {}, "limits": {}}
    for item in session.items:
        if mark := item.get_closest_marker("xdist_group"):
            found["groups"][item.nodeid] = str(value(mark, "name"))
        if mark := item.get_closest_marker("timeout"):
            found["limits"][item.nodeid] = float(value(mark, "timeout"))
    whole = Path(given["groups"]) / f"{given['workerid']}.json"
    partial = whole.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.rename(whole)


def value(mark: pytest.Mark, name: str) -> Any:
    """The only argument of a mark, given with or without its name."""
    return mark.args[0] if mark.args else mark.kwargs[name]
