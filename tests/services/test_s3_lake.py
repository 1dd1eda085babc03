"""Landing, merging and reading on S3: end to end, and while the store is killed, stopped, slow, full or refusing.

What lies there is read by signed requests of the tests' own and by pandas, never through our lake.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow.parquet as pq
import pytest
from landing import NOW, event, record
from sqlalchemy.engine import Engine

from isotherm.cli import run
from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog, open_log
from isotherm.land import compare, merge
from isotherm.land.lake import Lake, LakeUnavailable, open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.land.retention import expire_raw
from isotherm.store.db import open_db
from services.proxy import Answer, Fault, Proxy

REFUSALS = [Answer(403, "AccessDenied"), Answer(503, "SlowDown"), Answer(507, "XMinioStorageFull")]
TROUBLES = [("PUT", fault) for fault in (*Fault, *REFUSALS)]
TROUBLES += [("HEAD", fault) for fault in (Fault.CUT_RESPONSE, Fault.LOSE_ANSWER, *REFUSALS)]
Identity = tuple[str, str, int]


@dataclass
class Bucket:
    """One deployment that lands in a bucket of `server`, by way of `endpoint`."""

    server: Any
    name: str
    settings: Settings
    clock: ManualClock
    log: EventLog
    lake: Lake
    engine: Engine
    manifest: Manifest
    sent: int = 0

    def lander(self, checkpoint: Callable[[str], None] = lambda _: None) -> Lander:
        return Lander(self.settings, self.log, self.lake, self.manifest, self.clock, checkpoint)

    def send(self, batches: int, *, clients: int = 3) -> None:
        """Records of these clients; the events of a batch are in two hours."""
        for _ in range(batches):
            rows = [event(NOW + j * HOUR_MS // 2, j / 10, 0.5) for j in range(3)]
            self.log.append([record(f"client-{self.sent % clients}", f"b{self.sent}", rows, received_at=NOW)])
            self.sent += 1

    def expected(self, clients: int = 3) -> list[Identity]:
        return sorted((f"client-{n % clients}", f"b{n}", i) for n in range(self.sent) for i in range(3))

    def read(self, path: str) -> bytes:
        status, data = self.server.requests().ask("GET", f"/{self.name}/some/lake/{path}")
        assert status == 200, (path, status)
        return data

    def rows(self, form: str = "parquet") -> list[Identity]:
        """(client, batch, position) of every listed file; each of them is whole and as the manifest says."""
        found: list[Identity] = []
        for file in self.manifest.listed(format=form):
            data = self.read(file.path)
            if form == "parquet":
                frame = pd.read_parquet(io.BytesIO(data))
            else:
                frame = pd.read_json(io.BytesIO(data), lines=True, compression="gzip")
            assert (len(frame), len(data)) == (file.rows, file.bytes)
            found += zip(frame["client_id"].astype(str), frame["batch_id"].astype(str), frame["position"], strict=True)
        return sorted(found)

    def objects(self) -> set[str]:
        return {path for path, _ in self.lake.list()}

    def swept(self) -> bool:
        """Whether, an hour later, the sweeper has left what is listed and nothing else."""
        self.clock.advance(2 * HOUR_MS)
        self.manifest.sweep(self.lake)
        return self.objects() == {file.path for file in self.manifest.listed()}


Maker = Callable[..., Bucket]


@pytest.fixture
def make_bucket(tmp_path: Path) -> Iterator[Maker]:
    made: list[Bucket] = []

    def make(server: Any, endpoint: str = "", **more: Any) -> Bucket:
        name = server.make_bucket()
        settings = Settings(
            data=tmp_path / f"data{len(made)}",
            lake=f"s3://{name}/some/lake?endpoint={quote(endpoint or server.endpoint, safe='')}",
            s3_access_key_id=server.access_key,
            s3_secret_access_key=server.secret_key,
            **{"s3_timeout_seconds": 3.0, "log": "memory://"} | more,
        )
        clock = ManualClock(NOW)
        engine = open_db(settings.url("db"))
        manifest = Manifest(engine, clock, settings.land_formats[0])
        lake = open_lake(settings.url("lake"), settings)
        made.append(Bucket(server, name, settings, clock, open_log(settings, clock), lake, engine, manifest))
        return made[-1]

    yield make
    for bucket in made:
        bucket.log.close()
        bucket.engine.dispose()


@pytest.fixture(params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_what_is_landed_on_s3_is_there_for_others(server: Any, make_bucket: Maker) -> None:
    world = make_bucket(server, land_formats=["parquet", "jsonl"])
    lander = world.lander()
    for _ in range(3):
        world.send(6)
        lander.step(force=True)
    assert world.rows() == world.rows("jsonl") == world.expected()
    report = compare.compare(world.lake, world.manifest)
    assert (report.rows, report.differing) == (3 * world.sent, 0)
    world.clock.advance(3 * HOUR_MS)
    assert merge.merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms()) == 3 * 2 * 2
    assert world.rows() == world.rows("jsonl") == world.expected()
    assert len(world.manifest.listed()) == 3 * 2 * 2
    assert world.swept()


def test_imported_rows_are_compared_with_files_on_s3(make_bucket: Maker, versitygw: Any) -> None:
    world = make_bucket(versitygw)
    rows = [event(NOW + i) for i in range(5)]
    lander = world.lander()
    world.log.append([record("client-0", "x", rows[:3], flags=["import"])])
    lander.step(force=True)
    world.log.append([record("client-0", "x", rows, flags=["import", "again"])])
    world.lander().drain()
    assert world.rows() == [("client-0", "x", i) for i in range(3 if world.log.knows_ids else 5)]


def test_raw_expires_on_s3(make_bucket: Maker, versitygw: Any) -> None:
    world = make_bucket(versitygw)
    world.send(4)
    world.lander().drain()
    assert world.objects()
    assert expire_raw(
        world.settings, world.manifest, NOW + 2 * HOUR_MS + world.settings.raw_retention_days * DAY_MS
    ) == len(world.objects())
    assert world.swept()
    assert not world.objects()


@pytest.mark.parametrize(("method", "fault"), TROUBLES, ids=str)
def test_a_store_in_trouble_stops_the_lander_and_loses_nothing(
    make_bucket: Maker, versitygw: Any, method: str, fault: Any
) -> None:
    with Proxy(versitygw.endpoint) as proxy:
        world = make_bucket(versitygw, proxy.endpoint)
        lander = world.lander()
        world.send(6)
        lander.step(force=True)
        before = world.rows()
        world.send(6)
        proxy.meddle = lambda verb, path: fault if verb == method else None
        with pytest.raises((IsothermError, FileExistsError)) as caught:
            lander.step(force=True)
        assert world.settings.s3_secret_access_key not in str(caught.value)
        assert world.rows() == before != world.expected()
        assert world.manifest.next_offset(world.log.identity, 0) == 6
        proxy.meddle = lambda verb, path: None
        world.lander().drain()
        assert world.rows() == world.expected()
        proxy.settle()
        assert world.swept()


def test_an_answer_that_is_lost_now_and_then_costs_a_retry_and_no_row(make_bucket: Maker, versitygw: Any) -> None:
    with Proxy(versitygw.endpoint) as proxy:
        world = make_bucket(versitygw, proxy.endpoint)
        seen = iter(range(1_000))
        proxy.meddle = lambda verb, path: Fault.LOSE_ANSWER if verb == "PUT" and next(seen) % 10 == 7 else None
        lander = world.lander()
        failures = 0
        for _ in range(5):
            world.send(3)
            for _ in range(20):
                try:
                    lander.step(force=True)
                    break
                except (IsothermError, FileExistsError):
                    failures += 1
        assert failures
        assert world.rows() == world.expected()
        assert world.swept()


def test_a_store_killed_while_files_are_written(make_bucket: Maker, own_versitygw: Any) -> None:
    with Proxy(own_versitygw.endpoint) as proxy:
        world = make_bucket(own_versitygw, proxy.endpoint)
        world.send(40, clients=20)
        puts = iter(range(1_000))

        def kill_at_the_tenth(verb: str, _: str) -> None:
            if verb == "PUT" and next(puts) == 9:
                own_versitygw.kill9()

        proxy.meddle = kill_at_the_tenth
        with pytest.raises(LakeUnavailable, match=f"at {proxy.endpoint} cannot be used"):
            world.lander().step(force=True)
        assert world.manifest.listed() == []
        own_versitygw.start()
        world.lander().drain()
        assert world.rows() == world.expected(clients=20)
        assert world.swept()


def test_a_store_that_hangs_while_landing(make_bucket: Maker, own_versitygw: Any) -> None:
    world = make_bucket(own_versitygw)
    world.send(6)
    lander = world.lander(lambda step: own_versitygw.cut() if step == "pending" else None)
    with pytest.raises(LakeUnavailable, match="answers within s3_timeout_seconds"):
        lander.step(force=True)
    assert world.manifest.listed() == []
    own_versitygw.resume()
    world.lander().drain()
    assert world.rows() == world.expected()
    assert world.swept()


def test_a_bucket_that_is_gone_is_named(make_bucket: Maker, own_minio: Any) -> None:
    world = make_bucket(own_minio)
    world.send(3)
    assert own_minio.requests().ask("DELETE", f"/{world.name}")[0] == 204
    with pytest.raises(LakeUnavailable, match=f"bucket '{world.name}' at .* does not exist; create it"):
        world.lander().step(force=True)
    assert world.manifest.listed() == []
    own_minio.make_bucket(world.name)
    world.lander().drain()
    assert world.rows() == world.expected()


def test_a_program_starts_while_its_store_is_away(make_bucket: Maker, own_versitygw: Any) -> None:
    world = make_bucket(own_versitygw)
    own_versitygw.halt()
    lake = open_lake(world.settings.url("lake"), world.settings)
    with pytest.raises(LakeUnavailable, match="cannot be used"):
        lake.get("x")
    own_versitygw.start()
    lake.put("x", b"abc")
    assert lake.get("x") == b"abc"


STEPS = ["pending", "rows", "written", "checked", "replaced"]
CHILD = """
import os, signal, sys
from isotherm.clock import ManualClock
from isotherm.config import Settings
from isotherm.land import merge
from isotherm.land.lake import open_lake
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

