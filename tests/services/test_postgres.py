"""PostgreSQL that restarts, dies, loses a connection at COMMIT, or serves holders that stood still."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.command import upgrade
from landing import NOW, World, event, record
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs
from system_helpers import System, fetch

from isotherm.clock import ManualClock, SystemClock
from isotherm.config import load_settings
from isotherm.errors import ConfigError
from isotherm.eventlog.port import open_log
from isotherm.land import ledger
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.rollup.leases import Busy, Lease, lease
from isotherm.store import db_postgresql
from isotherm.store.db import next_version, open_db, reading, writing
from isotherm.store.tables import leases, positions
from services.cutting import Relay
from services.postgres import Postgres
from services.server import wait_until

pytestmark = pytest.mark.services
SPAWN = multiprocessing.get_context("spawn")
EVENTS = 20


@pytest.fixture
def engine(postgres: Any) -> Iterator[sa.Engine]:
    engine = open_db(postgres.new_database())
    yield engine
    engine.dispose()


# A landing whose connection is lost while it commits.


@pytest.fixture
def relayed(own_postgres: Postgres, tmp_path: Path) -> Iterator[tuple[World, Relay]]:
    url = own_postgres.new_database()
    with Relay("127.0.0.1", own_postgres.port) as relay:
        through = url.replace(str(own_postgres.port), str(relay.url_port))
        settings = load_settings(data=tmp_path, log="memory://", db=through, land_formats=["parquet"])
        clock = ManualClock(NOW)
        engine, log = open_db(settings.url("db")), open_log(settings, clock)
        manifest = Manifest(engine, clock)
        yield World(settings, clock, log, LocalLake.of_url(settings.url("lake"), settings), engine, manifest), relay
        log.close()
        engine.dispose()


@pytest.mark.parametrize("delivered", [True, False], ids=["committed", "rolled back"])
def test_a_landing_whose_commit_got_no_answer_is_in_the_lake_once(
    relayed: tuple[World, Relay], delivered: bool
) -> None:
    world, relay = relayed
    lander = world.lander()
    world.append(*(record("shop", f"b{n}", [event(NOW + n)]) for n in range(5)))
    relay.arm(b"INSERT INTO file_ranges", b"COMMIT", delivered=delivered)
    with pytest.raises(OperationalError):
        lander.step(force=True)
    assert relay.cuts == 1
    assert lander.step(force=True) == (0 if delivered else 5)
    world.append(record("shop", "b5", [event(NOW)]))
    assert lander.drain() == 1
    assert world.identities() == [("shop", f"b{n}", 0) for n in range(6)]
    assert ledger.check(rows := ledger.read(world.engine)) == []
    assert ledger.sums(rows)["landed"] == 6
    with reading(world.engine) as connection:
        assert connection.execute(sa.select(positions.c.next_offset)).scalar_one() == 6
    world.clock.advance(3 * 3_600_000)
    world.manifest.sweep(world.lake)
    assert world.objects() == {file.path for file in world.manifest.listed()}


# Holders that stand still.


def holder(url: str, pipe: Pipe) -> None:
    """Hold a lease, and publish when told to, as a job does; tells whether it may."""
    engine = open_db(url)
    with lease(engine, SystemClock(), "bucket", lease_ms=1500) as mine:
        pipe.send("held")
        pipe.recv()
        with writing(engine) as connection:
            pipe.send(mine.held(connection))
    engine.dispose()


def test_a_holder_that_stood_still_for_longer_than_its_lease_may_not_publish(engine: sa.Engine, postgres: Any) -> None:
    ours, theirs = SPAWN.Pipe()
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    child = SPAWN.Process(target=holder, args=(url, theirs))
    child.start()
    assert child.pid is not None
    assert ours.poll(60)
    assert ours.recv() == "held"
    with pytest.raises(Busy):
        take(engine)
    os.kill(child.pid, signal.SIGSTOP)
    try:
        mine = wait_until("the lease to run out", lambda: try_to_take(engine), 30)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    ours.send("publish")
    assert ours.poll(60)
    assert ours.recv() is False
    child.join(60)
    assert child.exitcode == 0
    with writing(engine) as connection:
        assert mine.held(connection)


def take(engine: sa.Engine) -> Lease:
    with lease(engine, SystemClock(), "bucket"):
        return Lease("bucket")


def try_to_take(engine: sa.Engine) -> Lease | None:
    """The lease, kept until it runs out, as a job of this process would hold it."""
    try:
        take(engine)
    except Busy:
        return None
    mine = Lease("bucket")
    row = {"name": mine.name, "holder": mine.holder, "expires_at": 2**62}
    with writing(engine) as connection:
        connection.execute(sa.insert(leases).values(row))
    return mine


def hold_the_pen(url: str, pipe: Pipe) -> None:
    """Begin to write and stand still."""
    engine = open_db(url)
    try:
        with writing(engine) as connection:
            next_version(connection)
            pipe.send("writing")
            pipe.recv()
            next_version(connection)
    except DBAPIError as error:
        pipe.send(type(error.orig).__name__)
    engine.dispose()


def test_a_writer_that_stands_still_loses_its_transaction_and_the_others_go_on(postgres: Any) -> None:
    url = postgres.new_database()
    open_db(url).dispose()
    ours, theirs = SPAWN.Pipe()
    impatient = f"{url}?options=-c%20idle_in_transaction_session_timeout%3D1s"
    child = SPAWN.Process(target=hold_the_pen, args=(impatient, theirs))
    child.start()
    assert child.pid is not None
    assert ours.poll(60)
    ours.recv()
    os.kill(child.pid, signal.SIGSTOP)
    try:
        engine = open_db(url)
        with writing(engine) as connection:
            assert next_version(connection) == 1
        engine.dispose()
    finally:
        os.kill(child.pid, signal.SIGCONT)
    ours.send("go on")
    assert ours.poll(60)
    assert ours.recv() == "IdleInTransactionSessionTimeout"
    child.join(60)


def ask_one_that_is_stopped(engine: sa.Engine, stopped: list[int]) -> None:
    with reading(engine) as connection:
        stopped.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        os.kill(stopped[0], signal.SIGSTOP)
        connection.exec_driver_sql("SELECT 1")


def test_a_server_that_hangs_is_given_up_and_the_next_transaction_gets_another_connection(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_postgresql, "QUIET_SECONDS", 0.5)
    stopped: list[int] = []
    try:
        with pytest.raises(OperationalError, match=r"the server said nothing for 0\.5 s") as given_up:
            ask_one_that_is_stopped(engine, stopped)
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    assert given_up.value.connection_invalidated
    monkeypatch.undo()
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != stopped[0]


def test_a_statement_that_takes_long_is_not_given_up_while_the_server_sends(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_postgresql, "QUIET_SECONDS", 1.0)
    slowly = "SELECT repeat('x', 100000), pg_sleep(0.4) FROM generate_series(1, 6)"
    with reading(engine) as connection:
        assert len(connection.exec_driver_sql(slowly).all()) == 6


def slow_migration(config: Any, _: str) -> None:
    """Stands for one that goes over a large table."""
    connection = config.attributes["connection"]
    connection.exec_driver_sql("SELECT pg_sleep(2.5)")
    upgrade(config, "head")


def test_a_migration_takes_as_long_as_it_takes_and_others_wait_for_it(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_postgresql, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(command, "upgrade", slow_migration)
    # Neither waits for the other's lock for long.
    url = f"{postgres.new_database()}?options=-c%20lock_timeout%3D300ms"
    opened: list[sa.Engine] = []
    threads = [threading.Thread(target=lambda: opened.append(open_db(url))) for _ in range(2)]
    with capture_logs() as logs:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(opened) == 2
    said = [entry["event"] for entry in logs]
    assert said
    assert set(said) == {"another process brings the database up to date; this one waits for it"}
    for engine in opened:
        with writing(engine) as connection:
            assert connection.connection.driver_connection.bounded  # type: ignore[union-attr]
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "1min"
        engine.dispose()


def work_on_all(url: str, buckets: int, seed: int) -> list[tuple[int, int, int]]:
    """Take every bucket's lease in some order; (bucket, from, until) by the server's clock, for those that were got."""
    engine = open_db(url)
    names = list(range(buckets)) * 2
    random.Random(seed).shuffle(names)
    done: list[tuple[int, int, int]] = []
    for name in names:
        try:
            with lease(engine, SystemClock(), f"tiles hour {name}"):
                began = tick(engine)
                time.sleep(0.002)
                done.append((name, began, tick(engine)))
        except Busy:
            continue
    engine.dispose()
    return done


def tick(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return connection.exec_driver_sql(statement).scalar_one()


def test_processes_never_work_on_one_bucket_at_once(postgres: Any) -> None:
    url = postgres.new_database()
    with SPAWN.Pool(2) as pool:
        both = pool.starmap(work_on_all, [(url, 40, 1), (url, 40, 2)])
    assert all(both)
    spans: dict[int, list[tuple[int, int]]] = {}
    for name, began, ended in (span for one in both for span in one):
        spans.setdefault(name, []).append((began, ended))
    assert spans.keys() == set(range(40))
    for held in spans.values():
        held.sort()
        assert all(before[1] < after[0] for before, after in pairwise(held))


# A server that is refused, and one that refuses us.


def test_a_server_that_is_away_is_told_in_one_line_without_the_password() -> None:
    with pytest.raises(ConfigError, match=r"cannot be used.*Check `db`") as refused:
        open_db("postgresql://app:geheim@127.0.0.1:1/isotherm")
    assert "geheim" not in str(refused.value)
    for wrong in ("postgresql://app:geheim@127.0.0.1:port/x", "postgresql://app:geheim@127.0.0.1"):
        with pytest.raises(ConfigError, match="postgresql://user:password@host:port/database") as refused:
            open_db(wrong)
        assert "geheim" not in str(refused.value)


def test_a_database_that_would_not_keep_what_we_assume_is_refused(postgres: Any) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(ConfigError, match="encoding is SQL_ASCII"):
        open_db(f"{url.rpartition('/')[0]}/ascii")
    with pytest.raises(ConfigError, match="synchronous_commit is off"):
        open_db(f"{url}?options=-c%20synchronous_commit%3Doff")
    with pytest.raises(ConfigError, match="may not make tables"):
        open_db(url.replace("app@", "guest@"))


# The whole program.


class Sender(threading.Thread):
    """Sends batches until told to stop, each until it is acknowledged."""

    def __init__(self, system: System, name: str) -> None:
        super().__init__(name=name)
        self.system = system
        self.stopping = threading.Event()
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        number = 0
        while not self.stopping.wait(0.02):
            batch_id, number = f"{self.name}-{number}", number + 1
            now = int(time.time() * 1000)
            events = [
                {"event_time": now + i, "event_type": "click", "x_norm": i / EVENTS, "y_norm": 0.5}
                for i in range(EVENTS)
            ]
            batch = {"client_id": "shop", "screen_id": "home", "batch_id": batch_id, "events": events}
            self.system.post(batch)
            self.acknowledged.add(batch_id)


def rows_per_batch(url: str, lake: Path) -> Counter[str]:
    """Read past our own code: the manifest by psycopg, the files by pyarrow."""
    with psycopg.connect(url) as connection:
        listed = connection.execute("SELECT path FROM files WHERE state = 'listed'").fetchall()
    rows: Counter[str] = Counter()
    for (path,) in listed:
        rows.update(pq.read_table(lake / path, columns=["batch_id"])["batch_id"].to_pylist())
    return rows


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urlopen(url, timeout=60) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.drill
def test_the_program_goes_on_when_its_postgresql_restarts_and_dies(own_postgres: Postgres, tmp_path: Path) -> None:
    url = own_postgres.new_database()
    system = System(tmp_path / "data", db=url)
    senders = [Sender(system, name) for name in "ab"]
    system.start()
    try:
        pid = system.pid("app")
        for sender in senders:
            sender.start()
        wait_until("the first map", lambda: fetch(f"{system.app_url}/v1/clients")["clients"], 60)
        for end in (own_postgres.halt, own_postgres.kill9, own_postgres.halt, own_postgres.kill9):
            end()
            status, body = asked(f"{system.app_url}/v1/clients")
            assert (status, b"store behind the API" in body, b"Traceback" in body) == (503, True, False)
            time.sleep(1)
            own_postgres.start()
            time.sleep(2)
        for sender in senders:
            sender.stopping.set()
            sender.join(60)
        system.wait_idle()
        assert system.pid("app") == pid
        verified = system.run("verify")
        told = system.run_json("ledger", "--json")
        listed = system.run("lake", "ls")
        status_said = system.run("status")
    finally:
        for sender in senders:
            sender.stopping.set()
        system.stop()
    acknowledged = senders[0].acknowledged | senders[1].acknowledged
    assert len(acknowledged) > 20
    assert rows_per_batch(url, tmp_path / "data" / "lake") == dict.fromkeys(acknowledged, EVENTS)
    assert told["differences"] == []
    assert told["totals"]["landed"] == EVENTS * len(acknowledged)
    for done in (verified, listed, status_said):
        assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "data" / "isotherm.db").exists()
