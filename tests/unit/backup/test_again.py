"""A backup restored by --force over a deployment that was made of an earlier one: every event counts once."""

from typing import Any

import pytest

from isotherm.backup.restore import STEPS
from isotherm.backup.target import Target


class Killed(BaseException):
    """Ends the program at a step."""


def killing(step: str) -> Any:
    def checkpoint(name: str) -> None:
        if name == step:
            raise Killed

    return checkpoint


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
