"""What every batch engine does: the maps of a bucket, equal to a recount and stored as the embedded engine stores them.

Each call of Spark costs about half a second, so there are few cases, and each puts much into one bucket.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tiling import World, worlds

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import open_lake
from isotherm.rollup.backfill import backfill
from isotherm.rollup.buckets import Level
from isotherm.rollup.engines.clickhouse import ClickHouseEngine
from isotherm.rollup.engines.port import Opener, open_engine
from isotherm.rollup.engines.spark.driver import open_driver
from isotherm.rollup.engines.spark.engine import SparkEngine
from isotherm.rollup.engines.spark.submit import Submission
from isotherm.rollup.grid import cells_of
from isotherm.store.olap import Olap

pytestmark = pytest.mark.timeout(900)

FORMATS = ("parquet", "jsonl")
EDGES = sorted(
    {
        neighbour
        for k in range(201)
        for edge in (k / 100, 0.01 * k, k / 200, 0.005 * k)
        for neighbour in (edge, math.nextafter(edge, 0), math.nextafter(edge, 1))
        if 0 <= neighbour <= 1
    }
    | {0.0, 5e-324, 2.2250738585072014e-308, 1.0}
)
SCREENS = ["/", "/naïve 'quote' \\ {x:y}", "s,t", "日本 🔥", "a=b%20c"]

with_spark = (pytest.mark.services("spark_cluster"), pytest.mark.slow)
# The same program on a cluster; tests/services/test_spark.py has it there, also for `make test`.
on_a_cluster = (*with_spark, pytest.mark.drill)


@pytest.fixture(
    scope="module",
    params=["clickhouse", pytest.param("spark+local", marks=with_spark), pytest.param("spark", marks=on_a_cluster)],
)
def engine_opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens engines over any lake; Spark's driver is one for the whole module."""
    if request.param == "clickhouse":
        yield open_engine
        return
    cluster: Any = request.getfixturevalue("spark_cluster")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment().items():
            patch.setenv(name, value)
        chosen = Settings(
            engine=cluster.master if request.param == "spark" else request.param,
            spark_submit=cluster.submit,
            job_threads=2,
            spark_options={"spark.executor.memory": "1g"},
        )
        driver = open_driver(Submission.of(chosen, _Nowhere.place))
        yield lambda _, olap, lake: SparkEngine(olap, lake, driver)
        driver.close()


class _Nowhere:
    place: Any = None


@pytest.fixture
def make_world(tmp_path: Path, empty_olap: Olap, engine_opener: Opener) -> Iterator[Callable[..., World]]:
    with worlds() as make:

        def named(lake_format: str = "parquet") -> World:
            chosen = Settings(data=tmp_path / f"{uuid4().hex} with space", job_threads=2)
            return make(chosen, empty_olap, lake_format=lake_format, opener=engine_opener)

        yield named


def stored(world: World) -> list[tuple[Any, ...]]:
    """All maps with events, whole rows but for the version."""
    rows = world.olap.query(
        "SELECT client_id, screen_id, event_type, segment, level, bucket_start, grid_w, grid_h, cells, counts,"
        " events, tiled, last_event FROM maps FINAL WHERE events > 0 ORDER BY 1, 2, 3, 4, 5, 6"
    ).to_pylist()
    return [tuple(row.values()) for row in rows]


def hashes(world: World) -> dict[tuple[Level, str, int], tuple[str, int, int, int]]:
    return {
        (level, *key): (row.hash, row.maps, row.rows, row.tiled)
        for level in Level
        for key, row in world.published(level).items()
    }


def check(world: World) -> None:
    """Every map is the recounted one, and row for row and hash for hash what the embedded engine makes of it."""
    world.check()
    rows, published = stored(world), hashes(world)
    world.olap.command("TRUNCATE TABLE maps")
    engine = world.jobs.engine
    world.jobs.engine = ClickHouseEngine(world.olap, world.lake, world.settings)
    try:
        times = [row[3] for row in world.landed]
        for _ in backfill(world.jobs, min(times), max(times) + 1):
            pass
    finally:
        world.jobs.engine = engine
    assert rows == stored(world)
    assert published == hashes(world)


