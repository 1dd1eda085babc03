"""Drills on the distributed build under load: servers killed, stopped, slow, refusing, restarted, and so the roles.

After each one, every acknowledged batch is in the lake once, the maps are its recount, and no reader saw half a map.
Two landers and two schedulers run all along. All on one deployment, which no drill may leave worse than it was.
"""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from services.clickhouse import ClickHouseFront
from services.deployment import Roles
from services.drill import Servers, World
from services.fixtures import own, serving
from services.kafka import Kafka
from services.ports import processes
from services.postgres import Postgres
from services.proxy import Answer, Fault, Proxy
from services.redis import Redis
from services.s3 import Versitygw
from services.server import Server, wait_until

STOPPED_SECONDS = float(os.environ.get("ISOTHERM_TEST_STOPPED_SECONDS", "60"))
"""How long the broker stands still."""

pytestmark = [
    pytest.mark.services("own_kafka", "own_versitygw", "own_postgres", "own_redis", "own_clickhouse"),
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(900),
]


S = TypeVar("S", bound=Server)


@contextmanager
def alone(name: str, make: Callable[[], S]) -> Generator[S]:
    """A server for these drills alone; see `services.fixtures.own`."""
    yield from own(name, make)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("drills")
    with ExitStack() as running:
        s3 = running.enter_context(alone("s3", Versitygw))
        servers = Servers(
            kafka=running.enter_context(alone("kafka", Kafka)),
            s3=s3,
            proxy=running.enter_context(Proxy(s3.endpoint)),
            postgres=running.enter_context(alone("postgres", Postgres)),
            redis=running.enter_context(alone("redis", Redis)),
            clickhouse=running.enter_context(serving(ClickHouseFront)),
        )
        settings = servers.settings()
        roles = Roles(folder / "data", **settings)
        running.callback(roles.stop)
        roles.start()
        yield World(servers, settings, roles, folder)


# The log.


def test_drill_the_broker_is_killed_under_load(world: World) -> None:
    with world.drill("broker-killed", collects=False) as drill:
        for _ in range(2):
            drill.flows()
            world.servers.kafka.kill9()
            time.sleep(2)
            world.servers.kafka.start()
            drill.recovers()


@pytest.mark.drill
def test_drill_the_broker_stands_still(world: World) -> None:
    with world.drill("broker-stopped", collects=False) as drill:
        drill.flows()
        world.servers.kafka.cut()
        time.sleep(STOPPED_SECONDS)
        world.servers.kafka.resume()
        drill.recovers()


# The lake.


@pytest.mark.drill
def test_drill_s3_is_gone(world: World) -> None:
    with world.drill("s3-gone") as drill:
        drill.flows()
        world.servers.s3.kill9()
        time.sleep(8)
        world.servers.s3.start()
        drill.recovers()


@pytest.mark.drill
def test_drill_s3_is_slow_and_refuses(world: World) -> None:
    proxy = world.servers.proxy
    always, writing = {"GET", "HEAD", "PUT", "POST", "DELETE"}, {"PUT"}
    troubles: list[tuple[Fault | Answer, set[str]]] = [
        (Fault.SLOW, writing),
        (Answer(503, "SlowDown"), always),
        (Answer(403, "AccessDenied"), always),
        (Answer(507, "XMinioStorageFull"), writing),
        (Fault.LOSE_ANSWER, writing),
    ]
    with world.drill("s3-slow") as drill:
        drill.flows()
        for trouble, struck in troubles:
            hits: list[str] = []
            proxy.meddle = partial(meddle, trouble, struck, hits)
            time.sleep(5)
            # After several failures a lander sleeps for up to half a minute.
            wait_until(f"a PUT that meets {trouble}", lambda hits=hits: "PUT" in hits, 60)
        proxy.meddle = lambda method, path: None
        drill.recovers()


def meddle(trouble: Fault | Answer, struck: set[str], hits: list[str], method: str, _: str) -> Fault | Answer | None:
    if method not in struck:
        return None
    hits.append(method)
    return trouble


# The database.


@pytest.mark.drill
def test_drill_postgresql_restarts_and_is_killed(world: World) -> None:
    postgres = world.servers.postgres
    with world.drill("postgresql-gone", serves=False) as drill:
        for end in (postgres.halt, postgres.kill9):
            drill.flows()
            end()
            time.sleep(3)
            postgres.start()
            drill.recovers()


@pytest.mark.drill
def test_drill_postgresql_stands_still(world: World) -> None:
    with world.drill("postgresql-stopped", serves=False) as drill:
        drill.flows()
        server = world.servers.postgres.pid
        stopped = [server, *children(server)]
        send(stopped, signal.SIGSTOP)
        # Longer than it lets a transaction idle: holders that were in the middle of one lose it.
        time.sleep(25)
        send(stopped, signal.SIGCONT)
        drill.recovers()


# The cache.


@pytest.mark.drill
def test_drill_redis_is_flushed_hangs_and_is_gone(world: World) -> None:
    server = world.servers.redis
    with world.drill("redis-gone") as drill:
        drill.flows()
        with redis.Redis(port=server.port, db=0) as client:
            client.flushall()
        drill.flows()
        server.cut()
        time.sleep(5)
        server.resume()
        server.kill9()
        time.sleep(5)
        server.start()
        drill.recovers()


# The tile store.


@pytest.mark.drill
@pytest.mark.parametrize("statement", ["s3(", "sumMap(cells, counts)"], ids=["tiling", "roll-up"])
def test_drill_the_tile_store_is_killed_during_a_job(world: World, statement: str) -> None:
    server = world.servers.clickhouse
    with world.drill(f"olap-{'tile' if statement == 's3(' else 'roll-up'}", serves=False) as drill:
        drill.flows()
        server.faults({"match": statement, "do": "hold"})
        wait_until("a job to be held", server.hits, 90)
        server.kill9()
        time.sleep(2)
        server.start()
        drill.recovers()


# The roles.


def test_drill_a_lander_a_scheduler_and_the_collector_are_killed(world: World) -> None:
    with world.drill("roles-killed", collects=False) as drill:
        for number in (1, 2):
            drill.flows()
            for name in (f"land-{number}", f"rollup-{number}", "collect"):
                assert world.roles.kill(name)
            time.sleep(1)
            world.roles.start()
            drill.recovers()


@pytest.mark.drill
def test_drill_a_lander_and_a_scheduler_stand_still_for_longer_than_their_leases(world: World) -> None:
    with world.drill("roles-stopped") as drill:
        drill.flows()
        stopped = [pid for name in ("land-2", "rollup-1") if (pid := world.roles.pid(name))]
        assert len(stopped) == 2
        send(stopped, signal.SIGSTOP)
        # Membership ends after 10 s, a lease and an idle transaction after 20 s.
        time.sleep(25)
        drill.recovers()
        send(stopped, signal.SIGCONT)
        drill.recovers()


@pytest.mark.drill
def test_drill_landers_join_and_leave(world: World) -> None:
    third = Roles(world.folder / "third", **world.settings)
    with world.drill("rebalanced") as drill:
        try:
            for leave in (third.stop, lambda: third.kill("land-1")):
                drill.flows()
                third.revive("land-1")
                wait_until("the third lander to get partitions", lambda: world.landers() == [1, 1, 2], 60)
                drill.recovers()
                leave()
                wait_until("the others to have them back", lambda: world.landers() == [2, 2], 60)
                drill.recovers()
        finally:
            third.kill("land-1")


def children(server: int) -> list[int]:
    """Processes of a server that gives each of them a group of its own."""
    return [pid for pid in processes() if parent(pid) == server]


def parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
