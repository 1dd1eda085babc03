"""How tests that use servers are run: on one worker, announced, and never skipped unseen where CI says so."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
USERS = """
import pytest

def test_kafka(kafka): pass
def test_direct(redis_server): pass
@pytest.fixture
def client(redis_server): pass
def test_by_a_fixture(client): pass
@pytest.mark.parametrize("name", ["redis_server", "nothing"])
def test_parameter(name, request):
    if name != "nothing":
        request.getfixturevalue(name)
@pytest.mark.services("redis_server")
def test_announced(request): request.getfixturevalue("redis_server")
@pytest.mark.services
def test_marked(request): request.getfixturevalue("redis_server")
@pytest.mark.parametrize("n", range(12))
@pytest.mark.xdist_group("browser")
def test_browser(n): pass
def test_spark(spark_cluster): pass
def test_spark_and_kafka(kafka, own_spark): pass
def test_without(): pass
"""
UNANNOUNCED = """
def test_unannounced(request): request.getfixturevalue("redis_server")
"""
DRILLS = """
import pytest

@pytest.mark.drill
@pytest.mark.skipif(True, reason="only root may")
def test_drill(): pass
@pytest.mark.skipif(True, reason="not here")
def test_other(): pass
def test_without(): pass
"""
INI = "[pytest]\nmarkers =\n  services(*fixtures): x\n  drill: x\n  xdist_group: x\naddopts = -p no:cacheprovider -ra\n"


def run(folder: Path, text: str, *options: str, **environment: str) -> str:
    """What pytest says of a file with this text; with an empty cache of servers and no program on PATH."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text(INI)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "ISOTHERM_"))}
    nothing = {"PYTHONPATH": str(TESTS), "PATH": "/nowhere", "ISOTHERM_SERVICES_CACHE": str(folder / "cache")}
    plugins = ("-p", "xdist", "-p", "groups", "-p", "services.fixtures", "-p", "services.scheduling")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, "test_it.py"], cwd=folder, capture_output=True, text=True,
        env={**clean, **nothing, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return done.stdout


def test_users_of_servers_share_a_worker(tmp_path: Path) -> None:
    said = run(tmp_path, USERS, "-v", "-n", "2", "--dist", "loadgroup")
    workers: dict[str, set[str]] = defaultdict(set)
    for worker, name in re.findall(r"^\[(gw\d)\].*::test_(\S+)", said, re.MULTILINE):
        workers[worker].add(name)
    users = {"direct", "by_a_fixture", "parameter[redis_server]", "announced"}
    browser = {f"browser[{n}]" for n in range(12)}
    assert [users <= names for names in workers.values()].count(True) == 1, said
    assert [{"kafka", "marked"} <= names for names in workers.values()].count(True) == 1, said
    assert [browser <= names for names in workers.values()].count(True) == 1, said
    assert [{"spark", "spark_and_kafka"} <= names for names in workers.values()].count(True) == 1, said
    assert not any(users | browser <= names for names in workers.values()), "two groups, two workers"
    assert "redis-server is missing: apt-get install redis-server" in said
    assert "14 passed, 8 skipped" in said


def test_what_is_fetched_longest_runs_last(tmp_path: Path) -> None:
    said = run(tmp_path, USERS, "--collect-only", "-q")
    names = re.findall(r"::test_(\S+)", said)
    users = [name for name in names if not name.startswith(("browser", "without", "parameter[nothing]"))]
    assert users == [
        "direct",
        "by_a_fixture",
        "parameter[redis_server]",
        "announced",
        "kafka",
        "spark",
        "spark_and_kafka",
        "marked",
    ]
    assert names[-1] == "without", "those without servers stay where they are"


def test_nothing_is_skipped_where_ci_says_so(tmp_path: Path) -> None:
    said = run(tmp_path, USERS, ISOTHERM_TEST_NO_SKIPS="1")
    assert "skipped, where no test of the servers and no drill may be" in said
    assert "3 failed, 14 passed, 5 errors" in said
    said = run(tmp_path, DRILLS, ISOTHERM_TEST_NO_SKIPS="1")
    assert "1 passed, 1 skipped, 1 error" in said
    assert "1 passed, 2 skipped" in run(tmp_path, DRILLS)


def test_a_server_must_be_announced(tmp_path: Path) -> None:
    said = run(tmp_path, UNANNOUNCED)
    assert 'announce it with @pytest.mark.services("redis_server")' in said
    assert "1 failed" in said