numbers = st.one_of(st.sampled_from(EDGES), st.floats(0, 1), st.none())
events = st.tuples(
    st.sampled_from(["a", "b.c-d_e"]),
    st.sampled_from(SCREENS),
    st.sampled_from(["mousemove", "click", "page.view"]),
    st.integers(0, HOUR_MS),
    numbers,
    numbers,
)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows=st.lists(events, min_size=20, max_size=300), files=st.integers(1, 4), lake_format=st.sampled_from(FORMATS))
def test_any_events_give_what_the_embedded_engine_gives(
    make_world: Callable[..., World], rows: list[Any], files: int, lake_format: str
) -> None:
    world = make_world(lake_format)
    world.olap.command("TRUNCATE TABLE maps")
    world.land([(c, s, k, world.hour - ago, x, y) for c, s, k, ago, x, y in rows], files)
    world.run_all()
    check(world)


@pytest.mark.parametrize("lake_format", FORMATS)
def test_positions_fall_where_double_arithmetic_says(make_world: Callable[..., World], lake_format: str) -> None:
    """Also in text: decimals that are no double, and doubles that take 17 digits, are read to the last bit."""
    world = make_world(lake_format)
    rng = np.random.default_rng(29)
    nasty = [0.29, 0.57, 0.58, 0.1 + 0.2, 1 / 3, *(k / 1000 for k in range(0, 1001, 7)), *rng.random(3_000)]
    near = [math.nextafter(k / 200, side) for k in rng.integers(1, 200, 500) for side in (0, 1)]
    across = np.array([*EDGES, *nasty, *near])
    down = rng.permutation(across)
    world.land([("a", "s", "click", world.hour, x, y) for x, y in zip(across.tolist(), down.tolist(), strict=True)])
    world.run(Level.HOUR, world.hour)
    expected = np.bincount(cells_of(across, down), minlength=20_000)
    assert np.array_equal(world.maps(Level.HOUR)["a", "s", "click", world.hour], expected)
    single = int(np.float64(0.29) * 100)
    assert (single, int(np.float32(0.29) * np.float32(100))) == (28, 29)
    world.run_all()
    check(world)


@pytest.mark.parametrize("lake_format", FORMATS)
def test_events_without_a_position_are_counted_and_not_placed(
    make_world: Callable[..., World], lake_format: str
) -> None:
    world = make_world(lake_format)
    world.land(
        [
            ("a", "none", "view", world.hour + 5, None, None),
            ("a", "none", "view", world.hour + 123, None, None),
            ("a", "half", "view", world.hour, 0.5, None),
            ("a", "half", "view", world.hour, None, 0.5),
            ("a", "half", "view", world.hour + 7, 0.0, 1.0),
        ]
    )
    world.run_all()
    facts = world.olap.query(
        "SELECT toString(level) AS level, screen_id, events, tiled, cells, counts,"
        " toUnixTimestamp64Milli(last_event) AS last FROM maps"
        " FINAL ORDER BY maps.level, screen_id"
    ).to_pylist()
    assert [row["level"] for row in facts] == [level.value for level in Level for _ in range(2)]
    for half, none in zip(facts[::2], facts[1::2], strict=True):
        assert (half["events"], half["tiled"], half["cells"], half["counts"]) == (3, 1, [19_900], [1])
        assert (none["events"], none["tiled"], none["cells"], none["counts"]) == (2, 0, [], [])
        assert (half["last"], none["last"]) == (world.hour + 7, world.hour + 123)
    check(world)


