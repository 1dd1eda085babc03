"""Looking after backups beside a timer that takes and prunes them, and what a clock that was wrong does to them."""

import json
from pathlib import Path
from typing import Any

import pytest

from isotherm.backup import keep
from isotherm.backup.inventory import object_path
from isotherm.backup.restore import choose
from isotherm.backup.target import Target
from isotherm.backup.work import ADDING
from isotherm.cli import backup as cli
from isotherm.cli import run
from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import IsothermError

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture
def two(full: Any, target: Target) -> Any:
    """A deployment with a backup of an hour ago and one of now."""
    full.back_up(target)
    full.world.clock.advance(HOUR_MS)
    full.land()
    full.tile()
    full.back_up(target)
    return full


def test_a_backup_that_is_pruned_while_it_is_verified_is_no_problem(two: Any, target: Target) -> None:
    removed: list[keep.Pruned] = []

    def prune_once(*_: int) -> None:
        if not removed:
            removed.append(keep.prune(target, 1, two.world.clock))

    assert keep.verify(target, target.inventories(), prune_once).problems == []
    assert removed[0].backups == 1
    assert removed[0].objects > 0


def test_backups_that_are_pruned_before_they_are_looked_at_are_no_problem(two: Any, target: Target) -> None:
    before = target.inventories()
    keep.prune(target, 1, two.world.clock)
    assert keep.verify(target, before).problems == []


def test_what_is_damaged_in_those_that_stay_is_still_named(two: Any, target: Target, tmp_path: Path) -> None:
    entry = next(one for one in target.entries(target.inventory(target.inventories()[0])) if one.kind == "lake")

    def spoil_and_prune(*_: int) -> None:
        if len(target.inventories()) == 2:
            keep.prune(target, 1, two.world.clock)

    (tmp_path / "backups" / object_path(entry.sha256)).unlink()
    (problem,) = keep.verify(target, target.inventories(), spoil_and_prune).problems
    assert entry.sha256 in problem


def test_an_inventory_that_is_damaged_is_named_and_the_others_are_listed(
    two: Any, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest, oldest = target.inventories()
    (tmp_path / "backups" / newest.path).write_bytes(b"{")
    where = f"file://{tmp_path / 'backups'}"
    assert run(["backup", "--to", where, "--list", "--json"]) == 1
    said = capsys.readouterr()
    assert [one["id"] for one in json.loads(said.out)] == [oldest.id]
    assert newest.id in said.err.replace("\n", "")
    assert run(["backup", "--to", where, "--list"]) == 1


def test_a_backup_is_told_of_and_no_failure_when_nothing_can_be_pruned(
    full: Any, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For an hour after a backup was killed; what is damaged fails, but after the backup has been told of."""

    def take(_: Any, to: Target) -> Any:
        return full.back_up(to)

    monkeypatch.setattr(cli, "_take", take)
    monkeypatch.setattr(cli, "SystemClock", lambda: full.world.clock)
    command = ["backup", "--data", str(full.settings.data), "--to", f"file://{tmp_path / 'backups'}", "--keep", "1"]
    command += ["--limit-rate", "1000", "--json"]
    monkeypatch.setattr(cli, "step_back", lambda: None)
    target.put_sign(f"{ADDING}/{full.world.clock.now_ms()}-dead-1")
    capsys.readouterr()
    assert run(command) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["id"] == target.inventories()[0].id
    assert "stay for now" in said.err
    full.world.clock.advance(HOUR_MS + 1)
    spoilt = target.inventories()[0]
    (tmp_path / "backups" / spoilt.path).write_bytes(b"{")
    assert run([*command[:-4], "2", *command[-3:]]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["id"] == target.inventories()[0].id != spoilt.id
    assert "an earlier backup cannot be read" in said.err
    assert spoilt.id in said.err.replace("\n", "")


def test_nothing_is_pruned_while_the_newest_backup_is_of_the_future(full: Any, target: Target, tmp_path: Path) -> None:
    clock = full.world.clock
    clock.advance(365 * DAY_MS)
    wrong = full.back_up(target)
    clock.advance(-365 * DAY_MS)
    full.land()
    right = full.back_up(target)
    with pytest.raises(IsothermError, match=rf"no backup is removed: backup {wrong.id} .* future"):
        keep.prune(target, 1, clock)
    assert {one.id for one in target.inventories()} == {wrong.id, right.id}
    target.remove([target.inventories()[0].path])
    keep.prune(target, 1, clock)
    assert choose(target).id == right.id
    assert keep.verify(target, target.inventories()).problems == []
