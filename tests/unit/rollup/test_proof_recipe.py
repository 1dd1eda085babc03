"""The recipe in docs/proof.md, run as it stands there, gives the published hashes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiling import World

from isotherm.clock import HOUR_MS
from isotherm.land.merge import Limits, merge_files
from isotherm.rollup.buckets import Level

PAGE = Path(__file__).parents[3] / "docs" / "proof.md"


def recipe() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "isotherm" not in code
    return code


def by_hand(world: World, client_id: str, start: int, end: int) -> str:
    files = world.manifest.listed(client_ids=[client_id], start=start, end=end)
    paths = [world.lake.where(file.path) for file in files]
    done = subprocess.run([sys.executable, "-c", recipe(), *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def full(world: World) -> World:
    numbers = np.random.default_rng(2)
    for client in ("a", "b"):
        for ago in (0, 1, 26):
            at = world.hour - ago * HOUR_MS
            events = [(client, "/ü 1", "mousemove", at, x, y) for x, y in numbers.random((400, 2)).tolist()]
            edges = [(client, "/b", "click", at, x, y) for x, y in ((0.29, 1.0), (0.57, 0.0), (1.0, 0.58))]
            for part in (events[:150], events[150:], [*edges, (client, "/b", "view", at, None, None)]):
                world.land(part)
    world.run_all()
    return world


def test_the_page_s_code_gives_the_published_hash_also_of_merged_files(full: World) -> None:
    hours = full.published(Level.HOUR)
    for client in ("a", "b"):
        assert by_hand(full, client, full.hour, full.hour + HOUR_MS) == hours[client, full.hour].hash
    for level in (Level.DAY, Level.WEEK):
        (client, start), row = max(full.published(level).items(), key=lambda item: item[1].rows)
        assert by_hand(full, client, start, start + level.ms) == row.hash
    files = full.manifest.listed(client_ids=["a"], start=full.hour, end=full.hour + HOUR_MS)
    assert len(files) == 3
    merge_files(full.lake, full.manifest, files, Limits.of(full.settings), lambda _: None)
    assert len(full.manifest.listed(client_ids=["a"], start=full.hour, end=full.hour + HOUR_MS)) == 1
    assert by_hand(full, "a", full.hour, full.hour + HOUR_MS) == hours["a", full.hour].hash
    assert len({row.hash for row in hours.values()}) == len(hours)
