"""What landing could not use is dead in the ledger until its letter was replayed whole; the sums always close."""

from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import msgspec
import pytest
import sqlalchemy as sa
from landing import NOW, World, event, record

from isotherm.clock import HOUR_MS
from isotherm.collect.dead import Stage, letter
from isotherm.eventlog.port import EventLog, Record, open_dead_log
from isotherm.events import FLAG_AGAIN, FLAG_IMPORT
from isotherm.land import ledger
from isotherm.land.lander import Lander
from isotherm.land.letters import Entry, Wanted, drop, look, one, replayed
from isotherm.land.recovered import take_back
from isotherm.rollup import audit
from isotherm.store.db import reading, writing
from isotherm.store.tables import ledger_screens

EVENTS = [event(NOW, 0.1), event(NOW, 0.2), event(NOW - HOUR_MS, 0.3)]
Screens = dict[tuple[str, str, int], tuple[int, int, int]]


@pytest.fixture
def dead(world: World) -> Iterator[EventLog]:
    settings = world.settings.model_copy(update={"dead_log": f"lmdb://{world.settings.data.absolute()}/log-dead"})
    with closing(open_dead_log(settings, world.clock)) as log:
        yield log


def unusable(batch_id: str, screen_id: str = "home") -> Record:
    """A record of three events that this version cannot read; one more was rejected at the door."""
    good = record("a", batch_id, EVENTS, screen_id=screen_id, rejected={"bad_time": 1})
    return Record(good.key, msgspec.json.encode(msgspec.json.decode(good.value) | {"v": 9}), NOW, good.id)


def sent_again(world: World, batch_id: str) -> Record:
    """What the door makes of the letter's replay: the log is told no id."""
    made = record("a", batch_id, EVENTS, flags=(FLAG_IMPORT, FLAG_AGAIN), received_at=world.clock.now_ms())
    return Record(made.key, made.value, made.timestamp)


def land(world: World, dead: EventLog, *records: Record) -> None:
    world.append(*records)
    Lander(world.settings, world.log, world.lake, world.manifest, world.clock, dead=dead).drain()


def note(world: World, dead: EventLog, entry: Entry) -> None:
    replayed(dead, world.engine, entry.place, one(dead, entry.place), world.clock.now_ms(), len(EVENTS))


def sums(world: World) -> dict[str, int]:
    """The ledger's sums by hour of receipt, which close; so do those by event hour."""
    rows = ledger.read(world.engine)
    assert ledger.check(rows) == []
    with reading(world.engine) as connection:
        for hour in audit.event_hours(connection, audit.EVERYTHING):
            assert hour.accepted == hour.landed + hour.landing_duplicate + hour.dead
    found = ledger.sums(rows)
    return {name: found[name] for name in ("received", "accepted", "rejected", "landed", "landing_duplicate", "dead")}


def screens(world: World) -> Screens:
    """(accepted, landed, dead) by client, screen and event hour, without rows of nothing."""
    table = ledger_screens.c
    with reading(world.engine) as connection:
        rows = connection.execute(
            sa.select(table.client_id, table.screen_id, table.hour, table.accepted, table.landed, table.dead)
        ).all()
    return {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in rows if any(row[3:])}


HOUR = NOW // HOUR_MS * HOUR_MS


def test_a_record_that_was_replayed_is_dead_no_longer_and_counts_once(world: World, dead: EventLog) -> None:
    land(world, dead, unusable("b1"), unusable("b2", "cart"))
    assert sums(world) == {
        "received": 8, "accepted": 6, "rejected": 2, "landed": 0, "landing_duplicate": 0, "dead": 6,
    }  # fmt: skip
    assert screens(world)["a", "home", HOUR] == (2, 0, 2)

    world.clock.advance(2 * HOUR_MS)
    of_home = next(entry for entry in look(dead, world.engine, Wanted()) if b"home" in one(dead, entry.place).content)
    land(world, dead, sent_again(world, "b1"))
    for _ in range(3):
        note(world, dead, of_home)
        assert sums(world) == {
            "received": 8, "accepted": 6, "rejected": 2, "landed": 3, "landing_duplicate": 0, "dead": 3,
        }  # fmt: skip
    # A mark says of each screen what is dead of it: all of this one has landed, nothing of the other.
    assert screens(world) == {
        ("a", "home", HOUR): (2, 2, 0),
        ("a", "home", HOUR - HOUR_MS): (1, 1, 0),
        ("a", "cart", HOUR): (2, 0, 2),
        ("a", "cart", HOUR - HOUR_MS): (1, 0, 1),
    }


def test_a_letter_that_is_dropped_stays_dead_until_it_is_replayed_after_all(world: World, dead: EventLog) -> None:
    land(world, dead, unusable("b1"))
    [entry] = look(dead, world.engine, Wanted())
    drop(dead, world.engine, entry.place, NOW)
    assert sums(world)["dead"] == 3
    land(world, dead, sent_again(world, "b1"))
    for _ in range(2):
        note(world, dead, entry)
        drop(dead, world.engine, entry.place, NOW)
        assert (sums(world)["dead"], sums(world)["accepted"]) == (0, 3)
    [dropped] = look(dead, world.engine, Wanted(state="dropped"))
    assert dropped.accepted == 3


def test_two_who_replay_one_letter_take_its_events_out_once(world: World, dead: EventLog) -> None:
    land(world, dead, unusable("b1"), unusable("b2"))
    entry = look(dead, world.engine, Wanted())[0]
    both = [Thread(target=note, args=(world, dead, entry)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sums(world)["dead"] == 3


def test_what_nobody_could_read_is_one_event_of_nobody(world: World, dead: EventLog) -> None:
    land(world, dead, Record("k", b"nonsense", NOW))
    assert sums(world)["dead"] == 1
    [entry] = look(dead, world.engine, Wanted())
    note(world, dead, entry)
    assert (sums(world)["dead"], sums(world)["received"], screens(world)) == (0, 0, {})


def test_only_what_counts_as_dead_is_taken_out(world: World, dead: EventLog) -> None:
    land(world, dead, record("a", "b0", EVENTS))
    before = sums(world)
    value = unusable("b1").value
    others: list[tuple[Stage, str | None]] = [("collect", "a"), ("land", "a"), ("scan", None)]
    for stage, client_id in others:
        # Of the door, or of a landing that never came to its end: the ledger knows nothing of it.
        one_letter = letter(value, reason="unusable", stage=stage, time=NOW, client_id=client_id)
        with writing(world.engine) as connection:
            assert not take_back(connection, one_letter)
    assert sums(world) == before
