"""How a run is spread over workers, and what it says at its end."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
FILE = """
import pytest, sums

def test_quick(): pass
@pytest.mark.xdist_group("screenshots")
@pytest.mark.parametrize("n", range(4))
def test_picture(n): pass
@pytest.mark.timeout(900)
def test_long(): sums.note("cut", 6, 6, 6, 0, 0, "1.5")
@pytest.mark.xdist_group("kafka")
@pytest.mark.parametrize("n", range(3))
def test_group(n): pass
@pytest.fixture(scope="module")
def shared(): return 1
@pytest.mark.parametrize("n", range(6))
def test_share(n, shared): pass
@pytest.fixture
def by_another(shared): pass
def test_share_too(by_another): pass
@pytest.mark.timeout(timeout=1500)
def test_longest():
    sums.note("stopped", 12, 11, 11, 1, 0, "2.0, 3.0")
    assert False
"""
INI = "[pytest]\nmarkers =\n  timeout: x\n  xdist_group: x\naddopts = -p no:cacheprovider -p groups -p sums\n"


def run(folder: Path, *options: str) -> str:
    (folder / "test_it.py").write_text(FILE)
    (folder / "pytest.ini").write_text(INI)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_it.py"], cwd=folder, capture_output=True, text=True,
        env={**clean, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return done.stdout


def test_what_may_take_longest_comes_first_then_large_groups_and_pictures_last(tmp_path: Path) -> None:
    said = run(tmp_path, "-p", "xdist", "-n", "1", "--dist", "loadgroup", "-v")
    order = re.findall(r"^\[gw0\].*(?:PASSED|FAILED) \S+::test_(\S+)", said, re.MULTILINE)
    groups, pictures = [f"group[{n}]" for n in range(3)], [f"picture[{n}]" for n in range(4)]
    shared = [*(f"share[{n}]" for n in range(6)), "share_too"]
    assert order == ["longest", "long", *shared, *groups, "quick", *pictures], said


def test_what_shares_a_fixture_of_its_module_shares_a_worker(tmp_path: Path) -> None:
    said = run(tmp_path, "-p", "xdist", "-n", "3", "--dist", "loadgroup", "-v")
    for name, count in (("share", 7), ("group", 3), ("picture", 4)):
        workers = re.findall(rf"^\[(gw\d)\].* PASSED \S+::test_{name}", said, re.MULTILINE)
        assert (len(workers), len(set(workers))) == (count, 1), said


def test_the_sums_of_drills_are_a_table_wherever_they_ran(tmp_path: Path) -> None:
    rows = ["| cut | 6 | 6 | 6 | 0 | 0 | 1.5 |", "| stopped | 12 | 11 | 11 | 1 | 0 | 2.0, 3.0 |"]
    for options in ((), ("-p", "xdist", "-n", "2", "--dist", "loadgroup")):
        table = [line for line in run(tmp_path, *options).splitlines() if line.startswith("| ")]
        assert table[0] == "| drill | acknowledged | landed | tiled | lost | duplicated | seconds to recover |"
        assert sorted(table[2:]) == rows
