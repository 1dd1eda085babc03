"""A frame gives back what was packed, or says that it is damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.eventlog.frame import FRAME_BYTES, DamagedError, pack, seal, split, unpack
from isotherm.eventlog.port import Record

IDENTITY = bytes(range(16))
Records = st.lists(
    st.builds(
        Record,
        key=st.just("k"),
        value=st.binary(max_size=300),
        timestamp=st.integers(-(2**62), 2**62),
        id=st.one_of(st.none(), st.binary(min_size=16, max_size=16)),
    ),
    min_size=1,
    max_size=20,
)


@given(Records, st.integers(0, 2**60))
def test_a_frame_gives_back_its_records(records: list[Record], first: int) -> None:
    frame = unpack(IDENTITY, seal(IDENTITY, first, 5, pack(records)))
    found = frame.cut(first, len(records), 1 << 30, at_least_one=True)
    assert [stored.offset for stored in found] == list(range(first, first + len(records)))
    assert [(s.timestamp, s.value) for s in found] == [(r.timestamp, r.value) for r in records]
    assert frame.ids == b"".join(r.id for r in records if r.id is not None)


@given(Records, st.data())
def test_any_changed_byte_is_noticed(records: list[Record], data: st.DataObject) -> None:
    raw = bytearray(seal(IDENTITY, 3, 5, pack(records)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedError):
        unpack(IDENTITY, bytes(raw))


@given(Records, st.data())
def test_a_part_of_a_frame_is_noticed(records: list[Record], data: st.DataObject) -> None:
    raw = seal(IDENTITY, 3, 5, pack(records))
    with pytest.raises(DamagedError):
        unpack(IDENTITY, raw[: data.draw(st.integers(0, len(raw) - 1))])


@pytest.mark.parametrize("sizes", [[], [0], [10] * 50, [2 << 20] * 20, [0, 2 << 20, 0] * 10])
def test_splitting_keeps_order_and_bounds_frames(sizes: list[int]) -> None:
    records = [Record("k", bytes(size), n) for n, size in enumerate(sizes)]
    parts = split(records)
    assert [record for part in parts for record in part] == records
    assert all(parts)
    assert all(sum(len(record.value) for record in part) <= FRAME_BYTES + (2 << 20) for part in parts)
