"""A backup's files on their way into a lake: right, in groups, and all of them synced before anybody may use them."""

import itertools
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.backup import lake_files
from isotherm.backup.inventory import Damaged, Entry, object_path
from isotherm.backup.lake_files import groups, put_files
from isotherm.backup.target import Target
from isotherm.config import Settings
from isotherm.land import lake_local
from isotherm.land.lake_local import LocalLake
from isotherm.land.tiers import open_tiers


class Watched(LocalLake):
    """A lake in a folder that remembers what was put and what was synced, in order."""

    def put_unsynced(self, path: str, data: BinaryIO) -> None:
        super().put_unsynced(path, data)
        self.did.append(("put", path))

    def sync(self, *paths: str) -> None:
        super().sync(*paths)
        self.did.extend(("sync", path) for path in paths)

    @property
    def did(self) -> list[tuple[str, str]]:
        return self.__dict__.setdefault("did_so_far", [])


def kept(target: Target, tmp_path: Path, count: int) -> list[Entry]:
    """Objects at the target, as entries of lake files, some of them archived."""
    known, found = target.known(), list[Entry]()
    for n in range(count):
        source = tmp_path / f"source{n}"
        source.write_bytes(bytes([n]) * (1_000 + n))
        path = f"{'archive/' if n % 2 else ''}dt=2026-01-0{n % 3 + 1}/{n}.parquet"
        with source.open("rb") as file:
            found.append(target.keep(file, known, "lake", path))
    return found


@given(st.lists(st.integers(0, 1 << 28), max_size=60), st.integers(1, 1 << 29), st.integers(1, 9))
def test_groups_are_all_entries_in_order_and_end_as_soon_as_they_are_large(
    sizes: list[int], most_bytes: int, most_files: int
) -> None:
    entries = [Entry("lake", str(n), "", size) for n, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_files, "GROUP_BYTES", most_bytes)
        patch.setattr(lake_files, "GROUP_FILES", most_files)
        found = list(groups(entries))
    assert list(itertools.chain(*found)) == entries
    for group in found:
        assert group
        assert sum(one.bytes for one in group[:-1]) < most_bytes
        assert len(group) <= most_files


def test_every_file_is_synced_after_it_was_put_also_those_of_a_killed_run(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_files, "GROUP_FILES", 3)
    entries = kept(target, tmp_path, 10)
    lake = Watched.of_folder(tmp_path / "lake")
    run = put_files(lake, target, entries)
    for _ in range(4):
        next(run)
    run.close()
    # As a power cut leaves a file that was not synced: its length, and nothing in it.
    spoilt = entries[1]
    lake.local_path(spoilt.name).write_bytes(b"\0" * spoilt.bytes)
    again = Watched.of_folder(tmp_path / "lake")
    there = {path for path, _ in again.list()}
    assert {entry.name for entry in entries[:4]} <= there
    assert list(put_files(again, target, entries)) == entries
    put = [path for what, path in again.did if what == "put"]
    synced = [path for what, path in again.did if what == "sync"]
    assert spoilt.name in put
    assert set(put) == {e.name for e in entries} - there | {spoilt.name}
    assert sorted(synced) == sorted(e.name for e in entries)
    for path in put:
        assert again.did.index(("put", path)) < again.did.index(("sync", path))
    for n, entry in enumerate(entries):
        assert again.get(entry.name) == bytes([n]) * (1_000 + n)


def test_every_root_gets_its_own_files(target: Target, tmp_path: Path) -> None:
    entries = kept(target, tmp_path, 4)
    settings = Settings(data=tmp_path / "data", archive=f"file://{tmp_path / 'cold'}")
    settings.data.mkdir()
    lake = open_tiers(settings)
    assert len(list(put_files(lake, target, entries))) == 4
    for entry in entries:
        root = tmp_path / "cold" if entry.name.startswith("archive/") else tmp_path / "data" / "lake"
        assert (root / entry.name).stat().st_size == entry.bytes


def test_a_sync_that_fails_ends_it(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = kept(target, tmp_path, 4)
    lake = LocalLake.of_folder(tmp_path / "lake")

    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(lake_local, "_fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        list(put_files(lake, target, entries))


def test_a_damaged_object_leaves_nothing_in_its_place(target: Target, tmp_path: Path) -> None:
    entries = kept(target, tmp_path, 3)
    path = tmp_path / "backups" / object_path(entries[1].sha256)
    path.write_bytes(b"\7" * entries[1].bytes)
    lake = LocalLake.of_folder(tmp_path / "lake")
    with pytest.raises(Damaged, match=entries[1].sha256):
        list(put_files(lake, target, entries))
    assert entries[1].name not in dict(lake.list())
