"""When the LMDB log refuses: disk nearly full, a commit that fails, a writer that hangs."""

import signal
from pathlib import Path

import pytest

from isotherm.errors import Backpressure


def test_below_the_disk_reserve_nothing_is_appended(folder: Path, open_at, make) -> None:
    log = open_at(folder, disk_reserve_bytes=1 << 60)
    for call in (lambda: log.append([make(1)]), log.healthy):
        with pytest.raises(Backpressure, match="disk_reserve_bytes") as refused:
            call()
        assert refused.value.status == 503
    assert log.head(0) == 0
    assert log.append([]) == []


def test_a_failed_commit_ends_this_process_writing_and_loses_nothing(folder: Path, run, open_at, everything) -> None:
    child = run("failing.py", folder)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error
    lines = out.splitlines()
    acknowledged = [int(line.split()[1]) for line in lines if line.startswith("acknowledged")]
    assert acknowledged
    # Refused for good, though the file limit was lifted again; the health check says so too.
    assert [line.split(":")[0] for line in lines[-3:]] == ["refused", "refused", "unhealthy"]
    assert all("restart" in line for line in lines[-3:])
    log = open_at(folder)
    assert [stored.offset for stored in everything(log)] == list(range(acknowledged[-1] + 1))
    assert log.status().set_aside == []
    log.healthy()


def test_a_write_that_a_full_disk_cut_short_is_made_again_when_there_is_room(
    folder: Path, run, open_at, everything
) -> None:
    child = run("failing.py", folder, "full")
    out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error
    lines = out.splitlines()
    refused = [line for line in lines if line.startswith("refused")]
    assert len(refused) == 1
    assert "is full" in refused[0]
    acknowledged = [int(line.split()[1]) for line in lines if line.startswith("acknowledged")]
    assert acknowledged == list(range(100))
    assert lines[-1] == "acknowledged 99"
    log = open_at(folder)
    assert [stored.offset for stored in everything(log)] == acknowledged
    assert log.status().set_aside == []


def test_health_does_not_wait_for_a_stuck_writer(folder: Path, run, open_at, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.eventlog.lmdb.HEALTH_TIMEOUT_S", 0.1)
    log = open_at(folder)
    child = run("holder.py", log.status().segments[0].name, folder)
    assert child.stdout.readline() == "holding\n"
    with pytest.raises(Backpressure, match="could begin"):
        log.healthy()
    child.kill()
    child.wait()
    monkeypatch.setattr("isotherm.eventlog.lmdb.HEALTH_TIMEOUT_S", 30)
    log.healthy()


def test_one_append_may_need_several_frames_and_stays_one_transaction(folder: Path, open_at, make, everything) -> None:
    log = open_at(folder, log_segment_bytes=4 << 20)
    records = [make(n, size=2_000_000) for n in range(20)]
    assert [p.offset for p in log.append(records) if p] == list(range(20))
    assert [stored.value for stored in everything(log)] == [record.value for record in records]
    assert log.append(records) == [None] * 20


def test_a_segment_is_sealed_by_its_number_of_records(folder: Path, open_at, make, monkeypatch) -> None:
    monkeypatch.setattr("isotherm.eventlog.writer.MAX_SEGMENT_RECORDS", 10)
    log = open_at(folder)
    for n in range(0, 36, 6):
        log.append([make(i) for i in range(n, n + 6)])
    assert [segment.first for segment in log.status().segments] == [0, 12, 24]
    assert log.head(0) == 36


def test_a_segment_is_sealed_by_its_number_of_appends(folder: Path, open_at, make, monkeypatch) -> None:
    monkeypatch.setattr("isotherm.eventlog.writer.MAX_SEGMENT_FRAMES", 3)
    log = open_at(folder)
    for n in range(8):
        log.append([make(2 * n), make(2 * n + 1)])
    assert [segment.first for segment in log.status().segments] == [0, 6, 12]
    log.close()
    again = open_at(folder)
    again.append([make(16)])
    again.append([make(17)])
    assert [segment.first for segment in again.status().segments] == [0, 6, 12, 17]


def test_a_start_after_a_kill_checks_no_segment_that_was_sealed_before_the_last_upkeep(
    folder: Path, open_at, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = run("sealing.py", folder)
    _, said = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, said
    checked: list[str] = []
    monkeypatch.setattr("isotherm.eventlog.salvage.structure_check", lambda path: checked.append(path.name) or "")
    log = open_at(folder)
    assert checked == ["control.lmdb", f"{4:020d}.lmdb"]
    assert log.head(0) == 5


def test_while_the_folder_is_gone_it_says_so_and_goes_on_when_it_is_back(
    folder: Path, open_at, make, everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.eventlog.gate.MEASURE_EVERY_S", 0)
    log = open_at(folder)
    log.append([make(0)])
    folder.rename(folder.with_name("elsewhere"))
    for call in (lambda: log.append([make(1)]), log.healthy):
        with pytest.raises(Backpressure, match=f"{folder} cannot be looked at") as refused:
            call()
        assert refused.value.status == 503
    folder.with_name("elsewhere").rename(folder)
    log.healthy()
    log.append([make(1)])
    assert [stored.offset for stored in everything(log)] == [0, 1]


def test_a_log_whose_folder_is_gone_can_be_closed(folder: Path, open_at, make) -> None:
    log = open_at(folder)
    log.append([make(0)])
    folder.rename(folder.with_name("elsewhere"))
    log.close()
    assert [stored.offset for stored in open_at(folder.with_name("elsewhere")).read(0, 0)] == [0]


def test_without_a_file_handle_it_refuses_and_goes_on_when_there_are_some(
    folder: Path, run, open_at, everything
) -> None:
    child = run("starving.py", folder)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 0, error
    assert out.splitlines() == [*["refused"] * 3, "acknowledged", "healthy"]
    assert [stored.offset for stored in everything(open_at(folder))] == list(range(21))
