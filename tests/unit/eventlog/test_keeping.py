"""Retention of a quiet log: what fills no segment goes by its days, too."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS

NOW = 1_770_000_000_000


class Host:
    """The host's clock (ms), as frames are stamped by it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        monkeypatch.setattr("isotherm.eventlog.writer.time", self)
        monkeypatch.setattr("isotherm.eventlog.keeper.time", self)

    def time_ns(self) -> int:
        return self.now * 1_000_000


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def expire(log: Any, now_ms: int) -> None:
    log.commit("lander", 0, log.head(0))
    log.expire(now_ms, {0: log.head(0)})


def age(log: Any, now_ms: int) -> int:
    """Of the oldest record."""
    return now_ms - log.read(0, 0, max_records=1)[0].timestamp


@pytest.mark.parametrize("days", [7, 30])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_record_a_day_goes_by_its_days(
    folder: Path, open_at: Any, make: Any, host: Host, days: int, restarted: bool
) -> None:
    log = open_at(folder, log_retention_days=days)
    for day in range(3 * days):
        log.append([make(day, at=host.now)])
        for _ in range(4):
            expire(log, host.now)
            host.now += 6 * HOUR_MS
        if restarted:
            log.close()
            log = open_at(folder, log_retention_days=days)
        assert age(log, host.now) <= (days + 2) * DAY_MS
    assert days <= len(log.read(0, 0)) <= days + 2
    assert len(log.status().segments) <= days + 2
    # Their ids go with them, and those of the others are known.
    kept = {stored.offset for stored in log.read(0, 0)}
    again = log.append([make(day, at=host.now) for day in range(3 * days)])
    assert [position is None for position in again] == [day in kept for day in range(3 * days)]


def test_what_is_not_landed_is_sealed_and_stays(folder: Path, open_at: Any, make: Any, host: Host) -> None:
    log = open_at(folder)
    for day in range(20):
        log.append([make(day, at=host.now)])
        log.commit("lander", 0, 0)
        log.expire(host.now, {0: 0})
        host.now += DAY_MS + 1
    assert [stored.offset for stored in log.read(0, 0)] == list(range(20))
    assert 10 <= len(log.status().segments) <= 20


def test_old_times_of_records_seal_no_segment_at_every_round(folder: Path, open_at: Any, make: Any, host: Host) -> None:
    log = open_at(folder, log_retention_days=30)
    for n in range(200):
        log.append([make(n, at=host.now - 3 * DAY_MS)])
        expire(log, host.now)
        host.now += 30 * MINUTE_MS
    assert len(log.status().segments) == 5


@pytest.mark.parametrize("leap", [400 * DAY_MS, -400 * DAY_MS])
def test_a_clock_that_leaps_and_is_set_right_seals_once_each_time(
    folder: Path, open_at: Any, make: Any, host: Host, leap: int
) -> None:
    """Retention follows a clock that is set back, and none that leaps ahead."""
    log, numbers, believed = open_at(folder), itertools.count(), NOW
    for moved in (0, leap, -leap):
        host.now += moved
        for _ in range(10):
            log.append([make(next(numbers), at=host.now)])
            believed = min(believed, host.now)
            expire(log, believed)
            host.now += 1000
    assert len(log.read(0, 0)) == 30
    assert len(log.status().segments) == 3


def test_a_log_kept_for_years_has_few_segments(folder: Path, open_at: Any, make: Any, host: Host) -> None:
    log = open_at(folder, log_retention_days=3650)
    for n in range(100):
        log.append([make(n, at=host.now)])
        expire(log, host.now)
        host.now += 10 * DAY_MS
    assert len(log.status().segments) <= 10


def test_appends_wait_for_no_look(folder: Path, open_at: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_at(folder)
    log.append([make(1, at=NOW)])

    def seal_if(*_: object) -> bool:
        raise AssertionError("the lock of appends was taken")

    monkeypatch.setattr("isotherm.eventlog.writer.Writer.seal_if", seal_if)
    expire(log, NOW + HOUR_MS)
    with pytest.raises(AssertionError):
        expire(log, NOW + 8 * DAY_MS)


def test_what_is_due_goes_where_no_segment_can_be_begun(
    folder: Path, open_at: Any, make: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk."""
    log = open_at(folder)
    for n in range(2):
        log.append([make(n, at=host.now)])
        expire(log, host.now)
        host.now += DAY_MS + 1
        expire(log, host.now)
    log.append([make(2, at=host.now)])
    host.now += 7 * DAY_MS

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isotherm.eventlog.writer.create_segment", full)
    with pytest.raises(OSError, match="No space"):
        expire(log, host.now)
    assert [stored.offset for stored in log.read(0, 0)] == [2]
    monkeypatch.undo()
    log.append([make(3, at=NOW)])
    assert log.head(0) == 4
