"""Marks of maps, added up by the database: against pandas, and against the judgement of every single hour."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from isotherm.clock import HOUR_MS
from isotherm.land.books import COLUMNS, OF_THE_EVENT
from isotherm.rollup import audit, audit_screens, marks
from isotherm.rollup.audit import Range
from isotherm.store.db import open_db, reading, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, dirty, ledger_hours, ledger_screens, retired

START = 1_770_595_200_000
HOURS = 6
SCREENS = ["/", "/cart", "/it's"]


class Cells:
    """A tile store that holds these maps: events in cells, by screen and hour."""

    def __init__(self, maps: dict[tuple[str, int], int]) -> None:
        self.maps = maps

    def query(self, _: str, given: dict[str, Any], *_more: Any) -> pa.Table:
        rows = [
            {"screen_id": screen, "hour": hour, "in_cells": events}
            for (screen, hour), events in self.maps.items()
            if screen in given["screens"] and hour // 1000 in given["hours"]
        ]
        return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services("postgres"))])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path_factory.mktemp('marks') / 'isotherm.db'}"
    else:
        url = request.getfixturevalue("postgres").new_database()
    made = open_db(url)
    yield made
    made.dispose()


def drawn(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, rng.integers(0, 4, len(names)).tolist(), strict=True))


def some(rng: np.random.Generator, keys: list[Any], share: float) -> list[Any]:
    return [key for key in keys if rng.random() < share]


def closed(rows: dict[Any, dict[str, int]], tiles: dict[Any, Any], keep: set[Any]) -> None:
    """Make the sums of these hours close, as they do when nothing is lost; those in `keep` stay as they are."""
    for key, row in rows.items():
        if key not in keep:
            row["accepted"] = row["landed"] + row["landing_duplicate"] + row["dead"]
            row["before"] = 0
            made = max(row["landed"] - row["raw_only"], 0)
            row["landed"] = made + row["raw_only"]
            row["accepted"] = row["landed"] + row["landing_duplicate"] + row["dead"]
            row["no_position"] = min(row["no_position"], made)
            tiles[key] = (made, made - row["no_position"], tiles.get(key, (0, 0, True))[2])


def fill(engine: sa.Engine, screens: Any, hours: Any, tiles: Any, waiting: set[Any]) -> None:
    def at(hour: int) -> int:
        return START + hour * HOUR_MS

    of_screens = [{"client_id": c, "screen_id": s, "hour": at(h), **row} for ((c, h), s), row in screens.items()]
    of_hours = [{"client_id": c, "hour": at(h), **row} for (c, h), row in hours.items()]
    published = [
        {"level": "hour", "client_id": c, "start": at(h), "version": 1, "manifest_version": 1, "hash": "", "maps": 1,
         "rows": rows, "tiled": tiled, "code_version": "", "cost_ms": 0, "published_at": 0, "provenance": {}}
        for (c, h), (rows, tiled, there) in tiles.items() if there
    ]  # fmt: skip
    gone = [
        {"what": "hour", "client_id": c, "start": at(h), "rows": rows, "tiled": tiled, "bytes": 0, "retired_at": 0}
        for (c, h), (rows, tiled, there) in tiles.items() if not there
    ]  # fmt: skip
    marked = [{"level": "hour", "client_id": c, "start": at(h), "version": 2, "marked_at": 0} for c, h in waiting]
    with writing(engine) as connection:
        for table, rows in ((ledger_screens, of_screens), (ledger_hours, of_hours), (buckets, published),
                            (retired, gone), (dirty, marked)):  # fmt: skip
            connection.execute(sa.delete(table))
            if rows:
                connection.execute(table.insert(), rows)


@pytest.mark.parametrize("seed", range(20))
def test_the_database_gives_the_numbers_that_pandas_gives(engine: sa.Engine, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = [(client, hour) for client in ("a", "b") for hour in range(-1, HOURS + 1)]
    screens = {(key, screen): drawn(rng, COLUMNS) for key in some(rng, keys, 0.7) for screen in some(rng, SCREENS, 0.6)}
    hours = {key: drawn(rng, (*OF_THE_EVENT, "before")) for key in some(rng, keys, 0.7)}
    tiles = {
        key: (*rng.integers(0, 5, 2).tolist(), bool(rng.random() < 0.6))
        for key in some(rng, keys, 0.5)
        if key in hours or seed % 4 == 0
    }
    waiting = set(some(rng, keys, 0.2))
    closed(hours, tiles, set(some(rng, keys, 0.2 * (seed % 3))))
    fill(engine, screens, hours, tiles, waiting)
    in_cells = {(s, hour): int(rng.integers(4)) for hour in range(HOURS) for s in some(rng, SCREENS, 0.5)}
    maps = {(screen, START + hour * HOUR_MS): events for (screen, hour), events in in_cells.items()}
    olap, end = cast("Olap", Cells(maps)), START + HOURS * HOUR_MS
    found = marks.marks(engine, olap, "a", [*SCREENS, "/never"], START, end)

    frame = pd.DataFrame(
        [(c, s, h, *row.values()) for ((c, h), s), row in screens.items()], columns=["c", "s", "h", *COLUMNS]
    )
    mine = frame[(frame["c"] == "a") & frame["h"].between(0, HOURS - 1)].copy()
    mine["due"] = mine["landed"] - mine["raw_only"] - mine["no_position"]
    mine["waits"] = [("a", hour) in waiting for hour in mine["h"]]
    mine["made"] = [in_cells.get(key, 0) for key in zip(mine["s"], mine["h"], strict=True)]
    mine["tiled"] = mine["due"].where(~mine["waits"].astype(bool), mine["made"])
    mine["pending"] = (mine["due"] - mine["tiled"]).clip(lower=0)
    expected = mine.groupby("s")[[*COLUMNS, "tiled", "pending"]].sum().to_dict("index")
    for screen in (*SCREENS, "/never"):
        numbers = dict(found[screen].counts) | found[screen].events
        assert numbers == expected.get(screen, dict.fromkeys(numbers, 0))
        each = audit_screens.screen_hours(engine, olap, "a", screen, START, end)
        assert found[screen].events == audit_screens.screen_totals(each)

    asked = Range("a", START, end)
    with reading(engine) as connection:
        whole = list(audit.event_differences(audit.event_hours(connection, asked)))
        assert marks.differences(connection, asked) == whole


def test_hours_that_differ_are_judged_in_runs_and_all_of_them_when_these_are_many(engine: sa.Engine) -> None:
    row = dict.fromkeys((*OF_THE_EVENT, "before"), 0)
    for gap, count in ((1, 7), (2, 120)):
        fill(engine, {}, {("a", n * gap): row | {"accepted": 1} for n in range(count)}, {}, set())
        with reading(engine) as connection:
            found = marks.differences(connection, Range("a", START, START + 1000 * HOUR_MS))
        assert [one.hour for one in found] == [START + n * gap * HOUR_MS for n in range(count)]


def test_a_client_s_marks_say_nothing_of_another_s(engine: sa.Engine, tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, 0) | {"accepted": 5, "landed": 5, "late": 5}
    hour = dict.fromkeys((*OF_THE_EVENT, "before"), 0) | {"accepted": 9}
    fill(engine, {(("b", 0), "/"): row}, {("b", 0): hour}, {("b", 1): (4, 4, True)}, set())
    asked = Range("a", START, START + HOUR_MS)
    found = marks.marks(engine, cast("Olap", Cells({})), "a", ["/"], START, START + HOUR_MS)
    assert found["/"].events == marks.NOTHING.events
    with reading(engine) as connection:
        assert marks.differences(connection, asked) == []
