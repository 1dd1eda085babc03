"""What every event log does, whichever adapter stands behind the URL; gaps are in docs/decisions (log on Kafka)."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.eventlog.port import EventLog, Position, Record, Stored, open_log

NOW = 1_770_000_000_000
Opener = Callable[..., EventLog]


def record(n: int, *, key: str = "shop|home", size: int = 0, at: int = NOW, known: bool = True) -> Record:
    value = b'{"n":%d}' % n
    return Record(key, value.ljust(size), at, n.to_bytes(16, "big") if known else None)


def everything(log: EventLog, **limits: int) -> list[Stored]:
    found: list[Stored] = []
    at = 0
    while part := log.read(0, at, **limits):
        found += part
        at = part[-1].offset + 1
    return found


def expire(log: EventLog, now_ms: int) -> list[str]:
    """Where all is landed."""
    return log.expire(now_ms, {0: log.head(0)})


def gap(kafka: str) -> pytest.MarkDecorator:
    """All adapters; `kafka` says why Kafka does not do what the test asks."""
    marks = [pytest.mark.services, pytest.mark.xfail(strict=True, reason=kafka)]
    return pytest.mark.parametrize("scheme", ["memory", "lmdb", pytest.param("kafka", marks=marks)], indirect=True)


NO_IDS = gap("a topic keeps no ids: landing drops what is there twice")
NO_EXPIRY = gap("records leave a topic by the brokers' retention, by time, whatever consumers have committed")
NO_LIMIT = gap("the brokers' disks are not ours to bound")


@pytest.fixture(params=["memory", "lmdb", pytest.param("kafka", marks=pytest.mark.services)])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


def place(scheme: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings of a new, empty log. The records here are months old: on Kafka they must not be too old at once."""
    if scheme == "kafka":
        server = request.getfixturevalue("kafka")
        many = {"kafka_partitions": 1, "kafka_replication": 1, "log_retention_days": 3650}
        return {"log": f"kafka://{server.bootstrap}?topic=t-{uuid4().hex}"} | many
    return {"log": {"memory": "memory://", "lmdb": f"lmdb://{folder}/log"}[scheme]}


@pytest.fixture
def opened(scheme: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opener]:
    logs: list[EventLog] = []
    where = place(scheme, tmp_path, request)

    def start(dead: bool = False, **changes: int) -> EventLog:
        plain = Settings(disk_reserve_bytes=0)
        plain = plain.for_dead_letters() if dead else plain
        logs.append(open_log(plain.model_copy(update=where | changes), ManualClock(NOW)))
        return logs[-1]

    yield start
    for log in logs:
        log.close()


@pytest.fixture
def log(opened: Opener) -> EventLog:
    return opened()


def test_offsets_are_gapless_and_reading_gives_what_was_appended(log: EventLog) -> None:
    first = log.append([record(n) for n in range(5)])
    second = log.append([record(n, at=NOW + 7) for n in range(5, 8)])
    assert first + second == [Position(0, n) for n in range(8)]
    assert log.head(0) == 8
    assert everything(log) == [Stored(0, n, NOW + 7 * (n > 4), b'{"n":%d}' % n) for n in range(8)]


@NO_IDS
def test_ids_are_told_from_a_time_on(opened: Opener) -> None:
    log = opened(log_segment_bytes=4 << 20)
    log.append([record(n) for n in range(3)])
    log.append([record(3, known=False)])
    log.append([record(4, at=NOW + HOUR_MS), record(5, at=NOW + HOUR_MS)])
    log.append([record(5, at=NOW + 2 * HOUR_MS)])

    def told(since: int) -> set[int]:
        ids = b"".join(ids for _, ids in log.ids_since(since))
        return {int.from_bytes(ids[at : at + 16], "big") for at in range(0, len(ids), 16)}

    assert told(0) == {0, 1, 2, 4, 5}
    assert told(NOW + 1) == {4, 5}
    assert told(NOW + 3 * HOUR_MS) == set()


