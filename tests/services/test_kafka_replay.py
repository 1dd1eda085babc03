"""`isotherm replay` from a lake to a real topic: every event there once, however often it is replayed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from landing import event, record

from isotherm.cli import run
from isotherm.clock import HOUR_MS, SystemClock, iso
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.archive import archive_old
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.land.tiers import open_tiers, tier_of
from isotherm.store.db import open_db
from services.kafka import Kafka
from services.kafka_world import KafkaWorld

pytestmark = pytest.mark.services

BATCHES, EVENTS = 30, 20


@pytest.fixture
def world(kafka: Kafka, tmp_path: Path) -> Iterator[KafkaWorld]:
    made = KafkaWorld(kafka.bootstrap, tmp_path / "second")
    yield made
    made.close()


def lake_of(data: Path, hour: int) -> pa.Table:
    """A deployment on the embedded log with an archived hour and a hot one; its rows, by pyarrow alone."""
    settings, clock = Settings(data=data, archive_after_days=1), SystemClock()
    data.mkdir()
    engine = open_db(settings.url("db"))
    with closing(open_log(settings, clock)) as log:
        for number in range(BATCHES):
            at = hour - (number % 2) * 48 * HOUR_MS
            rows = [event(at + n * 1000, n / EVENTS, number / BATCHES) for n in range(EVENTS)]
            log.append([record("ab"[number % 3 % 2], f"b{number}", rows, screen_id=f"s{number % 5}", received_at=at)])
        manifest, lake = Manifest(engine, clock), open_tiers(settings)
        Lander(settings, log, lake, manifest, clock).drain()
        # As if an hour had passed since the last file came: until then an hour is left alone.
        archive_old(settings, lake, manifest, clock.now_ms() + 2 * HOUR_MS)
        manifest.sweep(lake)
    listed = [file.path for file in manifest.listed()]
    engine.dispose()
    assert {tier_of(path) for path in listed} == {"hot", "archive"}
    return pa.concat_tables([pq.read_table(data / "lake" / path) for path in listed])


def told(rows: pa.Table) -> list[tuple[object, ...]]:
    """What an event is, wherever it landed."""
    names = ["client_id", "batch_id", "position", "screen_id", "event_type", "event_time", "x_norm", "y_norm"]
    return sorted(zip(*(rows.column(name).to_pylist() for name in [*names, "received_at"]), strict=True))


def test_a_lake_replayed_twice_is_there_once(
    world: KafkaWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = world.now // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    first = lake_of(tmp_path / "first", hour)
    monkeypatch.setenv("ISOTHERM_KAFKA_REPLICATION", "1")
    arguments = ["--data", str(tmp_path / "first"), "--to-log", world.settings.log]
    span = ["--from", iso(hour - 48 * HOUR_MS), "--to", iso(hour + HOUR_MS)]
    total = BATCHES * EVENTS
    for again in range(2):
        assert run(["replay", *arguments, *span]) == 0
        # Once before anything is landed and once after it: the topic keeps no ids, landing knows them.
        if again == 0:
            assert run(["replay", *arguments, *span]) == 0
        world.lander().drain()
        sums = world.sums()
        assert sums["landed"] == total
        assert sums["landing_duplicate"] == total * (1 + again)
    second = pa.concat_tables([pq.read_table(world.settings.data / "lake" / f.path) for f in world.manifest.listed()])
    assert told(second) == told(first)
    assert len(told(first)) == total
