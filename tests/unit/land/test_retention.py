"""Retention of raw by client, and what is written down of what went."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from landing import NOW, World, event, record
from pydantic import ValidationError

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.land import ledger, retired, rounds
from isotherm.land.retention import expire_raw, expire_records
from isotherm.rollup import audit
from isotherm.store import tables
from isotherm.store.db import reading, writing

HOUR = NOW - NOW % HOUR_MS


@pytest.fixture
def settings(world: World) -> Settings:
    return world.settings.model_copy(update={"retention": {"short": {"raw": 60}, "long": {"raw": 900}}})


def rows_of(world: World, table: sa.Table) -> list[dict[str, Any]]:
    with reading(world.engine) as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table))]


def land(world: World, *client_ids: str, at: int = NOW, events: int = 2) -> None:
    for client_id in client_ids:
        world.append(record(client_id, f"{client_id}-{at}", [event(at)] * events, received_at=world.clock.now_ms()))
    world.lander().drain()


def left(world: World) -> list[str]:
    return sorted(file.client_id for file in world.manifest.listed())


def test_each_client_s_hours_go_by_its_own_days(world: World, settings: Settings) -> None:
    land(world, "short", "long", "other")
    gone = {"short": 60, "other": 730, "long": 900}
    for client_id, days in gone.items():
        end = HOUR + HOUR_MS + days * DAY_MS
        before = left(world)
        assert expire_raw(settings, world.manifest, end - 1) == 0
        assert left(world) == before
        assert expire_raw(settings, world.manifest, end) == 1
        assert left(world) == sorted(set(before) - {client_id})
    assert world.manifest.sweep(world.lake)
    assert world.objects() == set()


def test_what_went_is_told_with_its_rows_and_bytes_and_late_rows_are_added(world: World, settings: Settings) -> None:
    land(world, "short", "other", events=3)
    land(world, "short", at=NOW + HOUR_MS)
    size = sum(f.bytes for f in world.manifest.listed(client_ids=["short"], start=HOUR, end=HOUR + 1))
    now = HOUR + HOUR_MS + 60 * DAY_MS
    assert expire_raw(settings, world.manifest, now) == 1
    expected = {"what": "raw", "client_id": "short", "start": HOUR, "rows": 3, "tiled": 0, "bytes": size, "hash": ""}
    assert rows_of(world, tables.retired) == [expected | {"retired_at": now}]
    assert rounds.last(world.engine)["raw"]["did"] == {
        "hours": 1, "rows": 3, "bytes": size, "clients": {"short": {"hours": 1, "rows": 3, "bytes": size}},
    }  # fmt: skip
    land(world, "short", at=NOW + 1, events=4)
    assert expire_raw(settings, world.manifest, now + 1) == 1
    (row,) = rows_of(world, tables.retired)
    assert (row["rows"], row["retired_at"], row["bytes"] > size) == (7, now + 1, True)
    assert ledger.check(ledger.read(world.engine)) == []
    landed = ledger.sums(ledger.read(world.engine, client_id="short"))["landed"]
    assert landed == row["rows"] + sum(f.rows for f in world.manifest.listed(client_ids=["short"]))


def test_formats_hold_the_same_rows(make_world: Any) -> None:
    world = make_world(land_formats=["parquet", "jsonl"])
    land(world, "shop", events=5)
    assert expire_raw(world.settings, world.manifest, NOW + 731 * DAY_MS) == 2
    (row,) = rows_of(world, tables.retired)
    assert (row["rows"], world.manifest.listed()) == (5, [])


def test_many_hours_go_in_several_transactions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.land.retention.PAGE", 3)
    events = [event(HOUR - hours * HOUR_MS) for hours in range(5)]
    world.append(record("a", "b1", events), record("b", "b1", events))
    world.lander().drain()
    assert expire_raw(world.settings, world.manifest, NOW + 731 * DAY_MS) == 10
    found = {(row["client_id"], row["start"]) for row in rows_of(world, tables.retired)}
    assert found == {(client, HOUR - hours * HOUR_MS) for client in "ab" for hours in range(5)}


def test_a_reader_keeps_its_files(world: World) -> None:
    land(world, "shop")
    with world.manifest.snapshot() as snapshot:
        expire_raw(world.settings, world.manifest, NOW + 731 * DAY_MS)
        assert world.manifest.sweep(world.lake) == []
        assert [world.lake.get(file.path) for file in snapshot.files]
    assert len(world.manifest.sweep(world.lake)) == 1


def test_what_was_said_of_events_goes_when_nothing_of_them_is_left(world: World) -> None:
    settings = world.settings.model_copy(update={"retention": {"brief": {"weekly": 800}}})
    land(world, "brief", "other")
    with writing(world.engine) as connection:
        retired.write(connection, "week", [{"client_id": c, "start": HOUR, "rows": 2} for c in ("brief", "other")], NOW)
    assert expire_records(settings, world.engine, NOW + 800 * DAY_MS) == {}
    dropped = expire_records(settings, world.engine, NOW + 809 * DAY_MS)
    assert dropped["retired"] == 1
    assert {row.client_id for row in ledger.read(world.engine)} == {"other"}
    assert [row["client_id"] for row in rows_of(world, tables.retired)] == ["other"]
    expire_records(settings, world.engine, NOW + 1_834 * DAY_MS)
    assert ledger.read(world.engine) == []
    assert rows_of(world, tables.retired) == []


def test_the_ledger_stays_as_long_as_anything_of_an_event_is_kept(world: World) -> None:
    """Raw events may outlive all tiles, of one client or of all."""
    for_all = {f"{name}_retention_days": 60 for name in ("hourly", "daily", "weekly")}
    own = {"long": {"raw": 900}, "brief": {"raw": 50, "weekly": 90}}
    settings = world.settings.model_copy(update=for_all | {"raw_retention_days": 200, "retention": own})
    land(world, "brief", "long", "other")
    with writing(world.engine) as connection:
        connection.execute(sa.delete(tables.dirty))
        tiles = [{"client_id": client, "start": HOUR, "rows": 2} for client in ("brief", "long", "other")]
        retired.write(connection, "hour", tiles, NOW)
    kept = ["brief", "long", "other"]
    for days, goes in ((98, "brief"), (208, "other"), (908, "long")):
        for at in (days - 1, days):
            expire_raw(settings, world.manifest, NOW + at * DAY_MS)
            dropped = expire_records(settings, world.engine, NOW + at * DAY_MS)
            kept = [client for client in kept if at < days or client != goes]
            assert sorted({row.client_id for row in ledger.read(world.engine)}) == kept
            assert sorted({row["client_id"] for row in rows_of(world, tables.retired)}) == kept
            assert set(dropped) in (set(), {"ledger", "ledger_hours", "ledger_screens", "retired"})
            assert audit.audit(world.engine) == []


def test_a_ledger_goes_whole_or_not_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two tables, half of what was said would be left, and the sums would not close."""
    land(world, "shop")
    now = NOW + 1_834 * DAY_MS
    with writing(world.engine) as connection:
        connection.execute(sa.delete(tables.dirty))
        retired.write(connection, "hour", [{"client_id": "shop", "start": HOUR, "rows": 2}], NOW)
    expire_raw(world.settings, world.manifest, now)
    said = [tables.ledger, tables.ledger_hours, tables.ledger_screens, tables.retired]
    before = [rows_of(world, table) for table in said]
    assert all(before)

    def killed(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("DELETE FROM verifications"):
            raise KeyboardInterrupt

    sa.event.listen(world.engine, "before_cursor_execute", killed)
    with pytest.raises(KeyboardInterrupt):
        expire_records(world.settings, world.engine, now)
    sa.event.remove(world.engine, "before_cursor_execute", killed)
    assert [rows_of(world, table) for table in said] == before
    assert audit.audit(world.engine) == []
    expire_records(world.settings, world.engine, now)
    assert not any(rows_of(world, table) for table in said)


def test_a_round_without_work_is_noted_now_and_then(world: World) -> None:
    rounds.note(world.engine, "raw", NOW, {"hours": 1})
    rounds.note(world.engine, "raw", NOW + 1, None)
    first = rounds.last(world.engine)["raw"]
    assert first["ran_at"] == first["did_at"]
    rounds.note(world.engine, "raw", NOW + HOUR_MS, None)
    later = rounds.last(world.engine)["raw"]
    assert later["ran_at"] > first["ran_at"]
    assert {**later, "ran_at": first["ran_at"]} == first


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"../x": {"raw": 90}}, "is not a client id"),
        ({"shop": {"raw": 38}}, r"raw_retention_days \(38\) of client 'shop'"),
        ({"shop": {"hourly": 20}}, "of client 'shop'"),
        ({"shop": {"raw": 0}}, "greater than or equal to 1"),
        ({"shop": {"minutely": 90}}, "minutely"),
        ({"shop": {"daily": 60}}, "hourly tiles must not outlive daily ones"),
        ("shop=90", "not a JSON object"),
    ],
)
def test_a_retention_that_cannot_be_is_refused(given_: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(retention=given_)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"weekly_retention_days": 60}, "daily_retention_days 730 and weekly_retention_days 60: raise the later ones"),
        ({"daily_retention_days": 80}, "hourly_retention_days is 90, daily_retention_days 80"),
    ],
)
def test_tiles_that_would_outlive_those_that_answer_for_them_are_refused(given_: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(**given_)


def test_raw_events_may_outlive_all_tiles() -> None:
    tiles = {f"{name}_retention_days": 60 for name in ("hourly", "daily", "weekly")}
    settings = Settings(**tiles, retention={"brief": {"raw": 50, "weekly": 90}})
    assert [settings.longest_days(client) for client in ("", "brief")] == [730, 90]


def test_the_setting_is_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOTHERM_RETENTION", '{"shop": {"raw": 90, "weekly": 800}}')
    settings = Settings()
    assert [settings.kept_days("raw", client) for client in ("shop", "other", "")] == [90, 730, 730]
    assert settings.kept_days("weekly", "shop") == 800


CLIENTS = st.sampled_from(["a", "b", "c", "d"])


@given(
    own=st.dictionaries(CLIENTS, st.fixed_dictionaries({"raw": st.integers(40, 1_000)})),
    ages=st.lists(st.tuples(CLIENTS, st.integers(0, 24_000)), max_size=20),
)
def test_cuts_take_every_row_once_and_by_its_own_days(own: Any, ages: list[tuple[str, int]]) -> None:
    settings = Settings(retention=own)
    table = sa.table("t", sa.column("client_id", sa.Text), sa.column("start", sa.Integer))
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (client_id TEXT, start INTEGER)"))
        rows = [{"client_id": client, "start": NOW - hours * HOUR_MS} for client, hours in ages]
        if rows:
            connection.execute(sa.insert(table), rows)
        found: list[tuple[str, int]] = []
        for cut in retired.cuts(settings, "raw", lambda client: NOW - settings.kept_days("raw", client) * DAY_MS):
            old = (table.c.start < cut.before) & cut.of(table.c.client_id)
            found += [(row.client_id, row.start) for row in connection.execute(sa.select(table).where(old))]
    engine.dispose()
    days = {client: own.get(client, {}).get("raw", 730) for client in "abcd"}
    expected = [(c, NOW - hours * HOUR_MS) for c, hours in ages if hours * HOUR_MS > days[c] * DAY_MS]
    assert sorted(found) == sorted(expected)
