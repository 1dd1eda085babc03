"""Where and when tests of the servers run: on one worker, in the order in which their tools are fetched."""

import contextlib
import os
from collections.abc import Generator

import pytest

from services.fixtures import TOOLS
from services.programs import Missing
from services.tools import folder

ORDER = list(TOOLS)
HEAVY = {"spark_cluster": "spark", "own_spark": "spark", "flink_cluster": "flink", "own_flink": "flink"}
STREAMS = {"kafka", "own_kafka", "connect_worker"}
_current: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use Kafka share a worker, so that it starts once, and so do those of the stores alone, of Spark and of
    Flink.

    Those that need the least come first: tools may still be fetched while they run.
    """
    for item in items:
        if servers(item):
            item.add_marker(pytest.mark.services)
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(group(item)))
    # Only among themselves: the others stay where they are.
    places = [index for index, item in enumerate(items) if servers(item)]
    ordered = sorted((items[index] for index in places), key=lambda item: max(map(ORDER.index, servers(item))))
    for index, item in zip(places, ordered, strict=True):
        items[index] = item


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for tools that are being fetched before the test's own time limit starts."""
    for tool in [tool for name in servers(item) for tool in TOOLS[name]]:
        with contextlib.suppress(Missing):  # the fixture says so
            folder(tool)
    _current[:] = [item]
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """A server that a test did not announce would start again on every worker, outside the order."""
    if fixturedef.argname in TOOLS and _current and _current[0].get_closest_marker("services") is None:
        raise pytest.UsageError(
            f"{_current[0].nodeid} uses {fixturedef.argname} by request.getfixturevalue: "
            f'announce it with @pytest.mark.services("{fixturedef.argname}")'
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ISOTHERM_TEST_NO_SKIPS=1, as CI sets it, a test of the servers or a drill that was skipped has failed."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    bound = item.get_closest_marker("services") or item.get_closest_marker("drill")
    if skipped and bound and os.environ.get("ISOTHERM_TEST_NO_SKIPS") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, where no test of the servers and no drill may be: {report.longrepr}"
    return report


def group(item: pytest.Item) -> str:
    """Minutes of Spark, Flink and the stores can run beside the others: a second Kafka costs 5 s, the rest less."""
    used = servers(item)
    heavy = next((HEAVY[name] for name in used if name in HEAVY and used != ORDER), None)
    return heavy or ("stores" if STREAMS.isdisjoint(used) else "kafka")


def servers(item: pytest.Item) -> list[str]:
    """The server fixtures of a test: asked for by it or its fixtures, announced by the mark, or a parameter."""
    asked = getattr(item, "fixturenames", ())
    announced = [name for mark in item.iter_markers("services") for name in mark.args]
    chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = (value for value in (*asked, *announced, *chosen) if isinstance(value, str) and value in TOOLS)
    found = list(dict.fromkeys(named))
    # A mark that names nothing may mean any of them.
    return found or (ORDER if item.get_closest_marker("services") and not announced else [])
