"""What became of every event, asked over the API: the sums of what the tests wrote down, one client at a time."""

from typing import Any

import pytest
import sqlalchemy as sa

from isotherm.clock import DAY_MS, HOUR_MS, iso
from isotherm.collect.dead import letter
from isotherm.eventlog.port import Stored
from isotherm.events import Counts, encode_envelope
from isotherm.land.books import COLUMNS, Books, write_screens
from isotherm.land.columns import dead_letter
from isotherm.land.effects import fold
from isotherm.land.recovered import take_back
from isotherm.serve.routes.ledger import MOST_CHECKED, MOST_HOURS
from isotherm.store.db import writing
from isotherm.store.tables import buckets

WEEK = 1_770_595_200_000
ASKED = {"client_id": "shop", "from": str(WEEK), "to": str(WEEK + 7 * DAY_MS)}


def numbers(**given: int) -> list[int]:
    return [given.get(name, 0) for name in COLUMNS]


@pytest.fixture
def written(world: Any) -> Any:
    """A ledger that fits the world's maps: every event of theirs was accepted, landed and tiled."""
    of_hour: dict[tuple[str, int], int] = {}
    of_screen: dict[tuple[str, str, int], int] = {}
    for (client_id, screen_id, _, hour), counts in world.hours.items():
        events = int(counts.sum())
        of_hour[client_id, hour] = of_hour.get((client_id, hour), 0) + events
        of_screen[client_id, screen_id, hour] = of_screen.get((client_id, screen_id, hour), 0) + events
    rows = {key: numbers(accepted=n, landed=n) for key, n in of_screen.items()}
    receipt = {(client, hour, name, ""): n for (client, hour), n in of_hour.items()
               for name in ("received", "accepted", "landed")}  # fmt: skip
    receipt["shop", WEEK, "rejected", "too_old"] = 3
    receipt["shop", WEEK, "received", ""] = receipt.get(("shop", WEEK, "received", ""), 0) + 3
    receipt |= {("shop", WEEK, "sent", ""): 50, ("shop", WEEK, "sequenced", ""): 42}
    rows["shop", "/cart", WEEK] = numbers(rejected=3)
    with writing(world.engine) as connection:
        write_screens(connection, rows)
        fold(connection, receipt)
        for (client_id, hour), n in of_hour.items():
            mine = (buckets.c.level == "hour") & (buckets.c.client_id == client_id) & (buckets.c.start == hour)
            connection.execute(sa.update(buckets).where(mine).values(rows=n, tiled=n))
    return world


def events(world: Any, client: str, screen: str | None = None) -> int:
    return sum(
        int(counts.sum())
        for (client_id, screen_id, _, hour), counts in world.hours.items()
        if client_id == client and screen in (None, screen_id) and WEEK <= hour < WEEK + 7 * DAY_MS
    )


def test_a_client_s_events_from_the_sender_to_the_cell(api: Any, written: Any) -> None:
    body = api.get("/v1/ledger", params=ASKED).json()
    assert (body["from"], body["to"]) == (iso(WEEK), iso(WEEK + 7 * DAY_MS))
    assert (body["complete"], body["late"], body["rejected"], body["differences"]) == (True, 0, 3, [])
    expected = events(written, "shop")
    assert body["events"]["totals"] == {
        "accepted": expected, "landed": expected, "landing_duplicate": 0, "dead": 0, "no_position": 0, "raw_only": 0,
        "late": 0, "tiled": expected, "pending": 0,
    }  # fmt: skip
    assert body["receipt"]["totals"]["received"] == expected + 3
    assert (body["receipt"]["reasons"], body["receipt"]["lost"]) == ({"too_old": 3}, 8)
    for half in ("receipt", "events"):
        hours = body[half]["hours"]
        assert sum(one["landed"] for one in hours) == expected
        assert [one["hour"] for one in hours] == sorted(one["hour"] for one in hours)
    assert api.get("/v1/ledger", params=ASKED | {"hours": "false"}).json()["events"]["hours"] == []


