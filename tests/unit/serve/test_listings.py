"""Clients, screens and activity against sums of the hours that were put there."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.land import retired
from isotherm.store.db import writing
from isotherm.store.tables import backgrounds, buckets, screen_shapes

WEEK = 1_770_595_200_000
SHOP = {"client_id": "shop"}


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ms_of(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def events(world: Any, **wanted: Any) -> int:
    names = ("client", "screen", "kind")
    return sum(
        int(counts.sum())
        for key, counts in world.hours.items()
        if all(dict(zip(names, key, strict=False))[name] == value for name, value in wanted.items())
    )


def test_clients_with_screens_events_and_last_seen(api: Any, world: Any) -> None:
    body = api.get("/v1/clients").json()
    assert body["next_cursor"] is None
    rows = body["clients"]
    assert [(row["client_id"], row["screens"]) for row in rows] == [("bank", 1), ("shop", 3)]
    assert [row["events"] for row in rows] == [events(world, client="bank"), events(world, client="shop")]
    last = max(hour for client, _, _, hour in world.hours if client == "shop")
    assert ms_of(rows[1]["last_event"]) >= last - 7 * DAY_MS


def test_each_client_of_a_page_is_summed_over_its_own_buckets_by_one_question(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one client's tiles are read from must not be counted for another: here weeks, days, hours, by client."""
    for number in range(6):
        for hour in (WEEK, WEEK + 30 * HOUR_MS, WEEK + 8 * DAY_MS):
            world.put(f"c{number}", f"/{number % 2}", hour, {number: number + 1})
            world.put(f"c{number}", "/all", hour, {7: 1})
    world.publish()
    world.mark("week", WEEK, "c1")
    for level, start in (("week", WEEK), ("day", WEEK), ("week", WEEK + 7 * DAY_MS)):
        world.mark(level, start, "c2")
    world.mark("hour", WEEK, "none")
    asked: list[str] = []
    question = world.olap.query

    def count(text: str, given: Any) -> Any:
        asked.append(text)
        return question(text, given)

    monkeypatch.setattr(world.olap, "query", count)
    with world.client() as api:
        rows = {row["client_id"]: row for row in api.get("/v1/clients").json()["clients"]}
    assert len(asked) == 1
    for number in range(6):
        row = rows[f"c{number}"]
        assert (row["screens"], row["events"]) == (2, events(world, client=f"c{number}")), number
    assert (rows["none"]["events"], rows["none"]["last_event"]) == (0, None)


def test_clients_come_in_pages(api: Any) -> None:
    first = api.get("/v1/clients", params={"limit": 1}).json()
    assert [row["client_id"] for row in first["clients"]] == ["bank"]
    second = api.get("/v1/clients", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [row["client_id"] for row in second["clients"]] == ["shop"]
    assert second["next_cursor"] is None


def test_a_client_whose_events_are_not_tiled_yet_is_listed_with_none(api: Any, world: Any) -> None:
    world.mark("hour", WEEK, "new")
    rows = {row["client_id"]: row for row in api.get("/v1/clients").json()["clients"]}
    assert rows["new"] == {"client_id": "new", "simulated": False, "screens": 0, "events": 0, "last_event": None}
    assert api.get("/v1/screens", params={"client_id": "new"}).json()["screens"] == []


def test_a_client_of_made_up_events_says_so(api: Any, world: Any) -> None:
    world.mark("hour", WEEK, "shop-simulated")
    rows = {row["client_id"]: row["simulated"] for row in api.get("/v1/clients").json()["clients"]}
    assert rows == {"bank": False, "shop": False, "shop-simulated": True}


def test_no_client_at_all(make_world: Any) -> None:
    with make_world().client() as api:
        assert api.get("/v1/clients").json() == {"next_cursor": None, "clients": []}


def test_screens_with_counts_per_type(api: Any, world: Any) -> None:
    rows = api.get("/v1/screens", params=SHOP).json()["screens"]
    assert [row["screen_id"] for row in rows] == ["/dense", "/home", "/überblick's \\ 100%"]
    for row in rows:
        screen = row["screen_id"]
        kinds = {kind for client, name, kind, _ in world.hours if (client, name) == ("shop", screen)}
        expected = {kind: events(world, client="shop", screen=screen, kind=kind) for kind in kinds}
        assert row["event_types"] == expected
        assert row["events"] == row["tiled"] == sum(expected.values())


def test_screens_of_a_range(api: Any, world: Any) -> None:
    edges = {"from": at(WEEK + 3 * HOUR_MS), "to": at(WEEK + 5 * HOUR_MS)}
    body = api.get("/v1/screens", params=SHOP | edges).json()
    assert (body["from"], body["to"]) == ("2026-02-09T03:00:00.000Z", "2026-02-09T05:00:00.000Z")
    assert {row["screen_id"] for row in body["screens"]} == {
        screen
        for client, screen, _, hour in world.hours
        if client == "shop" and WEEK + 3 * HOUR_MS <= hour < WEEK + 5 * HOUR_MS
    }
    assert api.get("/v1/screens", params=SHOP | {"from": at(WEEK + 30 * DAY_MS)}).json()["screens"] == []
    after = api.get("/v1/screens", params=SHOP | {"from": at(WEEK + 7 * DAY_MS)}).json()["screens"]
    assert [row["screen_id"] for row in after] == ["/home"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("HOME", ["/home"]),
        ("ÜBER", ["/überblick's \\ 100%"]),
        ("'s \\ 100%", ["/überblick's \\ 100%"]),
        ("%", ["/überblick's \\ 100%"]),
        ("_", []),
        ("", ["/dense", "/home", "/überblick's \\ 100%"]),
        ("{search:String}", []),
        ("\\", ["/überblick's \\ 100%"]),
        ("\0", []),
    ],
)
def test_search_is_a_plain_part_of_the_id(api: Any, search: str, found: list[str]) -> None:
    rows = api.get("/v1/screens", params=SHOP | {"q": search}).json()["screens"]
    assert [row["screen_id"] for row in rows] == found


