"""What the doctor says of an embedded log of dead letters."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from isotherm.cli.doctor import dead
from isotherm.cli.doctor.findings import Finding
from isotherm.cli.doctor.machine import examine_machine
from isotherm.clock import SystemClock
from isotherm.collect.dead import letter, record_of
from isotherm.config import MIB, Settings
from isotherm.eventlog.port import open_dead_log


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with one letter in its log of dead letters."""
    made = Settings(data=tmp_path / "data", disk_reserve_bytes=0, dead_max_bytes=64 * MIB)
    with closing(open_dead_log(made, SystemClock())) as log:
        log.append([record_of(letter(b"x", reason="no_batch", stage="collect", time=1, client_id=None))])
    return made


def found(settings: Settings) -> list[Finding]:
    return list(dead.check_folders(settings))


def test_one_that_is_well_says_how_full_it_is(settings: Settings) -> None:
    [one] = found(settings)
    assert (one.check, one.grade, one.advice) == ("dead_log", "ok", "")
    assert "of at most 67.1 MB (dead_max_bytes)" in one.finding
    everything = [one for one in examine_machine(settings) if one.check in ("data", "dead_log")]
    assert {one.grade for one in everything} == {"ok"}, everything


def test_one_that_is_not_there_yet_is_fine_and_not_made(tmp_path: Path) -> None:
    [one] = found(Settings(data=tmp_path / "data"))
    assert (one.grade, one.finding) == ("ok", f"{tmp_path / 'data' / 'log-dead'} is made with the first dead letter")
    assert not (tmp_path / "data").exists()


def test_one_that_is_nearly_full_is_told(settings: Settings) -> None:
    folder = settings.data / "log-dead"
    held = sum(path.stat().st_size for path in folder.iterdir())
    [one] = found(settings.model_copy(update={"dead_max_bytes": held}))
    assert one.grade == "warning"
    assert "isotherm dead ls" in one.advice


def test_another_format_and_damaged_files_are_told(settings: Settings) -> None:
    folder = settings.data / "log-dead"
    (folder / "segment-0.damaged-1").touch()
    (folder / "format.json").write_text(json.dumps({"format": 9}))
    assert [one.grade for one in found(settings)] == ["warning", "error"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "log-dead").touch()
    [one] = found(Settings(data=tmp_path))
    assert one.grade == "error"
    assert "dead_log" in one.advice


def test_letters_that_their_log_did_not_take_are_told(settings: Settings) -> None:
    (settings.data / "dead").mkdir()
    assert len(found(settings)) == 1
    (settings.data / "dead" / "1-0-17.bin").write_bytes(b"x")
    assert [one.grade for one in found(settings)] == ["ok", "warning"]
    assert "records in " in found(settings)[1].finding
    assert "30 days (dead_retention_days)" in found(settings)[1].advice


def test_a_log_elsewhere_is_looked_at_there(tmp_path: Path) -> None:
    assert found(Settings(data=tmp_path, log="kafka://broker:9092")) == []
    other = tmp_path / "other"
    [one] = found(Settings(data=tmp_path, log="kafka://broker:9092", dead_log=f"lmdb://{other}"))
    assert str(other) in one.finding
