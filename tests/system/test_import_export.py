"""`isotherm import` against the running system, recounted by NumPy; then export, verify, rollup and lake."""

import csv
import gzip
import io
import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from system_helpers import System, environment, isotherm

HOUR = 3_600_000
YEARS_AGO_DAYS = 2_000


@pytest.fixture
def rows() -> list[dict[str, object]]:
    """3,000 moves and clicks of two clients on two screens in three hours, 2,000 days before yesterday."""
    chance = random.Random(3)
    start = int(time.time() * 1000) // 86_400_000 * 86_400_000 - (YEARS_AGO_DAYS + 2) * 86_400_000 + 8 * HOUR
    return [
        {
            "client_id": chance.choice(("shop", "blog")),
            "screen_id": chance.choice(("home", "a b/é")),
            "event_time": start + chance.randrange(3 * HOUR),
            "event_type": chance.choice(("move", "click")),
            "x_norm": round(chance.random(), 6),
            "y_norm": round(chance.random(), 6),
        }
        for _ in range(3_000)
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A started system for tests whose clients are their own."""
    with System(tmp_path_factory.mktemp("import") / "data") as started:
        yield started


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


def import_(system: System, path: Path, *more: str, **kwargs: object) -> dict[str, object]:
    done = subprocess.run(
        isotherm("import", str(path), "--to", system.collect_url, "--json", "--map", "event_type:move=mousemove",
                 "--shift-days", str(YEARS_AGO_DAYS), *more),
        env=environment(), capture_output=True, text=True, timeout=300, **kwargs,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{YEARS_AGO_DAYS:+,} days" in done.stderr
    return json.loads(done.stdout)


def expected(rows: list[dict[str, object]], client: str, screen: str, event_type: str) -> np.ndarray:
    """The map of all rows by the issue's formula."""
    counts = np.zeros((200, 100), dtype=np.int64)
    for row in rows:
        if (row["client_id"], row["screen_id"], row["event_type"]) == (client, screen, event_type):
            x, y = float(str(row["x_norm"])), float(str(row["y_norm"]))
            counts[min(int(np.floor(y * 200)), 199), min(int(np.floor(x * 100)), 99)] += 1
    return counts


def exported(table: pa.Table) -> np.ndarray:
    counts = np.zeros((200, 100), dtype=np.int64)
    x, y = table["cell_x"].to_numpy(), table["cell_y"].to_numpy()
    np.add.at(counts, (y, x), table["count"].to_numpy().astype(np.int64))
    return counts


def span(rows: list[dict[str, object]]) -> tuple[str, str]:
    """The day the shifted rows fall on, as --from and --to."""
    day = min(int(str(row["event_time"])) for row in rows) // 86_400_000 + YEARS_AGO_DAYS
    text = [np.datetime64(d, "D").astype(str) for d in (day, day + 1)]
    return text[0], text[1]


def test_from_file_to_exported_map(system: System, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    path = write(tmp_path / "events.jsonl.gz", rows)
    report = import_(system, path)
    assert (report["accepted"], report["rejected"], report["duplicate"]) == (3_000, 0, 0)
    again = import_(system, path)
    assert (again["accepted"], again["duplicate"]) == (0, 3_000)
    system.wait_idle()

    start, end = span(rows)
    asked = ("--client", "shop", "--screen", "a b/é", "--from", start, "--to", end)
    for ending, read in (
        ("parquet", pq.read_table),
        ("arrow", lambda p: pa.ipc.open_stream(p.read_bytes()).read_all()),
    ):
        out = tmp_path / f"map.{ending}"
        assert system.run("export", str(out), *asked).returncode == 0
        assert np.array_equal(exported(read(out)), expected(rows, "shop", "a b/é", "move"))
    shown = system.run("export", *asked, "--event-type", "click", "--level", "hour")
    cells = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert len({cell["bucket_start"] for cell in cells}) == 3
    assert sum(int(cell["count"]) for cell in cells) == expected(rows, "shop", "a b/é", "click").sum()

    verdict = system.run_json("verify", "--json")
    assert verdict["different"] == verdict["unreadable"] == 0
    assert verdict["buckets"] > 0
    assert verdict["events"] == len(rows)
    by_level = [system.run_json("verify", "--level", level, "--json") for level in ("hour", "day", "week")]
    assert sum(found["buckets"] for found in by_level) == verdict["buckets"]
    drawn = system.run_json("verify", "--sample", "2", "--seed", "5", "--level", "hour", "--parallel", "3", "--json")
    assert (drawn["buckets"], drawn["same"], drawn["seed"]) == (2, 2, 5)
    assert 0 < drawn["events"] < len(rows)
    tiled = system.run_json("rollup", "--from", start, "--to", end, "--client", "shop", "--json")
    assert tiled["buckets"] >= 3
    system.wait_idle()
    assert system.run_json("ledger", "--json")["differences"] == []
    system.stop()

    # The same without a running app: commands open the stores themselves.
    out = tmp_path / "offline.parquet"
    assert system.run("export", str(out), *asked).returncode == 0
    assert np.array_equal(exported(pq.read_table(out)), expected(rows, "shop", "a b/é", "move"))
    assert system.run_json("verify", "--json")["different"] == 0
    assert system.run_json("rollup", "--from", start, "--to", end, "--level", "hour", "--json")["buckets"] >= 3
    listed = system.run_json("lake", "ls", "--json", "--client", "blog")
    assert sum(file["rows"] for file in listed) == sum(row["client_id"] == "blog" for row in rows)
    lines = system.run("lake", "cat", "--json", "--limit", "0", "--client", "blog").stdout.splitlines()
    assert len(lines) == sum(row["client_id"] == "blog" for row in rows)
    assert {json.loads(line)["client_id"] for line in lines} == {"blog"}
    (system.data / "lake" / listed[0]["path"]).unlink()
    broken = system.run("verify", "--level", "hour", "--json")
    assert broken.returncode == 1
    found = json.loads(broken.stdout)
    assert (found["unreadable"], found["different"]) == (1, 0)
    assert listed[0]["path"] in found["differences"][0]["file"]


def test_csv_and_parquet_and_standard_input_give_the_same_map(
    shared: System, tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    system = shared
    some = rows[:500]
    table = tmp_path / "events.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(some[0]))
        writer.writeheader()
        writer.writerows(row | {"client_id": "from-csv"} for row in some)
    columns = pa.Table.from_pylist([row | {"client_id": "from-parquet"} for row in some])
    pq.write_table(columns, tmp_path / "events.parquet")
    assert import_(system, table)["accepted"] == 500
    assert import_(system, tmp_path / "events.parquet")["accepted"] == 500
    text = "".join(json.dumps({k: v for k, v in row.items() if k != "client_id"}) + "\n" for row in some)
    assert import_(system, Path("-"), "--client", "from-stdin", input=text)["accepted"] == 500
    system.wait_idle()
    start, end = span(rows)
    wanted = [row | {"client_id": "x"} for row in some]
    for client in ("from-csv", "from-parquet", "from-stdin"):
        out = tmp_path / f"{client}.parquet"
        system.run("export", str(out), "--client", client, "--screen", "home", "--from", start, "--to", end)
        assert np.array_equal(exported(pq.read_table(out)), expected(wanted, "x", "home", "move")), client


def test_import_survives_a_killed_collector(shared: System, tmp_path: Path, rows: list[dict[str, object]]) -> None:
    system = shared
    path = write(tmp_path / "events.jsonl", rows * 40)
    # On a busy machine the collector may be back before the import has begun: then once more.
    for _ in range(5):
        assert system.kill("collect")
        report = import_(system, path)
        assert report["accepted"] + report["duplicate"] == 120_000  # type: ignore[operator]
        if report["retries"]:
            return
    raise AssertionError("no import met the collector while it was away")


def test_a_recording_too_old_says_how_to_shift_it(
    shared: System, tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    system = shared
    path = write(tmp_path / "old.jsonl", [row | {"event_type": "click"} for row in rows[:10]])
    done = subprocess.run(isotherm("import", str(path), "--to", system.collect_url), capture_output=True, text=True)
    assert done.returncode == 0
    assert "too_old" in done.stdout
    assert f"--shift-days {YEARS_AGO_DAYS + 1}" in done.stdout
    assert "line 1: too_old" in done.stdout
