"""A running system per test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from system_helpers import System


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A started system; stopped by SIGTERM at the end, which must be clean."""
    with System(tmp_path / "data") as started:
        yield started
