"""The ledger against a recount with pandas of what was sent: however it is landed, killed, sent again and tiled."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import Record
from isotherm.events import ViewSequence, hour_of
from isotherm.land import books, ledger, views
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.rollup import audit
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.publish import Facts, Publication, publish
from isotherm.store.db import next_version, open_db, reading, writing
from isotherm.store.tables import dirty, ledger_hours, ledger_screens, page_views

HORIZON = 30 * DAY_MS
STEPS = ("pending", "written", "landed", "committed", "dead")


class _NoIds(MemoryLog):
    """As a topic does: what is sent again is stored again, and landing must know it."""

    @property
    def knows_ids(self) -> bool:
        return False

    def append(self, records: Any) -> Any:
        return super().append([msgspec.structs.replace(one, id=None) for one in records])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that is up to date, to be copied."""
    file = tmp_path_factory.mktemp("template") / "isotherm.db"
    engine = open_db(f"sqlite://{file}")
    engine.dispose()
    return file


@contextmanager
def fresh_world(template: Path, folder: Path, *, ids: bool) -> Iterator[World]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(template, folder / "isotherm.db")
    built = Settings(data=folder, log="memory://", land_formats=["parquet"])
    clock = ManualClock(NOW)
    engine = open_db(built.url("db"))
    log = (MemoryLog if ids else _NoIds)("memory://", built, clock)
    manifest = Manifest(engine, clock)
    try:
        yield World(built, clock, log, LocalLake.of_url(built.url("lake"), built), engine, manifest)
    finally:
        log.close()
        engine.dispose()


class Batch(msgspec.Struct, frozen=True):
    """What a sender made: `hours` gives each event's hour before now, None one that the collector rejects.

    `lost` batches never come, `again` come twice. A `view` of None sends no sequence.
    """

    client: str
    screen: str
    view: str | None
    hours: list[int | None]
    positions: bool
    lost: bool
    again: bool


BATCHES = st.lists(
    st.builds(
        Batch,
        client=st.sampled_from(["a", "b"]),
        screen=st.sampled_from(["home", "cart"]),
        view=st.sampled_from([None, "v1", "v2"]),
        hours=st.lists(st.sampled_from([0, 0, 0, 1, 5, None, 31 * 24]), min_size=1, max_size=4),
        positions=st.booleans(),
        lost=st.booleans(),
        again=st.booleans(),
    ),
    max_size=8,
)
ACTIONS = st.lists(st.sampled_from(["", "land", "tile", "begin", *STEPS]), min_size=1, max_size=24)


def _sent(made: list[Batch]) -> pd.DataFrame:
    """One line per batch, with the number of its first event in its view."""
    rows: list[dict[str, Any]] = []
    numbers: dict[tuple[str, str], int] = {}
    for at, one in enumerate(made):
        first = numbers.get((one.client, one.view or ""), 0)
        numbers[one.client, one.view or ""] = first + len(one.hours)
        rows.append({"batch": f"b{at}", "first": first, "n": len(one.hours), **msgspec.to_builtins(one)})
    return pd.DataFrame(rows, columns=["batch", "first", "n", *Batch.__struct_fields__])


def _record(row: Any, received_at: int) -> Record:
    kept = [(at, hours) for at, hours in enumerate(row.hours) if hours is not None]
    events = [event(NOW - hours * HOUR_MS, 0.5 if row.positions else None) for _, hours in kept]
    sequence = ViewSequence(row.view, 0, row.first) if isinstance(row.view, str) else None
    counts: dict[str, Any] = {"sequence": sequence}
    if rejected := row.n - len(kept):
        counts["rejected"] = {"bad_number": rejected}
    more = {"positions": [at for at, _ in kept]} if rejected and kept else {}
    made = record(row.client, row.batch, events, screen_id=row.screen, received_at=received_at, **more, **counts)
    # A body of which nothing was kept is never known again.
    return made if kept else msgspec.structs.replace(made, id=None)


def _known_record(row: Any, received_at: int) -> Record:
    """What the collector appends for a batch whose id the log knows."""
    kept = sum(hours is not None for hours in row.hours)
    rejected = {"bad_number": row.n - kept} if row.n > kept else {}
    made = record(row.client, row.batch, [], screen_id=row.screen, received_at=received_at, duplicate=kept,
                  rejected=rejected)  # fmt: skip
    return msgspec.structs.replace(made, id=None)


class _Killed(Exception):
    """Stands for the end of the process."""


def _land(world: World, die_at: str | None) -> None:
    def checkpoint(step: str) -> None:
        if step == die_at:
            raise _Killed

    with suppress(_Killed):
        world.lander(checkpoint).step(force=True)


