"""What is true of every deployment: each recorded event in its cell, and books that close."""

import json
import subprocess
from pathlib import Path

import numpy as np
import recount
from recount import MAPPING, Recording
from system_helpers import System, isotherm


def import_file(system: System, path: Path, shift_days: int) -> dict[str, int]:
    """`isotherm import` in its own process, as a person runs it; returns its report."""
    arguments = ["import", str(path), "--to", system.collect_url, "--shift-days", str(shift_days), "--json"]
    for mapping in MAPPING:
        arguments += ["--map", mapping]
    done = subprocess.run(isotherm(*arguments), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def served(system: System, level: str, key: recount.MapKey) -> np.ndarray:
    client_id, screen_id, event_type, start = key
    when = {
        "hour": {"dt": f"{start:%Y-%m-%d}", "hour": f"{start:%H}"},
        "day": {"dt": f"{start:%Y-%m-%d}"},
        "week": {"week_start": f"{start:%Y-%m-%d}"},
    }[level]
    route = {"hour": "hourly", "day": "daily", "week": "weekly"}[level]
    answer = system.get(f"/heatmap/{route}", client_id=client_id, screen_id=screen_id, event_type=event_type, **when)
    assert (answer["grid_w"], answer["grid_h"]) == (100, 200)
    counts = np.zeros(20_000, dtype=np.int64)
    for cell in answer["cells"]:
        counts[cell["cell_y"] * 100 + cell["cell_x"]] += cell["count"]
    return counts


def assert_every_map_is_exact(system: System, recording: Recording) -> None:
    for level in ("hour", "day", "week"):
        expected = recording.maps(level)
        total = 0
        for key, counts in expected.items():
            found = served(system, level, key)
            assert np.array_equal(found, counts), (level, key, int(found.sum()), int(counts.sum()))
            total += int(found.sum())
        assert total == len(recording.events)


def assert_books_close(system: System, recording: Recording) -> None:
    """The lake holds each event once, the ledger's sums agree, and verify rebuilds every bucket."""
    ledger = system.run_json("ledger", "--json")
    assert ledger["differences"] == []
    assert ledger["totals"]["landed"] == len(recording.events)
    verdict = system.run_json("verify", "--json")
    assert verdict["different"] == 0
    assert verdict["buckets"] > 0
