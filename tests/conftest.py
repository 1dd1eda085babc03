"""What holds for all tests. chDB opens one folder per process: all tests share it, and empty it before use."""

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from isotherm.config import Settings
from isotherm.store.olap import Olap, open_olap

pytest_plugins = ["groups", "sums", "services.fixtures", "services.scheduling"]


# What a shell starts in the background ignores Ctrl-C and hands that down: programs that tests stop so would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers know tests by their names: of several with one name they would run one."""
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"tests of one name, of which only one would run: {', '.join(twice)}")


@pytest.fixture(scope="session")
def shared_olap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olap]:
    opened = open_olap(f"chdb://{tmp_path_factory.mktemp('olap') / 'chdb'}", Settings(job_threads=2))
    yield opened
    opened.close()


@pytest.fixture
def empty_olap(shared_olap: Olap) -> Olap:
    """The shared store without maps, and without a TTL that a test's scheduler left: by the host's clock, the events
    of other tests are long expired."""
    shared_olap.command("TRUNCATE TABLE maps")
    made = shared_olap.query("SELECT create_table_query AS q FROM system.tables WHERE name = 'maps'").to_pylist()
    if " TTL " in made[0]["q"]:
        shared_olap.command("ALTER TABLE maps REMOVE TTL")
    return shared_olap