class _Jobs:
    """Tile jobs whose maps pandas counts from the lake's files: `begin` takes a snapshot, `end` publishes it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: list[tuple[str, int, int, list[str]]] = []

    def begin(self) -> None:
        with writing(self._world.engine) as connection:
            found = connection.execute(sa.select(dirty.c.client_id, dirty.c.start).where(dirty.c.level == "hour")).all()
            for client_id, start in found:
                version = next_version(connection)
                taken = self._world.manifest.take(connection, start=start, end=start + HOUR_MS, client_ids=[client_id])
                self._open.append((client_id, start, version, [file.path for file in taken.files]))

    def end(self) -> None:
        for client_id, start, version, paths in self._open:
            frames = [pd.read_parquet(self._world.lake.root / path) for path in paths]
            rows = pd.concat(frames) if frames else pd.DataFrame({"x_norm": []})
            facts = {client_id: Facts(1, len(rows), int(rows["x_norm"].notna().sum()))}
            job = Publication(Bucket(Level.HOUR, start), version, version, facts, {client_id: {}}, 1)
            with writing(self._world.engine) as connection:
                publish(connection, job, NOW)
        self._open.clear()


def _play(world: World, records: list[Record], actions: list[str]) -> None:
    jobs = _Jobs(world)
    for at, one in enumerate([*records, None]):
        if one is not None:
            world.append(one)
        action = actions[at % len(actions)]
        if action in STEPS or action == "land":
            _land(world, action)
        elif action == "begin":
            jobs.begin()
        elif action == "tile":
            jobs.begin()
            jobs.end()
        # At any moment, with jobs half done and records half landed, nothing looks lost.
        assert audit.audit(world.engine) == []
    world.lander().drain()
    jobs.end()
    assert audit.audit(world.engine) == []
    jobs.begin()
    jobs.end()


def _table(world: World, table: sa.Table) -> pd.DataFrame:
    with reading(world.engine) as connection:
        return pd.DataFrame(
            [dict(row._mapping) for row in connection.execute(sa.select(table))], columns=table.c.keys()
        )


@settings(max_examples=15, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(made=BATCHES, actions=ACTIONS, order=st.randoms(use_true_random=False), ids=st.booleans())
def test_every_way_of_landing_and_tiling_gives_the_books_of_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory,
    template: Path,
    made: list[Batch],
    actions: list[str],
    order: Any,
    ids: bool,
) -> None:
    sent = _sent(made)
    came = sent[~sent["lost"].astype(bool)]
    arrivals = [(row, False) for row in came.itertuples()]
    order.shuffle(arrivals)
    arrivals += [(row, True) for row in came[came["again"].astype(bool)].itertuples()]
    records = [
        _known_record(row, NOW) if again and ids and any(h is not None for h in row.hours) else _record(row, NOW)
        for row, again in arrivals
    ]
    with fresh_world(template, tmp_path_factory.getbasetemp() / "books", ids=ids) as world:
        _play(world, records, actions)
        assert audit.audit(world.engine) == []
        _compare_receipt(world, sent, [row.Index for row, _ in arrivals])
        _compare_events(world, came)


def _compare_receipt(world: World, sent: pd.DataFrame, arrived: list[int]) -> None:
    found = ledger.sums(ledger.read(world.engine))
    bodies = sent.loc[arrived]
    assert found["received"] == bodies["n"].sum()
    assert found["rejected"] == sum(hour is None for hours in bodies["hours"] for hour in hours)
    once = sent.loc[sorted(set(arrived))]
    assert found["landed"] == sum(hour is not None for hours in once["hours"] for hour in hours)
    numbered = once[once["view"].notna()]
    highest = (numbered["first"] + numbered["n"]).groupby([numbered["client"], numbered["view"]]).max()
    assert (found["sent"], found["sequenced"]) == (highest.sum(), numbered["n"].sum())


def _compare_events(world: World, came: pd.DataFrame) -> None:
    rows = came.explode("hours").dropna(subset=["hours"])
    rows["hour"] = [hour_of(NOW - hours * HOUR_MS) for hours in rows["hours"]]
    rows["raw_only"] = [hours * HOUR_MS > HORIZON for hours in rows["hours"]]
    rows["no_position"] = ~rows["positions"].astype(bool) & ~rows["raw_only"].astype(bool)
    rows["late"] = NOW - rows["hour"] > HOUR_MS + 60_000
    names = ["raw_only", "no_position", "late"]
    screens = _table(world, ledger_screens).set_index(["client_id", "screen_id", "hour"])
    events = screens[(screens[list(books.OF_THE_EVENT)] != 0).any(axis=1)]
    expected = rows.groupby(["client", "screen", "hour"])[names].sum().astype(int)
    assert events[names].to_dict("index") == expected.to_dict("index")
    assert events["landed"].to_dict() == rows.groupby(["client", "screen", "hour"]).size().to_dict()
    assert (events["accepted"] == events["landed"] + events["landing_duplicate"]).all()
    hours = _table(world, ledger_hours).set_index(["client_id", "hour"])
    summed = events.groupby(level=["client_id", "hour"])[list(books.OF_THE_EVENT)].sum()
    assert hours[list(books.OF_THE_EVENT)].to_dict("index") == summed.to_dict("index")
    with reading(world.engine) as connection:
        whole = audit.totals(audit.event_hours(connection, audit.EVERYTHING))
    assert whole["tiled"] == len(rows) - rows["raw_only"].sum() - rows["no_position"].sum()
    assert whole["pending"] == 0


@given(
    parts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=12),
    cuts=st.sets(st.integers(0, 12)),
)
def test_a_view_counts_each_of_its_events_once(parts: list[tuple[int, int]], cuts: set[int]) -> None:
    """Against a plain set of numbers; between landings the state goes through the table's form."""
    view, seen, total, highest = views.View(), set[int](), 0, 0
    for at, (first, count) in enumerate(parts):
        view, new = views.add(view, views.Part(first, first + count, 0))
        if at in cuts:
            view = views._unpack(view.sent, views._pack(view))
        total += new
        seen |= set(range(first, first + count))
        highest = max(highest, first + count)
        assert (total, view.sent) == (len(seen), highest)
        assert sorted(n for start, end in view.missing for n in range(start, end)) == sorted(set(range(highest)) - seen)


