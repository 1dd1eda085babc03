"""What the relational store does, on SQLite and on PostgreSQL: migrations, transactions, versions, upserts, leases."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock, SystemClock
from isotherm.config import Settings, load_settings
from isotherm.errors import ConfigError
from isotherm.land import known
from isotherm.land.lake import Lake, open_lake
from isotherm.land.manifest import LakeFile, Landing, Manifest, OffsetRange
from isotherm.land.retention import expire_raw
from isotherm.rollup.leases import Busy, lease
from isotherm.store import db_postgresql, db_sqlite
from isotherm.store.db import MIGRATIONS, next_version, open_db, reading, revisions, total, writing
from isotherm.store.tables import (
    arrivals,
    backgrounds,
    dirty,
    files,
    known_ids,
    leases,
    ledger,
    metadata,
    positions,
    screen_shapes,
)
from isotherm.store.upsert import among, upsert, with_key

NOW = 1_770_000_000_000
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path / 'store.db'}"
    server: Any = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_db(url)
    yield engine
    engine.dispose()


def settings(connection: sa.Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def bare(url: str) -> sa.Engine:
    """An engine without our migrations."""
    module = db_sqlite if url.startswith("sqlite") else db_postgresql
    return module.open_engine(url)[0]


def check_schema(engine: sa.Engine) -> None:
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


@pytest.mark.parametrize("revision", [None, *sorted(revisions())])
def test_from_every_revision_the_schema_becomes_the_code_s(url: str, revision: str | None) -> None:
    older = bare(url)
    if revision is not None:
        with writing(older) as connection:
            command.upgrade(settings(connection), revision)
            names = ("client_id", "hour", "measure", "reason", "events")
            connection.execute(sa.insert(ledger), [dict(zip(names, ("shop", 0, "accepted", "", 5), strict=True))])
    older.dispose()
    for _ in range(2):
        engine = open_db(url)
        check_schema(engine)
        with reading(engine) as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one() == bool(revision)
        engine.dispose()


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    engine = open_db(url)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigError, match="newer version"):
        open_db(url)


def open_and_draw(url: str, times: int) -> list[int]:
    engine = open_db(url)
    drawn: list[int] = []
    for _ in range(times):
        with writing(engine) as connection:
            drawn.append(next_version(connection))
            connection.execute(sa.insert(positions).values(log="drawn", partition=drawn[-1], next_offset=0))
    engine.dispose()
    return drawn


def test_processes_that_start_at_once_migrate_once_and_draw_different_versions(url: str) -> None:
    with SPAWN.Pool(6) as pool:
        drawn = pool.starmap(open_and_draw, [(url, 10)] * 6)
    assert sorted(v for one in drawn for v in one) == list(range(1, 61))
    assert all(one == sorted(one) for one in drawn)
    engine = open_db(url)
    check_schema(engine)
    engine.dispose()


def test_a_version_that_can_be_read_was_not_overtaken(engine: sa.Engine) -> None:
    """Who reads version v finds everything that versions up to v wrote: later drawn is later committed."""
    stop = threading.Event()
    holes: list[Any] = []

    def write() -> None:
        while not stop.is_set():
            with writing(engine) as connection:
                version = next_version(connection)
                time.sleep(0.001 * (version % 3))
                connection.execute(sa.insert(positions).values(log="v", partition=version, next_offset=0))

    def read() -> None:
        while not stop.is_set():
            with reading(engine) as connection:
                seen = set(connection.execute(sa.select(positions.c.partition)).scalars())
                if seen != set(range(1, len(seen) + 1)):
                    holes.append(seen)

    threads = [threading.Thread(target=work) for work in (write, write, write, read)]
    for thread in threads:
        thread.start()
    wait_for(lambda: newest(engine) > 60)
    stop.set()
    for thread in threads:
        thread.join()
    assert holes == []


def newest(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.func.coalesce(sa.func.max(positions.c.partition), 0))).scalar_one()


def wait_for(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_block_that_raises_leaves_nothing(engine: sa.Engine) -> None:
    with pytest.raises(KeyError):
        draw_and_raise(engine)
    with writing(engine) as connection:
        assert next_version(connection) == 1


def draw_and_raise(engine: sa.Engine) -> None:
    with writing(engine) as connection:
        next_version(connection)
        raise KeyError


def test_a_reader_sees_one_moment_and_waits_for_nobody(engine: sa.Engine) -> None:
    with writing(engine) as connection:
        next_version(connection)
        with reading(engine) as other:
            assert value(other) == 0
    with reading(engine) as early:
        assert value(early) == 1
        with writing(engine) as connection:
            next_version(connection)
        assert value(early) == 1
    with reading(engine) as late:
        assert value(late) == 2


def value(connection: sa.Connection) -> int:
    return connection.execute(sa.text("SELECT value FROM sequences WHERE name = 'version'")).scalar_one()


def test_a_writer_that_waited_sees_what_the_one_before_it_did(engine: sa.Engine) -> None:
    """Read, then write, in many threads: nobody works from an old picture."""

    def add_one(_: int) -> None:
        with writing(engine) as connection:
            seen = connection.execute(sa.select(arrivals.c.accepted)).scalar_one_or_none() or 0
            row = {"client_id": "shop", "accepted": seen + 1, "last_received_at": 0}
            upsert(connection, arrivals, [row], update=("accepted",))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(80)))
    with reading(engine) as connection:
        assert connection.execute(sa.select(arrivals.c.accepted)).scalar_one() == 80


def test_more_threads_than_connections_wait_their_turn(engine: sa.Engine) -> None:
    def look(_: int) -> int:
        with reading(engine) as connection:
            time.sleep(0.02)
            return value(connection)

    with ThreadPoolExecutor(40) as threads:
        assert set(threads.map(look, range(120))) == {0}


def test_upserts_of_every_kind(engine: sa.Engine) -> None:
    key = {"level": "hour", "start": 0, "client_id": "shop"}
    rows = [key | {"version": v, "marked_at": v, "oldest_received_at": v} for v in (5, 3, 7, 4)]
    with writing(engine) as connection:
        upsert(connection, dirty, [])
        upsert(connection, dirty, rows, update=("version",), least=("oldest_received_at",), greatest=("marked_at",))
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 4, 7, 3, None)]
        upsert(connection, dirty, [key | {"version": 9, "marked_at": 9, "oldest_received_at": 1}])
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 4, 7, 3, None)]
        upsert(connection, dirty, [key | {"version": 1, "marked_at": 1, "oldest_received_at": None}], add=("version",))
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 5, 7, 3, None)]
        least = [key | {"version": 5, "marked_at": 7, "next_received_at": n} for n in (None, 8, 6, None, 9)]
        upsert(connection, dirty, least, least_known=("next_received_at",))
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 5, 7, 3, 6)]
    many = [
        {"client_id": f"c{n % 700}", "hour": 0, "measure": "landed", "reason": "", "events": n} for n in range(2100)
    ]
    with writing(engine) as connection:
        upsert(connection, ledger, many, add=("events",))
        found = {row[0]: row[1] for row in connection.execute(sa.select(ledger.c.client_id, ledger.c.events))}
        summed, none = connection.execute(
            sa.select(total(ledger.c.events), total(sa.case((ledger.c.hour > 0, 1))))
        ).one()
    assert found == {f"c{n}": 3 * n + 2100 for n in range(700)}
    assert (summed, type(summed), none, type(none)) == (sum(range(2100)), int, 0, int)


def test_rows_are_found_by_any_number_of_values(engine: sa.Engine) -> None:
    """Also with more values than a statement of SQLite takes, and with none."""
    numbers = range(12_000)
    rows = [{"client_id": f"c{n}", "hour": n, "measure": "landed", "reason": "", "events": n} for n in numbers[::2]]
    wanted = [f"c{n}" for n in numbers]
    with writing(engine) as connection:
        upsert(connection, ledger, rows)
        found = [
            connection.execute(sa.select(ledger.c.hour).where(condition)).scalars().all()
            for condition in among(connection, ledger.c.client_id, wanted)
        ]
        nothing = [
            connection.execute(sa.select(ledger.c.hour).where(condition)).all()
            for condition in among(connection, ledger.c.client_id, [])
        ]
        columns = (ledger.c.client_id, ledger.c.hour)
        named = list(with_key(connection, columns, wanted))
        assert list(with_key(connection, columns, [])) == []
    assert sorted(hour for part in found for hour in part) == list(numbers[::2])
    assert not any(nothing)
    assert sorted(named) == sorted((f"c{n}", n) for n in numbers[::2])


def test_values_of_every_width_come_back(engine: sa.Engine) -> None:
    big = 2**63 - 1
    picture = bytes(range(256)) * 4096
    sizes = [5e-324, 0.1, 1.7976931348623157e308]
    with writing(engine) as connection:
        counts = {"client_id": "a", "hour": -big, "measure": "m", "reason": "", "events": big}
        upsert(connection, ledger, [counts])
        place = {"client_id": "a", "screen_id": "s", "w": 1, "h": 2, "updated_at": 0}
        upsert(connection, backgrounds, [place | {"version": "v", "media_type": "t", "bytes": 1, "content": picture}])
        shape = {"client_id": "a", "device": "phone", "source": "region", "events": 1, "seen_at": 0}
        rows = [shape | {"screen_id": f"{n}", "w": w, "h": w} for n, w in enumerate(sizes)]
        upsert(connection, screen_shapes, rows)
    with reading(engine) as connection:
        assert connection.execute(sa.select(ledger.c.hour, ledger.c.events)).one() == (-big, big)
        assert connection.execute(sa.select(backgrounds.c.content)).scalar_one() == picture
        found = connection.execute(sa.select(screen_shapes.c.w).order_by(screen_shapes.c.screen_id)).scalars()
        assert list(found) == sizes


def test_text_is_ordered_by_code_point(engine: sa.Engine) -> None:
    names = ["a-b", "a_b", "aB", "ab", "A", "b", "_", "ä", "z", "\U0001f600", "a b", "a.b", "10", "9"]
    with writing(engine) as connection:
        upsert(connection, arrivals, [{"client_id": n, "accepted": 1, "last_received_at": 1} for n in names])
        order = sa.select(arrivals.c.client_id).order_by(arrivals.c.client_id)
        assert list(connection.execute(order).scalars()) == sorted(names)
        later = order.where(arrivals.c.client_id > "a.b")
        assert list(connection.execute(later).scalars()) == sorted(n for n in names if n > "a.b")


def file(path: str, hour: int = 0, rows: int = 3) -> LakeFile:
    source = OffsetRange("log", 0, 0, 9, rows, "ab")
    return LakeFile(path, "parquet", "shop", hour, rows, 100, hour, hour + 1, "00" * 16, [source])


def lake_in(folder: Path) -> Lake:
    return open_lake(f"file://{folder / 'lake'}", load_settings())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def manifest(engine: sa.Engine, clock: ManualClock) -> Manifest:
    return Manifest(engine, clock)


def test_old_ids_are_forgotten_a_few_at_a_time(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "FORGOTTEN_AT_ONCE", 4)
    rows = [{"id": n.to_bytes(16, "big"), "received_at": NOW - n, "positions": None} for n in range(10)]
    with writing(engine) as connection:
        connection.execute(known_ids.insert(), rows)
    gone: list[int] = []
    for _ in range(4):
        with writing(engine) as connection:
            gone.append(known.forget(connection, NOW + known.KEPT_MS))
            left = connection.execute(sa.select(known_ids.c.received_at)).scalars().all()
        assert min(left) == NOW - max(9 - sum(gone), 0)
    assert (gone, left) == ([4, 4, 1, 0], [NOW])


def test_the_life_of_a_file(manifest: Manifest, clock: ManualClock, tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    one, two, lost = file("a/1"), file("a/2"), file("a/3")
    manifest.pending([one, two, lost])
    for path in ("a/1", "a/2", "a/3"):
        lake.put(path, b"x")
    counts = {("shop", 0, "accepted", ""): 6, ("shop", 0, "landed", ""): 6}
    assert manifest.land(Landing("log", 0, 0, 10, [one, two], counts, {("shop", 0): 7}, {"shop": 8})) == 1
    assert manifest.next_offset("log", 0) == 10
    assert manifest.totals()["formats"] == {"parquet": {"files": 2, "rows": 6, "bytes": 200}}
    assert manifest.crowded(0, HOUR_MS) == [("shop", 0, "parquet")]
    with manifest.snapshot() as snapshot:
        assert [f.path for f in snapshot.files] == ["a/1", "a/2"]
        both = file("a/both", rows=6)
        manifest.pending([both])
        lake.put("a/both", b"xx")
        assert manifest.replace([one, two], [both]) == 2
        assert manifest.sweep(lake) == []
        manifest.renew(snapshot)
    clock.advance(2 * HOUR_MS)
    assert sorted(manifest.sweep(lake)) == ["a/1", "a/2", "a/3"]
    assert [path for path, _ in lake.list()] == ["a/both"]
    assert expire_raw(Settings(), manifest, HOUR_MS + Settings().raw_retention_days * DAY_MS) == 1
    assert manifest.sweep(lake) == ["a/both"]
    with reading(manifest.engine) as connection:
        assert connection.execute(sa.select(files)).all() == []
        assert connection.execute(sa.select(ledger.c.events)).scalars().all() == [6, 6]
        assert connection.execute(sa.select(arrivals)).all() == [("shop", 6, 8)]
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 1, NOW, 7, 7)]


def test_of_landers_that_race_one_lands_each_range(engine: sa.Engine, tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    landed: list[tuple[int, str]] = []

    def race(name: str) -> None:
        manifest = Manifest(engine, ManualClock(NOW))
        while (at := manifest.next_offset("log", 0)) < 100:
            mine = file(f"{name}/{at}", rows=10)
            manifest.pending([mine])
            counts = {("shop", 0, "landed", ""): 10}
            if manifest.land(Landing("log", 0, at, at + 10, [mine], counts)) is None:
                manifest.discard(lake, [mine.path])
            else:
                landed.append((at, mine.path))

    threads = [threading.Thread(target=race, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(at for at, _ in landed) == list(range(0, 100, 10))
    listed = Manifest(engine, ManualClock(NOW)).listed()
    assert sorted(f.path for f in listed) == sorted(path for _, path in landed)
    with reading(engine) as connection:
        assert connection.execute(sa.select(ledger.c.events)).scalar_one() == 100
        assert connection.execute(sa.select(sa.func.count()).select_from(files)).scalar_one() == 10


def test_a_lease_has_one_holder(engine: sa.Engine) -> None:
    clock = SystemClock()
    inside: list[int] = []
    refused: list[int] = []

    def work(_: int) -> None:
        try:
            with lease(engine, clock, "bucket"):
                inside.append(1)
                assert len(inside) == 1
                time.sleep(0.01)
                inside.clear()
        except Busy:
            refused.append(1)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(60)))
    assert 0 < len(refused) < 60
    with lease(engine, clock, "bucket"), lease(engine, clock, "another"), pytest.raises(Busy, match="bucket"):
        work_again(engine)


def work_again(engine: sa.Engine) -> None:
    with lease(engine, SystemClock(), "bucket"):
        raise AssertionError("two hold the lease")


def test_a_lease_that_ran_out_is_another_s_and_the_first_holder_can_tell(engine: sa.Engine) -> None:
    clock = SystemClock()
    with lease(engine, clock, "bucket") as first:
        # As if the holder had stood still: nothing was renewed for longer than the lease lasts.
        with writing(engine) as connection:
            connection.execute(sa.text("UPDATE leases SET expires_at = 1"))
            assert first.held(connection)
        with lease(engine, clock, "bucket") as second, writing(engine) as connection:
            assert (first.held(connection), second.held(connection)) == (False, True)
        with writing(engine) as connection:
            assert (first.held(connection), second.held(connection)) == (False, False)
    with lease(engine, clock, "bucket"):
        pass


def expiry(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(sa.select(leases.c.expires_at)).scalar_one()


def test_a_lease_in_use_is_renewed(engine: sa.Engine) -> None:
    with lease(engine, SystemClock(), "bucket", lease_ms=600) as mine:
        first = expiry(engine)
        # Twice its length later it is held only because it was renewed on the way.
        wait_for(lambda: expiry(engine) > first + 1200)
        with pytest.raises(Busy):
            work_again(engine)
        with writing(engine) as connection:
            assert mine.held(connection)
