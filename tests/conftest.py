"""What holds for all tests."""

from collections import Counter

import pytest

pytest_plugins = ["services.fixtures", "services.scheduling"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers know tests by their names: of several with one name they would run one."""
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"tests of one name, of which only one would run: {', '.join(twice)}")
