"""What holds for tests of the commands."""

from typing import Any

import pytest

from isotherm.cli import roles
from isotherm.store.olap import Olap


class Unclosed:
    """The one chDB that a process may have, as a store of whoever opens it."""

    def __init__(self, olap: Olap) -> None:
        self._olap = olap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._olap, name)

    def close(self) -> None:
        """It stays open for the next one."""


@pytest.fixture
def one_olap(empty_olap: Olap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process share its tile store."""
    monkeypatch.setattr(roles, "open_olap", lambda *_: Unclosed(empty_olap))
