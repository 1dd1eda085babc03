"""`GET /v1/ledger` after random traffic, with some of every fate at once, against a count with pandas of what was sent.

What is counted here are the batches that senders made; nothing of it comes from the program.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from landing import event, record
from litestar.testing import TestClient
from serving import World as Served
from tiling import NOW, worlds

from isotherm.clock import DAY_MS, HOUR_MS, ManualClock, iso
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.eventlog.port import Record
from isotherm.events import ViewSequence, hour_of
from isotherm.land.books import OF_THE_EVENT
from isotherm.land.lander import Lander
from isotherm.store.olap import Olap

HOURS = [-2, -1, 0, 0, 0, 1, 5, 9 * 24, 31 * 24]
"""How many hours before its receipt an event happens: early ones, late ones, and one that is too late for the maps."""
ASKED = {"from": iso(hour_of(NOW) - 33 * DAY_MS), "to": iso(hour_of(NOW) + 4 * HOUR_MS)}


class NoIds(MemoryLog):
    """As a topic does: what is sent again may be stored again, and landing must know it."""

    @property
    def knows_ids(self) -> bool:
        return False

    def append(self, records: Any) -> Any:
        return super().append([msgspec.structs.replace(one, id=None) for one in records])


def sent(seed: int) -> pd.DataFrame:
    """One line per batch: `hours` of its accepted events, whether each has a `place`, and what becomes of the batch."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for at in range(60):
        client, count, rejected = str(rng.choice(["shop", "bank"])), int(rng.integers(0, 5)), int(rng.integers(0, 3))
        first = numbers.get(client, 0)
        # A body has an event at least, and what a body holds is numbered whether it was accepted or not.
        count += not (count or rejected)
        numbers[client] = first + count + rejected
        fate = str(rng.choice(["landed", "landed", "landed", "dead", "lost"])) if count else "landed"
        row = {"client": client, "screen": str(rng.choice(["/", "/cart"])), "batch": f"b{at}", "first": first}
        row |= {"hours": rng.choice(HOURS, count).tolist(), "place": rng.random(count) < 0.7, "rejected": rejected}
        row |= {"received": NOW - int(rng.integers(0, 2)) * HOUR_MS, "fate": fate, "wave": at // 30}
        row |= {"reason": str(rng.choice(["too_old", "bad_number"])), "dropped": int(rng.integers(0, 2))}
        again = str(rng.choice(["", "door", "landing"])) if count and fate == "landed" else ""
        rows.append(row | {"again": again, "n": count + rejected, "kept": count})
    return pd.DataFrame(rows)


def records(row: Any) -> Iterator[Record]:
    """What the collector appends for the batch, and for its second coming."""
    refused = {"rejected": {row.reason: row.rejected}} if row.rejected else {}
    more = refused | {"sequence": ViewSequence("view", 0, row.first)}
    about = {"screen_id": row.screen, "received_at": row.received}
    events = [event(row.received - h * HOUR_MS, 0.5 if p else None) for h, p in zip(row.hours, row.place, strict=True)]
    dropped = {"dropped": {"queue_full": row.dropped}} if row.dropped else {}
    one = record(row.client, row.batch, events, **about, **more, **dropped)
    if row.fate == "dead":
        spoilt = one.value.replace(b'"event_type":"mousemove"', b'"event_type":77')
        one = msgspec.structs.replace(one, value=spoilt)
    yield one
    if row.again == "landing":
        yield record(row.client, row.batch, events, **about, **more)
    elif row.again == "door":
        yield record(row.client, row.batch, [], **about, **more, duplicate=row.kept)


def receipts(made: pd.DataFrame) -> pd.DataFrame:
    """The measures by hour of receipt of each body that came, also of those that came again."""
    came = made[made["fate"] != "lost"]
    frames: list[pd.DataFrame] = []
    for again in (False, True):
        rows = came[came["again"] != ""] if again else came
        door = rows["again"].eq("door") & again
        found = pd.DataFrame({"client": rows["client"], "screen": rows["screen"], "hour": rows["received"] // HOUR_MS})
        found["received"], found["rejected"] = rows["n"], rows["rejected"]
        found["duplicate"] = rows["kept"].where(door, 0)
        found["accepted"] = rows["kept"].where(~door, 0)
        found["landing_duplicate"] = rows["kept"].where(rows["again"].eq("landing") & again, 0)
        found["dead"] = rows["kept"].where(rows["fate"].eq("dead"), 0)
        found["landed"] = found["accepted"] - found["landing_duplicate"] - found["dead"]
        found["sender_dropped"] = 0 if again else rows["dropped"]
        frames.append(found)
    return pd.concat(frames)


def accepted(made: pd.DataFrame) -> pd.DataFrame:
    """The measures by event hour of each accepted event, also of those that landing knew."""
    came = made[made["fate"] != "lost"]
    once = came.assign(measure=came["fate"])
    twice = came[came["again"] == "landing"].assign(measure="landing_duplicate")
    rows = pd.concat([once, twice]).explode(["hours", "place"]).dropna(subset=["hours"])
    found = pd.DataFrame({name: rows[name] for name in ("client", "screen", "wave")})
    found["hour"] = ((rows["received"] - rows["hours"].astype(int) * HOUR_MS) // HOUR_MS).astype(int)
    found["accepted"] = 1
    for name in ("landed", "landing_duplicate", "dead"):
        found[name] = rows["measure"].eq(name).astype(int)
    landed = found["landed"].astype(bool)
    too_late = rows["hours"].astype(int) > 30 * 24
    found["raw_only"] = (landed & too_late).astype(int)
    found["no_position"] = (landed & ~too_late & ~rows["place"].astype(bool)).astype(int)
    # An hour is closed a minute after its end, and all is received ten minutes after an hour began.
    found["late"] = (landed & rows["hours"].astype(int).gt(0)).astype(int)
    due = landed & ~too_late & rows["place"].astype(bool)
    found["tiled"] = (due & rows["wave"].eq(0)).astype(int)
    found["pending"] = (due & rows["wave"].eq(1)).astype(int)
    return found


EVENTS = [*OF_THE_EVENT, "tiled", "pending"]


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.drill)])
def traffic(request: pytest.FixtureRequest, tmp_path: Path, empty_olap: Olap) -> Iterator[tuple[pd.DataFrame, Any]]:
    """Two waves of batches: the first is landed and tiled, the second landed only."""
    made = sent(request.param)
    settings, clock = Settings(data=tmp_path / "w", job_threads=1, log="memory://"), ManualClock(NOW)
    with worlds() as make, closing(NoIds("memory://", settings, clock)) as log:
        world = make(settings, empty_olap, clock=clock)
        lander = Lander(world.settings, log, world.lake, world.manifest, clock)
        for wave in (0, 1):
            for row in made[(made["wave"] == wave) & (made["fate"] != "lost")].itertuples():
                log.append(list(records(row)))
            lander.step(force=True)
            if wave == 0:
                world.run_all()
        with Served(world.settings, world.database, world.olap, clock).client() as api:
            yield made, api


def by_hour(frame: pd.DataFrame, names: list[str]) -> dict[str, dict[str, int]]:
    sums = frame.groupby("hour")[names].sum()
    return {iso(int(hour) * HOUR_MS): row for hour, row in sums.to_dict("index").items() if any(row.values())}


def named(rows: list[dict[str, Any]], names: list[str]) -> dict[str, dict[str, int]]:
    found = {row["hour"]: {name: row[name] for name in names} for row in rows}
    return {hour: row for hour, row in found.items() if any(row.values())}


def test_every_column_is_what_pandas_counts(traffic: tuple[pd.DataFrame, TestClient[Any]]) -> None:
    made, api = traffic
    bodies, events = receipts(made), accepted(made)
    # Some of every fate: a column of zeros would show nothing.
    assert (events[EVENTS].sum() > 0).all()
    assert (bodies.groupby("client")[["rejected", "duplicate", "landing_duplicate", "dead"]].sum() > 0).all(axis=None)
    assert (made["fate"] == "lost").any()
    for client in ("shop", "bank"):
        body = api.get("/v1/ledger", params=ASKED | {"client_id": client}).json()
        mine, theirs = bodies[bodies["client"] == client], events[events["client"] == client]
        assert body["differences"] == []
        _receipt(body["receipt"], mine, theirs, made[made["client"] == client])
        assert body["events"]["totals"] == theirs[EVENTS].sum().to_dict()
        assert named(body["events"]["hours"], EVENTS) == by_hour(theirs, EVENTS)
        assert (body["late"], body["pending"]) == (theirs["late"].sum(), theirs["pending"].sum())
        marks = api.get("/v1/ledger/marks", params=ASKED | {"client_id": client, "screen_id": ["/", "/cart"]}).json()
        for mark in marks["marks"]:
            _screen(api, client, mark, mine[mine["screen"] == mark["screen_id"]], theirs)


def _receipt(found: dict[str, Any], bodies: pd.DataFrame, events: pd.DataFrame, made: pd.DataFrame) -> None:
    names = ["received", "accepted", "rejected", "duplicate", "landed", "landing_duplicate", "dead", "sender_dropped"]
    totals = found["totals"]
    assert {name: totals[name] for name in names} == bodies[names].sum().to_dict()
    assert named(found["hours"], names) == by_hour(bodies, names)
    assert (totals["sampled_out"], totals["no_position"], totals["raw_only"]) == (
        0, events["no_position"].sum(), events["raw_only"].sum())  # fmt: skip
    came = made[made["fate"] != "lost"]
    highest, numbered = (came["first"] + came["n"]).max(), came["n"].sum()
    assert (totals["sent"], totals["sequenced"], found["lost"]) == (highest, numbered, highest - numbered)
    refused = pd.concat([came, came[came["again"] != ""]]).groupby("reason")["rejected"].sum()
    assert found["reasons"] == {reason: n for reason, n in refused.to_dict().items() if n}
    assert found["sender_dropped"] == {"queue_full": came["dropped"].sum()}


def _screen(api: Any, client: str, mark: dict[str, Any], bodies: pd.DataFrame, of_client: pd.DataFrame) -> None:
    events = of_client[of_client["screen"] == mark["screen_id"]]
    asked = ASKED | {"client_id": client, "screen_id": mark["screen_id"]}
    body = api.get("/v1/ledger", params=asked).json()
    assert body["events"]["totals"] == events[EVENTS].sum().to_dict()
    assert named(body["events"]["hours"], EVENTS) == by_hour(events, EVENTS)
    assert body["receipt"]["totals"] == bodies[["rejected", "duplicate"]].sum().to_dict()
    assert named(body["receipt"]["hours"], ["rejected", "duplicate"]) == by_hour(bodies, ["rejected", "duplicate"])
    counted = events[["late", "pending", "dead"]].sum().to_dict() | {"rejected": bodies["rejected"].sum()}
    assert mark == {"screen_id": mark["screen_id"], "complete": not (counted["pending"] or counted["dead"])} | counted
