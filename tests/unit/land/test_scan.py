"""Landing the files of a sink: each record once, whatever the sink does with its files and whenever we die."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landing import NOW, World, event, record
from obstore.exceptions import PermissionDeniedError
from structlog.testing import capture_logs

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.config import Settings, load_settings
from isotherm.errors import ConfigError
from isotherm.eventlog.port import Record
from isotherm.land import ledger, scan
from isotherm.land.lake import Found, LakeUnavailable
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import Source, open_source
from isotherm.land.scan_text import Unreadable, lines_of, unpack
from isotherm.land.scan_waits import NotLanded
from isotherm.land.scan_watch import Watch, standing_still

HOUR = NOW - NOW % HOUR_MS


class Sink:
    """A world whose records lie in files below `root`, and its scanners."""

    def __init__(self, world: World, root: Path) -> None:
        self.world = world
        self.root = root
        self.settings = world.settings.model_copy(update={"scan": root.as_uri()})

    def scanner(self, checkpoint: Callable[[str], None] = lambda _: None) -> Scanner:
        world = self.world
        source = open_source(self.settings)
        return Scanner(self.settings, world.log, source, world.lake, world.manifest, world.clock, checkpoint)

    def write(self, path: str, *records: Record | bytes) -> Path:
        """A file as the S3 sink lays it out: one line each, gzip where the name says so."""
        text = b"".join((one if isinstance(one, bytes) else one.value) + b"\n" for one in records)
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(text) if path.endswith(".gz") else text)
        return target

    def sums(self) -> dict[str, int]:
        books = ledger.read(self.world.engine)
        assert ledger.check(books) == []
        return {name: events for name, events in ledger.sums(books).items() if events}


@pytest.fixture
def sink(world: World, tmp_path: Path) -> Sink:
    root = tmp_path / "sink"
    root.mkdir()
    return Sink(world, root)


def batch(name: str, events: int = 3, client_id: str = "shop", **more: Any) -> Record:
    return record(client_id, name, [event(HOUR + n) for n in range(events)], **more)


def rows(*names: str, events: int = 3, client_id: str = "shop") -> list[tuple[str, str, int]]:
    return sorted((client_id, name, n) for name in names for n in range(events))


def folder(client_id: str = "shop", name: str = "events-0-0000.jsonl.gz") -> str:
    return f"raw/dt=2026-11-18/hour=10/client_id={client_id}/{name}"


def test_files_of_a_sink_land_once_however_often_they_are_written(sink: Sink) -> None:
    again = batch("a", received_at=NOW + 5)
    sink.write(folder(), batch("a"), batch("b"))
    sink.write(folder(name="events-1-0007.jsonl.gz"), again, batch("c"))
    sink.write("flat.jsonl", batch("b"), batch("d"))
    (sink.root / "raw" / "_SUCCESS").write_bytes(b"")
    scanner = sink.scanner()
    assert scanner.step() == 12
    assert sink.world.identities() == rows("a", "b", "c", "d")
    # What was sent twice was accepted twice; so was, as far as can be told, what another file brings again.
    assert sink.sums() == {"received": 18, "accepted": 18, "landed": 12, "landing_duplicate": 6}
    sink.write(folder(), batch("a"), batch("b"))
    assert scanner.step() == 0
    assert sink.scanner().step() == 0
    assert sink.sums()["received"] == 18
    status = scanner.status()
    assert (status.files, status.lines, status.due, status.ignored, status.waiting) == (3, 6, 0, 1, [])


def test_a_file_that_grows_lands_its_new_lines_alone(sink: Sink) -> None:
    path = sink.write("grows.jsonl", batch("a"))
    scanner = sink.scanner()
    assert scanner.step() == 3
    torn = batch("b").value
    with path.open("ab") as file:
        file.write(torn[:50])
    assert scanner.step() == 0
    assert [one.path for one in scanner.status().waiting] == ["grows.jsonl"]
    later = sink.scanner()
    assert later.step() == 0
    assert "ends in the middle" in later.status().waiting[0].reason
    with path.open("ab") as file:
        file.write(torn[50:])
    assert scanner.step() == 3
    with path.open("ab") as file:
        file.write(b"\n\n" + batch("c").value + b"\n")
    assert scanner.step() == 3
    assert sink.world.identities() == rows("a", "b", "c")
    assert sink.sums() == {"received": 9, "accepted": 9, "landed": 9}
    offsets = sorted(set(sink.world.frame()["log_offset"]))
    assert offsets == [0, 1, 3]
    assert scanner.status().waiting == []


def test_a_file_that_is_packed_halfway_waits_until_it_is_whole(sink: Sink) -> None:
    path = sink.write(folder(), batch("a"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    sink.write(folder(name="other.jsonl.gz"), batch("b"))
    broken = sink.write(folder(name="broken.jsonl.gz"), batch("c"))
    broken.write_bytes(broken.read_bytes()[:20] + b"\xff" * 40)
    scanner = sink.scanner()
    assert scanner.step() == 3
    reasons = {one.path: one.reason for one in scanner.status().waiting}
    assert "ends in the middle" in reasons[folder()]
    assert "damaged" in reasons[folder(name="broken.jsonl.gz")]
    path.write_bytes(whole)
    assert scanner.step() == 3
    assert sink.world.identities() == rows("a", "b")


def test_a_line_of_garbage_is_a_dead_letter_and_stops_nothing(sink: Sink) -> None:
    sink.write("a.jsonl", batch("a"), b"garbage", b'{"v":1}', b"\xff\xfe", batch("b"))
    assert sink.scanner().step() == 6
    assert sink.world.identities() == rows("a", "b")
    assert sink.sums() == {"received": 9, "accepted": 9, "landed": 6, "dead": 3}
    kept = sorted(path.read_bytes() for path in (sink.world.settings.data / "dead").rglob("*.bin"))
    assert kept == sorted([b"garbage", b'{"v":1}', b"\xff\xfe"])


class Refusing:
    """A source that gives some files to nobody for now; `asked` are the tries for those."""

    def __init__(self, source: Source, refused: set[str], error: Exception) -> None:
        self._source, self.refused, self._error = source, refused, error
        self.asked: list[str] = []

    def where(self, path: str) -> str:
        return self._source.where(path)

    def found(self) -> Iterator[Found]:
        return self._source.found()

    def get(self, path: str) -> bytes:
        if path in self.refused:
            self.asked.append(path)
            raise self._error
        return self._source.get(path)


@pytest.mark.parametrize("error", [LakeUnavailable("archived"), PermissionDeniedError("archived")])
def test_a_file_that_cannot_be_read_stops_no_other_and_is_tried_again(sink: Sink, error: Exception) -> None:
    for name in "abc":
        sink.write(f"{name}.jsonl", batch(name))
    scanner = sink.scanner()
    scanner._source = source = Refusing(scanner._source, {"a.jsonl", "b.jsonl"}, error)
    with pytest.raises(NotLanded, match=r"a\.jsonl is not landed: .*archived"):
        scanner.step()
    assert sink.world.identities() == rows("c")
    status = scanner.status()
    assert (status.due, [one.path for one in status.waiting]) == (2, ["a.jsonl", "b.jsonl"])
    assert "archived" in status.waiting[0].reason
    source.refused = {"a.jsonl"}
    with pytest.raises(NotLanded):
        scanner.step()
    source.refused = set()
    assert scanner.step() == 3
    assert (scanner.status().due, scanner.status().waiting) == (0, [])
    assert sink.world.identities() == rows("a", "b", "c")


def test_many_files_that_fail_end_the_scan_and_keep_no_other_waiting(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "GIVE_UP", 2)
    for name in "abcd":
        sink.write(f"{name}.jsonl", batch(name))
    scanner = sink.scanner()
    scanner._source = source = Refusing(scanner._source, {f"{name}.jsonl" for name in "abc"}, LakeUnavailable("no"))
    for _ in range(2):
        with pytest.raises(NotLanded):
            scanner.step()
    assert source.asked == ["a.jsonl", "b.jsonl", "c.jsonl", "a.jsonl", "b.jsonl"]
    assert sink.world.identities() == rows("d")


def test_a_line_of_garbage_is_kept_once_however_often_its_file_is_tried(sink: Sink) -> None:
    sink.write("a.jsonl", b"garbage", batch("a"))

    def die(step: str) -> None:
        if step == "pending":
            raise LakeUnavailable("away")

    for _ in range(3):
        with pytest.raises(NotLanded, match="away"):
            sink.scanner(die).step()
    assert sink.scanner().step() == 3
    kept = [path.read_bytes() for path in (sink.world.settings.data / "dead").rglob("*.bin")]
    assert kept == [b"garbage"]


def test_the_envelope_counts_and_not_the_folder(sink: Sink) -> None:
    sink.write(folder("null"), batch("a"), batch("b", client_id="bank"))
    sink.write(folder("shop", "right.jsonl.gz"), batch("c"))
    scanner = sink.scanner()
    scanner.step()
    assert sink.world.identities() == sorted(rows("a", "c") + rows("b", client_id="bank"))
    assert scanner.status().misplaced == 2


def test_a_file_written_anew_days_later_brings_nothing_twice(sink: Sink) -> None:
    sink.write(folder(), batch("a"), batch("b"))
    scanner = sink.scanner()
    scanner.step()
    sink.world.clock.advance(3 * DAY_MS)
    scanner._upkeep.forget_ids(sink.world.clock.now_ms())
    sink.write(folder(), batch("b"), batch("a"), batch("c"))
    sink.write(folder(name="other-name.jsonl.gz"), batch("b"), batch("c", received_at=NOW + 1))
    assert scanner.step() == 3
    assert sink.world.identities() == rows("a", "b", "c")
    sink.sums()


def test_slices_of_a_batch_land_by_their_positions(sink: Sink) -> None:
    def part(positions: list[int], hour: int, received_at: int = NOW) -> Record:
        times = [event(hour + n) for n in positions]
        return record("shop", "split", times, positions=positions, received_at=received_at)

    sink.write("raw/hour=09/a.jsonl", part([0, 2], HOUR - HOUR_MS))
    sink.write("raw/hour=10/a.jsonl", part([1, 3], HOUR))
    # Another attempt, whose clock was corrected by another amount: event 2 is in the later hour.
    sink.write("raw/hour=10/b.jsonl", part([1, 2, 3, 4], HOUR, NOW + MINUTE_MS))
    assert sink.scanner().drain() == 5
    assert sink.world.identities() == rows("split", events=5)


class Died(BaseException):
    """As the process would: nothing is cleaned up by `except Exception`."""


@pytest.mark.parametrize("at", ["dead", "pending", "written", "landed"])
def test_death_at_any_step_lands_the_file_once(sink: Sink, at: str) -> None:
    sink.write(folder(), batch("a"), b"garbage", batch("b"))

    def die(step: str) -> None:
        if step == at:
            raise Died

    with pytest.raises(Died):
        sink.scanner(die).step()
    sink.scanner().drain()
    assert sink.world.identities() == rows("a", "b")
    assert sink.sums() == {"received": 7, "accepted": 7, "landed": 6, "dead": 1}


def test_of_two_scanners_one_lands_a_file(sink: Sink) -> None:
    for number in range(3):
        sink.write(folder(name=f"{number}.jsonl.gz"), batch(f"b{number}"))
    second = sink.scanner()
    landed: list[int] = []

    def meanwhile(step: str) -> None:
        if step == "written" and not landed:
            landed.append(second.drain())

    assert sink.scanner(meanwhile).drain() == 0
    assert landed == [9]
    assert sink.world.identities() == rows("b0", "b1", "b2")
    assert sink.sums() == {"received": 9, "accepted": 9, "landed": 9}


def test_a_log_has_one_kind_of_lander(sink: Sink, make_world: Callable[..., World]) -> None:
    sink.write(folder(), batch("a"))
    sink.scanner().step()
    with pytest.raises(ConfigError, match=r"landed from the files of a sink.*new topic"):
        sink.world.lander().step()
    other = make_world()
    other.append(batch("a"))
    other.lander().drain()
    with pytest.raises(ConfigError, match="landed from the log itself"):
        Sink(other, sink.root).scanner().step()


@pytest.mark.parametrize("source", ["ftp://x/y", "file:///nowhere/at/all"])
def test_a_source_that_cannot_be_is_told(source: str) -> None:
    with pytest.raises(ConfigError, match=r"^scan: "):
        open_source(Settings(log="memory://", scan=source))


def test_a_sink_of_the_embedded_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scan: a sink's files come from a Kafka log"):
        load_settings(data=tmp_path, scan="file:///tmp")


def test_a_sink_that_stands_still_is_told_by_its_offsets(world: World) -> None:
    watch = Watch(world.log, "connect-raw", world.clock, still_ms=10 * MINUTE_MS)
    assert watch.look().problem is None
    world.append(batch("a"), batch("b"))
    world.clock.advance(11 * MINUTE_MS)
    assert "no sink has committed offsets as connect-raw" in str(watch.look().problem)
    world.log.commit("connect-raw", 0, 1)
    moved = watch.look()
    assert (moved.lag, moved.still_ms, moved.problem) == (1, 0, None)
    world.clock.advance(9 * MINUTE_MS)
    assert watch.look().problem is None
    world.clock.advance(2 * MINUTE_MS)
    assert "have not moved for 660 s, while 1 records wait" in str(watch.look().problem)
    world.log.commit("connect-raw", 0, 2)
    world.clock.advance(60 * MINUTE_MS)
    assert watch.look().problem is None


def test_a_sink_that_stands_still_is_logged_once(sink: Sink) -> None:
    upkeep = sink.scanner()._upkeep
    with capture_logs() as logs:
        for committed in (0, 1):
            sink.world.append(batch(f"b{committed}"), batch(f"c{committed}"))
            sink.world.log.commit("connect-isotherm-raw", 0, committed)
            for _ in range(3):
                upkeep._look()
                sink.world.clock.advance(11 * MINUTE_MS)
    assert [entry["event"] for entry in logs] == ["the sink stands still"] * 2


def test_standing_still_ends_as_soon_as_offsets_move(world: World) -> None:
    world.append(batch("a"), batch("b"))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        world.clock.advance(int(seconds * 1000))
        if len(waits) == 3:
            world.log.commit("connect-raw", 0, 1)

    assert standing_still(world.log, "connect-raw", world.clock, 60, wait) is None
    assert len(waits) == 3
    waits[:] = [0.0] * 10
    assert "have not moved for 60 s" in str(standing_still(world.log, "connect-raw", world.clock, 60, wait))


def test_the_log_is_not_expired_before_the_sink_has_begun(sink: Sink) -> None:
    world, asked = sink.world, list[Any]()
    world.log.expire = lambda *given: asked.append(given) or []  # type: ignore[method-assign,func-returns-value]
    world.log.commit("windows", 0, 0)
    upkeep = sink.scanner()._upkeep
    upkeep._look()
    upkeep.expire_log(NOW)
    assert asked == []
    world.log.commit("connect-isotherm-raw", 0, 2)
    upkeep._look()
    upkeep.expire_log(NOW)
    assert asked == [(NOW, {0: 2})]


JSON_LINES = st.lists(st.sampled_from([b"", b"  ", b'{"a":1}', b"[1,2]", b'"x y"', b"no json"]), max_size=6)


@settings(deadline=None)
@given(JSON_LINES, JSON_LINES)
def test_reading_in_two_goes_gives_the_lines_of_one(first: Sequence[bytes], second: Sequence[bytes]) -> None:
    begun = b"".join(line + b"\n" for line in first)
    whole = begun + b"".join(line + b"\n" for line in second)
    one = lines_of(begun, 0, 0)
    two = lines_of(whole, one.end_line, one.end_byte)
    expected = [(n, line) for n, line in enumerate(whole.split(b"\n")) if line.strip()]
    assert [*one.values, *two.values] == expected
    assert (two.end_byte, two.torn) == (len(whole), False)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=3), st.data())
def test_unpacking_gives_all_or_says_why(members: list[bytes], data: st.DataObject) -> None:
    packed = b"".join(map(gzip.compress, members))
    assert unpack(packed) == b"".join(members)
    ends = {len(b"".join(map(gzip.compress, members[:n]))) for n in range(1, len(members) + 1)}
    cut = data.draw(st.integers(2, len(packed)).filter(lambda n: n not in ends))
    with pytest.raises(Unreadable):
        unpack(packed[:cut])


def test_more_than_can_be_held_is_not_unpacked() -> None:
    with pytest.raises(Unreadable, match="more than 1000 bytes"):
        unpack(gzip.compress(b"x" * 1001), 1000)
    with pytest.raises(Unreadable, match="more than 1000 bytes"):
        unpack(b"x" * 1001, 1000)
    assert len(unpack(gzip.compress(b"x" * 1000), 1000)) == 1000


def test_a_json_line_needs_no_newline_at_the_end() -> None:
    assert lines_of(b'{"a":1}\n{"b":2}', 0, 0) == ([(0, b'{"a":1}'), (1, b'{"b":2}')], 2, 15, False)
    assert lines_of(b'{"a":1}\n{"b":', 0, 0) == ([(0, b'{"a":1}')], 1, 8, True)
