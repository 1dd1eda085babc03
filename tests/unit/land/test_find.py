"""Look-ups of raw events find what pandas finds in the files, of one client, within their bounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import IsothermError
from isotherm.land import find as finding
from isotherm.land.find import MAX_FOUND, MAX_SPAN_MS, Batch, Found, Place, find

START, END = NOW - 3 * DAY_MS, NOW + HOUR_MS


def cells(x: Any, y: Any) -> Any:
    """The grid's cells, spelled out: landing comes before the roll-up that has them."""
    return np.minimum(np.floor(y * 200), 199).astype(int) * 100 + np.minimum(np.floor(x * 100), 99).astype(int)


def ask(world: World, client_id: str, wanted: Batch | Place, limit: int = MAX_FOUND, **edges: int) -> Found:
    return find(world.lake, world.manifest, client_id, wanted, edges.get("start", START), edges.get("end", END), limit)


def place(screen: str, kind: str = "mousemove", cell: int | None = None, start: int = START, end: int = END) -> Place:
    return Place(screen, kind, cell, cells, start, end)


def names(found: Found) -> set[tuple[str, int]]:
    assert len({(e.batch_id, e.position) for e in found.events}) == len(found.events)
    return {(e.batch_id, e.position) for e in found.events}


def expected(frame: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(frame.batch_id, frame.position, strict=True))


@pytest.fixture(params=["parquet", "jsonl"])
def world(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> World:
    """Two clients whose batches have the same ids, over three days and screens, some without a position."""
    made = make_world(land_formats=[request.param])
    numbers = np.random.default_rng(5)
    records = []
    for client in ("bank", "shop"):
        for n in range(12):
            at = NOW - int(numbers.integers(3 * DAY_MS)) // HOUR_MS * HOUR_MS
            events = [event(at + i * 400_000, *numbers.choice([0.1, 0.29, 0.5, 1.0], 2).tolist()) for i in range(20)]
            events += [event(at, None, None, "view"), event(at, 0.29, 1.0, "click")]
            records.append(record(client, f"batch-{n}", events, screen_id=f"/s{n % 3}", received_at=at + 5_000))
    made.append(*records)
    made.lander().drain()
    return made


def test_a_batch_and_one_event_of_it(world: World) -> None:
    frame = world.frame(world.settings.land_formats[0])
    mine = frame[(frame.client_id == "shop") & (frame.batch_id == "batch-4")]
    found = ask(world, "shop", Batch("batch-4"))
    assert names(found) == expected(mine)
    assert len(found.events) == 22
    assert found.complete
    assert {e.file for e in found.events} <= {f.path for f in world.manifest.listed(client_ids=["shop"])}
    one = ask(world, "shop", Batch("batch-4", 7))
    assert names(one) == {("batch-4", 7)}
    row = mine[mine.position == 7].iloc[0]
    assert (one.events[0].x_norm, one.events[0].y_norm) == (row.x_norm, row.y_norm)
    times = pd.to_datetime([row.event_time, row.received_at], unit="ms", utc=True)
    assert (
        times.tolist()
        == pd.to_datetime([one.events[0].event_time, one.events[0].received_at], unit="ms", utc=True).tolist()
    )
    for nobody in (Batch("batch-99"), Batch("batch-4", 99), Batch("")):
        assert ask(world, "shop", nobody).events == []


def test_the_events_behind_every_cell(world: World) -> None:
    frame = world.frame(world.settings.land_formats[0])
    frame["cell"] = cells(frame.x_norm.fillna(0), frame.y_norm.fillna(0)).where(frame.x_norm.notna(), -1)
    mine = frame[(frame.client_id == "bank") & (frame.screen_id == "/s1") & (frame.event_type == "mousemove")]
    assert names(ask(world, "bank", place("/s1"))) == expected(mine)
    for cell, rows in mine.groupby("cell"):
        assert names(ask(world, "bank", place("/s1", cell=int(cell)))) == expected(rows)
    assert ask(world, "bank", place("/s1", cell=5)).events == []
    views = frame[(frame.client_id == "bank") & (frame.screen_id == "/s1") & (frame.event_type == "view")]
    assert names(ask(world, "bank", place("/s1", "view"))) == expected(views) != set()
    assert ask(world, "bank", place("/s1", "view", 0)).events == []


def test_a_range_bounds_by_the_time_of_the_event(world: World) -> None:
    frame = world.frame(world.settings.land_formats[0])
    times = pd.to_datetime(frame.event_time, unit="ms", utc=True)
    start, end = NOW - 2 * DAY_MS, NOW - DAY_MS
    inside = (times >= pd.Timestamp(start, unit="ms", tz="UTC")) & (times < pd.Timestamp(end, unit="ms", tz="UTC"))
    mine = frame[inside & (frame.client_id == "shop") & (frame.screen_id == "/s2") & (frame.event_type == "mousemove")]
    assert names(ask(world, "shop", place("/s2", start=start, end=end), start=start, end=end)) == expected(mine)


def test_another_clients_events_are_never_found(world: World) -> None:
    theirs = {f.path for f in world.manifest.listed(client_ids=["bank"])}
    for wanted in (Batch("batch-4"), place("/s1"), place("/s1", "click", 19_928)):
        assert not {e.file for e in ask(world, "shop", wanted).events} & theirs
    assert ask(world, "nobody", Batch("batch-4")).events == []


def test_it_says_when_there_is_more_and_when_its_time_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ask(world, "shop", place("/s0"))
    exact = ask(world, "shop", place("/s0"), limit=len(everything.events))
    assert (exact.complete, len(exact.events)) == (True, len(everything.events))
    some = ask(world, "shop", place("/s0"), limit=3)
    assert (some.complete, len(some.events)) == (False, 3)
    assert "more than 3" in some.why
    hours = [e.event_time // HOUR_MS for e in everything.events]
    assert hours == sorted(hours, reverse=True)
    monkeypatch.setattr(finding, "SECONDS", 0.0)
    late = ask(world, "shop", place("/s0"))
    assert not late.complete
    assert "narrow the range" in late.why
    assert late.files < len(world.manifest.listed(client_ids=["shop"]))


def test_what_is_beyond_the_bounds_is_refused_and_a_lost_file_named(world: World) -> None:
    for edges in ({"start": END, "end": END}, {"start": END - MAX_SPAN_MS - 1, "end": END}):
        with pytest.raises(ValueError, match="31 days"):
            ask(world, "shop", Batch("b"), **edges)
    for limit in (0, MAX_FOUND + 1):
        with pytest.raises(ValueError, match="limit"):
            ask(world, "shop", Batch("b"), limit=limit)
    lost = world.manifest.listed(client_ids=["shop"])[0].path
    world.lake.delete(lost)
    with pytest.raises(IsothermError, match=lost.rsplit("/", 1)[-1]):
        ask(world, "shop", Batch("batch-99"))
