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
from isotherm.land.lake import open_lake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.retention import expire_raw, expire_records
from isotherm.rollup.due import due
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


def test_the_archive_finds_what_is_old(manifest: Manifest, tmp_path: Path) -> None:
    """The files of these hours are not there: each hour is tried, none keeps the others, the list stays."""
    lake = open_lake(f"file://{tmp_path / 'lake'}", SETTINGS)
    tried: list[str] = []
    with pytest.raises(Exception, match="cannot be read"):
        archive_old(SETTINGS, lake, manifest, NOW + 2 * HOUR_MS, checkpoint=tried.append)
    assert tried.count("hour") == 6
    assert len(manifest.listed()) == 12
