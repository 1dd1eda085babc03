"""Freshness against the truth: a real lander, real tile jobs, and every event in a cell of its own."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import NOW, World, event, record
from litestar.testing import TestClient

from isotherm.cli.jobs import find_unlanded, status_facts
from isotherm.clock import HOUR_MS, ManualClock, iso
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake import open_lake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.engines.clickhouse import ClickHouseEngine
from isotherm.rollup.jobs import STEPS as JOB_STEPS
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.scheduler import Scheduler
from isotherm.rollup.windows.port import open_stream
from isotherm.serve.app import create_app
from isotherm.serve.deps import Deps
from isotherm.store.cache import open_cache
from isotherm.store.db import open_db, reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import dirty, files

CLIENTS = ("shop", "bank")


class Stopped(Exception):
    """The lander or a tile job fails between two steps."""


@dataclass
class Deployment:
    """Everything behind the API. `sent` is, per client, when each event was acknowledged, by its cell."""

    world: World
    olap: Olap
    jobs: Jobs
    scheduler: Scheduler
    lander: Lander = field(init=False)
    fail_at: str = ""
    sent: dict[str, dict[int, int]] = field(default_factory=lambda: {name: {} for name in CLIENTS})
    batches: int = 0
    meanwhile: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.lander = self.world.lander(self._checkpoint)

    def _checkpoint(self, name: str) -> None:
        if name == self.fail_at:
            self.fail_at = ""
            raise Stopped

    def send(self, client_id: str, events: int = 1, took_ms: int = 0, hours_ago: int = 0) -> None:
        """Events that were received `took_ms` ago and are acknowledged now."""
        now, known = self.world.clock.now_ms(), self.sent[client_id]
        cells = range(len(known), len(known) + events)
        known |= dict.fromkeys(cells, now)
        places = [((cell % 100 + 0.5) / 100, (cell // 100 + 0.5) / 200) for cell in cells]
        self.batches += 1
        made = [event(NOW - hours_ago * HOUR_MS, x, y) for x, y in places]
        self.world.append(record(client_id, f"b{self.batches}", made, received_at=now - took_ms))

    def tile(self, at: str = "", what: str = "") -> None:
        """Tile all that waits. The first job comes to the step `at`, and records land then, or it fails."""
        self.meanwhile = {at: what}
        with reading(self.world.engine) as connection:
            waiting = connection.execute(sa.select(dirty.c.start, dirty.c.client_id).where(dirty.c.level == "hour"))
            hours = list(waiting)
        for start, client_id in hours:
            with suppress(Stopped):
                self.jobs.run(Bucket(Level.HOUR, start), [client_id])

    def at_step(self, name: str) -> None:
        match self.meanwhile.pop(name, ""):
            case "land":
                self.send("shop", took_ms=300)
                self.lander.step(force=True)
            case "fail":
                raise Stopped
            case _:
                pass

    def tiled(self, client_id: str) -> set[int]:
        """The cells, and so the events, that the maps hold."""
        found: set[int] = set()
        rows = self.olap.query(
            "SELECT cells, counts FROM maps FINAL WHERE client_id = {client:String} AND level = 'hour'",
            {"client": client_id},
        )
        for row in rows.to_pylist():
            assert set(row["counts"]) == {1}
            assert found.isdisjoint(row["cells"])
            found.update(row["cells"])
        return found


@pytest.fixture
def make(tmp_path: Path, empty_olap: Olap) -> Iterator[Callable[[], Deployment]]:
    made: list[Deployment] = []

    def at_step(name: str) -> None:
        made[-1].at_step(name)

    def build() -> Deployment:
        empty_olap.command("TRUNCATE TABLE maps")
        built = Settings(data=tmp_path / f"data{len(made)}", log="memory://", land_flush_seconds=15, job_threads=1)
        clock, engine = ManualClock(NOW), open_db(built.url("db"))
        manifest, lake = Manifest(engine, clock), open_lake(built.url("lake"), built)
        world = World(built, clock, open_log(built, clock), lake, engine, manifest)
        tiles = ClickHouseEngine(empty_olap, lake, built)
        jobs = Jobs(built, engine, empty_olap, manifest, tiles, clock, at_step)
        scheduler = Scheduler(built, engine, empty_olap, lake, manifest, clock)
        made.append(Deployment(world, empty_olap, jobs, scheduler))
        return made[-1]

    yield build
    for one in made:
        one.world.log.close()
        one.world.engine.dispose()


@pytest.fixture
def up(make: Callable[[], Deployment]) -> Deployment:
    return make()


def api(up: Deployment, *, with_lander: bool = True) -> TestClient[Any]:
    world = up.world
    cache = open_cache(world.settings, world.clock)
    stream = open_stream(world.settings, world.log, cache, world.engine, world.clock)
    parts: Any = SimpleNamespace(
        settings=world.settings, lander=up.lander, log=world.log, scheduler=up.scheduler, stream=stream
    )
    told: dict[str, Any] = {}
    if with_lander:
        told = {"unlanded": find_unlanded(parts), "status": lambda: status_facts(parts)}
    deps = Deps(settings=up.world.settings, engine=up.world.engine, olap=up.olap, clock=up.world.clock, **told)
    return TestClient(create_app(deps), base_url="http://127.0.0.1")


def ask(client: TestClient[Any], client_id: str = "shop") -> dict[str, Any]:
    answer = client.get("/v1/freshness", params={"client_id": client_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_events_are_followed_from_the_log_into_the_maps(up: Deployment) -> None:
    with api(up) as client:
        assert ask(client) == {
            "client_id": "shop",
            "simulated": False,
            "now": iso(NOW),
            "received": 0,
            "last_received_at": None,
            "tiled_until": None,
            "waiting": {"lander": None, "tiles": 0},
            "version": 0,
        }
        up.send("shop", 3)
        up.world.clock.advance(1_000)
        up.lander.step()
        held = ask(client)
        assert (held["received"], held["last_received_at"], held["tiled_until"]) == (3, iso(NOW), iso(NOW))
        assert held["waiting"] == {"lander": 3, "tiles": 0}
        up.world.clock.advance(20_000)
        up.lander.step()
        landed = ask(client)
        assert (landed["received"], landed["last_received_at"], landed["tiled_until"]) == (3, iso(NOW), iso(NOW))
        assert landed["waiting"] == {"lander": 0, "tiles": 3}
        up.tile()
        done = ask(client)
        assert (done["received"], done["waiting"]) == (3, {"lander": 0, "tiles": 0})
        assert done["tiled_until"] == iso(NOW + 21_000)
        assert done["version"] > held["version"]
        other = ask(client, "bank")
        assert (other["received"], other["last_received_at"], other["version"]) == (0, None, 0)
        assert (other["waiting"], other["tiled_until"]) == ({"lander": 0, "tiles": 0}, done["tiled_until"])


def test_a_process_without_the_lander_says_what_the_stores_know(up: Deployment) -> None:
    up.send("shop", 4)
    up.lander.step(force=True)
    up.send("shop", 9)
    up.lander.step()
    with api(up, with_lander=False) as client:
        found = ask(client)
        assert (found["received"], found["tiled_until"]) == (4, None)
        assert found["waiting"] == {"lander": None, "tiles": 4}
        assert client.get("/v1/status").json()["intake"] is None


def test_rows_that_left_the_lake_hide_none_that_wait(up: Deployment) -> None:
    with api(up) as client:
        up.send("shop", 3)
        up.lander.step(force=True)
        up.tile()
        up.lander.step()
        with writing(up.world.engine) as connection:
            connection.execute(sa.update(files).values(state="delisted", delisted_version=1))
        up.world.clock.advance(1_000)
        up.send("shop", 1)
        acknowledged = up.world.clock.now_ms()
        up.lander.step(force=True)
        up.world.clock.advance(1_000)
        up.lander.step()
        found = ask(client)
        assert found["tiled_until"] <= iso(acknowledged)
        assert found["waiting"] == {"lander": 0, "tiles": 0}


def test_it_goes_on_while_something_lands_during_every_job(up: Deployment) -> None:
    up.send("shop")
    up.lander.step(force=True)
    with api(up) as client:
        for _ in range(5):
            began = up.world.clock.now_ms()
            up.tile("drawn", "land")
            up.world.clock.advance(20_000)
            up.lander.step()
            assert ask(client)["tiled_until"] == iso(began - 300)
            assert ask(client)["waiting"]["tiles"] == 1


def test_the_mark_of_simulated_traffic(up: Deployment) -> None:
    with api(up) as client:
        assert ask(client, "shop-simulated")["simulated"] is True
        assert ask(client, "simulated")["simulated"] is False
        wrong = client.get("/v1/freshness", params={"client_id": "../shop"})
        assert (wrong.status_code, wrong.json()["field"]) == (400, "client_id")


def test_intake_counts_what_is_read_once_and_its_rate(up: Deployment) -> None:
    with api(up) as client:
        up.send("shop", 30)
        up.fail_at = "pending"
        with pytest.raises(Stopped):
            up.lander.step(force=True)
        up.send("bank", 20)
        up.lander.step()
        up.world.clock.advance(1_000)
        assert client.get("/v1/status").json()["intake"] == {"events": 50, "events_per_second": 5.0}
        up.send("shop", 10)
        up.lander.step()
        up.world.clock.advance(9_000)
        assert client.get("/v1/status").json()["intake"] == {"events": 60, "events_per_second": 6.0}
        up.world.clock.advance(11_000)
        assert client.get("/v1/status").json()["intake"] == {"events": 60, "events_per_second": 0.0}


STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(CLIENTS), st.integers(1, 4), st.integers(0, 30_000), st.integers(0, 1)),
    st.tuples(st.just("advance"), st.sampled_from([1, 700, 16_000])),
    st.sampled_from([("step",), ("land",), ("tile",), ("fail", "pending"), ("fail", "landed"), ("other",)]),
    # A job that fails later leaves maps that nobody was told of: what is waiting is in them already.
    st.one_of(
        st.tuples(st.just("tile"), st.sampled_from(JOB_STEPS), st.just("land")), st.just(("tile", "drawn", "fail"))
    ),
)


@given(steps=st.lists(STEPS, min_size=5, max_size=25))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_promises_too_much_and_the_sums_hold(
    make: Callable[[], Deployment], steps: list[tuple[Any, ...]]
) -> None:
    up = make()
    with api(up) as client:
        versions = dict.fromkeys(CLIENTS, 0)
        maps: dict[str, set[int]] = {name: set() for name in CLIENTS}
        for step in steps:
            play(up, step)
            for name in CLIENTS:
                found, there = ask(client, name), up.tiled(name)
                check(up, name, found, there)
                assert (found["version"] > versions[name]) or there == maps[name]
                versions[name], maps[name] = found["version"], there
        up.fail_at = ""
        up.lander.drain()
        up.lander.step()
        up.tile()
        for name in CLIENTS:
            found = ask(client, name)
            assert (found["received"], found["waiting"]) == (len(up.sent[name]), {"lander": 0, "tiles": 0})
            assert found["tiled_until"] == iso(up.world.clock.now_ms())


def play(up: Deployment, step: tuple[Any, ...]) -> None:
    match step:
        case "send", client_id, events, took_ms, hours_ago:
            up.send(client_id, events, took_ms, hours_ago)
        case "advance", milliseconds:
            up.world.clock.advance(milliseconds)
        case "fail", name:
            up.fail_at = name
        case "tile", *meanwhile:
            up.tile(*meanwhile)
        case ("other",):
            up.world.lander().step(force=True)
        case _:
            try:
                up.lander.step(force=step == ("land",))
            except Stopped:
                assert up.fail_at == ""


def check(up: Deployment, client_id: str, found: dict[str, Any], there: set[int]) -> None:
    waiting = found["waiting"]
    assert found["received"] == (waiting["lander"] or 0) + waiting["tiles"] + len(there)
    assert found["received"] <= len(up.sent[client_id])
    if found["tiled_until"] is not None:
        promised = {cell for cell, at in up.sent[client_id].items() if iso(at) < found["tiled_until"]}
        assert promised <= there
        assert np.all([iso(at) <= found["now"] for at in up.sent[client_id].values()])
