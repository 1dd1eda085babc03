"""The tile engine over a lake in S3, in process and on a server: s3() with keys that nobody gets to see."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from msgspec.structs import replace
from tiling import Maker, World, worlds

from isotherm.clock import HOUR_MS
from isotherm.config import Settings
from isotherm.land.archive import archive_old
from isotherm.land.lake import Lake, S3Place, open_lake
from isotherm.land.tiers import open_tiers
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines.port import Engine, open_engine
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.verify import Choice, Verdict, Verifier
from isotherm.store.db import next_version, writing
from isotherm.store.olap import Olap, open_olap
from services.clickhouse import ClickHouseFront
from services.s3 import Buckets, Versitygw

WorldMaker = Callable[..., World]


@pytest.fixture(params=["chdb", "clickhouse"])
def olap(request: pytest.FixtureRequest, clickhouse_server: Any) -> Iterator[Olap]:
    if request.param == "chdb":
        yield request.getfixturevalue("empty_olap")
        return
    opened = open_olap(clickhouse_server.new_database(), Settings(job_threads=2))
    yield opened
    opened.close()


@dataclass
class Deployment:
    """Makes worlds over one S3; `settings` hold its keys."""

    folder: Path
    olap: Olap
    make: Maker
    made: int = 0

    def world(self, s3: Buckets, lake_format: str = "parquet", *, engine_s_secret: str = "") -> World:
        self.made += 1
        chosen = Settings(
            data=self.folder / str(self.made),
            job_threads=2,
            lake=f"s3://{s3.make_bucket()}/some/prefix?endpoint={s3.endpoint}&region={s3.region}",
            s3_access_key_id=s3.access_key,
            s3_secret_access_key=s3.secret_key,
        )

        def opener(settings: Settings, olap: Olap, lake: Lake) -> Engine:
            return open_engine(settings, olap, _with_secret(lake, engine_s_secret) if engine_s_secret else lake)

        return self.make(chosen, self.olap, lake_format=lake_format, opener=opener)


def test_an_archive_in_another_bucket_gives_the_same_maps(deployment: Deployment, versitygw: Any) -> None:
    """Of one hour, some rows lie in the lake's bucket and some in the archive's; one query reads both."""
    world = deployment.world(versitygw)
    cold = f"s3://{versitygw.make_bucket()}/cold?endpoint={versitygw.endpoint}&region={versitygw.region}"
    settings = world.settings.model_copy(update={"archive": cold, "archive_after_days": 1})
    world.lake = open_tiers(settings)
    engine = open_engine(settings, world.olap, world.lake)
    world.jobs = Jobs(settings, world.database, world.olap, world.manifest, engine, world.clock)
    old = [(client, "s", "mousemove", world.hour - 60 * HOUR_MS + i, 0.29, i / 9) for client in "ab" for i in range(9)]
    world.land(old)
    world.run_all()
    before = {key: row.hash for key, row in world.published(Level.HOUR).items()}
    world.clock.advance(2 * HOUR_MS)
    assert archive_old(settings, world.lake, world.manifest, world.clock.now_ms()).hours == 2
    world.manifest.sweep(world.lake)
    listed = {file.path for file in world.manifest.listed()}
    assert {path for path, _ in world.lake.list()} == listed
    assert {path for path, _ in open_lake(cold, settings).list()} == listed
    with writing(world.database) as connection:
        version = next_version(connection)
    for client, start in before:
        world.mark(Level.HOUR, start, client, version)
    world.run_all()
    assert {key: row.hash for key, row in world.published(Level.HOUR).items()} == before
    world.land(old[:4])
    world.run_all()
    world.check()
    verifier = Verifier(world.database, world.olap, world.lake, world.manifest, world.clock, settings)
    assert {step.finding.value for step in verifier.run(Choice()) if isinstance(step, Verdict)} == {"same"}
    assert versitygw.secret_key not in repr(world.jobs.engine.__dict__)


def _with_secret(lake: Lake, secret: str) -> Lake:
    """The lake as somebody sees it whose key was changed."""
    assert isinstance(lake.place, S3Place)
    place = replace(lake.place, secret_access_key=secret)
    return cast(Lake, SimpleNamespace(place=place, where=lake.where))


@pytest.fixture
def deployment(tmp_path: Path, olap: Olap) -> Iterator[Deployment]:
    with worlds() as make:
        yield Deployment(tmp_path, olap, make)


def events(world: World, count: int) -> list[Any]:
    rng = np.random.default_rng(11)
    x, y = rng.random(count), rng.random(count) ** 2
    hours = rng.choice([0, 1, 13, 40, 150], count) * HOUR_MS
    clients, screens = rng.choice(["shop", "other"], count), rng.choice(["/", "a,b 'c' {d}"], count, p=[0.9, 0.1])
    return [
        (str(c), str(s), "mousemove", int(world.hour - ago), None if i % 13 == 0 else float(a), float(b))
        for i, (c, s, ago, a, b) in enumerate(zip(clients, screens, hours, x, y, strict=True))
    ]


@pytest.mark.parametrize("lake_format", ["parquet", "jsonl"])
def test_maps_of_a_lake_in_s3_equal_numpy(deployment: Deployment, versitygw: Buckets, lake_format: str) -> None:
    world = deployment.world(versitygw, lake_format)
    world.land([*events(world, 8000), *[("shop", "/", "click", world.hour, 0.29, 0.5)] * 3000], files=2)
    world.run_all()
    world.check()


def test_more_files_than_a_pattern_may_have_by_default(deployment: Deployment, versitygw: Buckets) -> None:
    world = deployment.world(versitygw)
    rng = np.random.default_rng(3)
    x, y = rng.random(1050), rng.random(1050)
    world.land([("shop", "/", "mousemove", world.hour, float(a), float(b)) for a, b in zip(x, y, strict=True)], 1050)
    world.run(Level.HOUR, world.hour)
    world.check(Level.HOUR)


@pytest.mark.parametrize("files", [1, 3])
def test_an_object_that_is_gone_fails_the_job(deployment: Deployment, versitygw: Buckets, files: int) -> None:
    world = deployment.world(versitygw)
    world.land([("shop", "/", "mousemove", world.hour, 0.5, 0.5)] * 9, files=files)
    world.lake.delete(world.manifest.listed()[0].path)
    with pytest.raises(Exception, match=r"does not see all files|does not exist|doesn't exist|NoSuchKey|404") as caught:
        world.run(Level.HOUR, world.hour)
    assert versitygw.secret_key not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert world.published(Level.HOUR) == {}
    assert world.dirty(Level.HOUR) == {world.hour: ["shop"]}


def test_keys_that_are_refused_are_in_no_error(deployment: Deployment, versitygw: Buckets) -> None:
    wrong = "it's a \\ secret"
    world = deployment.world(versitygw, engine_s_secret=wrong)
    world.land([("shop", "/", "mousemove", world.hour, 0.5, 0.5)] * 9)
    with pytest.raises(Exception, match=r"(?i)S3_ERROR|denied|signature|forbidden|403") as caught:
        world.run(Level.HOUR, world.hour)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert wrong not in shown
    assert "it\\'s a \\\\ secret" not in shown
    assert versitygw.access_key not in shown
    assert world.dirty(Level.HOUR) == {world.hour: ["shop"]}


def test_keys_that_a_server_writes_into_an_error_are_masked(
    clickhouse_front: ClickHouseFront, versitygw: Buckets, tmp_path: Path
) -> None:
    text = f"In scope SELECT * FROM s3('http://x/y', '{versitygw.access_key}', '{versitygw.secret_key}', 'Parquet')"
    olap = open_olap(clickhouse_front.new_database(), Settings(job_threads=2))
    with closing(olap), worlds() as make:
        world = Deployment(tmp_path, olap, make).world(versitygw)
        world.land([("shop", "/", "mousemove", world.hour, 0.5, 0.5)] * 9)
        clickhouse_front.faults({"match": "INSERT INTO maps", "do": "fail", "code": 499, "text": text})
        with pytest.raises(DatabaseError, match=r"s3\('http://x/y', '\*\*\*', '\*\*\*', 'Parquet'\)") as caught:
            world.run(Level.HOUR, world.hour)
        clickhouse_front.faults()
    shown = "".join(traceback.format_exception(caught.value))
    assert versitygw.secret_key not in shown
    assert versitygw.access_key not in shown


def test_an_s3_that_is_gone_fails_the_job_in_time_and_a_later_job_heals(
    deployment: Deployment, own_versitygw: Versitygw
) -> None:
    world = deployment.world(own_versitygw)
    world.land(events(world, 300))
    own_versitygw.kill9()
    with pytest.raises(Exception, match=r"(?i)S3_ERROR|connect|refused|network") as caught:
        world.run(Level.HOUR, world.hour)
    assert own_versitygw.secret_key not in f"{caught.value!r} {caught.value.__context__!r}"
    assert world.published(Level.HOUR) == {}
    own_versitygw.start()
    world.run_all()
    world.check()