def test_a_sender_that_leaves_endless_gaps_takes_no_more_than_a_row() -> None:
    view = views.View()
    for first in range(0, 1_000, 2):
        view, _ = views.add(view, views.Part(first, first + 1, 0))
    assert len(view.missing) == views.MOST_RUNS
    parts: list[views.Part] = []
    views.note(parts, 1 << 53, 5, NOW)
    assert parts == []


def test_the_same_view_of_two_clients_is_two(world: World) -> None:
    for client in ("a", "b"):
        sequence = ViewSequence("v", 0, 0)
        world.append(record(client, f"{client}1", [event(NOW)] * 3, sequence=sequence))
    world.lander().drain()
    found = {(row.client_id, row.measure): row.events for row in ledger.read(world.engine)}
    assert {key: n for key, n in found.items() if key[1] in ("sent", "sequenced")} == {
        (client, measure): 3 for client in ("a", "b") for measure in ("sent", "sequenced")
    }


def test_views_are_forgotten_after_two_days_in_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "FORGOTTEN_AT_ONCE", 2)
    for n in range(5):
        world.append(record("a", f"b{n}", [event(NOW)], sequence=ViewSequence(f"v{n}", 0, 0)))
    world.lander().drain()
    with writing(world.engine) as connection:
        assert views.forget(connection, hour_of(NOW) + views.KEPT_MS) == 0
        assert [views.forget(connection, hour_of(NOW) + views.KEPT_MS + 1) for _ in range(4)] == [2, 2, 1, 0]
    # What is left says how far was forgotten.
    assert len(_table(world, page_views)) == 1


def test_a_split_batch_tells_of_its_body_once(world: World) -> None:
    """A batch that stands on two records: the first says how many events its whole body had."""
    first = record("a", "b1", [event(NOW)], sequence=ViewSequence("v", 0, 10), positions=[0])
    said = first.value.replace(b'"first_event":10}', b'"first_event":10},"events":4')
    world.append(
        msgspec.structs.replace(first, value=said),
        record("a", "b1x", [event(NOW - HOUR_MS)] * 3, positions=[1, 2, 3]),
    )
    world.lander().drain()
    found = ledger.sums(ledger.read(world.engine))
    assert (found["sent"], found["sequenced"], found["received"]) == (14, 4, 4)


def test_what_cannot_be_read_has_a_place_in_both_tables(world: World) -> None:
    good = record("a", "b1", [event(NOW)] * 2)
    spoilt = good.value.replace(b'"event_type":"mousemove"', b'"event_type":77')
    world.append(Record("k", b"nonsense", NOW), msgspec.structs.replace(good, value=spoilt))
    world.lander().drain()
    assert audit.audit(world.engine) == []
    found = _table(world, ledger_screens).set_index(["client_id", "screen_id"])["dead"].to_dict()
    assert found == {("", ""): 1, ("a", "home"): 2}


def test_an_hour_with_a_hundred_thousand_screens(world: World) -> None:
    many = {("a", f"/{n}", NOW): [2, 2, 0, 0, 1, 0, 0, 0, 0] for n in range(100_000)}
    with writing(world.engine) as connection:
        books.write_screens(connection, many)
        books.write_screens(connection, {("a", "/7", NOW): [1, 1, 0, 0, 0, 0, 1, 0, 0]})
    with reading(world.engine) as connection:
        assert connection.execute(sa.select(sa.func.count(), sa.func.sum(ledger_screens.c.landed))).one() == (
            100_000,
            200_001,
        )
        [hour] = connection.execute(sa.select(ledger_hours)).mappings().all()
    assert (hour["accepted"], hour["landed"], hour["no_position"], hour["late"]) == (200_001, 200_001, 100_000, 1)