def test_screens_come_in_pages_that_neither_repeat_nor_leave_out(api: Any, world: Any) -> None:
    for number in range(7):
        world.put("shop", f"/tie-{number}", WEEK, {number: 5})
    world.publish()
    everything = [row["screen_id"] for row in api.get("/v1/screens", params=SHOP).json()["screens"]]
    assert len(everything) == 10
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get("/v1/screens", params=SHOP | {"limit": "3"} | cursor).json()
        seen += [row["screen_id"] for row in page["screens"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == everything


def steps(world: Any, length: int, start: int, end: int, **wanted: Any) -> list[int]:
    found: Counter[int] = Counter()
    for (client, screen, kind, hour), counts in world.hours.items():
        named = {"client": client, "screen": screen, "kind": kind}
        if all(named[name] == value for name, value in wanted.items()):
            found[(hour - start) // length] += int(counts.sum())
    return [found[i] for i in range((end - start) // length)]


@pytest.mark.parametrize(("step", "length"), [("hour", HOUR_MS), ("day", DAY_MS), ("week", 7 * DAY_MS)])
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [({}, {}), ({"screen_id": "/home"}, {"screen": "/home"}), ({"event_type": "click"}, {"kind": "click"})],
)
def test_activity_per_step(
    api: Any, world: Any, step: str, length: int, asked: dict[str, str], wanted: dict[str, str]
) -> None:
    start, end = WEEK - 7 * DAY_MS, WEEK + 14 * DAY_MS
    body = api.get("/v1/activity", params=SHOP | asked | {"from": at(start), "to": at(end), "step": step}).json()
    assert (body["step"], body["client_id"]) == (step, "shop")
    assert [ms_of(one["start"]) for one in body["steps"]] == list(range(start, end, length))
    expected = steps(world, length, start, end, client="shop", **wanted)
    assert [one["events"] for one in body["steps"]] == expected
    assert body["total"] == sum(expected)


def test_activity_widens_to_whole_steps(api: Any) -> None:
    edges = {"from": at(WEEK + 3 * DAY_MS + HOUR_MS), "to": at(WEEK + 7 * DAY_MS + HOUR_MS)}
    body = api.get("/v1/activity", params=SHOP | edges | {"step": "week"}).json()
    assert (body["from"], body["to"]) == ("2026-02-09T00:00:00.000Z", "2026-02-23T00:00:00.000Z")


@pytest.mark.parametrize(("days", "step"), [(7, "hour"), (33, "hour"), (34, "day"), (700, "day"), (1800, "week")])
def test_activity_chooses_its_step(api: Any, days: int, step: str) -> None:
    edges = {"from": at(WEEK + 7 * DAY_MS - days * DAY_MS), "to": at(WEEK + 7 * DAY_MS)}
    assert api.get("/v1/activity", params=SHOP | edges).json()["step"] == step


def test_activity_of_a_changed_day_is_read_from_its_hours(api: Any, world: Any) -> None:
    world.put("shop", "/home", WEEK + 2 * HOUR_MS, {1: 777})
    world.publish("hour")
    world.mark("day", WEEK, "shop")
    world.mark("week", WEEK, "shop")
    for step, length in (("day", DAY_MS), ("week", 7 * DAY_MS)):
        asked = SHOP | {"from": at(WEEK), "to": at(WEEK + 7 * DAY_MS), "step": step}
        found = [one["events"] for one in api.get("/v1/activity", params=asked).json()["steps"]]
        assert found == steps(world, length, WEEK, WEEK + 7 * DAY_MS, client="shop")


def test_activity_of_expired_hours_is_422_and_says_from_where(api: Any, world: Any) -> None:
    world.clock.advance(200 * DAY_MS)
    asked = SHOP | {"from": at(WEEK), "to": at(WEEK + DAY_MS), "step": "hour"}
    answer = api.get("/v1/activity", params=asked)
    assert answer.status_code == 422
    assert answer.json()["nearest"]["from"] > "2026-05"
    assert api.get("/v1/activity", params=asked | {"step": "auto"}).json()["step"] == "day"


def test_hours_that_went_are_not_empty_though_their_days_were_made_longer(api: Any, world: Any) -> None:
    of_day = (buckets.c.start >= WEEK, buckets.c.start < WEEK + DAY_MS, buckets.c.client_id == "shop")
    with writing(world.engine) as connection:
        hours = connection.execute(sa.select(buckets.c.start).where(buckets.c.level == "hour", *of_day)).scalars().all()
        gone = [{"client_id": "shop", "start": start, "rows": 1} for start in hours]
        retired.write(connection, "hour", gone, world.clock.now_ms())
        connection.execute(sa.delete(buckets).where(buckets.c.level == "hour", *of_day))
    world.olap.command("DELETE FROM maps WHERE level = 'hour'")
    for marked in ("day", "week"):
        world.mark(marked, WEEK, "shop")
    asked = SHOP | {"from": at(WEEK), "to": at(WEEK + DAY_MS)}
    refused = api.get("/v1/activity", params=asked | {"step": "hour"})
    assert refused.status_code == 422
    assert refused.json()["nearest"]["from"][:13] == at(max(hours) + HOUR_MS)[:13]
    expected = steps(world, DAY_MS, WEEK, WEEK + DAY_MS, client="shop")
    assert sum(expected) > 0
    for step in ("auto", "day"):
        answer = api.get("/v1/activity", params=asked | {"step": step}).json()
        found = [one["events"] for one in answer["steps"]]
        assert (answer["step"], answer["stale"], found) == ("day", True, expected)


def put(world: Any, table: sa.Table, *rows: dict[str, Any]) -> None:
    with writing(world.engine) as connection:
        connection.execute(sa.insert(table), list(rows))


def shape(client_id: str, device: str, events: int, h: float = 900) -> dict[str, Any]:
    key = {"client_id": client_id, "screen_id": "/home", "device": device}
    return key | {"w": 390.5, "h": h, "source": "document", "events": events, "seen_at": 1}


def test_screens_say_how_large_they_are_and_whether_they_have_a_picture(api: Any, world: Any) -> None:
    put(
        world,
        screen_shapes,
        shape("shop", "desktop", 5),
        shape("shop", "phone", 8, 4000.5),
        shape("bank", "tablet", 99),
    )
    picture = {
        "client_id": "shop",
        "screen_id": "/dense",
        "w": 720,
        "h": 9000,
        "version": "v1",
        "media_type": "image/webp",
    }
    put(world, backgrounds, picture | {"bytes": 3, "content": b"abc", "updated_at": 1})
    rows = {row["screen_id"]: row for row in api.get("/v1/screens", params=SHOP).json()["screens"]}
    phone = {"device": "phone", "w": 390.5, "h": 4000.5, "source": "document"}
    desktop = {"device": "desktop", "w": 390.5, "h": 900.0, "source": "document"}
    assert rows["/home"]["shape"] == phone
    assert rows["/home"]["shapes"] == [phone | {"events": 8}, desktop | {"events": 5}]
    assert rows["/home"]["background"] is None
    assert (rows["/dense"]["shape"], rows["/dense"]["shapes"]) == (None, [])
    assert rows["/dense"]["background"] == {"w": 720, "h": 9000, "version": "v1"}
    arrow = api.get("/v1/screens", params=SHOP, headers={"accept": "application/vnd.apache.arrow.stream"})
    table = {row["screen_id"]: row for row in pa.ipc.open_stream(arrow.content).read_all().to_pylist()}
    for name in ("/home", "/dense"):
        assert {k: table[name][k] for k in ("shape", "shapes", "background")} == {
            k: rows[name][k] for k in ("shape", "shapes", "background")
        }