def test_a_screen_s_mark_and_what_waits(api: Any, written: Any) -> None:
    body = api.get("/v1/ledger", params=ASKED | {"screen_id": "/home"}).json()
    expected = events(written, "shop", "/home")
    assert (body["complete"], body["rejected"]) == (True, 0)
    assert body["events"]["totals"]["tiled"] == body["events"]["totals"]["landed"] == expected
    assert api.get("/v1/ledger", params=ASKED | {"screen_id": "/cart"}).json()["rejected"] == 3
    hour = max(h for c, s, _, h in written.hours if (c, s) == ("shop", "/home") and h < WEEK + 7 * DAY_MS)
    more = {("shop", "/home", hour): numbers(accepted=5, landed=5, late=5)}
    with writing(written.engine) as connection:
        write_screens(connection, more)
    written.mark("hour", hour, "shop")
    body = api.get("/v1/ledger", params=ASKED | {"screen_id": "/home"}).json()
    assert (body["complete"], body["late"], body["pending"], body["differences"]) == (False, 5, 5, [])
    assert body["events"]["totals"]["tiled"] == expected
    assert {one["state"] for one in body["events"]["hours"] if one["hour"] == iso(hour)} == {"waiting"}


def test_marks_of_many_screens_say_what_the_ledger_says_of_each(api: Any, written: Any) -> None:
    hour = max(h for c, s, _, h in written.hours if (c, s) == ("shop", "/home") and h < WEEK + 7 * DAY_MS)
    with writing(written.engine) as connection:
        write_screens(connection, {("shop", "/home", hour): numbers(accepted=6, landed=5, late=5, dead=1)})
    written.mark("hour", hour, "shop")
    screens = ["/cart", "/home", "/nowhere", "/dense", "/home"]
    body = api.get("/v1/ledger/marks", params=ASKED | {"screen_id": screens}).json()
    assert [one["screen_id"] for one in body["marks"]] == ["/cart", "/home", "/nowhere", "/dense"]
    assert (body["client_id"], body["from"], body["differences"]) == ("shop", iso(WEEK), [])
    for mark in body["marks"]:
        whole = api.get("/v1/ledger", params=ASKED | {"screen_id": mark["screen_id"]}).json()
        dead = whole["events"]["totals"]["dead"]
        told = {name: whole[name] for name in ("complete", "late", "rejected", "pending")}
        assert mark == {"screen_id": mark["screen_id"], "dead": dead} | told
    said = {one["screen_id"]: (one["complete"], one["pending"], one["rejected"]) for one in body["marks"]}
    assert (said["/home"], said["/cart"]) == ((False, 5, 0), (True, 0, 3))


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({}, 400), ({"screen_id": ["a|b"]}, 400), ({"screen_id": [f"/{n}" for n in range(51)]}, 400),
     ({"screen_id": ["/"], "client_id": "nobody"}, 404), ({"screen_id": ["/"], "to": str(WEEK * 2)}, 422)],
)  # fmt: skip
def test_marks_of_what_is_no_question_are_refused(api: Any, written: Any, wrong: dict[str, Any], status: int) -> None:
    assert api.get("/v1/ledger/marks", params=ASKED | wrong).status_code == status


def test_a_map_is_complete_again_when_what_was_dead_of_it_is_replayed(api: Any, written: Any) -> None:
    hour = max(h for c, s, _, h in written.hours if (c, s) == ("shop", "/home") and h < WEEK + 7 * DAY_MS)
    value = encode_envelope(
        client_id="shop", screen_id="/home", batch_id="b", received_at=hour, skew_ms=0, flags=(),
        counts=Counts(accepted={str(hour): 2}, rejected={"bad_time": 1}),
    )  # fmt: skip
    died = Books()
    died.add_tallies(dead_letter(Stored(0, 0, hour, value)).tallies)
    with writing(written.engine) as connection:
        write_screens(connection, died.screens)
        fold(connection, died.counts)

    def told(screen: str) -> tuple[bool, bool, int]:
        """What the ledger says of the screen, and its mark."""
        asked = ASKED | {"screen_id": screen}
        [mark] = api.get("/v1/ledger/marks", params=asked).json()["marks"]
        return api.get("/v1/ledger", params=asked).json()["complete"], mark["complete"], mark["dead"]

    assert (told("/home"), told("/pricing")) == ((False, False, 2), (True, True, 0))
    assert not api.get("/v1/ledger", params=ASKED).json()["complete"]
    with writing(written.engine) as connection:
        kept = letter(value, reason="lander_error", stage="land", time=hour, client_id="shop")
        assert take_back(connection, kept)
    assert (told("/home"), told("/pricing")) == ((True, True, 0), (True, True, 0))
    body = api.get("/v1/ledger", params=ASKED).json()
    # What the door rejected of that batch stays rejected.
    assert (body["complete"], body["rejected"], body["differences"]) == (True, 4, [])


