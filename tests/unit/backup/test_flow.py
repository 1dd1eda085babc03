"""Bytes on their way: no damaged byte gets through, none faster than allowed."""

import hashlib
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.backup.flow import Checked, Rate, at_once, measure
from isotherm.backup.inventory import (
    Damaged,
    Entry,
    decode_inventory,
    decode_list,
    encode_list,
    inventory_path,
    named,
)
from isotherm.backup.target import open_target
from isotherm.config import Settings


def checked(content: bytes, said: bytes) -> Checked:
    return Checked(io.BytesIO(content), len(said), hashlib.sha256(said).hexdigest(), "here")


@given(st.binary(max_size=5_000), st.integers(1, 700))
def test_what_was_written_is_read_in_any_pieces(content: bytes, piece: int) -> None:
    out = io.BytesIO()
    shutil.copyfileobj(checked(content, content), out, piece)
    assert out.getvalue() == content
    assert measure(io.BytesIO(content), Rate()) == (hashlib.sha256(content).hexdigest(), len(content))
    whole = checked(content, content)
    assert whole.seek(0, io.SEEK_END) == len(content)
    whole.seek(0)
    assert whole.read() == content


@given(st.binary(min_size=1, max_size=3_000), st.integers(0), st.integers(1, 255), st.integers(1, 700))
def test_another_byte_is_never_handed_out_whole(content: bytes, at: int, change: int, piece: int) -> None:
    spoilt = bytearray(content)
    spoilt[at % len(content)] ^= change
    out = io.BytesIO()
    with pytest.raises(Damaged, match="here"):
        shutil.copyfileobj(checked(bytes(spoilt), content), out, piece)
    assert len(out.getvalue()) < len(content)


@given(st.binary(min_size=1, max_size=3_000), st.binary(min_size=1, max_size=9))
def test_a_shorter_or_longer_file_is_damaged(content: bytes, more: bytes) -> None:
    for wrong in (content[:-1], content + more):
        with pytest.raises(Damaged, match=f"{len(content):,} bytes"):
            checked(wrong, content).read()


def test_reading_from_the_middle_is_refused() -> None:
    one = checked(b"abc", b"abc")
    one.seek(1)
    with pytest.raises(io.UnsupportedOperation):
        one.read(1)


@given(st.lists(st.integers(0, 5_000), max_size=20), st.integers(1, 1_000))
def test_no_byte_moves_faster_than_allowed(spent: list[int], rate: int) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    limited = Rate(rate, now=lambda: now, sleep=sleep)
    for count in spent:
        limited.spend(count)
    assert now - 100.0 == pytest.approx(sum(spent) / rate)


def test_the_first_error_ends_what_is_done_at_once() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = at_once(work, range(10_000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) < 100


ENTRIES = st.builds(
    Entry,
    st.sampled_from(["lake", "maps", "table"]),
    st.text(max_size=20),
    st.binary(min_size=1, max_size=4).map(lambda raw: hashlib.sha256(raw).hexdigest()),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.text(max_size=5),
)


@given(
    st.lists(ENTRIES, max_size=10, unique_by=lambda e: (e.kind, e.name, e.sha256)), st.randoms(use_true_random=False)
)
def test_a_list_is_the_same_in_any_order(entries: list[Entry], chance: "object") -> None:
    raw = encode_list(entries)
    shuffled = list(entries)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert encode_list(shuffled) == raw
    assert sorted(decode_list(raw, "x"), key=repr) == sorted(entries, key=repr)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_what_is_no_inventory_is_named(raw: bytes) -> None:
    with pytest.raises(Damaged, match="over there"):
        decode_inventory(raw, "over there")
    with pytest.raises(Damaged, match="over there"):
        decode_list(raw, "over there")


def test_names_of_inventories_sort_by_time() -> None:
    assert inventory_path(1_795_000_000_123, "0123456789ab") == "backups/20261118T110640Z-0123456789ab.json"
    found = named("backups/20261118T110640Z-0123456789ab.json")
    assert found is not None
    assert (found.started_at, found.id) == (1_795_000_000_000, "0123456789ab")
    assert named("backups/other.json") is None


def test_what_is_copied_counts_as_often_as_it_is_read(tmp_path: Path) -> None:
    spent: list[int] = []

    class Counting(Rate):
        def spend(self, count: int) -> None:
            spent.append(count)

    target = open_target(f"file://{tmp_path / 'b'}", Settings(data=tmp_path), make=True, rate=Counting())
    known = target.known()
    target.keep_bytes(b"x" * 5_000, known, "lake", "a")
    assert sum(spent) == 10_000
    target.keep_bytes(b"x" * 5_000, known, "lake", "b")
    assert sum(spent) == 15_000
