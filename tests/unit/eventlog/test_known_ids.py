"""Ids of the last day: across rotation, restart, deletion, and with halves that collide."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from isotherm.clock import DAY_MS
from isotherm.eventlog.folder import Folder
from isotherm.eventlog.known import KnownIds, halves, read_ids, write_ids
from isotherm.eventlog.segment import SegmentPool, create_segment, map_size

NOW = 1_770_000_000_000
SMALL = 60_000


def test_ids_are_known_across_rotation_and_restart(folder: Path, open_at, make) -> None:
    log = open_at(folder, log_segment_bytes=SMALL)
    for n in range(0, 400, 4):
        log.append([make(i, size=500) for i in range(n, n + 4)])
    assert len(log.status().segments) > 2
    assert log.append([make(n) for n in range(400)]) == [None] * 400
    log.close()
    again = open_at(folder, log_segment_bytes=SMALL)
    assert again.append([make(n) for n in range(400)]) == [None] * 400
    mixed = again.append([make(3), make(400), make(399), make(400)])
    assert [position is not None for position in mixed] == [False, True, False, False]


def test_ids_outlive_a_day_and_go_with_their_segment(folder: Path, open_at, make) -> None:
    log = open_at(folder, log_segment_bytes=SMALL)
    for n in range(100):
        log.append([make(n, size=2000)])
    log.commit("lander", 0, log.head(0))
    assert log.expire(NOW + DAY_MS, {0: 100}) == []
    assert log.append([make(n) for n in range(100)]) == [None] * 100
    gone = log.expire(NOW + 8 * DAY_MS, {0: 100})
    assert gone == sorted(gone)
    assert not list(folder.glob("*.ids"))
    assert len(list(folder.glob("0*.lmdb"))) == 1
    assert [p.offset for p in log.append([make(n, at=NOW + 8 * DAY_MS) for n in range(100)]) if p] == list(
        range(100, 200)
    )


def test_retention_stops_at_the_first_segment_that_must_stay(folder: Path, open_at, make) -> None:
    log = open_at(folder, log_segment_bytes=SMALL)
    for n in range(100):
        log.append([make(n, size=2000, at=NOW + n * DAY_MS // 10)])
    segments = log.status().segments
    log.commit("lander", 0, segments[2].first)
    assert log.expire(NOW + 1000 * DAY_MS, {0: 100}) == [segment.name for segment in segments[:2]]
    assert log.status().tail == {0: segments[2].first}
    assert log.read(0, 0)[0].offset == segments[2].first
    log.commit("lander", 0, 100)
    limit = NOW + 12 * DAY_MS
    stays = next(s for s in segments if (s.last_timestamp or 0) >= limit - 7 * DAY_MS or not s.sealed)
    log.expire(limit, {0: 100})
    assert log.status().tail == {0: stays.first}


@pytest.fixture
def known(tmp_path: Path) -> KnownIds:
    folder = Folder(tmp_path)
    folder.identity = bytes(16)
    with folder.changing():
        create_segment(folder, 0, map_size(1 << 22))
    return KnownIds(folder, SegmentPool(folder, map_size(1 << 22)))


def test_sealed_ids_are_exact_even_when_first_halves_collide(tmp_path: Path, known: KnownIds) -> None:
    random = Random(1)
    firsts = [random.randbytes(8) for _ in range(5)]
    ids = sorted({random.choice(firsts) + random.randbytes(8) for _ in range(900)})
    stored, others = set(ids[::2]), ids[1::2]
    for number in range(9):
        write_ids(tmp_path / f"{number + 1:020d}.ids", b"".join(sorted(stored)[number * 50 : number * 50 + 50]))
        known.follow(list(range(1, number + 2)))
    assert known.any_known(others)
    assert known.known(ids) == stored
    known.follow(list(range(2, 10)))
    assert known.known(ids) == set(sorted(stored)[50:])


def test_side_files_hold_sorted_halves_and_are_checked(tmp_path: Path) -> None:
    ids = Random(2).randbytes(16 * 1000)
    path = tmp_path / "1.ids"
    write_ids(path, ids)
    found = read_ids(path)
    assert found is not None
    expected = np.sort(np.frombuffer(ids, "<u8").reshape(-1, 2)[:, 0])
    assert np.array_equal(found[0], expected)
    assert np.array_equal(np.stack(found), np.stack(halves(ids)))
    raw = path.read_bytes()
    for damaged in (b"", raw[:10], raw[:-1], raw[:200] + b"x" + raw[201:], b"x" + raw[1:]):
        path.write_bytes(damaged)
        assert read_ids(path) is None


def test_no_ids_make_a_side_file_too(tmp_path: Path, known: KnownIds) -> None:
    write_ids(tmp_path / f"{1:020d}.ids", b"")
    known.follow([1])
    assert not known.any_known([bytes(16)])
    assert not known.any_known([])
