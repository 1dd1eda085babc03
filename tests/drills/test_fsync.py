"""An fsync that fails: the log's process refuses to go on and says why; landing says why and tries again."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from drilling import Load, account, books_close, landed, loaded, says, settle
from system_helpers import System, healthy, wait_for

COMPILER = shutil.which("cc")
PARTS = {"lake": ("/data/lake/", "Input/output error"), "database": ("/data/isotherm.db", "disk I/O error")}
"""What the paths of a store have in common, and how the operating system or SQLite names the failure."""

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")]


class Failing(NamedTuple):
    """A running system, and the file that says for which files an fsync fails."""

    system: System
    file: Path

    def fail(self, part: str) -> None:
        new = self.file.with_name("new")
        new.write_text(part)
        new.rename(self.file)

    def heal(self) -> None:
        self.file.unlink()


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    library, file = tmp_path / "failing_fsync.so", tmp_path / "eio"
    source = Path(__file__).with_name("failing_fsync.c")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    system = System(tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        patch.setenv("DRILL_EIO_FILE", str(file))
        system.start()
    try:
        yield Failing(system, file)
    finally:
        system.stop()


def test_the_log_refuses_until_it_is_started_again(failing: Failing) -> None:
    """One of the drills that every test run has."""
    name, system = "log-fsync", failing.system
    with loaded(system, name) as load:
        load.flows()
        failing.fail("/data/log/")
        wait_for("the collector to say why", lambda: "Input/output error" in " ".join(load.refusals), 60)
        failing.heal()
        # What the failed commit left on disk is not known: the process does not trust it again.
        refused, until_now = load.answers["503"], len(load.acknowledged)
        wait_for("more refusals", lambda: load.answers["503"] > refused + 20, 60)
        assert len(load.acknowledged) <= until_now + Load.SENDERS
        assert "restart it" in " ".join(load.refusals)
        assert not healthy(system.collect_url)
        wait_for("the status to say why", says(system, "This process takes no more records"), 60)
        since = time.monotonic()
        assert system.kill("collect")
        load.flows()
        answered = time.monotonic() - since
    settle(system)
    account(name, load, [answered, time.monotonic() - since])
    books_close(system, name)


@pytest.mark.drill
@pytest.mark.parametrize("store", PARTS)
def test_landing_waits_until_it_can_be_sure_again(failing: Failing, store: str) -> None:
    name, system, (part, why) = f"{store}-fsync", failing.system, PARTS[store]
    with loaded(system, name) as load:
        load.flows()
        failing.fail(part)
        wait_for("the lander to say why", says(system, why), 60)
        rows = landed(system.data, name).total()
        load.flows(100)
        assert landed(system.data, name).total() == rows
        failing.heal()
        since = time.monotonic()
        load.flows()
        answered = time.monotonic() - since
    settle(system)
    account(name, load, [answered, time.monotonic() - since])
    books_close(system, name)
    assert load.answers.keys() == {"202"}
