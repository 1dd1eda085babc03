"""One record that landing cannot use never stops the others: it goes to the dead letters, whole, before the landing."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS
from isotherm.collect.dead import decode_letter
from isotherm.config import MIB
from isotherm.errors import Backpressure
from isotherm.eventlog.port import EventLog, Record, open_dead_log
from isotherm.land import assemble, books, columns, lander, late, ledger, parts, rowhash, scan, shapes, store
from isotherm.land.aside import folder_of
from isotherm.land.dead import CONSUMER, DeadBin
from isotherm.land.lander import Lander
from isotherm.land.letters import Place, Wanted, count, drop, forget, look, one, replayed
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.land.scan_waits import NotLanded
from isotherm.land.store import STEPS
from isotherm.store.db import reading, writing
from isotherm.store.tables import dead_letters

Make = Callable[..., World]
POISON = "poison"


@pytest.fixture
def dead(world: World) -> Iterator[EventLog]:
    settings = world.settings.model_copy(update={"dead_log": f"lmdb://{world.settings.data.absolute()}/log-dead"})
    with closing(open_dead_log(settings, world.clock)) as log:
        yield log


def lander_of(world: World, dead: EventLog | None, checkpoint: Callable[[str], None] = lambda _: None) -> Lander:
    return Lander(world.settings, world.log, world.lake, world.manifest, world.clock, checkpoint, dead=dead)


def sums(world: World) -> dict[str, int]:
    rows = ledger.read(world.engine)
    assert ledger.check(rows) == []
    return ledger.sums(rows)


def strange(value: bytes) -> Record:
    return Record("k", value, NOW)


ENVELOPE = msgspec.json.decode(record("a", "b9", [event(NOW)]).value)
UNUSABLE = [
    b"nonsense",
    b"\xff\xfe\x00",
    b"",
    b"[1]",
    msgspec.json.encode(ENVELOPE | {"v": 2}),
    msgspec.json.encode(ENVELOPE | {"client_id": "../a"}),
    msgspec.json.encode(ENVELOPE | {"received_at": -1}),
    msgspec.json.encode(ENVELOPE | {"skew_ms": 10**30}),
    msgspec.json.encode(ENVELOPE | {"positions": [0, 1]}),
    msgspec.json.encode(ENVELOPE | {"positions": [1 << 40]}),
    msgspec.json.encode(ENVELOPE | {"counts": {"accepted": {"0": 1 << 70}}}),
    msgspec.json.encode(ENVELOPE | {"counts": {"duplicate": -5}}),
    msgspec.json.encode(ENVELOPE | {"counts": {"rejected": {"bad_time": 10**30}}}),
    b"x" * 1_500_000,
]


@pytest.mark.parametrize("value", UNUSABLE, ids=range(len(UNUSABLE)))
def test_an_unusable_record_is_kept_whole_and_the_others_land(world: World, dead: EventLog, value: bytes) -> None:
    world.append(record("a", "b1", [event(NOW)]), strange(value), record("a", "b2", [event(NOW), event(NOW)]))
    lander_of(world, dead).drain()
    assert world.identities() == [("a", "b1", 0), ("a", "b2", 0), ("a", "b2", 1)]
    assert (sums(world)["landed"], sums(world)["dead"]) == (3, 1)
    [entry] = look(dead, world.engine, Wanted())
    letter = one(dead, entry.place)
    assert letter.content == value
    assert (letter.stage, letter.reason, letter.bytes) == ("land", "unusable", len(value))
    assert letter.origin is not None
    assert (letter.origin.log, letter.origin.partition, letter.origin.offset) == (world.log.identity, 0, 1)


def breaks(real: Callable[..., Any], found: Callable[..., bool]) -> Callable[..., Any]:
    """The function, and a fault of its own where it meets the poison."""

    def broken(*given: Any, **named: Any) -> Any:
        if found(*given, **named):
            raise ZeroDivisionError("no such thing")
        return real(*given, **named)

    return broken


def in_table(table: Any, *_: Any) -> bool:
    return POISON in table.column("screen_id").to_pylist()


STAGES: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "decoding": (columns, "shape_of", lambda envelope, _: envelope.screen_id == POISON),
    "cutting into parts": (assemble, "split", lambda rows: POISON in rows.facts.column("screen_id").to_pylist()),
    "judging lateness": (late, "divide", lambda judged, *_: any(in_table(part.table) for part, _ in judged)),
    "hashing": (rowhash, "of_table", in_table),
    "shapes": (shapes, "fold", lambda _, said: any(shape.screen_id == POISON for shape in said.values())),
    "naming files": (parts, "path_of", lambda *_: False),
    "books": (books.Books, "add_rows", lambda _, part, *__: in_table(part.table)),
    "encoding": (lander, "encode", in_table),
}


def break_at(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    module, name, found = STAGES[stage]
    if stage == "naming files":
        monkeypatch.setattr(parts, name, breaks(parts.path_of, lambda client_id, *_: client_id == POISON))
        return
    broken = breaks(getattr(module, name), found)
    for where in (lander, scan, store) if stage == "encoding" else (module,):
        monkeypatch.setattr(where, name, broken)


@pytest.mark.parametrize("stage", STAGES)
def test_a_record_that_breaks_landing_somewhere_costs_only_itself(
    world: World, dead: EventLog, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    break_at(monkeypatch, stage)
    client = POISON if stage == "naming files" else "a"
    good = [record("a", f"b{n}", [event(NOW + n)], batch={"viewport": {"w": 5, "h": 6}}) for n in range(7)]
    bad = record(client, "bad", [event(NOW), event(NOW)], screen_id=POISON, batch={"viewport": {"w": 5, "h": 6}})
    world.append(*good[:4], bad, *good[4:])
    mine = lander_of(world, dead)
    mine.drain()
    assert world.identities() == [("a", f"b{n}", 0) for n in range(7)]
    assert (sums(world)["landed"], sums(world)["dead"]) == (7, 2)
    [entry] = look(dead, world.engine, Wanted(client_id=client))
    assert one(dead, entry.place).content == bad.value
    assert entry.head.reason == ("unusable" if stage == "decoding" else "lander_error")
    world.append(record("a", "later", [event(NOW)]))
    mine.drain()
    assert ("a", "later", 0) in world.identities()
    assert world.objects() == {file.path for file in world.manifest.listed()}


def test_a_fault_of_the_surroundings_kills_no_record(
    world: World, dead: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(record("a", "b1", [event(NOW)]))
    with monkeypatch.context() as broken:
        broken.setattr(rowhash, "of_table", breaks(rowhash.of_table, lambda _: True))
        broken.setattr(lander, "plan", _no_disk)
        with pytest.raises(OSError, match="no space"):
            lander_of(world, dead).drain()
    lander_of(world, dead).drain()
    assert (sums(world)["landed"], sums(world)["dead"]) == (1, 0)
    assert look(dead, world.engine, Wanted()) == []


def _no_disk(*_: Any) -> None:
    raise OSError(28, "no space left")


def test_a_landing_that_dies_and_comes_again_keeps_the_letter_once(world: World, dead: EventLog) -> None:
    world.append(strange(b"nonsense"), record("a", "b1", [event(NOW)]))

    def die(step: str) -> None:
        if step == "written":
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            lander_of(world, dead, die).drain()
        assert len(look(dead, world.engine, Wanted())) == 1
    lander_of(world, dead).drain()
    assert dead.head(0) == 1
    assert (sums(world)["landed"], sums(world)["dead"]) == (1, 1)


def test_a_line_of_a_sink_s_file_is_kept_once_too(world: World, dead: EventLog, tmp_path: Path) -> None:
    root = tmp_path / "sink"
    root.mkdir()
    settings = world.settings.model_copy(update={"scan": root.as_uri()})
    lines = [record("a", "b1", [event(NOW)]).value, b"nonsense", record("a", "b2", [event(NOW)]).value]
    (root / "one.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def scanner(checkpoint: Callable[[str], None]) -> Scanner:
        source = open_source(settings)
        return Scanner(settings, world.log, source, world.lake, world.manifest, world.clock, checkpoint, dead=dead)

    def die(step: str) -> None:
        if step == "written":
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            scanner(die).step()
    assert scanner(lambda _: None).step() == 2
    assert world.identities() == [("a", "b1", 0), ("a", "b2", 0)]
    assert dead.head(0) == 1
    [entry] = look(dead, world.engine, Wanted(stage="scan"))
    assert one(dead, entry.place).content == b"nonsense"
    assert "one.jsonl, line 2" in entry.head.detail
    assert sums(world)["dead"] == 1


def scanner_of(world: World, dead: EventLog, root: Path, checkpoint: Callable[[str], None] = lambda _: None) -> Scanner:
    settings = world.settings.model_copy(update={"scan": root.as_uri()})
    source = open_source(settings)
    return Scanner(settings, world.log, source, world.lake, world.manifest, world.clock, checkpoint, dead=dead)


def sink_file(root: Path, client: str = "a", good: int = 7) -> bytes:
    """A file with garbage, and with a line in the middle that breaks landing, which is returned; no newline at the
    end, as one sink writes them."""
    root.mkdir()
    shape = {"viewport": {"w": 5, "h": 6}}
    lines = [record("a", f"b{n}", [event(NOW + n)], batch=shape).value for n in range(good)]
    bad = record(client, "bad", [event(NOW), event(NOW)], screen_id=POISON, batch=shape).value
    (root / "one.jsonl").write_bytes(b"\n".join([*lines[:4], bad, b"nonsense", *lines[4:]]))
    return bad


@pytest.mark.parametrize("stage", STAGES)
def test_a_line_that_breaks_landing_somewhere_costs_only_itself(
    world: World, dead: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    break_at(monkeypatch, stage)
    client = POISON if stage == "naming files" else "a"
    bad = sink_file(tmp_path / "sink", client)
    scanner = scanner_of(world, dead, tmp_path / "sink")
    assert scanner.step() == 7
    assert world.identities() == [("a", f"b{n}", 0) for n in range(7)]
    # The line of garbage says of no event; it counts as one.
    assert (sums(world)["landed"], sums(world)["dead"]) == (7, 3)
    [entry] = look(dead, world.engine, Wanted(client_id=client))
    letter = one(dead, entry.place)
    assert (letter.content, letter.stage, letter.bytes, letter.time) == (bad, "scan", len(bad), NOW)
    assert letter.reason == ("unusable" if stage == "decoding" else "lander_error")
    assert "one.jsonl, line 5" in letter.detail
    assert ("no such thing" in letter.detail) == (stage != "decoding")
    assert scanner.status().waiting == []
    assert world.objects() == {file.path for file in world.manifest.listed()}
    assert scanner_of(world, dead, tmp_path / "sink").step() == 0


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("at", [step for step in STEPS if step != "committed"])
def test_a_scan_that_dies_around_such_a_line_counts_it_once(
    world: World, dead: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, nth: int
) -> None:
    break_at(monkeypatch, "encoding")
    sink_file(tmp_path / "sink")
    steps: list[str] = []

    def die(step: str) -> None:
        steps.append(step)
        if steps.count(at) == nth:
            raise KeyboardInterrupt

    if at in ("written", "landed") and nth == 2:
        # Only the second try comes so far, and it does once.
        scanner_of(world, dead, tmp_path / "sink", die).drain()
        assert steps == ["dead", "pending", "dead", "pending", "written", "landed"]
    else:
        with pytest.raises(KeyboardInterrupt):
            scanner_of(world, dead, tmp_path / "sink", die).drain()
        scanner_of(world, dead, tmp_path / "sink").drain()
    assert world.identities() == [("a", f"b{n}", 0) for n in range(7)]
    assert (sums(world)["landed"], sums(world)["dead"]) == (7, 3)
    assert dead.head(0) == len(look(dead, world.engine, Wanted())) == 2


def test_a_file_that_was_written_anew_meanwhile_is_left_to_the_next_scan(
    world: World, dead: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink_file(tmp_path / "sink")
    file = tmp_path / "sink" / "one.jsonl"
    real = rowhash.of_table

    def broken(table: Any) -> Any:
        if in_table(table):
            file.write_bytes(record("a", "other", [event(NOW)]).value)
            raise ZeroDivisionError("no such thing")
        return real(table)

    monkeypatch.setattr(rowhash, "of_table", broken)
    scanner = scanner_of(world, dead, tmp_path / "sink")
    with pytest.raises(NotLanded, match="no such thing"):
        scanner.step()
    assert scanner.step() == 1
    assert world.identities() == [("a", "other", 0)]
    assert look(dead, world.engine, Wanted(reason="lander_error")) == []


class Refusing:
    """A log that takes nothing."""

    def __init__(self, real: EventLog) -> None:
        self._real = real

    def append(self, _: Any) -> Any:
        raise Backpressure("full")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize("full", [False, True])
def test_without_a_log_of_dead_letters_the_bytes_go_to_a_folder(world: World, dead: EventLog, full: bool) -> None:
    world.append(strange(b"nonsense"), record("a", "b1", [event(NOW)]))
    refusing: Any = Refusing(dead)
    lander_of(world, refusing if full else None).drain()
    [kept] = (world.settings.data / "dead").iterdir()
    assert kept.read_bytes() == b"nonsense"
    assert (sums(world)["landed"], sums(world)["dead"]) == (1, 1)


@pytest.mark.parametrize("logged", [False, True])
def test_what_is_in_the_folder_goes_by_its_days(world: World, dead: EventLog, logged: bool) -> None:
    folder = folder_of(world.settings)
    keeper = DeadBin(world.settings, dead if logged else None)
    for name, written_at in (("old.bin", NOW), ("half.bin#1", NOW), ("young.bin", NOW + DAY_MS), ("notes.txt", NOW)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (written_at / 1000, written_at / 1000))
    assert keeper.expire(NOW + 30 * DAY_MS) == []
    assert sorted(keeper.expire(NOW + 30 * DAY_MS + 1)) == ["half.bin#1", "old.bin"]
    assert {file.name for file in folder.iterdir()} == {"young.bin", "notes.txt"}


def test_a_folder_that_gives_nothing_back_keeps_the_log_from_nothing(
    world: World, dead: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.append([strange(b"nonsense")])
    keeper = DeadBin(world.settings, dead)
    monkeypatch.setattr("isotherm.land.dead.files_in", lambda _: (_ for _ in ()).throw(PermissionError("no")))
    with pytest.raises(PermissionError):
        keeper.expire(NOW + 31 * DAY_MS)
    assert dead.read(0, 0) == []


def test_what_became_of_letters_is_remembered_by_place(world: World, dead: EventLog) -> None:
    for number, client in enumerate(("a", "a", "b")):
        facts = {"v": 2, "client_id": client, "received_at": NOW + number}
        world.append(strange(msgspec.json.encode(ENVELOPE | facts)))
    lander_of(world, dead).drain()
    newest = look(dead, world.engine, Wanted())
    assert [(entry.head.client_id, entry.head.time) for entry in newest] == [("b", NOW + 2), ("a", NOW + 1), ("a", NOW)]
    assert len(look(dead, world.engine, Wanted(client_id="a"))) == 2
    assert len(look(dead, world.engine, Wanted(client_id="a"), 1)) == 1
    assert [entry.head.time for entry in look(dead, world.engine, Wanted(start=NOW + 1, end=NOW + 2))] == [NOW + 1]
    place = look(dead, world.engine, Wanted(client_id="b"))[0].place
    replayed(dead, world.engine, place, one(dead, place), NOW, 5)
    [done] = look(dead, world.engine, Wanted(state="replayed"))
    assert (done.place, done.accepted, done.changed_at) == (place, 5, NOW)
    waiting, done_with = ("land", "unusable", "waiting"), ("land", "unusable", "replayed")
    assert count(dead, world.engine, Wanted()) == {waiting: 2, done_with: 1}
    assert count(dead, world.engine, Wanted(client_id="a")) == {("land", "unusable", "waiting"): 2}
    assert Place.parse(str(place)) == place


def test_old_letters_go(tmp_path: Path, world: World, dead: EventLog) -> None:
    world.append(strange(b"nonsense"))
    lander_of(world, dead).drain()
    keeper = DeadBin(world.settings, dead)
    keeper.expire(NOW + 29 * DAY_MS)
    [old] = look(dead, world.engine, Wanted())
    drop(dead, world.engine, old.place, NOW)
    assert forget(dead, world.engine) == 0
    keeper.expire(NOW + 31 * DAY_MS)
    assert look(dead, world.engine, Wanted()) == []
    # What became of it goes with it; what became of a letter of another log, or of one that is there, stays.
    drop(dead, world.engine, Place(0, dead.head(0)), NOW)
    with writing(world.engine) as connection:
        other = {"log": "other", **old.place._asdict(), "state": "dropped", "changed_at": NOW}
        connection.execute(sa.insert(dead_letters).values(other))
    assert (forget(dead, world.engine), forget(dead, world.engine)) == (1, 0)
    with reading(world.engine) as connection:
        assert len(connection.execute(sa.select(dead_letters)).all()) == 2
    assert dead.status().consumers[CONSUMER] == {0: 1}
    assert world.settings.for_dead_letters().log_max_bytes == 1024 * MIB


def test_a_letter_reads_back_whatever_is_in_it(world: World, dead: EventLog) -> None:
    bodies = [b"", b"\0", "ä😀".encode(), bytes(range(256)) * 3, b"{}" * 100_000]
    world.append(*(strange(body + b"|" + str(n).encode()) for n, body in enumerate(bodies)))
    lander_of(world, dead).drain()
    stored = [decode_letter(found.value).content for found in dead.read(0, 0)]
    assert stored == [body + b"|" + str(n).encode() for n, body in enumerate(bodies)]


def test_every_count_of_letters_is_shown_before_the_first_one() -> None:
    fresh = "from isotherm import metrics; import isotherm.land.dead; print(metrics.render().decode())"
    shown = subprocess.run(
        [sys.executable, "-c", fresh], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for stage, reason in itertools.product(("land", "scan"), ("unusable", "lander_error")):
        assert f'isotherm_dead_letters_total{{reason="{reason}",stage="{stage}"}} 0.0' in shown
