"""What the drills count, as one table at the end of a run, whichever worker they ran on."""

from collections.abc import Generator, Sequence
from typing import Any

import pytest

COLUMNS = ("drill", "acknowledged", "landed", "tiled", "lost", "duplicated", "seconds to recover")
_said: list[list[str]] = []


def note(*row: object) -> None:
    """Add a row, its values in the order of COLUMNS; the running test's report takes it to the table."""
    assert len(row) == len(COLUMNS), row
    _said.append([str(value) for value in row])


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table(), "sums-table")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Where the test runs: what was said since the last report goes with this one, also to another process."""
    report = yield
    report.sums = _said.copy()
    _said.clear()
    return report


class Table:
    """Where the run is reported."""

    def __init__(self) -> None:
        self.rows: list[Sequence[str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.rows += getattr(report, "sums", ())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.rows:
            return
        terminalreporter.section("sums of the drills")
        for row in (COLUMNS, ["---", *["---:"] * 5, "---"], *self.rows):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