def test_an_empty_log(log: EventLog) -> None:
    assert log.append([]) == []
    assert (log.head(0), log.read(0, 0), log.read(0, 99), list(log.partitions())) == (0, [], [], [0])
    status = log.status()
    assert (status.head, status.tail, status.consumers, status.set_aside) == ({0: 0}, {0: 0}, {}, [])
    log.healthy()


def test_following_gives_every_record_once_in_order(log: EventLog) -> None:
    log.append([record(n) for n in range(10)])
    assert log.heads([0]) == {0: 10}
    assert list(log.assigned("land")) == list(log.partitions())
    found: list[Stored] = []
    while part := log.read_some("land", {0: len(found)}, max_records=3):
        assert len(part) <= 3
        found += part
    log.append([record(10)])
    found += log.read_some("land", {0: 10})
    assert found == everything(log)
    # Back to an earlier record, as after a landing that somebody else was faster with, and on from there.
    again = log.read_some("land", {0: 4}, max_records=2)
    assert again + log.read_some("land", {0: 6}) == found[4:]
    assert log.read_some("land", {0: 11}) == []


def test_consumers_follow_the_log_independently(log: EventLog) -> None:
    log.append([record(n) for n in range(4)])
    first = log.read_some("land", {0: 0}, max_records=1)
    other = log.read_some("stream", {0: 2})
    assert [s.offset for s in first + other + log.read_some("land", {0: 1})] == [0, 2, 3, 1, 2, 3]


def test_records_of_one_key_keep_their_order(log: EventLog) -> None:
    for n in range(0, 60, 3):
        log.append([record(n + i, key=f"shop|{i}") for i in range(3)])
    values = [int(stored.value[5:-1]) for stored in everything(log)]
    assert all([n for n in values if n % 3 == i] == list(range(i, 60, 3)) for i in range(3))


@NO_IDS
def test_a_known_id_is_stored_once(log: EventLog) -> None:
    assert log.append([record(1), record(2), record(1)]) == [Position(0, 0), Position(0, 1), None]
    assert log.append([record(2), record(3), record(1), record(3)]) == [None, Position(0, 2), None, None]
    assert log.append([record(3)]) == [None]
    assert [stored.value for stored in everything(log)] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def test_records_without_id_are_always_stored(log: EventLog) -> None:
    same = record(1, known=False)
    assert log.append([same, same, record(1)]) == [Position(0, 0), Position(0, 1), Position(0, 2)]
    assert log.append([same]) == [Position(0, 3)]


@NO_IDS
def test_ids_that_share_one_half_are_different_ids(log: EventLog) -> None:
    ids = [a + b for a in (bytes(8), b"\xff" * 8) for b in (bytes(8), b"\xff" * 8)]
    assert None not in log.append([Record("k", b"x", NOW, one) for one in ids])
    assert log.append([Record("k", b"x", NOW, one) for one in ids]) == [None] * 4


