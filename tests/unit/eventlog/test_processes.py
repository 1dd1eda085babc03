"""Several real processes on one folder, also killed at random moments."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from isotherm.clock import DAY_MS
from isotherm.errors import ConfigError
from isotherm.eventlog.port import Record

NOW = 1_770_000_000_000
SMALL = 200_000
"""Segment size that makes a run of a few hundred records rotate several times."""


def names(log, everything) -> list[str]:
    found = everything(log)
    assert [stored.offset for stored in found] == list(range(len(found)))
    return [stored.value.split(b" ")[0].decode() for stored in found]


def test_processes_that_append_the_same_ids_store_each_once(folder: Path, run, open_at, everything) -> None:
    jobs = [run("appender.py", folder, prefix, 0, 600, 10, SMALL) for prefix in ("same", "same", "other")]
    outputs = [job.communicate(timeout=120) for job in jobs]
    assert [(job.returncode, error) for job, (_, error) in zip(jobs, outputs, strict=True)] == [(0, "")] * 3
    log = open_at(folder, log_segment_bytes=SMALL)
    stored = names(log, everything)
    assert Counter(stored) == Counter(f"{prefix}/{n}" for prefix in ("same", "other") for n in range(600))
    counted = sum(int(line.split()[1]) for out, _ in outputs for line in out.splitlines()[1:])
    assert counted == len(stored) == 1200
    assert len(log.status().segments) > 3
    for prefix in ("same", "other"):
        order = [int(name.split("/")[1]) for name in stored if name.startswith(prefix)]
        assert order == sorted(order)


def test_a_process_sees_what_another_appends_while_both_run(folder: Path, run, open_at, everything) -> None:
    log = open_at(folder, log_segment_bytes=SMALL)
    job = run("appender.py", folder, "a", 0, 300, 10, SMALL)
    assert job.communicate(timeout=60)[1] == ""
    assert names(log, everything) == [f"a/{n}" for n in range(300)]
    assert log.head(0) == 300
    again = run("appender.py", folder, "a", 0, 310, 10, SMALL)
    assert [line.split()[1] for line in again.communicate(timeout=60)[0].splitlines()[1:]] == ["0"] * 30 + ["10"]


def kill_at_random(children, random: Random, acknowledged: dict[str, int]) -> None:
    """Read acknowledgements of each child up to a random one, then kill it; the pipe may hold some more."""
    for prefix, child in children.items():
        assert child.stdout.readline() == "ready\n"
        lines = [child.stdout.readline() for _ in range(random.randint(1, 25))]
        child.kill()
        lines += child.stdout.readlines()
        done = [int(line.split()[0]) for line in lines if line.endswith("\n")]
        acknowledged[prefix] = max([acknowledged[prefix], *(n + 5 for n in done)])


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.drill)])
def test_what_was_acknowledged_before_kill_9_is_there_once(
    folder: Path, run, open_at, everything: Callable, rounds: int
) -> None:
    random = Random(rounds)
    acknowledged = {"a": 0, "b": 0}
    for _ in range(rounds):
        # What was not acknowledged is sent again with the same ids, as a client does.
        children = {p: run("appender.py", folder, p, acknowledged[p], 100_000, 5, SMALL) for p in acknowledged}
        kill_at_random(children, random, acknowledged)
    log = open_at(folder, log_segment_bytes=SMALL)
    counts = Counter(names(log, everything))
    assert set(counts.values()) == {1}
    expected = {f"{prefix}/{n}" for prefix, end in acknowledged.items() for n in range(end)}
    assert expected <= counts.keys()
    assert len(counts) - len(expected) <= 5 * len(acknowledged)
    assert log.status().set_aside == []


def test_a_folder_is_opened_once_per_process(folder: Path, open_at) -> None:
    log = open_at(folder)
    with pytest.raises(ConfigError, match="open in this process already"):
        open_at(folder)
    log.close()
    open_at(folder).healthy()


def test_a_log_refuses_to_work_after_fork(folder: Path, open_at, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_at(folder)
    with monkeypatch.context() as patched:
        patched.setattr("os.getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="fork"):
            log.head(0)
    assert log.head(0) == 0


def test_segments_another_process_deletes_are_jumped_over(folder: Path, run, open_at, make, everything) -> None:
    log = open_at(folder, log_segment_bytes=SMALL)
    for n in range(0, 300, 10):
        log.append([make(i, size=3000, at=NOW + DAY_MS * (n // 30)) for i in range(n, n + 10)])
        log.append([Record("k", Random(n).randbytes(40_000), NOW)])
    head = log.head(0)
    assert log.read(0, 0, max_records=1)[0].offset == 0
    log.commit("lander", 0, head)
    gone, error = run("expirer.py", folder, NOW + 12 * DAY_MS, SMALL).communicate(timeout=60)
    assert (error, len(gone.split()) > 1) == ("", True)
    tail = log.status().tail[0]
    assert 0 < tail < head
    assert [stored.offset for stored in everything(log)] == list(range(tail, head))
    run("expirer.py", folder, NOW + 99 * DAY_MS, SMALL).communicate(timeout=60)
    assert (log.read(0, 0), log.head(0)) == ([], head)
    assert log.append([make(1, at=NOW + 99 * DAY_MS)])[0] == (0, head)
