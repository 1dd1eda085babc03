"""Retention and the archive ask both databases the same, and get the same answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.land import retired, rounds
from isotherm.land.archive import archive_old
from isotherm.land.books import COLUMNS, write_screens
from isotherm.land.lake import open_lake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.retention import expire_raw, expire_records
from isotherm.rollup import gone
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.due import due
from isotherm.rollup.frozen import keep_only
from isotherm.rollup.ways import Way, ways
from isotherm.store import tables
from isotherm.store.db import open_db, reading, writing

SETTINGS = Settings(retention={"brief": {"raw": 60, "hourly": 60}})
NOW = 800 * DAY_MS
HASH = "0" * 32


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manifest]:
    """Three hours of two clients, in two files each."""
    sqlite = f"sqlite://{tmp_path / 'isotherm.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()
    engine = open_db(url)
    made = Manifest(engine, ManualClock(NOW))
    files = [one(client, hour, n) for client in ("brief", "shop") for hour in (0, 1, 2) for n in (0, 1)]
    made.pending(files)
    assert made.land(Landing("log", 0, 0, 10, files, {})) is not None
    yield made
    engine.dispose()


def one(client_id: str, hour: int, n: int) -> LakeFile:
    path = f"{client_id}/{hour}/{n}"
    start = NOW - 100 * DAY_MS + hour * HOUR_MS
    return LakeFile(
        path, "parquet", client_id, start, 3, 100, start, start + 1, HASH, [OffsetRange("log", 0, n, n, 3, HASH)]
    )


def told(manifest: Manifest) -> list[tuple[Any, ...]]:
    columns = (tables.retired.c[name] for name in ("what", "client_id", "rows", "bytes"))
    with reading(manifest.engine) as connection:
        order = (tables.retired.c.client_id, tables.retired.c.start)
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*order))]


def test_what_is_due_goes_and_is_told(manifest: Manifest) -> None:
    before = {one.client_id: one for one in due(SETTINGS, manifest.engine, NOW) if one.store == "raw"}
    assert [(one.hours, one.rows, one.bytes) for one in before.values()] == [(3, 18, 600), (0, 0, 0)]
    assert before["shop"].next_at == NOW + 630 * DAY_MS + HOUR_MS
    assert expire_raw(SETTINGS, manifest, NOW) == 6
    assert told(manifest) == [("raw", "brief", 6, 200)] * 3
    did = rounds.last(manifest.engine)["raw"]["did"]
    assert did["clients"] == {"brief": {"hours": 3, "rows": 18, "bytes": 600}}
    assert expire_raw(SETTINGS, manifest, NOW) == 0
    with writing(manifest.engine) as connection:
        start = NOW - 100 * DAY_MS
        retired.write(connection, "raw", [{"client_id": "brief", "start": start, "rows": 1, "bytes": 1}] * 2, NOW)
        retired.write(connection, "hour", [{"client_id": "shop", "start": start, "rows": 1, "hash": "x"}], NOW)
    assert told(manifest)[0] == ("raw", "brief", 8, 202)
    assert expire_records(SETTINGS, manifest.engine, NOW) == {}
    assert expire_records(SETTINGS, manifest.engine, NOW + 1_800 * DAY_MS) == {"retired": 4}


def test_what_went_and_was_not_made_again_is_found(manifest: Manifest) -> None:
    start = NOW - 100 * DAY_MS
    day = Bucket(Level.DAY, floor(Level.DAY, start))
    both = ["brief", "other", "shop"]
    assert expire_raw(SETTINGS, manifest, NOW) == 6
    with writing(manifest.engine) as connection:
        hours = (start, start + HOUR_MS)
        went = [{"client_id": client, "start": at, "rows": 1} for client in ("brief", "shop") for at in hours]
        retired.write(connection, "hour", went, NOW)
        again = {"level": "hour", "client_id": "shop", "version": 1, "manifest_version": 1, "hash": "x", "maps": 1}
        again |= {"rows": 1, "tiled": 1, "code_version": "", "cost_ms": 1, "published_at": 1, "provenance": {}}
        connection.execute(sa.insert(tables.buckets), [again | {"start": at} for at in hours])
    with reading(manifest.engine) as connection:
        assert gone.clients_without_raw(connection, day, both) == {"brief"}
        assert gone.clients_without_raw(connection, Bucket(Level.DAY, day.start - DAY_MS), both) == set()
        assert gone.clients_without_parts(connection, day, both) == {"brief"}
        windows = [(start, start + 1), (start + HOUR_MS, NOW)]
        assert gone.starts(connection, "brief", Level.HOUR, windows) == {start, start + HOUR_MS}
        assert gone.starts(connection, "brief", Level.HOUR, windows[:1]) == {start}
        assert gone.starts(connection, "shop", Level.HOUR, windows) == set()
        by_way = ways(connection, day, both, NOW, Settings(hourly_retention_days=200))
        assert by_way == {Way.CHILDREN: ["other", "shop"], Way.RAW: [], Way.NONE: ["brief"]}


def test_what_no_map_will_hold_is_kept_only(manifest: Manifest) -> None:
    hour = NOW - 100 * DAY_MS
    row = dict.fromkeys(COLUMNS, 0) | {"screen_id": "home", "accepted": 6, "landed": 6, "raw_only": 1, "no_position": 2}
    with writing(manifest.engine) as connection:
        for client in ("brief", "shop"):
            write_screens(connection, {(client, "home", hour): [row[name] for name in COLUMNS]})
        retired.write(connection, "hour", [{"client_id": "brief", "start": hour, "rows": 5}], NOW)
        retired.write(connection, "hour", [{"client_id": "brief", "start": hour, "rows": 9}], NOW, over=False)
        for client in ("brief", "shop", "nobody"):
            keep_only(connection, client, hour, {})
    with reading(manifest.engine) as connection:
        for table in (tables.ledger_hours, tables.ledger_screens):
            of = table.c
            found = connection.execute(
                sa.select(of.client_id, of.raw_only, of.no_position).order_by(of.client_id)
            ).all()
            assert list(map(tuple, found)) == [("brief", 1, 2), ("shop", 6, 0)]
        assert connection.execute(sa.select(tables.retired.c.rows)).scalars().all() == [5]
    assert {(f.client_id, f.hour) for f in manifest.listed() if f.raw_only} == {("shop", hour)}


def test_the_archive_finds_what_is_old(manifest: Manifest, tmp_path: Path) -> None:
    """The files of these hours are not there: each hour is tried, none keeps the others, the list stays."""
    lake = open_lake(f"file://{tmp_path / 'lake'}", SETTINGS)
    tried: list[str] = []
    with pytest.raises(Exception, match="cannot be read"):
        archive_old(SETTINGS, lake, manifest, NOW + 2 * HOUR_MS, checkpoint=tried.append)
    assert tried.count("hour") == 6
    assert len(manifest.listed()) == 12
