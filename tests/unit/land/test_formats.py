"""The first of `land_formats` is what everything reads: it stays the first, and a second comes and goes."""

from collections.abc import Callable, Sequence

import pytest
from landing import NOW, World, event, record

from isotherm.cli.doctor.findings import Finding
from isotherm.cli.doctor.machine import examine_machine
from isotherm.cli.roles import Parts
from isotherm.clock import HOUR_MS
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land import ledger
from isotherm.land.formats import unread
from isotherm.land.manifest import Manifest
from isotherm.land.replay import Replay
from isotherm.store.db import reading

HOUR = NOW - NOW % HOUR_MS


def land(world: World, formats: Sequence[str], batch: str, events: int = 1, at: int = NOW) -> None:
    """Land some events by a lander of these formats, which nobody keeps from it."""
    world.settings = world.settings.model_copy(update={"land_formats": list(formats)})
    world.manifest = Manifest(world.engine, world.clock, formats[0])
    world.append(record("shop", batch, [event(at + n) for n in range(events)]))
    world.lander().drain()


def opened(world: World, *formats: str) -> Parts:
    return Parts(world.settings.model_copy(update={"land_formats": list(formats)}))


def replay(world: World, *, partly: bool = False) -> None:
    work = Replay(world.lake, world.manifest, world.log, world.clock)
    for _ in work.run(HOUR, HOUR + HOUR_MS, None, partly=partly):
        pass


@pytest.mark.parametrize("role", ["lander", "scheduler"])
@pytest.mark.parametrize("formats", [["jsonl"], ["jsonl", "parquet"]])
def test_another_first_format_is_refused_at_the_start(world: World, formats: list[str], role: str) -> None:
    land(world, ["parquet"], "b1", 3)
    with opened(world, *formats) as parts, pytest.raises(ConfigError, match="name parquet first") as refused:
        getattr(parts, role)
    assert "1 hours of the lake" in str(refused.value)
    assert "have events in parquet that are not in jsonl" in str(refused.value)


def test_a_second_format_may_be_added_and_the_first_dropped_when_both_hold_all(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    land(world, ["parquet"], "b1", 3, HOUR - HOUR_MS)
    land(world, ["parquet", "jsonl"], "b2", 2)
    land(world, ["parquet"], "b3", 2)
    with opened(world, "parquet", "jsonl") as parts:
        assert parts.lander
        assert parts.manifest.listed()
    both = make_world()
    land(both, ["parquet", "jsonl"], "b1", 3)
    with opened(both, "jsonl") as parts:
        assert parts.lander
    land(both, ["jsonl"], "b2")
    with opened(both, "parquet") as parts, pytest.raises(ConfigError, match="name jsonl first"):
        assert parts.lander


def test_a_replay_into_the_same_deployment_is_refused_and_lands_nothing_twice(world: World) -> None:
    land(world, ["parquet"], "b1", 2)
    world.settings = world.settings.model_copy(update={"land_formats": ["jsonl"]})
    replay(world)
    with pytest.raises(ConfigError, match="land_formats"):
        world.lander().drain()
    assert ledger.sums(ledger.read(world.engine))["landed"] == 2
    world.manifest = Manifest(world.engine, world.clock, "jsonl")
    with pytest.raises(ConfigError, match="name parquet first"), world.manifest.snapshot(raw_only=None):
        pass


def test_where_no_order_reads_all_the_better_one_goes_on_and_only_hours_that_lack_events_are_refused(
    world: World,
) -> None:
    """As after a start by an earlier version, which refused nothing; each format goes to a new deployment."""
    for ago in (3, 2):
        land(world, ["parquet"], f"whole{ago}", 3, HOUR - ago * HOUR_MS)
    land(world, ["parquet"], "b1", 3)
    land(world, ["jsonl"], "b2", 5)
    with opened(world, "jsonl") as parts, pytest.raises(ConfigError, match="and with parquet first, 1 hours would"):
        assert parts.lander
    with opened(world, "parquet") as parts:
        assert parts.lander
        with parts.manifest.snapshot(start=HOUR - 3 * HOUR_MS, end=HOUR) as snapshot:
            assert len(snapshot.files) == 2
        with pytest.raises(ConfigError, match="isotherm replay --to-log"), parts.manifest.snapshot(start=HOUR):
            pass
        with parts.manifest.snapshot(start=HOUR, format="parquet") as snapshot:
            assert [file.rows for file in snapshot.files] == [3]


def test_what_is_landed_in_both_or_in_the_first_alone_is_all_read(world: World) -> None:
    land(world, ["parquet"], "b1")
    land(world, ["parquet", "jsonl"], "b2")
    with reading(world.engine) as connection:
        assert unread(connection, "parquet") is None
        found = unread(connection, "jsonl")
    assert found is not None
    assert (found.other, found.hours, found.since, found.until, found.without) == ("parquet", 1, HOUR, HOUR, 0)


def test_the_doctor_tells(world: World) -> None:
    land(world, ["parquet"], "b1")

    def said(settings: Settings) -> list[Finding]:
        return [one for one in examine_machine(settings) if one.check == "land_formats"]

    assert said(world.settings) == []
    [one] = said(world.settings.model_copy(update={"land_formats": ["jsonl"]}))
    assert one.grade == "error"
    assert one.advice.startswith("name parquet first ")