step, now, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settings = Settings()
clock = ManualClock(now)
manifest = Manifest(open_db(settings.url("db")), clock)
lake = open_lake(settings.url("lake"), settings)
limits = merge.Limits(1 << 30, memory, str(settings.data))
for client, hour, form in manifest.crowded(0, now):
    merge.merge_hour(lake, manifest, client, hour, form, limits=limits, now_ms=now,
                     checkpoint=lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None)
"""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("place", ["folder", "bucket"])
@pytest.mark.parametrize("memory", [1, 1 << 30], ids=["streamed", "in memory"])
def test_a_merge_killed_at_any_step_leaves_every_row_once(
    make_bucket: Maker, versitygw: Any, tmp_path: Path, step: str, place: str, memory: int
) -> None:
    folder = {"lake": f"file://{tmp_path / 'lake'}"} if place == "folder" else {}
    world = make_bucket(versitygw)
    if folder:
        world.settings = world.settings.model_copy(update=folder)
        world.lake = open_lake(folder["lake"], world.settings)
    lander = world.lander()
    for _ in range(4):
        world.send(4, clients=1)
        lander.step(force=True)
    world.clock.advance(3 * HOUR_MS)
    environment = {
        "ISOTHERM_DATA": str(world.settings.data),
        "ISOTHERM_LAKE": world.settings.lake,
        "ISOTHERM_S3_ACCESS_KEY_ID": versitygw.access_key,
        "ISOTHERM_S3_SECRET_ACCESS_KEY": versitygw.secret_key,
    }
    child = subprocess.run(
        [sys.executable, "-c", CHILD, step, str(world.clock.now_ms()), str(memory)],
        env=os.environ | environment, check=False, capture_output=True, timeout=180,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()

    def identities() -> list[Identity]:
        found: list[Identity] = []
        for file in world.manifest.listed():
            data = io.BytesIO(world.read(file.path)) if not folder else tmp_path / "lake" / file.path
            table = pq.ParquetFile(data).read(["client_id", "batch_id", "position"]).to_pydict()
            found += zip(*table.values(), strict=True)
        return sorted(found)

    assert identities() == world.expected(clients=1)
    world.clock.advance(2 * HOUR_MS)
    merge.merge_closed(world.settings, world.lake, world.manifest, world.clock.now_ms())
    assert len(world.manifest.listed()) == 2
    assert identities() == world.expected(clients=1)
    assert world.swept()
    assert [path for path in world.settings.data.iterdir() if "tmp" in path.name] == []


def test_the_commands_of_the_lake_read_s3(
    make_bucket: Maker, versitygw: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_bucket(versitygw, land_formats=["parquet", "jsonl"])
    world.send(6)
    world.lander().drain()
    settings = world.settings
    monkeypatch.setenv("ISOTHERM_DATA", str(settings.data))
    monkeypatch.setenv("ISOTHERM_LAKE", settings.lake)
    monkeypatch.setenv("ISOTHERM_S3_ACCESS_KEY_ID", settings.s3_access_key_id)
    monkeypatch.setenv("ISOTHERM_S3_SECRET_ACCESS_KEY", settings.s3_secret_access_key)

    def said(*words: str) -> str:
        assert run(["lake", *words]) == 0
        return capsys.readouterr().out

    assert f"s3://{world.name}/some/lake" in said("ls")
    assert len(json.loads(said("ls", "--json"))) == len(world.manifest.listed())
    assert "no difference: 18 rows" in said("compare")
    rows = [json.loads(line) for line in said("cat", "--limit", "0", "--json").splitlines()]
    assert sorted((r["client_id"], r["batch_id"], r["position"]) for r in rows) == world.expected()
    assert settings.s3_secret_access_key not in said("ls") + said("cat")