def test_a_late_event_replaces_the_maps_of_its_buckets_only(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.land([(c, "s", "click", world.hour - ago * HOUR_MS, 0.5, 0.5) for c in "ab" for ago in (0, 1)])
    world.run_all()
    before = {key: row.version for key, row in world.published(Level.HOUR).items()}
    world.land([("a", "s", "click", world.hour + 1, 0.5, 0.5), ("a", "new", "view", world.hour, None, None)])
    world.run_all()
    after = {key: row.version for key, row in world.published(Level.HOUR).items()}
    assert {key for key in before if after[key] != before[key]} == {("a", world.hour)}
    check(world)


def test_maps_whose_events_are_gone_become_empty(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.land([("a", f"s{i}", "click", world.hour - (i % 2) * HOUR_MS, 0.1, i / 9) for i in range(9)])
    world.run_all()
    version = world.delist("a", world.hour)
    world.run(Level.HOUR, world.hour)
    for level in (Level.DAY, Level.WEEK):
        for start in {row[1] for row in world.published(level)}:
            if start not in world.dirty(level):
                world.mark(level, start, "a", version)
    world.run_all()
    world.check()
    empty = world.olap.query(
        "SELECT screen_id, tiled, length(cells) + length(counts) AS n FROM maps FINAL WHERE events = 0 AND level='hour'"
    ).to_pylist()
    assert sorted(row["screen_id"] for row in empty) == [f"s{i}" for i in (0, 2, 4, 6, 8)]
    assert all(row["tiled"] == row["n"] == 0 for row in empty)


def filled(world: World, screen: str, cells: range, at: int) -> list[Any]:
    """One event in the middle of each of these cells."""
    return [("a", screen, "click", at, (cell % 100 + 0.5) / 100, (cell // 100 + 0.5) / 200) for cell in reversed(cells)]


def test_the_form_changes_at_two_thousand_cells(make_world: Callable[..., World]) -> None:
    world = make_world()
    day = world.hour - world.hour % DAY_MS
    one, two = day + HOUR_MS, day + 2 * HOUR_MS
    world.land(
        [
            *filled(world, "1999", range(7, 2_006), one),
            *filled(world, "2000", range(7, 2_007), one),
            *filled(world, "all", range(20_000), one),
            # Two sparse hours, whose sum has 1,999 cells, or 2,000; and a sparse hour on top of a dense one.
            *filled(world, "sum-1999", range(1_500), one),
            *filled(world, "sum-1999", range(500, 1_999), two),
            *filled(world, "sum-2000", range(1_500), one),
            *filled(world, "sum-2000", range(500, 2_000), two),
            *filled(world, "all", range(19_000, 19_100), two),
        ]
    )
    world.run_all()
    forms = world.olap.query(
        "SELECT toString(level) AS level, screen_id, length(cells) AS a, length(counts) AS b FROM maps FINAL"
    )
    found = {(row["level"], row["screen_id"], row["a"], row["b"]) for row in forms.to_pylist()}
    dense, sparse = (0, 20_000), (1_999, 1_999)
    for name, form in (("1999", sparse), ("2000", dense), ("all", dense)):
        assert ("hour", name, *form) in found
    for level in ("day", "week"):
        for name, form in (("1999", sparse), ("2000", dense), ("sum-1999", sparse), ("sum-2000", dense)):
            assert (level, name, *form) in found
    check(world)


@pytest.mark.parametrize("lake_format", FORMATS)
def test_many_clients_and_maps_in_one_job(make_world: Callable[..., World], lake_format: str) -> None:
    world = make_world(lake_format)
    rng = np.random.default_rng(4)
    rows: list[Any] = []
    for n, (x, y) in enumerate(rng.random((4_000, 2)).tolist()):
        rows.append((f"c{n % 53}", f"s{n % 11}", "click" if n % 5 else "mousemove", world.hour + n, x, y))
    rows += [("c0", "busy", "mousemove", world.hour + n, x, y) for n, (x, y) in enumerate(rng.random((9_000, 2)))]
    world.land([(*row[:4], float(row[4]), float(row[5])) for row in rows], 2)
    world.run_all()
    assert len(world.maps(Level.HOUR)) > 500
    check(world)


def test_one_screen_with_nearly_all_events(make_world: Callable[..., World]) -> None:
    world = make_world()
    rng = np.random.default_rng(5)
    busy = [("a", "home", "mousemove", world.hour + 1, x, y) for x, y in rng.random((90_000, 2)).tolist()]
    rest = [("a", f"s{n % 50}", "mousemove", world.hour, x, y) for n, (x, y) in enumerate(rng.random((10_000, 2)))]
    world.land([*busy, *((*row[:4], float(row[4]), float(row[5])) for row in rest)], 3)
    world.run_all()
    check(world)


def test_a_file_that_is_missing_fails_the_job_and_publishes_nothing(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.land([("a", "s", "click", world.hour, 0.5, 0.5)])
    world.run(Level.HOUR, world.hour)
    before = hashes(world)
    world.land([("a", "s", "click", world.hour, 0.6, 0.6), ("a", "s", "click", world.hour, 0.7, 0.7)], 2)
    lost = sorted(path for path, _ in world.lake.list())[-1]
    kept = world.lake.get(lost)
    world.lake.delete(lost)
    with pytest.raises(Exception, match=r"(?i)exist|no such|not found|not see all"):
        world.run(Level.HOUR, world.hour)
    assert hashes(world) == before
    assert world.dirty(Level.HOUR)
    world.lake.put(lost, kept)
    world.run_all()
    check(world)


def test_an_unknown_engine_is_refused(empty_olap: Olap, tmp_path: Path) -> None:
    lake = open_lake(f"file://{tmp_path}", Settings())
    with pytest.raises(ConfigError, match="known: clickhouse, spark"):
        open_engine(Settings(engine="hadoop://x"), empty_olap, lake)
