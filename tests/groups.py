"""Tests of one `xdist_group` run on one worker, with any version of pytest.

pytest-xdist 3.8 tells its scheduler the groups by a suffix of the tests' ids, which pytest 9.2 no longer lets it set:
the marks then do nothing, and nobody says so. Here the workers write down the groups, and the scheduler reads them.
"""

import json
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDER = pytest.StashKey[Path]()


class GroupScheduling(LoadScopeScheduling):
    """Gives tests of one group to one worker, the largest group first, and all others one by one."""

    @cached_property
    def groups(self) -> dict[str, str]:
        """Test id: group. All workers collect the same tests, so any of their files will do."""
        written = sorted(self.config.stash[FOLDER].glob("*.json"))
        return json.loads(written[0].read_bytes())

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid, nodeid)


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In a worker, before it tells the controller what it collected."""
    given = getattr(session.config, "workerinput", None)
    if given is None:
        return
    marks = ((item.nodeid, item.get_closest_marker("xdist_group")) for item in session.items)
    groups = {nodeid: str((mark.args or (mark.kwargs["name"],))[0]) for nodeid, mark in marks if mark}
    whole = Path(given["groups"]) / f"{given['workerid']}.json"
    partial = whole.with_suffix(".partial")
    partial.write_text(json.dumps(groups))
    partial.rename(whole)