@pytest.mark.parametrize("wrong", [b"", b"short", bytes(17)])
def test_an_id_of_another_length_is_refused(log: EventLog, wrong: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        log.append([Record("k", b"x", NOW, wrong)])
    assert log.head(0) == 0


def test_the_longest_record_fits_and_a_longer_one_is_refused(log: EventLog) -> None:
    assert log.max_record_bytes >= (512 << 10) + 4096
    log.append([record(1, size=log.max_record_bytes)])
    with pytest.raises(ValueError, match="max_record_bytes"):
        log.append([record(2), record(3, size=log.max_record_bytes + 1)])
    assert [len(stored.value) for stored in everything(log)] == [log.max_record_bytes]


def test_read_stops_at_either_limit_but_gives_at_least_one_record(log: EventLog) -> None:
    log.append([record(n, size=100) for n in range(10)])
    assert [s.offset for s in log.read(0, 3, max_records=2)] == [3, 4]
    assert [s.offset for s in log.read(0, 3, max_bytes=250)] == [3, 4]
    assert [s.offset for s in log.read(0, 3, max_bytes=300)] == [3, 4, 5]
    assert [s.offset for s in log.read(0, 9, max_bytes=1)] == [9]
    assert len(everything(log, max_records=3, max_bytes=250)) == 10


def test_consumers_have_their_own_positions(log: EventLog) -> None:
    log.append([record(n) for n in range(10)])
    log.commit("lander", 0, 4)
    log.commit("stream", 0, 9)
    status = log.status()
    assert status.consumers == {"lander": {0: 4}, "stream": {0: 9}}
    assert (status.lag("lander"), status.lag("stream"), status.lag("new")) == (6, 1, 10)
    log.commit("stream", 0, 2)
    assert log.status().lag("stream") == 8


@pytest.mark.parametrize(("name", "offset"), [("", 1), ("x" * 257, 1), ("lander", -1)])
def test_an_impossible_commit_is_refused(log: EventLog, name: str, offset: int) -> None:
    with pytest.raises(ValueError, match=r"name|offset"):
        log.commit(name, 0, offset)


def test_another_partition_is_refused(log: EventLog) -> None:
    for call in (lambda: log.read(1, 0), lambda: log.head(1), lambda: log.commit("lander", 1, 0)):
        with pytest.raises(ValueError, match="partition"):
            call()


@NO_EXPIRY
def test_nothing_is_deleted_without_a_consumer_or_before_its_commit(log: EventLog) -> None:
    log.append([record(n) for n in range(4)])
    assert expire(log, NOW + 100 * DAY_MS) == []
    log.commit("lander", 0, 4)
    log.commit("stream", 0, 3)
    expire(log, NOW + 100 * DAY_MS)
    assert log.read(0, 3) == [Stored(0, 3, NOW, b'{"n":3}')]
    log.commit("stream", 0, 4)
    assert expire(log, NOW + 100 * DAY_MS)
    assert log.read(0, 0) == []
    assert log.status().lag("lander") == 0


@NO_EXPIRY
def test_nothing_is_deleted_that_is_not_landed_whatever_consumers_committed(log: EventLog) -> None:
    log.append([record(n) for n in range(4)])
    log.commit("stream", 0, 4)
    assert log.expire(NOW + 100 * DAY_MS, {}) == []
    log.expire(NOW + 100 * DAY_MS, {0: 3})
    assert log.read(0, 3) == [Stored(0, 3, NOW, b'{"n":3}')]
    assert log.expire(NOW + 100 * DAY_MS, {0: 4})
    assert log.read(0, 0) == []


@NO_EXPIRY
def test_records_stay_for_the_retention_and_offsets_go_on_after_it(log: EventLog) -> None:
    log.append([record(n) for n in range(4)])
    log.commit("lander", 0, 4)
    assert expire(log, NOW + 7 * DAY_MS) == []
    assert log.append([record(1)]) == [None]
    assert expire(log, NOW + 7 * DAY_MS + 1)
    assert log.head(0) == 4
    assert log.append([record(9, at=NOW + 8 * DAY_MS), record(1, at=NOW + 8 * DAY_MS)]) == [
        Position(0, 4),
        Position(0, 5),
    ]
    assert [stored.offset for stored in log.read(0, 0)] == [4, 5]
    assert log.status().tail == {0: 4}


def fill(log: EventLog) -> int:
    """Append until the log refuses; returns how many records went in."""
    appended = itertools.count()
    with pytest.raises(Backpressure) as refused:
        append_many(log, itertools.islice(appended, 1_000))
    assert (refused.value.status, refused.value.retry_after_s > 0) == (503, True)
    return next(appended) - 1


def append_many(log: EventLog, numbers: Iterator[int]) -> None:
    for n in numbers:
        log.append([record(n, size=3000)])


@NO_LIMIT
def test_at_the_size_limit_nothing_is_appended_until_a_day_old_segment_goes(opened: Opener) -> None:
    log = opened(log_max_bytes=200_000, log_segment_bytes=60_000)
    appended = fill(log)
    with pytest.raises(Backpressure, match="log_max_bytes"):
        log.healthy()
    assert log.head(0) == appended == len(everything(log))
    log.commit("lander", 0, appended)
    assert expire(log, NOW + DAY_MS) == []
    with pytest.raises(Backpressure):
        log.append([record(1 << 60)])
    assert expire(log, NOW + DAY_MS + 1)
    log.healthy()
    assert log.append([record(1 << 60, at=NOW + DAY_MS)]) == [Position(0, appended)]


@NO_LIMIT
def test_a_full_log_keeps_what_is_younger_than_a_day_or_not_committed(opened: Opener) -> None:
    log = opened(log_max_bytes=120_000, log_segment_bytes=50_000)
    appended = fill(log)
    expire(log, NOW + 100 * DAY_MS)
    log.commit("lander", 0, 0)
    expire(log, NOW + 100 * DAY_MS)
    log.commit("lander", 0, appended)
    expire(log, NOW + 23 * HOUR_MS)
    assert len(everything(log)) == appended


@NO_LIMIT
def test_a_full_log_of_dead_letters_keeps_them_for_all_their_days(opened: Opener) -> None:
    log = opened(True, log_max_bytes=200_000, log_segment_bytes=60_000)
    appended = fill(log)
    with pytest.raises(Backpressure, match="dead_max_bytes"):
        log.healthy()
    log.commit("dead", 0, appended)
    assert expire(log, NOW + 30 * DAY_MS) == []
    assert len(everything(log)) == appended
    with pytest.raises(Backpressure):
        log.append([record(1 << 60)])
    assert expire(log, NOW + 30 * DAY_MS + 1)
    log.healthy()


@NO_EXPIRY
def test_a_deleted_record_is_not_read_from_memory_of_it(log: EventLog) -> None:
    log.append([record(n) for n in range(4)])
    assert len(log.read(0, 0, max_records=2)) == 2
    log.commit("lander", 0, 4)
    assert expire(log, NOW + 9 * DAY_MS)
    assert log.read(0, 0, max_records=2) == []


def test_threads_append_together(log: EventLog) -> None:
    def work(start: int) -> None:
        for n in range(0, 40, 4):
            log.append([record(n + i + start // 2) for i in range(4)])

    threads = [Thread(target=work, args=(start,)) for start in (0, 40, 80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = everything(log)
    appended = [n + start // 2 for start in (0, 40, 80) for n in range(40)]
    wanted = sorted(set(appended) if log.knows_ids else appended)
    assert [stored.offset for stored in found] == list(range(len(wanted)))
    assert sorted(int(stored.value[5:-1]) for stored in found) == wanted


def test_a_closed_log_says_so(log: EventLog) -> None:
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.append([record(1)])


def test_each_log_has_its_own_identity(opened: Opener) -> None:
    log = opened()
    assert len(log.identity) == 36
    assert log.identity == log.identity


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="lmdb, memory"):
        open_log(Settings(log="rabbit://x"), ManualClock(NOW))


Batch = st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.none(), Batch), max_size=12), limit=st.integers(1, 5))
def test_any_sequence_of_appends_and_reopens_equals_a_list(
    scheme: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[list[tuple[int, bool]] | None],
    limit: int,
) -> None:
    where = place(scheme, tmp_path_factory.mktemp("log"), request)
    small = Settings(disk_reserve_bytes=0).model_copy(update={"log_segment_bytes": 45_000} | where)
    log = open_log(small, ManualClock(NOW))
    model: list[bytes] = []
    ids: set[int] = set()
    for step in steps:
        if step is None and scheme != "memory":
            log.close()
            log = open_log(small, ManualClock(NOW))
        wanted: list[Position | None] = []
        for n, known in step or []:
            refused = known and n in ids and log.knows_ids
            wanted.append(None if refused else Position(0, len(model)))
            if wanted[-1] is not None:
                model.append(b'{"n":%d}' % n)
            ids |= {n} if known else set()
        assert log.append([record(n, known=known) for n, known in step or []]) == wanted
    assert [stored.value for stored in everything(log, max_records=limit)] == model
    assert [stored.offset for stored in everything(log)] == list(range(len(model)))
    log.close()
