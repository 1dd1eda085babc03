"""What an operator watches, against what was put into the stores; and the sentences that follow."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from counting import OUTCOMES
from hypothesis import given
from hypothesis import strategies as st
from serving import NOW, WEEK, World

from isotherm.cli.measure import Measures
from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, iso
from isotherm.config import Settings
from isotherm.land import rounds
from isotherm.land.books import OF_THE_EVENT
from isotherm.metrics import REGISTRY
from isotherm.serve import measures, unwell
from isotherm.store import tables
from isotherm.store.db import open_db, reading, writing

HOUR = NOW - NOW % HOUR_MS


@pytest.fixture
def fresh(make_world: Callable[..., World]) -> World:
    return make_world()


def put(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        connection.execute(sa.insert(table), list(rows))


def mark(level: str, start: int, client_id: str = "shop", **more: Any) -> dict[str, Any]:
    return {
        "level": level,
        "start": start,
        "client_id": client_id,
        "version": 1,
        "marked_at": NOW,
        "oldest_received_at": None,
    } | more


def behind(world: World) -> dict[str, tuple[int, float]]:
    with reading(world.engine) as connection:
        found = measures.behind(connection, NOW)
    return {level: (one.buckets, one.seconds) for level, one in found.items()}


def test_nothing_waits_nothing_is_behind(fresh: World) -> None:
    assert behind(fresh) == {"hour": (0, 0.0), "day": (0, 0.0), "week": (0, 0.0)}


def test_the_oldest_event_that_waits_counts_not_the_newest_mark(fresh: World) -> None:
    put(
        fresh.engine, tables.dirty,
        mark("hour", HOUR, oldest_received_at=NOW - 5 * MINUTE_MS),
        mark("hour", HOUR, "bank", oldest_received_at=NOW - 9 * MINUTE_MS),
        mark("hour", HOUR - DAY_MS, marked_at=NOW - MINUTE_MS),
        mark("day", HOUR - HOUR % DAY_MS, marked_at=NOW - 9 * DAY_MS),
        mark("day", WEEK, marked_at=NOW - HOUR_MS),
    )  # fmt: skip
    assert behind(fresh) == {"hour": (2, 540.0), "day": (1, 3600.0), "week": (0, 0.0)}


@pytest.fixture(scope="module")
def ledger_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    engine = open_db(f"sqlite://{tmp_path_factory.mktemp('ledger') / 'ledger.db'}")
    yield engine
    engine.dispose()


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["shop", "bank"]), st.integers(0, 3),
            st.sampled_from(["received", "accepted", "rejected", "duplicate", "landed", "landing_duplicate", "dead"]),
            st.integers(1, 3),
        ),
        max_size=14, unique_by=lambda row: row[:3],
    )
)  # fmt: skip
def test_the_ledgers_sums_are_checked_as_pandas_would(
    ledger_engine: sa.Engine, rows: list[tuple[str, int, str, int]]
) -> None:
    with writing(ledger_engine) as connection:
        connection.execute(sa.delete(tables.ledger))
        for client_id, hour, measure, events in rows:
            values = {"client_id": client_id, "hour": HOUR - hour * HOUR_MS, "measure": measure, "events": events}
            connection.execute(sa.insert(tables.ledger).values(**values, reason=""))
    found = measures.check_ledger(ledger_engine, NOW)
    names = ["received", "accepted", "rejected", "duplicate", "landed", "landing_duplicate", "dead"]
    frame = pd.DataFrame(rows, columns=["client", "hour", "measure", "events"])
    wide = frame.pivot_table(index=["client", "hour"], columns="measure", values="events", aggfunc="sum")
    wide = wide.reindex(columns=names).fillna(0)
    wrong = (wide.received != wide.accepted + wide.rejected + wide.duplicate) | (
        wide.accepted != wide.landed + wide.landing_duplicate + wide.dead
    )
    assert found.differing == int(wrong.sum())
    assert len(found.examples) == min(found.differing, measures.NAMED)
    assert found.dead == int(wide.dead.sum())


def test_a_difference_is_told_with_its_numbers_and_old_ones_rest(fresh: World) -> None:
    old = HOUR - (measures.LEDGER_DAYS + 1) * DAY_MS
    row = {"client_id": "shop", "reason": "", "measure": "received", "events": 1_007}
    put(fresh.engine, tables.ledger, row | {"hour": HOUR}, row | {"hour": old})
    found = measures.check_ledger(fresh.engine, NOW)
    assert found.differing == 1
    assert found.examples == [
        "client 'shop', hour 2026-02-16T10: received 1,007 is not accepted + rejected + duplicate = 0"
    ]


def test_an_event_hour_that_is_not_in_its_tiles_is_told(fresh: World) -> None:
    counts = dict.fromkeys(OF_THE_EVENT, 0) | {"accepted": 3, "landed": 3, "before": 0}
    put(fresh.engine, tables.ledger_hours, counts | {"client_id": "shop", "hour": HOUR})
    file = {"client_id": "shop", "hour": HOUR, "created_at": NOW, "state": "listed", "format": "parquet"}
    put(fresh.engine, tables.files, file | {"path": "a", "bytes": 10, "rows": 3})
    found = measures.check_ledger(fresh.engine, NOW)
    assert found.differing == 1
    [text] = found.examples
    assert text.endswith("landed 3 is not the rows behind the tiles + raw_only = 0, and nothing waits")
    put(fresh.engine, tables.dirty, mark("hour", HOUR))
    assert measures.check_ledger(fresh.engine, NOW).differing == 0


def test_bytes_of_the_lake_go_by_format_and_place(fresh: World) -> None:
    file = {"client_id": "shop", "hour": HOUR, "created_at": NOW, "state": "listed", "format": "parquet"}
    put(
        fresh.engine, tables.files, file | {"path": "a", "bytes": 10, "tier": "hot"},
        file | {"path": "b", "bytes": 20, "tier": "hot"}, file | {"path": "c", "bytes": 40, "tier": "archive"},
        file | {"path": "d", "bytes": 80, "tier": "hot", "state": "delisted"},
    )  # fmt: skip
    held = measures.lake_bytes(fresh.engine, ["parquet", "jsonl"])
    assert measures.sums(held) == {"lake": {"parquet": 30, "jsonl": 0, "parquet archive": 40}}


def test_stores_are_as_large_as_their_files(fresh: World, tmp_path: Path) -> None:
    [database] = measures.database_bytes(Settings(db=f"sqlite://{tmp_path / '0.db'}"), fresh.engine)
    assert database.bytes == sum(path.stat().st_size for path in tmp_path.glob("0.db*") if path.suffix != ".db-shm")
    (tmp_path / "dead").mkdir()
    for number in range(3):
        (tmp_path / "dead" / f"{number}.bin").write_bytes(b"x" * 100)
    assert measures.dead_bytes(Settings(data=tmp_path))[0].bytes == 300
    [tiles] = measures.tile_bytes(fresh.olap)
    fresh.put("shop", "home", WEEK, {1: 2})
    fresh.publish()
    assert measures.tile_bytes(fresh.olap)[0].bytes > tiles.bytes


def test_the_gauges_say_what_was_found_and_one_failure_keeps_no_other(fresh: World) -> None:
    put(fresh.engine, tables.verifications, *(
        {"level": "hour", "start": HOUR, "client_id": name, "finding": finding, "verified_at": NOW - 1000}
        for name, finding in (("a", "same"), ("b", "same"), ("c", "different"))
    ))  # fmt: skip
    row = {"client_id": "shop", "reason": "", "hour": HOUR, "events": 3}
    put(fresh.engine, tables.ledger, *(row | {"measure": name} for name in ("received", "accepted", "dead")))
    fresh.put("shop", "home", HOUR, {1: 2})
    fresh.publish()
    hours = tables.buckets.c.level == "hour"
    with writing(fresh.engine) as connection:
        connection.execute(sa.update(tables.buckets).where(hours).values(lost_version=tables.buckets.c.version))
    gap = {"log": "lmdb:1", "partition": 0}
    put(fresh.engine, tables.log_gaps, *(
        gap | {"first_offset": first, "last_offset": first + 9, "noticed_at": NOW - ago}
        for first, ago in ((0, DAY_MS), (20, DAY_MS - 1), (40, 0))
    ))  # fmt: skip
    broken = SimpleNamespace(query=None, layout=fresh.olap.layout)
    parts: Any = SimpleNamespace(settings=fresh.settings, engine=fresh.engine, olap=broken, clock=fresh.clock)
    taken = Measures(parts, log=False, tiles=True)
    assert taken.facts()["measured_at"] is None
    taken.quick()
    taken.slow()
    value = REGISTRY.get_sample_value
    assert value("isotherm_verified_buckets", {"finding": "same"}) == 2
    assert value("isotherm_verified_buckets", {"finding": "different"}) == 1
    assert value("isotherm_verified_timestamp_seconds") == (NOW - 1000) / 1000
    assert value("isotherm_ledger_difference") == 0
    assert value("isotherm_lost_buckets", {"level": "hour"}) == 1
    assert value("isotherm_lost_buckets", {"level": "day"}) == 0
    assert value("isotherm_dead_events") == 3
    assert value("isotherm_log_gap_records_recent") == 20
    assert value("isotherm_measured_timestamp_seconds") == NOW / 1000
    assert value("isotherm_disk_reserve_bytes") == fresh.settings.disk_reserve_bytes
    assert value("isotherm_backup_last_success_timestamp_seconds") == 0
    assert value("isotherm_backup_max_age_seconds") == 7200
    assert value("isotherm_backup_objects", {"outcome": "sent"}) == 0
    rounds.note(fresh.engine, rounds.BACKUP, NOW, {"id": "x", "objects": 40, "copied_objects": 25})
    taken.quick()
    assert value("isotherm_backup_last_success_timestamp_seconds") == NOW / 1000
    found = {one: value("isotherm_backup_objects", {"outcome": one}) for one in OUTCOMES}
    assert found == {"received": 40, "sent": 25, "failed": 0, "dropped": 15}
    facts = taken.facts()
    assert facts["stores"].keys() == {"lake", "database"}
    assert facts["verification"] == {"findings": {"same": 2, "different": 1}, "last_at": NOW - 1000}


def test_what_cannot_be_measured_is_told_and_ages(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("malformed\n[SQL: SELECT 1]")

    def answers() -> Any:
        return SimpleNamespace(oldest_unlanded_ms=300, bytes=1, max_bytes=2)

    now = [NOW]
    parts: Any = SimpleNamespace(settings=fresh.settings, engine=fresh.engine)
    parts.clock = SimpleNamespace(now_ms=lambda: now[0])
    parts.log, parts.dead_log, parts.lander = (SimpleNamespace(status=answers) for _ in range(3))
    taken = Measures(parts, log=True, tiles=False)

    def look() -> tuple[dict[str, str], int]:
        """What is told to fail a minute later, and how long ago (ms) the oldest was measured."""
        now[0] += MINUTE_MS
        taken.quick()
        taken.slow()
        told = taken.facts()
        assert REGISTRY.get_sample_value("isotherm_measured_timestamp_seconds") == told["measured_at"] / 1000
        return told["unmeasured"], now[0] - told["measured_at"]

    with monkeypatch.context() as patched:
        patched.setattr(measures, "check_ledger", broken)
        assert look() == ({"ledger": "OSError: malformed"}, 0)
        assert look() == ({"ledger": "OSError: malformed"}, MINUTE_MS)
    assert look() == ({}, 0)
    parts.lander.status = broken
    assert look() == ({"lag": "OSError: malformed"}, MINUTE_MS)
    assert look() == ({"lag": "OSError: malformed"}, 2 * MINUTE_MS)
    parts.lander.status = answers
    assert look() == ({}, 0)


def night(at: int, **did: int) -> dict[str, Any]:
    return {"rounds": {"verify": {"ran_at": iso(at), "did_at": iso(at), "did": did}}}


WELL: dict[str, Any] = {
    "lander": {"oldest_unlanded_ms": 0, "gaps": []}, "collector": {"answers": True}, "disk_reserve_bytes": 1 << 30,
    "freshness": {"hour": {"seconds": 5.0}, "day": {"seconds": 0.0}}, "measured_at": NOW,
    "ledger": {"differing": 0, "examples": []}, "verification": {"findings": {"same": 9}, "last_at": NOW},
    "log": {"bytes": 10, "max_bytes": 100, "set_aside": []},
    "disks": [{"store": "log", "free": 1 << 40, "size": 1 << 41}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        (dict.fromkeys(WELL), []),
        ({"collector": {"answers": False, "refuses": None}}, ["the collector does not answer"]),
        ({"collector": {"answers": True, "refuses": None}}, []),
        (
            {"collector": {"answers": True, "refuses": "disk"}},
            ["the collector refuses what comes, and senders keep it: disk"],
        ),
        ({"scheduler": {"last_error": "OSError: full", "last_error_at": NOW - MINUTE_MS}}, ["tiling met an error"]),
        ({"scheduler": {"last_error": "OSError: full", "last_error_at": NOW - HOUR_MS}}, []),
        ({"freshness": {"hour": {"seconds": 901.0}, "week": {"seconds": 901.0}}}, ["maps of hours lack what came"]),
        (
            {"ledger": {"differing": 2, "examples": ["client 'a' ..."]}},
            ["the ledger does not close in 2 hours (client"],
        ),
        ({"verification": {"findings": {"different": 1}, "last_at": NOW}}, ["maps that differ from the raw events: 1"]),
        ({"verification": {"findings": {"unreadable": 3}, "last_at": NOW}}, ["missing or damaged: those of 3 buckets"]),
        (night(NOW - DAY_MS, unreadable=2, same=40), ["missing or damaged: those of 2 buckets"]),
        (night(NOW - DAY_MS, unreadable=0, same=40), []),
        (night(NOW - 3 * DAY_MS, unreadable=2), []),
        ({"log": {"bytes": 95, "max_bytes": 100, "set_aside": ["x.damaged"]}}, ["the log holds 95", "x.damaged"]),
        (
            {"lost": {"buckets": {"hour": 1200}, "parts": ["1-202611_3_3_1"]}},
            ["went with damaged parts of the tile store (1-202611_3_3_1): 1,200 hour; reads"],
        ),
        ({"lost": {"buckets": {}, "parts": ["1-202611_3_3_1"]}}, []),
        ({"disks": [{"store": "lake", "free": 1 << 30, "size": 1 << 41}]}, ["the disk of lake has"]),
        ({"measured_at": NOW - 2 * HOUR_MS}, ["last measured 2 h 0 min ago"]),
        (
            {"measured_at": NOW - 2 * HOUR_MS, "unmeasured": {"lag": "OSError: away"}},
            ["lag cannot be measured (OSError: away): what is said of it is old"],
        ),
        ({"backup": {"made_at": None, "max_age_ms": HOUR_MS}}, []),
        ({"backup": {"made_at": NOW - HOUR_MS, "max_age_ms": HOUR_MS}}, []),
        (
            {"backup": {"made_at": NOW - 5 * HOUR_MS, "max_age_ms": HOUR_MS}},
            ["the newest backup was made 5 h 0 min ago, and is to be no older than 1 h 0 min"],
        ),
        ({"rounds": {"clock.land": {"did": {"by": NOW}}, "raw": {"did": {"hours": 1}}}}, []),
        (
            {"rounds": {"clock.land": {"did": {"by": 0, "leapt_at": 50 * HOUR_MS, "last": 51 * HOUR_MS}}}},
            ["the clock leapt ahead by 2 d 3 h, to 1970-01-03T03:00:00.000Z"],
        ),
    ],
)
def test_what_is_not_well_is_said_in_sentences(change: dict[str, Any], said: list[str]) -> None:
    found = unwell.problems_of(WELL | change, NOW)
    assert len(found) == len(said)
    assert all(part in problem for part, problem in zip(said, found, strict=True))


def test_the_status_says_the_problems_of_its_own_facts(fresh: World) -> None:
    put(fresh.engine, tables.dirty, mark("hour", HOUR, oldest_received_at=NOW - HOUR_MS))
    with fresh.client(status=lambda: {"collector": {"answers": False}}) as api:
        told = api.get("/v1/status").json()
    assert [problem.split(":")[0] for problem in told["problems"]] == [
        "the collector does not answer", "maps of hours lack what came in the last 1 h 0 min",
    ]  # fmt: skip
    assert told["freshness"]["hour"] == {"buckets": 1, "until": NOW - HOUR_MS, "seconds": 3600.0}
    assert told["ledger"] is told["stores"] is told["measured_at"] is None
