"""The tile store on a server that dies, hangs, lies and refuses: jobs and readers get an error, never a wrong map."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from serving import NOW as SERVED
from serving import World as Served
from tiling import NOW, World, recount, worlds

from isotherm.clock import HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.rollup.buckets import Level
from isotherm.rollup.retention import expire, set_backstop
from isotherm.store.db import open_db
from isotherm.store.olap import Olap, OlapGone, open_olap
from isotherm.store.olap_server import QUIET_SECONDS, ServerOlap
from isotherm.store.olap_target import read_layout, read_target
from services.clickhouse import ClickHouseFront
from services.server import wait_until

Opener = Callable[..., Olap]
WorldMaker = Callable[..., World]


@pytest.fixture
def front(clickhouse_front: ClickHouseFront) -> Iterator[ClickHouseFront]:
    """The session's front, whose faults end with the test."""
    yield clickhouse_front
    clickhouse_front.faults()


@pytest.fixture
def opened() -> Iterator[Opener]:
    made: list[Olap] = []

    def make(url: str, **settings: Any) -> Olap:
        made.append(open_olap(url, Settings(job_threads=2, **settings)))
        return made[-1]

    yield make
    for olap in made:
        olap.close()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[WorldMaker]:
    with worlds() as make:
        yield partial(make, Settings(data=tmp_path, job_threads=2))


def quick(server: ClickHouseFront, seconds: float) -> ServerOlap:
    """A store that counts the server as gone after these seconds without a byte, in a database that exists."""
    settings = Settings()
    target = read_target(server.url(), settings)
    return ServerOlap(target, read_layout(target, settings), settings, dict.fromkeys(QUIET_SECONDS, seconds))


def events(world: World, seed: int, count: int, screens: int = 3) -> list[Any]:
    rng = np.random.default_rng(seed)
    x, y, screen = rng.random(count), rng.random(count), rng.integers(0, screens, count)
    return [
        ("shop", f"s{s}", "mousemove", world.hour, float(a), float(b)) for a, b, s in zip(x, y, screen, strict=True)
    ]


