"""Landing from Kafka, with several partitions and several landers, through kills, pauses and second copies."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from collecting import until
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from landing import event, record

from isotherm.cli.standing import facts_of
from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.errors import Backpressure
from isotherm.eventlog.kafka import KafkaLog
from isotherm.eventlog.port import Record, Stored
from isotherm.events import FLAG_IMPORT
from isotherm.land.lander import Lander
from isotherm.land.upkeep import Upkeep
from services.kafka import Kafka
from services.kafka_world import KafkaWorld, Make, making, rows_of

pytestmark = pytest.mark.services


@pytest.fixture
def make(kafka: Kafka, tmp_path: Path) -> Iterator[Make]:
    with making(kafka.bootstrap, tmp_path) as new:
        yield new


@pytest.fixture
def world(make: Make) -> KafkaWorld:
    return make()


def names(count: int, prefix: str = "b") -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


class Running:
    """A lander in a thread, with its own clients, that steps until told to end."""

    def __init__(self, world: KafkaWorld) -> None:
        self.log = world.open()
        self.lander = world.lander(self.log)
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                # As a lander does in earnest: a group that lets nobody in for a while is asked again.
                with suppress(Backpressure):
                    self.lander.step(force=True)
                time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001 - shown by the test's thread
            self.errors.append(error)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.log.close()
        assert self.errors == []


def test_records_of_all_partitions_are_followed_in_order(world: KafkaWorld) -> None:
    world.append(names(300))
    heads = world.log.heads(world.log.partitions())
    assert sum(heads.values()) == 300
    assert min(heads.values()) > 0
    at = dict.fromkeys(heads, 0)
    found: list[Stored] = []
    while part := world.log.read_some("reader", at, max_records=7):
        for stored in part:
            assert stored.offset == at[stored.partition]
            at[stored.partition] += 1
        found += part
    assert at == heads
    assert sorted(found) == sorted(s for p in heads for s in world.log.read(p, 0))


def test_going_back_and_forth_leaves_nothing_out(world: KafkaWorld) -> None:
    """What was fetched for an earlier position is never taken for what stands at the new one."""
    world.append(names(200))
    heads = world.log.heads(world.log.partitions())
    for turn in range(30):
        at = {p: (turn * 7 + p) % head for p, head in heads.items() if (turn + p) % 3}
        for stored in world.log.read_some("jumper", at, max_records=5):
            assert stored.offset == at[stored.partition]
            at[stored.partition] += 1


def test_two_landers_land_every_row_once(world: KafkaWorld) -> None:
    first, second = Running(world), Running(world)
    batches = names(600)
    for start in range(0, 600, 20):
        world.append(batches[start : start + 20])
    world.wait_for(1800, lambda: first.errors + second.errors)

    def shares() -> list[int]:
        return [partition for running in (first, second) for partition in running.log.assigned("land")]

    # Partitions that change hands are nobody's for a moment.
    until(lambda: sorted(shares()) == [0, 1, 2, 3], "each partition has one lander")
    first.end()
    second.end()
    assert world.landed() == rows_of(batches)
    assert world.sums() == {"received": 1800, "accepted": 1800, "landed": 1800}


def test_two_landers_without_a_group_are_right_too(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [world.open() for _ in range(2)]
    batches = names(200)
    errors: list[BaseException] = []

    def land(lander: Lander) -> None:
        try:
            for _ in range(20):
                lander.drain()
        except BaseException as error:  # noqa: BLE001 - shown by the test's thread
            errors.append(error)

    threads = [threading.Thread(target=land, args=(world.lander(log),)) for log in logs]
    for thread in threads:
        thread.start()
    for start in range(0, 200, 10):
        world.append(batches[start : start + 10])
    for thread in threads:
        thread.join()
    world.lander().drain()
    assert errors == []
    assert world.landed() == rows_of(batches)
    assert world.sums() == {"received": 600, "accepted": 600, "landed": 600}


def test_landers_come_and_go_while_records_arrive(world: KafkaWorld) -> None:
    running = [Running(world)]
    batches = names(300)
    for turn in range(30):
        world.append(batches[turn * 10 : turn * 10 + 10])
        if turn in (5, 12):
            running.append(Running(world))
        if turn in (18, 24):
            running.pop(0).end()
        time.sleep(0.1)
    world.wait_for(900, lambda: [error for one in running for error in one.errors])
    for one in running:
        one.end()
    assert world.landed() == rows_of(batches)
    assert world.sums() == {"received": 900, "accepted": 900, "landed": 900}


def test_a_commit_that_was_refused_is_tried_again(world: KafkaWorld) -> None:
    log = world.log
    assert isinstance(log, KafkaLog)
    world.append(names(40))
    until(lambda: log.assigned("land"), "the group gives out partitions")
    mine = log.assigned("land")
    member = log._members["land"]
    group_moves = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    member._committed(group_moves, [TopicPartition("", partition, 3) for partition in (*mine, 99)])
    until(lambda: log.status().consumers.get("land") == dict.fromkeys(mine, 3), "the offsets are committed")


@pytest.mark.parametrize("step", ["dead", "pending", "written", "landed", "committed"])
def test_a_lander_killed_at_a_step_loses_and_doubles_nothing(world: KafkaWorld, step: str) -> None:
    batches = names(20)
    world.append(batches)
    world.log.append([world.record("b0"), Record("k", b"nonsense", world.now)])
    with world.process(at=step) as child:
        assert child.wait(60) == -signal.SIGKILL
    world.lander().drain()
    assert world.landed() == rows_of(batches)
    assert world.sums() == {
        "received": 64, "accepted": 64, "landed": 60, "landing_duplicate": 3, "dead": 1,
    }  # fmt: skip


def test_a_lander_that_stood_still_lists_nothing_twice(world: KafkaWorld) -> None:
    batches = names(40)
    world.append(batches)
    with world.process(at="written", signal="SIGSTOP") as zombie:
        assert zombie.stdout is not None
        while (said := zombie.stdout.readline()) != "written\n":
            assert said, "it ended before it had written"
        os.waitpid(zombie.pid, os.WUNTRACED)
        world.lander().drain()
        assert world.landed() == rows_of(batches)
        os.kill(zombie.pid, signal.SIGCONT)
        world.append(names(5, "later"))
        world.wait_for(135)
    assert world.landed() == rows_of([*batches, *names(5, "later")])
    assert world.sums() == {"received": 135, "accepted": 135, "landed": 135}


def test_a_batch_that_is_there_twice_lands_once(world: KafkaWorld) -> None:
    twice = [world.record(name) for name in names(3)]
    world.log.append(twice)
    lander = world.lander()
    assert lander.drain() == 9
    world.log.append([*twice, world.record("new"), world.record("new")])
    assert lander.drain() == 3
    assert world.landed() == rows_of([*names(3), "new"])
    assert world.sums() == {"received": 24, "accepted": 24, "landed": 12, "landing_duplicate": 12}


def test_of_a_split_batch_each_position_lands_once(world: KafkaWorld) -> None:
    def piece(positions: list[int] | None, count: int, screen: str) -> Record:
        return world.record("split", count, screen=screen, positions=positions)

    lander = world.lander()
    world.log.append([piece([0, 1, 4], 3, "x"), piece([2, 3], 2, "y"), piece([0, 1, 4], 3, "z")])
    assert lander.drain() == 5
    # The sender came again, and its clock moved the border between the pieces.
    world.log.append([piece([0, 1], 2, "x"), piece([2, 3, 4, 5], 4, "y")])
    assert lander.drain() == 1
    world.log.append([piece(None, 7, "x"), piece([3, 6], 2, "y")])
    assert lander.drain() == 1
    world.log.append([piece([0, 9], 2, "x")])
    assert lander.drain() == 0
    assert world.landed() == [("shop", "split", n) for n in range(7)]
    assert world.sums() == {"received": 25, "accepted": 25, "landed": 7, "landing_duplicate": 18}


def test_copies_in_two_partitions_that_land_at_once_land_once(world: KafkaWorld) -> None:
    """Both landers looked before either landed; the second finds out in its transaction and begins again."""
    world.log.append([world.record("same", screen=f"s{n}") for n in range(12)])
    other = world.lander(world.open())
    met: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "written" and not met:
            met.append(step)
            other.drain()

    world.lander(checkpoint=meanwhile).drain()
    assert met
    assert world.landed() == rows_of(["same"])
    assert world.sums() == {"received": 36, "accepted": 36, "landed": 3, "landing_duplicate": 33}


def test_imports_in_two_partitions_that_land_at_once_land_once(world: KafkaWorld) -> None:
    """Ids of imports may be forgotten by now; then rows are compared with the lake, also with what lands just now."""

    def imported(screen: str) -> Record:
        return record(
            "shop", "import", [event(world.now)], screen_id=screen, received_at=world.now, flags=[FLAG_IMPORT]
        )

    world.log.append([imported(f"s{n}") for n in range(8)])
    other = world.lander(world.open())
    met: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "written" and not met:
            met.append(step)
            other.drain()
            forget(world)

    world.lander(checkpoint=meanwhile).drain()
    assert met
    assert world.landed() == rows_of(["import"], 1)


def forget(world: KafkaWorld, later_ms: int = 3 * DAY_MS) -> int:
    """Upkeep as it will be later."""
    clock = ManualClock(world.now + later_ms)
    return Upkeep(world.settings, world.log, world.lake, world.manifest, clock, lambda _: None).forget_ids(
        clock.now_ms()
    )


def test_ids_are_known_for_a_day_and_as_long_as_copies_may_wait(world: KafkaWorld) -> None:
    lander, early = world.lander(), world.now - DAY_MS - HOUR_MS - 1

    def append(names: Sequence[str], received_at: int) -> None:
        world.log.append([record("shop", name, [event(world.now)], received_at=received_at) for name in names])

    append(names(50), early)
    lander.drain()
    assert forget(world, DAY_MS) == 0
    # The landers stood still for days; a copy waits. Its partition has landed the first one, so the id stays.
    append(["b7"], early)
    assert forget(world) == 0
    assert lander.drain() == 0
    # Only what came later says that a day went by: the clock of upkeep may be wrong.
    assert forget(world) == 0
    append(["later"], world.now)
    assert lander.drain() == 1
    assert forget(world) == 50
    assert world.landed() == rows_of([*names(50), "later"], 1)


def test_a_raised_number_of_partitions_is_landed(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.eventlog.kafka_topic._REFRESH_S", 0.1)
    running = Running(world)
    world.append(names(50))
    world.wait_for(150)
    target = world.settings.log.removeprefix("kafka://").split("?topic=")
    admin = AdminClient({"bootstrap.servers": target[0]})
    admin.create_partitions([NewPartitions(target[1], 6)])[target[1]].result(10)
    fresh = KafkaWorld(target[0], world.settings.data, topic=target[1])
    try:
        until_heads = time.monotonic() + 30
        while len(fresh.log.partitions()) < 6:
            assert time.monotonic() < until_heads
            time.sleep(0.2)
        fresh.append(names(200, "more"))
        assert min(fresh.log.heads(range(6)).values()) > 0
        world.wait_for(750)
    finally:
        fresh.close()
    running.end()
    assert world.landed() == rows_of([*names(50), *names(200, "more")])


def test_a_gap_that_retention_left_is_noted_and_landing_goes_on(world: KafkaWorld) -> None:
    world.append(names(80))
    log: Any = world.log
    log.delete_below({0: 3, 2: 5})
    lander = world.lander()
    rows = lander.drain()
    gaps = {(gap.partition, gap.first, gap.last) for gap in lander.status().gaps}
    assert gaps == {(0, 0, 2), (2, 0, 4)}
    assert rows == (80 - 8) * 3
    assert lander.status().lag == 0
    # All that waits is lost, and nothing new comes that would show the jump.
    ends = log.heads(log.partitions())
    world.append(names(80, "late"))
    heads = log.heads(log.partitions())
    log.delete_below({p: head for p, head in heads.items() if p < 2})
    again = world.lander(world.open())
    again.drain()
    told = facts_of(world.settings, log, world.engine, world.clock)["lander"]
    assert (told["lag"], told["oldest_unlanded_ms"]) == (0, 0)
    found = {(gap["partition"], gap["first"], gap["last"]) for gap in told["gaps"]}
    assert found == gaps | {(p, ends[p], heads[p] - 1) for p in (0, 1)}


def test_what_is_not_landed_stays_whatever_other_groups_committed(make: Make) -> None:
    """A stream that reads along, or a sink that keeps an archive, may be done with records before landing begins."""
    world = make(log_timestamp="event", kafka_partitions=2)
    world.append(names(40))
    heads = world.log.heads([0, 1])
    assert min(heads.values()) > 0
    for partition, head in heads.items():
        world.log.commit("stream", partition, head)
    upkeep = Upkeep(world.settings, world.log, world.lake, world.manifest, world.clock, lambda _: None)
    upkeep.expire_log(world.now)
    assert world.log.status().tail == {0: 0, 1: 0}
    assert world.log.expire(world.now, {1: 3}) == [f"{world.settings.log.partition('topic=')[2]}-1 up to 2"]
    assert world.log.status().tail == {0: 0, 1: 3}
    world.lander().drain()
    upkeep.expire_log(world.now)
    assert world.log.status().tail == heads


def test_status_tells_of_all_partitions(world: KafkaWorld) -> None:
    world.append(names(40))
    first, second = world.lander(), world.lander(world.open())
    first.step()
    status = first.status()
    assert (status.lag, len(status.partitions), status.assigned) == (40, 4, [0, 1, 2, 3])
    assert status.oldest_unlanded_ms > 0
    assert status.retention_ms == world.settings.log_retention_days * DAY_MS
    arrived = first.unlanded("shop")
    assert arrived is not None
    assert sum(one.arrived.events for one in arrived if one.arrived) == 120
    # Another lander, whose share is not known here.
    assert second.unlanded("shop") is None
    assert second.status().oldest_unlanded_ms > 0
    first.drain()
    assert (first.status().lag, first.status().oldest_unlanded_ms) == (0, 0)
    assert world.log.status().lag("land") <= 40
