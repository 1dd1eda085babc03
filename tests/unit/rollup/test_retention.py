"""Retention of tiles by client: what goes, what is written down of it, and what may still be built."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tiling import NOW, World, worlds

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.errors import Problem
from isotherm.land import rounds
from isotherm.land.late import raw_kept_from
from isotherm.land.retention import expire_raw
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.expiry import kept_from
from isotherm.rollup.jobs import Expired
from isotherm.rollup.read import plan_read
from isotherm.rollup.retention import expire, set_backstop
from isotherm.rollup.scheduler import Scheduler
from isotherm.store import tables
from isotherm.store.db import reading
from isotherm.store.olap import Olap

OWN = {"short": {"raw": 50, "hourly": 45}, "long": {"hourly": 400, "daily": 900}}


@pytest.fixture
def own(tmp_path: Path, olap: Olap) -> Iterator[World]:
    with worlds() as make:
        yield make(Settings(data=tmp_path / "own", job_threads=2, retention=OWN), olap)


def land(world: World, time: int, *client_ids: str) -> None:
    world.land([(client_id, "s", "mousemove", time, 0.5, 0.5) for client_id in client_ids])
    world.run_all()


def retired(world: World) -> dict[tuple[str, str, int], Any]:
    with reading(world.database) as connection:
        rows = connection.execute(sa.select(tables.retired)).all()
    return {(row.what, row.client_id, row.start): row for row in rows}


def test_each_client_s_tiles_go_by_its_own_days(own: World) -> None:
    clients = ("short", "other", "long")
    land(own, own.hour, *clients)
    before = own.published(Level.HOUR)
    for days, stay in ((44, clients), (48, ("other", "long")), (94, ("long",)), (404, ())):
        expire(own.database, own.olap, NOW + days * DAY_MS, own.settings)
        assert {client for client, *_ in own.maps(Level.HOUR)} == set(stay)
        assert {client for client, _ in own.published(Level.HOUR)} == set(stay)
    gone = retired(own)
    assert set(gone) == {("hour", client, own.hour) for client in clients}
    for client in clients:
        row, published = gone["hour", client, own.hour], before[client, own.hour]
        assert (row.rows, row.tiled, row.hash) == (published.rows, published.tiled, published.hash) == (1, 1, row.hash)
        assert row.hash
    assert {client for client, *_ in own.maps(Level.DAY)} == set(clients)
    report = rounds.last(own.database)["tiles"]["did"]
    assert report == {
        "hour": {"hours": 1, "rows": 1, "bytes": 0, "clients": {"long": {"hours": 1, "rows": 1, "bytes": 0}}}
    }


def test_the_last_of_a_partition_stays_while_a_client_keeps_it(own: World) -> None:
    times = [own.hour - 200 * DAY_MS + hours * HOUR_MS for hours in range(3)]
    for client in ("other", "long"):
        for time in times:
            land(own, time, client)
    expire(own.database, own.olap, NOW, own.settings)
    assert {(client, start) for client, _, _, start in own.maps(Level.HOUR)} == {("long", time) for time in times}


def test_the_tables_own_limit_is_the_longest_of_all_clients(own: World) -> None:
    try:
        set_backstop(own.olap, own.settings)
        made = own.olap.query(
            "SELECT create_table_query AS q FROM system.tables WHERE name = 'maps' AND database = currentDatabase()"
        ).to_pylist()[0]["q"]
        assert "toIntervalDay(414) WHERE level = 'hour'" in made
        assert "toIntervalDay(914) WHERE level = 'day'" in made
    finally:
        own.olap.command("ALTER TABLE maps REMOVE TTL")


def test_one_job_builds_for_each_client_from_what_it_still_has(own: World) -> None:
    """At 48 days the hours of `short` are gone; at 52 its raw events, too. The others' hours are all there."""
    clients = ("short", "other", "long")
    land(own, own.hour, *clients)
    day = Bucket(Level.DAY, floor(Level.DAY, own.hour))
    own.clock.advance(48 * DAY_MS)
    expire(own.database, own.olap, own.clock.now_ms(), own.settings)
    outcome = own.jobs.run(day, clients)
    assert sorted(outcome.clients) == sorted(clients)
    provenance = {client: row.provenance for (client, _), row in own.published(Level.DAY).items()}
    assert {client: list(found) for client, found in provenance.items()} == {
        "short": ["ranges"], "other": ["children"], "long": ["children"],
    }  # fmt: skip
    own.check(Level.DAY)
    versions = {client: row.version for (client, _), row in own.published(Level.DAY).items()}
    own.clock.advance(4 * DAY_MS)
    with pytest.raises(Expired) as expired:
        own.jobs.run(day, clients)
    assert expired.value.client_ids == ["short"]
    after = {client: row.version for (client, _), row in own.published(Level.DAY).items()}
    assert after["short"] == versions["short"]
    assert after["other"] > versions["other"]
    own.check(Level.DAY)


def test_the_scheduler_freezes_only_who_has_nothing_left(own: World) -> None:
    land(own, own.hour, "short", "other")
    own.clock.advance(52 * DAY_MS)
    for client in ("short", "other"):
        own.mark(Level.DAY, floor(Level.DAY, own.hour), client, 1)
    scheduler = Scheduler(own.settings, own.database, own.olap, own.lake, own.manifest, own.clock)
    scheduler.jobs.run_rollup(Level.DAY, floor(Level.DAY, own.hour), ["other"])
    while scheduler.step():
        own.clock.advance(HOUR_MS)
    scheduler.jobs.engine.close()
    assert own.dirty(Level.DAY) == {}
    assert scheduler.status()["failures"] == 0


def test_a_change_in_an_expired_hour_reaches_its_day(make_world: Callable[..., World]) -> None:
    world = make_world()
    old = world.hour - 100 * DAY_MS
    world.land([("a", "s", "mousemove", old, 0.5, 0.5)])
    expire(world.database, world.olap, NOW, world.settings)
    assert world.dirty(Level.HOUR) == {}
    assert world.dirty(Level.DAY) == {floor(Level.DAY, old): ["a"]}
    world.run_all()
    world.check(Level.DAY, Level.WEEK)


def test_raw_that_went_leaves_its_tiles_as_they_were(own: World) -> None:
    land(own, own.hour, "short", "other")
    maps = {level: own.maps(level).keys() for level in Level}
    assert expire_raw(own.settings, own.manifest, NOW + 51 * DAY_MS) == 1
    assert {level: own.maps(level).keys() for level in Level} == maps
    assert own.dirty(Level.HOUR) == {}
    assert set(retired(own)) == {("raw", "short", own.hour)}


def test_a_reader_meets_its_own_client_s_limits_and_no_other_s(own: World) -> None:
    now, start = NOW + 60 * DAY_MS, own.hour
    with reading(own.database) as connection:
        for client in ("other", "long"):
            assert plan_read(connection, client, start, start + HOUR_MS, now, own.settings).buckets == []
        with pytest.raises(Problem, match="have expired"):
            plan_read(connection, "short", start, start + HOUR_MS, now, own.settings)
    assert kept_from(Level.HOUR, now, own.settings, "short") > kept_from(Level.HOUR, now, own.settings)
    assert raw_kept_from(now, own.settings, "short") > raw_kept_from(now, own.settings, "long")
