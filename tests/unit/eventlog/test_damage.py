"""Damaged, foreign and missing files at start: a clear result, nothing wrong is read, the process lives."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from isotherm.errors import ConfigError
from isotherm.eventlog.frame import pack, seal

SEGMENT_BYTES = 120_000
RECORDS = 300


def text(n: int) -> str:
    return f"{n} " + Random(n).randbytes(300).hex()


@pytest.fixture
def sound(tmp_path: Path, open_at, make) -> Path:
    """A log of several segments, the last one active, with one consumer."""
    folder = tmp_path / "sound"
    log = open_at(folder, log_segment_bytes=SEGMENT_BYTES)
    for n in range(0, RECORDS, 3):
        group = [make(i) for i in range(n, n + 3)]
        log.append([type(one)(one.key, text(i).encode(), one.timestamp, one.id) for i, one in enumerate(group, n)])
    log.commit("lander", 0, 17)
    assert len(log.status().segments) >= 3
    log.close()
    return folder


@pytest.fixture
def inspect(run):
    def look(folders: list[Path]) -> list[dict[str, Any]]:
        child = run("inspector.py", SEGMENT_BYTES)
        out, error = child.communicate("\n".join(map(str, folders)), timeout=200)
        assert child.returncode == 0, error[-2000:]
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    return look


def copies(sound: Path, count: int) -> list[Path]:
    return [Path(shutil.copytree(sound, sound.with_name(f"copy{n}"))) for n in range(count)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("0*.lmdb"))


def assert_sane(seen: dict[str, Any], *, lost_at_most: int = RECORDS) -> None:
    """What is read is right and in order, known ids stay known, and offsets are never given out twice."""
    assert all(value == text(offset) for offset, value in seen["records"])
    offsets = [offset for offset, _ in seen["records"]]
    assert offsets == sorted(set(offsets))
    assert RECORDS - len(offsets) <= lost_at_most
    assert seen["repeated"] == 0
    assert seen["new"][0] >= max(RECORDS, seen["head"])
    assert seen["new"][1] == "new"
    if len(offsets) < RECORDS:
        assert seen["set_aside"]


def test_a_copied_log_is_checked_and_found_whole(sound: Path, inspect) -> None:
    (seen,) = inspect(copies(sound, 1))
    assert_sane(seen, lost_at_most=0)
    assert (seen["set_aside"], seen["consumers"], seen["new"][0]) == ([], {"lander": {"0": 17}}, RECORDS)


def test_bit_flips_anywhere_lose_no_more_than_their_frame(sound: Path, inspect) -> None:
    folders = copies(sound, 60)
    random = Random(7)
    for n, folder in enumerate(folders):
        path = segments(folder)[n % 3 - 1]
        raw = bytearray(path.read_bytes())
        # Half of them in the first pages, where LMDB's own structure lies.
        at = (
            random.randrange(len(raw))
            if n % 2
            else random.choice([random.randrange(160), 4096 + random.randrange(160)])
        )
        raw[at] ^= 1 << random.randrange(8)
        path.write_bytes(raw)
    for seen, folder in zip(inspect(folders), folders, strict=True):
        if "error" in seen:
            assert str(folder) in seen["error"]
        else:
            assert_sane(seen, lost_at_most=3)


def test_flips_in_every_kind_of_page(sound: Path, inspect) -> None:
    """One page after the other of the active segment is overwritten with noise."""
    pages = segments(sound)[-1].stat().st_size // 4096
    folders = copies(sound, pages)
    for n, folder in enumerate(folders):
        with segments(folder)[-1].open("r+b") as file:
            file.seek(4096 * n)
            file.write(Random(n).randbytes(4096))
    for seen in inspect(folders):
        # Small frames share a page, and older copies of the page may still hold them.
        assert_sane(seen, lost_at_most=40)


@pytest.mark.parametrize("which", [0, -1])
def test_a_truncated_file_is_set_aside_and_salvaged(sound: Path, inspect, which: int) -> None:
    size = segments(sound)[which].stat().st_size
    lengths = [0, 1, 4095, 4096, 8192, size // 2, size - 4096, size - 1]
    folders = copies(sound, len(lengths))
    for length, folder in zip(lengths, folders, strict=True):
        with segments(folder)[which].open("r+b") as file:
            file.truncate(length)
    seen = inspect(folders)
    for one, folder in zip(seen, folders, strict=True):
        assert_sane(one)
        name = segments(sound)[which].name
        assert one["set_aside"] == [f"{name}.damaged-1"]
        assert (folder / f"{name}.damaged-1").exists()
    kept = [len(one["records"]) for one in seen]
    assert kept[0] < kept[5] <= kept[-1]


def test_a_foreign_file_in_place_of_a_segment_is_set_aside(sound: Path, inspect) -> None:
    folders = copies(sound, 3)
    segments(folders[0])[1].write_text("this is a shopping list\n" * 1000)
    segments(folders[1])[-1].write_bytes(Random(1).randbytes(50_000))
    segments(folders[2])[0].write_bytes((folders[2] / "control.lmdb").read_bytes())
    for seen in inspect(folders):
        assert_sane(seen)
        assert len(seen["set_aside"]) == 1


def test_a_segment_of_another_log_is_refused_by_name(sound: Path, tmp_path: Path, open_at, make, inspect) -> None:
    other = open_at(tmp_path / "other")
    other.append([make(1)])
    other.close()
    (folder,) = copies(sound, 1)
    shutil.copy(segments(tmp_path / "other")[0], segments(folder)[0])
    (seen,) = inspect([folder])
    assert str(segments(folder)[0]) in seen["error"]


def test_a_damaged_control_file_costs_only_the_positions(sound: Path, inspect) -> None:
    folders = copies(sound, 3)
    (folders[0] / "control.lmdb").write_bytes(b"")
    (folders[1] / "control.lmdb").write_bytes(Random(1).randbytes(9000))
    with (folders[2] / "control.lmdb").open("r+b") as file:
        file.truncate(8192)
    for seen in inspect(folders):
        assert_sane(seen, lost_at_most=0)
        assert seen["consumers"] == {}
        assert seen["set_aside"] == ["control.lmdb.damaged-1"]


def test_the_marker_decides_whether_a_folder_is_read(sound: Path, inspect) -> None:
    folders = copies(sound, 4)
    marker = [folder / "format.json" for folder in folders]
    marker[0].unlink()
    marker[1].write_text('{"format": 2, "identity": "6a0c0b1e-6c1c-4c5e-8f0f-0e8a3a3b8d11"}')
    marker[2].write_text("not json")
    marker[3].write_bytes(b"")
    seen = inspect(folders)
    assert [str(path) in one["error"] for path, one in zip(marker, seen, strict=True)] == [True] * 4
    assert "missing" in seen[0]["error"]
    assert "format 2" in seen[1]["error"]
    assert all(segments(folder) for folder in folders)


def test_an_lmdb_file_of_another_format_is_refused_and_left_alone(sound: Path, inspect) -> None:
    (folder,) = copies(sound, 1)
    path = segments(folder)[0]
    raw = bytearray(path.read_bytes())
    for page in (0, 4096):
        raw[page + 20 : page + 24] = (3).to_bytes(4, "little")
    path.write_bytes(raw)
    (seen,) = inspect([folder])
    assert str(path) in seen["error"]
    assert path.read_bytes() == raw


def test_lost_or_damaged_id_files_are_written_anew(sound: Path, inspect) -> None:
    folders = copies(sound, 2)
    for number, folder in enumerate(folders):
        sides = sorted(folder.glob("*.ids"))
        assert sides
        for side in sides:
            if number:
                raw = bytearray(side.read_bytes())
                raw[len(raw) // 2] ^= 4
                side.write_bytes(raw)
            else:
                side.unlink()
    for seen in inspect(folders):
        assert_sane(seen, lost_at_most=0)


@pytest.mark.parametrize(
    "litter", ["00000000000000000300.new", "00000000000000000300.new-lock", "00000000000000000007.ids", "x.1.tmp"]
)
def test_what_an_interrupted_change_left_is_cleaned(sound: Path, open_at, litter: str) -> None:
    (sound / litter).write_bytes(b"half")
    assert open_at(sound, log_segment_bytes=SEGMENT_BYTES).head(0) == RECORDS
    assert not (sound / litter).exists()


def test_an_interrupted_salvage_is_finished(sound: Path, inspect) -> None:
    folders = copies(sound, 2)
    for number, folder in enumerate(folders):
        path = segments(folder)[0]
        path.rename(path.with_suffix(".salvaged"))
        if number:
            shutil.copy(path.with_suffix(".salvaged"), path)
    for seen in inspect(folders):
        assert_sane(seen, lost_at_most=0)


def test_folders_that_cannot_be_a_log(tmp_path: Path, open_at) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    for name, words in (("file", "cannot be used"), ("full", r"photo\.jpg")):
        with pytest.raises(ConfigError, match=words):
            open_at(tmp_path / name)
    with pytest.raises(ConfigError, match="absolute"):
        open_at(Path("relative/log"))


def test_damage_while_running_is_skipped_and_logged(folder: Path, open_at, make, everything, capsys) -> None:
    log = open_at(folder)
    noise = Random(3).randbytes(20_000)
    for n in range(3):
        one = make(n)
        log.append([type(one)(one.key, noise if n == 1 else one.value, one.timestamp, one.id)])
    (path,) = segments(folder)
    with path.open("r+b") as file:
        file.seek(path.read_bytes().index(noise[5000:5100]))
        file.write(b"?" * 100)
    assert [stored.offset for stored in everything(log)] == [0, 2]
    assert path.name in capsys.readouterr().out


def test_a_flip_in_the_newest_transaction_number_does_not_hide_the_last_commit(folder: Path, open_at, make, inspect):
    """LMDB alone would take the older meta page for the newest and read a log that lacks its last records."""
    log = open_at(folder)
    for n in range(RECORDS):
        one = make(n)
        value = text(n) + (" " + Random(n).randbytes(4000).hex() if n >= RECORDS - 4 else "")
        log.append([type(one)(one.key, value.encode(), one.timestamp, one.id)])
    log.close()
    raw = segments(folder)[0].read_bytes()
    numbers = [int.from_bytes(raw[at + 144 : at + 152], "little") for at in (0, 4096)]
    newest = numbers.index(max(numbers))
    folders = copies(folder, 12)
    for bit, copy in enumerate(folders):
        changed = bytearray(raw)
        changed[4096 * newest + 144 + bit // 8] ^= 1 << bit % 8
        segments(copy)[0].write_bytes(changed)
    for seen in inspect(folders):
        assert len(seen["records"]) == RECORDS
        assert [value[: len(text(n))] for n, (_, value) in enumerate(seen["records"])] == list(
            map(text, range(RECORDS))
        )


def test_a_body_that_imitates_a_frame_is_not_salvaged_as_one(sound: Path, open_at, make, inspect) -> None:
    """Whoever does not know the log's identity cannot plant a record, even for the moment of a salvage."""
    planted = seal(bytes(16), 5, 1 << 62, pack([make(666)]))
    log = open_at(sound, log_segment_bytes=SEGMENT_BYTES)
    one = make(RECORDS)
    log.append([type(one)(one.key, planted + Random(1).randbytes(9000), one.timestamp, one.id)])
    log.close()
    with segments(sound)[-1].open("r+b") as file:
        file.write(bytes(4096))
    child = open_at(sound, log_segment_bytes=SEGMENT_BYTES)
    assert child.status().set_aside
    values = [stored.value for stored in child.read(0, 0)]
    assert values
    assert not any(value.startswith(b"666 ") for value in values)


def test_a_check_that_was_given_up_is_done_by_the_next_process(sound: Path, open_at) -> None:
    marker = sound / "format.json"
    kept = marker.read_bytes()
    marker.write_bytes(b"")
    with pytest.raises(ConfigError, match="marker"):
        open_at(sound)
    assert (sound / "in-use.lock").read_bytes() == b""
    marker.write_bytes(kept)
    open_at(sound)
    assert (sound / "in-use.lock").read_bytes() == b"checked\n"
