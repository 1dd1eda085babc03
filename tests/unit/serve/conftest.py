"""An API over maps that the tests put there themselves."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar.testing import TestClient
from serving import World, two_weeks


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Two clients with a screen of the same name, hours over two weeks, three kinds of events."""
    return two_weeks(make_world())


@pytest.fixture
def api(world: World) -> Iterator[TestClient[Any]]:
    with world.client() as client:
        yield client
