from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.clock import HOUR_MS
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import checked, open_lake
from isotherm.land.lake_local import LocalLake
from isotherm.land.parts import path_of

HOSTILE = ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "a\\b", "a\0b", "a\nb", "x#1", "a/", "~/../x"]


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake.of_url(f"file://{tmp_path / 'deep' / 'lake'}", Settings())


def test_an_object_is_created_once_and_read_back(lake: LocalLake) -> None:
    lake.put("dt=1/a.bin", b"abc")
    with pytest.raises(FileExistsError):
        lake.put("dt=1/a.bin", b"other")
    assert lake.get("dt=1/a.bin") == b"abc"
    assert lake.local_path("dt=1/a.bin").read_bytes() == b"abc"
    assert list(lake.list()) == list(lake.list("dt=1")) == [("dt=1/a.bin", 3)]
    assert list(lake.list("dt=2")) == []


def test_file_and_folders_are_synced_before_put_returns(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("isotherm.land.lake_local._fsync", lambda path: synced.append(str(path.relative_to(lake.root))))
    lake.put("dt=1/hour=2/a.bin", memoryview(b"abc"))
    assert synced == ["dt=1/hour=2/a.bin", "dt=1/hour=2", "dt=1", "."]
    lake.put("dt=1/hour=2/b.bin", b"")
    assert synced[4:] == ["dt=1/hour=2/b.bin", "dt=1/hour=2"]


def test_delete_takes_what_an_interrupted_put_left_and_minds_nothing_missing(lake: LocalLake) -> None:
    lake.put("dt=1/a.bin", b"abc")
    (lake.root / "dt=1" / "a.bin#1").write_bytes(b"half")
    lake.delete("dt=1/a.bin")
    lake.delete("dt=1/a.bin")
    lake.delete("dt=9/none")
    assert list(lake.root.rglob("*.bin*")) == []


@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_leaves_the_lake(lake: LocalLake, path: str) -> None:
    for call in (lambda: lake.put(path, b"x"), lambda: lake.get(path), lambda: lake.delete(path)):
        with pytest.raises(ValueError, match="lake"):
            call()
    assert [p for p in lake.root.parent.rglob("*") if p.is_file()] == []


def test_a_link_does_not_lead_out(lake: LocalLake, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (lake.root / "dt=1").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out"):
        lake.put("dt=1/a.bin", b"x")
    assert list(outside.iterdir()) == []


@given(st.text())
def test_a_checked_path_stays_below_any_root(path: str) -> None:
    try:
        inside = checked(path)
    except ValueError:
        return
    assert Path("/root/lake").joinpath(inside).is_relative_to("/root/lake")
    assert ".." not in Path(inside).parts


@pytest.mark.parametrize("client_id", ["..", "../x", "a/b", "", ".a", "a\0", "é", "x" * 65, "a\n", "*"])
def test_a_hostile_client_id_makes_no_path(client_id: str) -> None:
    with pytest.raises(ValueError, match="client id"):
        path_of(client_id, 0, "0-0-0", "parquet")


def test_the_layout() -> None:
    path = path_of("shop", 490_000 * HOUR_MS, "0-7-9", "jsonl")
    assert path.startswith("dt=2025-11-24/hour=16/client_id=shop/part-0-7-9-")
    assert path.endswith(".jsonl.gz")
    assert path != path_of("shop", 490_000 * HOUR_MS, "0-7-9", "jsonl")


def test_unusable_places_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="known: file, s3"):
        open_lake("gs://bucket/lake", Settings())
    with pytest.raises(ConfigError, match="choose another"):
        open_lake(f"file://{tmp_path / 'file'}", Settings())
