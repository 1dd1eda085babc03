"""Restores that follow another one, done or interrupted: over it by --force, or to its end. Every event counts once."""

from datetime import datetime
from typing import Any

import pytest
from interrupting import Killed, killing
from proving import verdicts

from isotherm.backup import keep, marks, restore, unfinished
from isotherm.backup.inventory import Inventory
from isotherm.backup.restore import STEPS
from isotherm.backup.target import Target
from isotherm.cli.restore import chosen_backup
from isotherm.errors import IsothermError
from isotherm.rollup.verify import Finding


@pytest.fixture
def staging(full: Any, make: Any, target: Target) -> Any:
    """Made of a backup in which twelve events waited, which their own deployment has landed in the next one."""
    full.back_up(target)
    other = make("staging")
    other.restore(target)
    full.world.clock.advance(60_000)
    full.land()
    full.tile()
    full.send("a", events=3)
    full.back_up(target)
    return other


def test_what_the_earlier_backup_had_put_on_the_log_counts_once(full: Any, staging: Any, target: Target) -> None:
    staging.land()
    staging.tile()
    assert staging.restore(target, force=True).records == 1
    staging.expected = full.expected
    staging.prove()


def test_so_it_does_where_nothing_was_landed_in_between(full: Any, staging: Any, target: Target) -> None:
    staging.restore(target, force=True)
    staging.expected = full.expected
    staging.prove()


@pytest.mark.parametrize("landed", [True, False])
def test_so_it_does_when_it_is_killed_at_every_step(full: Any, staging: Any, target: Target, *, landed: bool) -> None:
    staging.send("mine", events=2)
    if landed:
        staging.land()
        staging.send("mine", events=4)
    for step in STEPS[:-1]:
        with pytest.raises(Killed):
            staging.restore(target, force=True, checkpoint=killing(step))
    staging.restore(target)
    staging.expected = full.expected | {"mine": 4 if landed else 2}
    staging.prove()


def test_the_same_backup_again_brings_what_was_landed_of_it(full: Any, staging: Any, target: Target) -> None:
    """The log knows the ids of what the backup had not landed, and the lake that had it is gone."""
    staging.restore(target, force=True)
    for _ in range(2):
        staging.land()
        staging.restore(target, force=True)
    staging.expected = full.expected
    staging.prove()


def test_an_older_backup_brings_what_the_newer_one_had_landed(full: Any, make: Any, target: Target) -> None:
    """The log knows those ids from the newer one, and has no record of them."""
    older = full.back_up(target)
    expected = dict(full.expected)
    full.world.clock.advance(60_000)
    full.land()
    full.back_up(target)
    other = make("other")
    other.restore(target)
    other.restore(target, force=True, at=older.started_at)
    other.expected = expected
    other.prove()


def test_what_the_replaced_deployment_had_not_landed_stays_and_is_landed(
    full: Any, staging: Any, target: Target
) -> None:
    staging.send("mine", events=2)
    staging.land()
    staging.send("mine", events=4)
    staging.restore(target, force=True)
    staging.expected = full.expected | {"mine": 4}
    staging.prove()


@pytest.fixture
def interrupted(full: Any, make: Any, target: Target) -> tuple[Any, Inventory]:
    """A restore that was killed, of a backup that is not the newest any more."""
    first = full.back_up(target)
    other = make("other")
    with pytest.raises(Killed):
        other.restore(target, checkpoint=killing("records"))
    full.world.clock.advance(60_000)
    full.land()
    full.back_up(target)
    return other, first


def test_the_same_command_goes_on_with_the_backup_that_was_interrupted(
    full: Any, interrupted: tuple[Any, Inventory], target: Target
) -> None:
    other, first = interrupted
    expected = dict(full.expected)
    chosen = chosen_backup(target, None, other.settings.data)
    assert chosen.id == first.id
    other.restore(target, at=chosen.started_at)
    other.expected = expected
    other.prove()
    assert chosen_backup(target, None, other.settings.data).id != first.id


def test_another_backup_is_refused_by_force_too_until_the_interrupted_one_is_done(
    interrupted: tuple[Any, Inventory], target: Target
) -> None:
    other, first = interrupted
    newest = target.inventories()[0]
    for force in (False, True):
        with pytest.raises(IsothermError, match=rf"{first.id} was interrupted.*--at") as refused:
            other.restore(target, force=force)
    said = str(refused.value).rpartition("--at ")[2]
    at = restore.choose(target, int(datetime.fromisoformat(said).timestamp() * 1000))
    assert at.id == first.id
    assert chosen_backup(target, newest.started_at, other.settings.data).id == newest.id
    other.restore(target, at=at.started_at)
    other.restore(target, force=True)


def test_an_interrupted_backup_that_is_gone_is_said_to_be(interrupted: tuple[Any, Inventory], target: Target) -> None:
    other, first = interrupted
    other.world.clock.advance(2 * 3_600_000)
    keep.prune(target, 1, other.world.clock)
    with pytest.raises(IsothermError, match=rf"{first.id} was interrupted.*does not hold that backup.*empty"):
        other.restore(target, force=True)


def test_a_restore_that_could_not_begin_is_not_done(
    full: Any, make: Any, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the backup that was restored last: neither mark alone may be taken for its end."""
    full.back_up(target)
    other = make("other")
    for module, name in ((marks, "set_under_way"), (unfinished, "write_file")):
        other.restore(target, force=True)
        for path, _ in list(other.world.lake.list()):
            other.world.lake.delete(path)
        with monkeypatch.context() as patched:
            patched.setattr(module, name, refused)
            with pytest.raises(IsothermError, match="locked"):
                other.restore(target, force=True)
        assert other.restore(target, force=True).files > 0
    other.expected = full.expected
    other.prove()


def refused(*_: Any) -> None:
    raise IsothermError("database is locked")


@pytest.mark.parametrize("last", ["marked", "away"])
def test_maps_of_the_replaced_deployment_go_although_the_first_attempt_ended_before(
    full: Any, staging: Any, target: Target, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """They have newer versions than those of the backup, and would be believed."""
    for _ in range(4):
        staging.send("a", events=50)
        staging.land()
        staging.tile()
    if last == "marked":
        with pytest.raises(Killed):
            staging.restore(target, force=True, checkpoint=killing(last))
    else:
        with monkeypatch.context() as patched:
            patched.setattr(restore, "drop_maps", refused)
            with pytest.raises(IsothermError, match="locked"):
                staging.restore(target, force=True)
    staging.restore(target)
    assert {one.finding for one in verdicts(staging.world)} == {Finding.SAME}
    staging.expected = full.expected
    staging.prove()
