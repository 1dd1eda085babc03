"""Dead letters on a topic: kept by the collector and by landing, found, and replayed without counting twice."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from collecting import RunningCollector, batch, event, now_ms

from isotherm.cli import run
from isotherm.clock import SystemClock
from isotherm.eventlog.port import Record, open_dead_log
from isotherm.land.lander import Lander
from isotherm.land.letters import Wanted, look, one
from services.kafka import Kafka
from services.kafka_world import KafkaWorld

pytestmark = pytest.mark.services


@pytest.fixture
def world(kafka: Kafka, tmp_path: Path) -> Iterator[KafkaWorld]:
    made = KafkaWorld(kafka.bootstrap, tmp_path / "data")
    yield made
    made.close()


def test_letters_are_kept_found_and_replayed(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    door = RunningCollector(world.settings.data, **{k: v for k, v in world.told.items() if k != "data"}).start()
    clock = SystemClock()
    monkeypatch.setenv("ISOTHERM_LOG", world.settings.log)
    monkeypatch.setenv("ISOTHERM_KAFKA_REPLICATION", "1")
    try:
        with closing(open_dead_log(world.settings, clock)) as dead:
            assert list(dead.partitions()) == [0]
            assert door.post(b'{"client_id":"shop"}').status_code == 422
            good, bad = event(event_time=now_ms()), event(event_type="Not A Type")
            assert door.post(batch([good, bad, good], batch_id="b1")).json()["accepted"] == 2
            world.log.append([Record("shop|x", b"nonsense", now_ms()), world.record("b2")])
            lander = Lander(world.settings, world.log, world.lake, world.manifest, clock, dead=dead)
            lander.drain()
            found = {entry.head.reason: entry for entry in look(dead, world.engine, Wanted())}
            assert found.keys() == {"no_batch", "bad_event_type", "unusable"}
            assert one(dead, found["unusable"].place).content == b"nonsense"
            assert world.sums()["landed"] == 5
            # Sent again as it is, the batch adds nothing; its bad event is rejected again.
            options = ["--data", str(world.settings.data), "--collector", door.url]
            assert run(["dead", "replay", str(found["bad_event_type"].place), *options]) == 1
            lander.drain()
            assert (world.sums()["landed"], world.sums()["landing_duplicate"], world.sums()["dead"]) == (5, 2, 1)
            states = {entry.head.reason: entry.state for entry in look(dead, world.engine, Wanted())}
            assert states == {"no_batch": "waiting", "bad_event_type": "waiting", "unusable": "waiting"}
    finally:
        assert door.stop() == 0