def in_thread(run: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    """Run it in a thread and keep what it raises."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread, raised


def test_a_server_killed_before_an_insert_leaves_the_bucket_dirty_and_the_old_map(
    own_clickhouse: ClickHouseFront, opened: Opener, make_world: WorldMaker
) -> None:
    world = make_world(opened(own_clickhouse.new_database()))
    world.land(events(world, 1, 3000))
    world.run_all()
    before = world.maps(Level.HOUR)
    published = world.published(Level.HOUR)
    world.land(events(world, 2, 3000))
    own_clickhouse.faults({"match": "INSERT INTO maps", "do": "hold"})
    thread, raised = in_thread(lambda: world.run(Level.HOUR, world.hour))
    wait_until("the job to insert", own_clickhouse.hits, 30)
    own_clickhouse.kill9()
    thread.join(60)
    assert isinstance(raised[0], OlapGone)
    assert world.dirty(Level.HOUR) == {world.hour: ["shop"]}
    assert world.published(Level.HOUR) == published
    own_clickhouse.start()
    after = world.maps(Level.HOUR)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], counts) for key, counts in before.items())
    world.run_all()
    world.check()


def test_no_kill_in_the_middle_of_a_job_leaves_half_a_map(
    own_clickhouse: ClickHouseFront, opened: Opener, make_world: WorldMaker
) -> None:
    world = make_world(opened(own_clickhouse.new_database()))
    rng = random.Random(5)
    known = [recount([], Level.HOUR)]
    for round_ in range(3):
        world.land(events(world, round_, 20_000, screens=40))
        known.append(recount(world.landed, Level.HOUR))
        thread, raised = in_thread(lambda: world.run(Level.HOUR, world.hour))
        time.sleep(rng.uniform(0, 0.4))
        own_clickhouse.kill9()
        thread.join(60)
        assert not raised or isinstance(raised[0], OlapGone)
        assert raised == [] or world.dirty(Level.HOUR) == {world.hour: ["shop"]}
        own_clickhouse.start()
        for key, counts in world.maps(Level.HOUR).items():
            assert any(key in maps and np.array_equal(maps[key], counts) for maps in known), key
    world.run_all()
    world.check()


def test_readers_are_told_503_while_the_server_is_gone_and_nothing_else_after(
    own_clickhouse: ClickHouseFront, opened: Opener, tmp_path: Path
) -> None:
    olap = opened(own_clickhouse.new_database())
    database = open_db(f"sqlite://{tmp_path / 'isotherm.db'}")
    world = Served(Settings(data=tmp_path), database, olap, ManualClock(SERVED))
    hour = SERVED - 2 * HOUR_MS
    world.put("shop", "home", hour, {7: 3, 9: 1})
    world.publish()
    path = "/v1/screens?client_id=shop"
    with world.client() as client:
        before = client.get(path)
        assert before.status_code == 200
        own_clickhouse.kill9()
        for _ in range(3):
            gone = client.get(path)
            assert gone.status_code == 503
            assert gone.headers["content-type"].startswith("application/problem+json")
            assert gone.headers["retry-after"] == "5"
            assert str(own_clickhouse.port) not in gone.text
        assert client.get("/v1/healthz").status_code == 503
        own_clickhouse.start()
        assert client.get(path).json() == before.json()
        assert client.get("/v1/healthz").status_code == 200
    database.dispose()


@pytest.mark.parametrize("do", ["cut", "short", "late"])
@pytest.mark.parametrize("rows", [1, 200_000])
def test_an_answer_that_is_not_whole_is_an_error(front: ClickHouseFront, opened: Opener, do: str, rows: int) -> None:
    olap = opened(front.new_database())
    sql = f"SELECT number AS marked FROM numbers({rows})"
    # A read that breaks off may be asked again by itself: it must not end well while it keeps breaking off.
    front.faults({"match": "marked", "do": do, "times": 9})
    with pytest.raises(OlapGone):
        olap.query(sql)
    assert front.hits() > 0
    front.faults()
    assert olap.query(sql).num_rows == rows


@pytest.mark.parametrize("do", ["drop", "unavailable"])
def test_reads_are_sent_again_and_writes_are_not(front: ClickHouseFront, opened: Opener, do: str) -> None:
    olap = opened(front.new_database())
    olap.command("CREATE TABLE marked (n UInt64) ENGINE = MergeTree ORDER BY n")
    front.faults({"match": "SELECT 5 AS marked", "do": do})
    assert olap.query("SELECT 5 AS marked").column("marked").to_pylist() == [5]
    assert front.hits() == 1
    front.faults({"match": "INSERT INTO marked", "do": do})
    with pytest.raises(OlapGone):
        olap.command("INSERT INTO marked SELECT 1")
    front.faults()
    assert olap.query("SELECT count() AS n FROM marked").column("n").to_pylist() == [0]


def test_an_insert_that_the_server_drops_may_be_sent_again_and_counts_once_by_its_version(
    front: ClickHouseFront, opened: Opener
) -> None:
    olap = opened(front.new_database())
    olap.command("CREATE TABLE marked (n UInt64, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY n")
    front.faults({"match": "marked", "do": "drop"})
    rows = pa.table({"n": pa.array([1], pa.uint64()), "v": pa.array([1], pa.uint64())})
    try:
        olap.insert("marked", rows)
    except OlapGone:
        olap.insert("marked", rows)
    assert olap.query("SELECT count() AS n FROM marked FINAL").column("n").to_pylist() == [1]


def test_a_server_that_hangs_is_an_error_in_bounded_time(own_clickhouse: ClickHouseFront) -> None:
    olap = quick(own_clickhouse, 1)
    assert olap.query("SELECT 1 AS a").num_rows == 1
    olap.ping()
    own_clickhouse.cut()
    for run in (olap.ping, lambda: olap.query("SELECT 1 AS a"), lambda: olap.command("SYSTEM FLUSH LOGS")):
        with pytest.raises(OlapGone, match="does not answer"):
            run()
    own_clickhouse.resume()
    assert olap.query("SELECT 2 AS a").column("a").to_pylist() == [2]
    olap.close()


def test_a_long_query_shows_that_it_lives_and_its_error_is_seen_after_the_200(
    front: ClickHouseFront,
) -> None:
    olap = quick(front, 1)
    slow = "SELECT sum(sleepEachRow(0.5)) AS s, {what} FROM numbers(5) SETTINGS max_block_size = 1"
    found = olap.query(slow.format(what="count() AS n"), profile="write")
    assert found.column("n").to_pylist() == [5]
    for run in (olap.query, olap.command):
        with pytest.raises(DatabaseError, match="throwIf") as caught:
            run(slow.format(what="sum(throwIf(number = 4)) AS n"), profile="write")
        assert caught.value.code == 395
    olap.close()


@pytest.mark.parametrize("user", ["isotherm", "nobody"])
def test_a_refused_user_is_told_what_to_check(front: ClickHouseFront, user: str) -> None:
    with pytest.raises(ConfigError, match=rf"refuses the user {user}.*clickhouse_password") as caught:
        open_olap(front.url(user=user), Settings(clickhouse_password="wrong-word"))
    assert "wrong-word" not in str(caught.value)


def test_a_password_from_the_settings_is_used(front: ClickHouseFront, opened: Opener) -> None:
    url = front.new_database().replace("//default@", "//isotherm@")
    olap = opened(url, clickhouse_password=front.password)
    assert front.password not in olap.where
    assert olap.query("SELECT 1 AS a").num_rows == 1


def test_no_server_is_an_error_that_names_the_address() -> None:
    with pytest.raises(OlapGone, match=r"http://127\.0\.0\.1:1 cannot be reached.*Connection refused.*setting olap"):
        open_olap("clickhouse://default@127.0.0.1:1/isotherm", Settings())


def test_something_else_on_the_port_is_no_tile_store(front: ClickHouseFront) -> None:
    front.faults({"match": "version()", "do": "unavailable", "times": 99})
    with pytest.raises(OlapGone, match="does not answer as ClickHouse does"):
        open_olap(front.url(), Settings())


def test_a_database_that_may_not_be_made_must_be_there(front: ClickHouseFront, opened: Opener) -> None:
    url = front.new_database()
    denied = {"match": "CREATE DATABASE", "do": "fail", "code": 497, "text": "Not enough privileges", "times": 9}
    front.faults(denied)
    with pytest.raises(ConfigError, match="grant CREATE DATABASE"):
        open_olap(url, Settings())
    front.faults()
    opened(url)
    front.faults(denied)
    assert opened(url).query("SELECT count() AS n FROM maps").column("n").to_pylist() == [0]


def test_a_lake_outside_the_server_s_folder_is_an_error_that_says_what_to_do(
    front: ClickHouseFront, opened: Opener, make_world: WorldMaker
) -> None:
    world = make_world(opened(front.new_database()))
    world.land(events(world, 1, 10))
    text = "File `/x` is not inside `/var/lib/clickhouse/user_files` (DATABASE_ACCESS_DENIED)"
    front.faults({"match": "INSERT INTO maps", "do": "fail", "code": 291, "text": text})
    with pytest.raises(ConfigError, match="user_files_path"):
        world.run(Level.HOUR, world.hour)
    assert world.dirty(Level.HOUR) == {world.hour: ["shop"]}
    world.run_all()
    world.check()


@pytest.mark.parametrize("files", [1, 3])
def test_files_that_the_engine_does_not_see_are_never_published_as_empty(
    front: ClickHouseFront, opened: Opener, make_world: WorldMaker, files: int
) -> None:
    world = make_world(opened(front.new_database()))
    world.land(events(world, 1, 30), files=files)
    lost = world.manifest.listed()[0].path
    kept = world.lake.get(lost)
    world.lake.delete(lost)
    with pytest.raises(Exception, match=r"does not see all files|doesn't exist"):
        world.run(Level.HOUR, world.hour)
    assert world.published(Level.HOUR) == {}
    assert world.dirty(Level.HOUR) == {world.hour: ["shop"]}
    world.lake.put(lost, kept)
    world.run_all()
    world.check()


def test_tables_of_a_cluster_give_the_same_maps(front: ClickHouseFront, opened: Opener, make_world: WorldMaker) -> None:
    """Through a Distributed table in front of the one shard that the front has."""
    olap = opened(front.new_database(), clickhouse_cluster=front.cluster)
    engines = olap.query(
        "SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND engine != 'View' ORDER BY name"
    )
    assert [(row["name"], row["engine"]) for row in engines.to_pylist()] == [
        ("maps", "Distributed"), ("maps_local", "ReplacingMergeTree"),
        ("migrations", "Distributed"), ("migrations_local", "MergeTree"),
    ]  # fmt: skip
    world = make_world(olap)
    dense = events(world, 3, 20_000)
    world.land(dense + [("other", *row[1:]) for row in dense[:500]], files=2)
    world.run_all()
    world.check()
    world.land(events(world, 4, 100))
    world.run_all()
    world.check()
    viewed = olap.query("SELECT client_id, sum(count) AS n FROM heatmap_hourly GROUP BY client_id ORDER BY client_id")
    assert viewed.to_pylist() == [{"client_id": "other", "n": 500}, {"client_id": "shop", "n": 20_100}]
    set_backstop(olap, world.settings)
    expire(world.database, olap, NOW + 400 * 24 * HOUR_MS, world.settings)
    assert world.maps(Level.HOUR) == {}
    assert world.maps(Level.WEEK) != {}


def test_the_front_speaks_the_interface(front: ClickHouseFront) -> None:
    """What other clients do: ping, GET is read-only, sessions keep settings, parameters, errors with their code."""
    base = f"http://127.0.0.1:{front.port}/"
    with httpx.Client(base_url=base) as client:
        assert client.get("/ping").text == "Ok.\n"
        assert client.head("/ping").text == ""
        assert client.get("/", params={"query": "SELECT {a:String}", "param_a": "x"}).text == "x\n"
        refused = client.get("/", params={"query": "CREATE TABLE t (a Int8) ENGINE = Memory"})
        assert refused.headers["x-clickhouse-exception-code"] == "164"
        kept = {"session_id": "s1"}
        client.post("/", params=kept, content="SET max_threads = 3")
        assert client.post("/", params=kept, content="SELECT getSetting('max_threads')").text == "3\n"
        unknown = client.post("/", params={"no_such_setting": "1"}, content="SELECT 1")
        assert unknown.status_code >= 400
        assert unknown.text.startswith("Code: 115. DB::Exception: ")
        asked = client.post("/", params={"default_format": "JSONEachRow"}, content="SELECT 1 AS a")
        assert asked.json() == {"a": 1}
        assert set(asked.headers) >= {"x-clickhouse-summary", "x-clickhouse-query-id"}