def test_a_difference_makes_a_map_incomplete_and_is_named(api: Any, written: Any) -> None:
    hour = min(h for c, _, _, h in written.hours if c == "shop" and h >= WEEK)
    with writing(written.engine) as connection:
        write_screens(connection, {("shop", "/home", hour): numbers(accepted=1, landed=1)})
    body = api.get("/v1/ledger", params=ASKED).json()
    assert body["complete"] is False
    [text] = body["differences"]
    assert text.startswith("client 'shop', event hour")
    asked = ASKED | {"screen_id": ["/home"]}
    assert api.get("/v1/ledger", params=asked).json()["differences"] == [text]
    body = api.get("/v1/ledger/marks", params=asked).json()
    assert (body["differences"], body["marks"][0]["complete"]) == ([text], False)
    assert "is not the rows behind the tiles" in text


def test_every_screen_is_compared_with_its_maps_on_demand(api: Any, written: Any) -> None:
    body = api.get("/v1/ledger", params=ASKED | {"check": "true"}).json()
    assert body["screens"]["differences"] == []
    assert body["screens"]["screens"] == len(
        {(s, h) for c, s, _, h in written.hours if c == "shop" and WEEK <= h < WEEK + 7 * DAY_MS}
    )
    hour = min(h for c, s, _, h in written.hours if (c, s) == ("shop", "/home") and h >= WEEK)
    with writing(written.engine) as connection:
        write_screens(connection, {("shop", "/ghost", hour): numbers(landed=2)})
    [text] = api.get("/v1/ledger", params=ASKED | {"check": "true"}).json()["screens"]["differences"]
    assert "screen '/ghost': landed 2, 2 with a position, but the maps hold 0 events" in text


def test_one_client_never_sees_another_s_numbers(api: Any, written: Any) -> None:
    shop, bank = (api.get("/v1/ledger", params=ASKED | {"client_id": name}).json() for name in ("shop", "bank"))
    assert shop["events"]["totals"]["landed"] == events(written, "shop")
    assert bank["events"]["totals"]["landed"] == events(written, "bank")
    assert (bank["rejected"], bank["receipt"]["reasons"], bank["receipt"]["lost"]) == (0, {}, 0)
    of_shop = ASKED | {"client_id": "bank", "screen_id": "/dense"}
    assert api.get("/v1/ledger", params=of_shop).json()["events"]["totals"]["landed"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "shop' OR '1'='1"},
        {"client_id": "../bank"},
        {"screen_id": "a|b"},
        {"from": "x"},
        {"to": str(WEEK)},
    ],
)
def test_what_is_no_question_is_refused(api: Any, written: Any, wrong: dict[str, str]) -> None:
    assert api.get("/v1/ledger", params=ASKED | wrong).status_code == 400


def test_a_client_nobody_heard_of_is_unknown(api: Any, written: Any) -> None:
    assert api.get("/v1/ledger", params=ASKED | {"client_id": "nobody"}).status_code == 404


@pytest.mark.parametrize(("more", "most"), [({}, MOST_HOURS), ({"check": "true"}, MOST_CHECKED)])
def test_a_range_has_its_limit_and_the_answer_says_which_part_works(
    api: Any, written: Any, more: dict[str, str], most: int
) -> None:
    asked = ASKED | more | {"from": str(WEEK), "to": str(WEEK + (most + 1) * HOUR_MS)}
    answer = api.get("/v1/ledger", params=asked)
    assert answer.status_code == 422
    assert answer.json()["nearest"]["to"] == iso(WEEK + most * HOUR_MS)
    assert api.get("/v1/ledger", params=asked | {"to": str(WEEK + most * HOUR_MS)}).status_code == 200
