"""Large files go to the disk piece by piece, whole, and no refusal of the disk is swallowed."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.land import writeout
from isotherm.land.lake_local import LocalLake
from isotherm.land.writeout import copy_steadily


@given(size=st.integers(0, 40), piece=st.integers(1, 9), copy=st.integers(1, 5))
def test_at_most_two_pieces_are_on_their_way(size: int, piece: int, copy: int) -> None:
    asked: list[tuple[int, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writeout, "PIECE", piece)
        patch.setattr(writeout, "COPY", copy)
        content = bytes(range(size))
        out = io.BytesIO()
        out.fileno = lambda: 7  # type: ignore[method-assign]
        copy_steadily(io.BytesIO(content), out, lambda fd, offset, count, flags: asked.append((offset, count, flags)))
    assert out.getvalue() == content
    begun = [(offset, count) for offset, count, flags in asked if flags == 2]
    waited = [count for offset, count, flags in asked if flags == 7]
    # Each begins where the last ended; when one begins, all but the last before it are waited for.
    assert begun == [(sum(count for _, count in begun[:n]), count) for n, (_, count) in enumerate(begun)]
    assert waited == [offset for offset, _ in begun[1:]]
    assert size - sum(count for _, count in begun) < max(piece, 1)
    assert all(count < piece + copy for _, count in begun)


def test_a_large_file_is_there_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * (writeout.PIECE // 64) + b"tail"
    lake = LocalLake.of_folder(tmp_path)
    lake.put("a/b", io.BytesIO(content))
    assert (tmp_path / "a" / "b").read_bytes() == content


def test_what_the_disk_refuses_is_raised_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int, offset: int, count: int, flags: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(copy_steadily, "__defaults__", (refused,))
    lake = LocalLake.of_folder(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
        lake.put("a", io.BytesIO(bytes(writeout.PIECE)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(writeout._write_out is None, reason="the C library has no sync_file_range")
def test_the_kernel_s_own_error_is_raised(tmp_path: Path) -> None:
    assert writeout._write_out is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        writeout._write_out(1_000_000, 0, 1, 2)
