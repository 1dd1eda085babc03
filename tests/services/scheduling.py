"""Where and when tests of the servers run: on one worker, in the order in which their tools are fetched."""

import os
from collections.abc import Generator

import pytest

from services.fixtures import TOOLS
from services.programs import Missing
from services.tools import folder

ORDER = list(TOOLS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use a server share a worker, so that it starts once; before xdist reads the groups.

    Those that need the least come first: tools may still be fetched while they run.
    """
    using = [item for item in items if fixtures_used(item)]
    for item in using:
        item.add_marker(pytest.mark.services)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("services"))
    # Only among themselves: the others stay where they are.
    places = [index for index, item in enumerate(items) if fixtures_used(item)]
    for index, item in zip(places, sorted(using, key=_last_needed), strict=True):
        items[index] = item


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for tools that are being fetched before the test's own time limit starts."""
    for name in fixtures_used(item):
        for tool in TOOLS[name]:
            try:
                folder(tool)
            except Missing:
                break  # the fixture says so
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ISOTHERM_TEST_NO_SKIPS=1, as CI sets it, a test of the servers that was skipped has failed."""
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if (
        os.environ.get("ISOTHERM_TEST_NO_SKIPS") == "1"
        and report.skipped
        and not expected_failure
        and fixtures_used(item)
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped, where no test of the servers may be: {report.longrepr}"
    return report


def fixtures_used(item: pytest.Item) -> list[str]:
    """The server fixtures that a test uses, by itself or by other fixtures."""
    return [name for name in getattr(item, "fixturenames", ()) if name in TOOLS]


def _last_needed(item: pytest.Item) -> int:
    return max(ORDER.index(name) for name in fixtures_used(item))
