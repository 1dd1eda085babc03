"""Landing that is behind: one step at a time, what the log has lost, and what is told of it."""

import threading

import msgspec
import pytest
from landing import NOW, LookedAt, World, event, record

from isotherm.clock import DAY_MS, MINUTE_MS
from isotherm.eventlog.port import Record, open_log
from isotherm.land.lander import Lander
from isotherm.land.landing import Gap
from isotherm.metrics import REGISTRY


def test_records_lost_at_the_end_are_passed_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(6)))
    lost = 0

    def tail_of(offset: int) -> None:
        nonlocal lost
        lost = offset

    read, status = world.log.read, world.log.status
    monkeypatch.setattr(
        world.log, "read", lambda p, offset, **limits: [r for r in read(p, offset, **limits) if r.offset < 2]
    )
    monkeypatch.setattr(world.log, "status", lambda: msgspec.structs.replace(status(), tail={0: lost}))
    before = gap_records()
    lander = world.lander()
    # What cannot be read and stands behind the tail are marks of transactions: nothing is lost.
    assert lander.drain() == 2
    assert (lander.status().gaps, lander.status().lag) == ([], 4)
    tail_of(5)
    world.clock.advance(MINUTE_MS)
    lander.drain()
    assert (lander.status().gaps, lander.status().lag) == ([Gap(0, 2, 4, NOW + MINUTE_MS)], 1)
    tail_of(6)
    # Another lander, after a restart: what was told stays told.
    again = world.lander()
    again.step()
    world.clock.advance(MINUTE_MS)
    again.step()
    assert world.lander().status().lag == 0
    found = [(gap.first, gap.last) for gap in world.lander().status().gaps]
    assert sorted(found) == [(2, 4), (5, 5)]
    assert gap_records() - before == 4
    assert world.identities() == [("a", "b0", 0), ("a", "b1", 0)]


def test_a_gap_that_two_landers_see_is_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(3)))
    read = world.log.read
    monkeypatch.setattr(
        world.log, "read", lambda p, offset, **limits: [r for r in read(p, offset, **limits) if r.offset == 2]
    )
    before = gap_records()
    other = world.lander()
    met: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "written" and not met:
            met.append(step)
            other.drain()

    lander = world.lander(meanwhile)
    lander.drain()
    assert met
    assert [(gap.first, gap.last) for gap in lander.status().gaps] == [(0, 1)]
    assert gap_records() - before == 2


def gap_records() -> float:
    return REGISTRY.get_sample_value("isotherm_log_gap_records_total") or 0.0


def test_one_step_lands_once_and_asks_again_what_is_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    load = [record("a", f"b{i}", [event(NOW, attrs={"x": "y" * 1000})] * 100) for i in range(40)]
    assert sum(len(one.value) for one in load) > 4 * world.settings.land_flush_bytes
    world.append(*load)
    monkeypatch.setattr("isotherm.land.lander._READ_RECORDS", 1)
    lander = world.lander()
    assert 0 < lander.step() < 2_000
    left = lander.status().lag
    with monkeypatch.context() as patched:
        patched.setattr(world.log, "assigned", lambda _: [])
        assert lander.step() == 0
    assert lander.status().lag == left
    lander.drain()
    assert len(world.identities()) == 4_000


def test_a_full_lander_does_not_pause_although_no_row_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.land.lander._READ_RECORDS", 1)
    world.append(*(Record("k", b"x" * 400_000, NOW) for _ in range(8)))
    lander = world.lander()
    lags: list[int] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout:
                lags.append(lander.status().lag)
                self.set()
            return self.is_set()

    lander.run(Stop())
    assert lags == [2]


def test_the_lag_is_measured_without_anybody_asking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lag() -> float | None:
        return REGISTRY.get_sample_value("isotherm_log_lag_records", {"consumer": "land"})

    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(5)))
    lander = world.lander()
    lander.step()
    assert lag() == 5
    lander.step(force=True)
    assert lag() == 0
    world.append(record("a", "b9", [event(NOW)]))
    monkeypatch.setattr(world.lake, "put", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        lander.step(force=True)
    assert lag() == 1


def test_only_the_landing_thread_looks_at_its_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody tells by it whether landing hangs; upkeep, which does not hang, must not hide that."""
    monkeypatch.setattr("isotherm.land.upkeep._PERIOD_S", 0.001)
    rounds = threading.Semaphore(0)
    monkeypatch.setattr("isotherm.land.lander.Upkeep.once", lambda *_: rounds.release())
    stop = LookedAt()
    thread = threading.Thread(target=world.lander().run, args=(stop,), name="landing", daemon=True)
    thread.start()
    for _ in range(3):
        assert rounds.acquire(timeout=30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert stop.looked == {"landing"}


def test_the_oldest_record_s_age_is_its_own_word(world: World) -> None:
    """With log_timestamp = event the log stamps records with their events' time, which may be weeks back."""
    made = record("a", "b1", [event(NOW)], received_at=NOW - 5_000)
    world.append(msgspec.structs.replace(made, timestamp=NOW - 20 * DAY_MS))
    assert world.lander().status().oldest_unlanded_ms == 5_000


def test_dead_records_of_two_logs_are_both_kept(world: World) -> None:
    world.append(Record("k", b"nonsense", NOW))
    world.lander().drain()
    other = open_log(world.settings, world.clock)
    other.append([Record("k", b"more nonsense", NOW)])
    Lander(world.settings, other, world.lake, world.manifest, world.clock).drain()
    other.close()
    kept = (world.settings.data / "dead").iterdir()
    assert sorted(path.read_bytes() for path in kept) == [b"more nonsense", b"nonsense"]
