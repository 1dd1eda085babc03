"""One client never sees another's rows, whatever its ids are made of; and no read touches raw events."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isotherm.serve
from isotherm.rollup.buckets import Level

SERVE = Path(isotherm.serve.__file__).parent
WEEK = 1_770_595_200_000
RANGE = {"from": str(WEEK), "to": str(WEEK + 7 * 86_400_000)}
ROUTES = [
    ("/heatmap/hourly", {"dt": "2026-02-09", "hour": "3"}),
    ("/heatmap/daily", {"dt": "2026-02-09"}),
    ("/heatmap/weekly", {"week_start": "2026-02-09"}),
    ("/v1/heatmap", RANGE),
    ("/v1/screens", {"q": ""}),
    ("/v1/activity", RANGE),
    ("/v1/freshness", {}),
    ("/v1/ledger", RANGE),
    ("/v1/ledger/marks", RANGE),
    ("/v1/background", {}),
]
BREAKOUTS = [
    "' OR 1=1 --",
    "shop' OR client_id='bank",
    "\\' OR 1=1 --",
    "\\",
    "'",
    '"',
    "`",
    "shop\0",
    "\0",
    "../bank",
    "..%2Fbank",
    "/etc/passwd",
    "{client_id:String}",
    "{x:String}",
    "%(client_id)s",
    "$1",
    ":client_id",
    "bank\n",
    "ｂａｎｋ",
    "ban\u212a",
    "bank\u200b",
    "\ud7ff\U0010ffff",
    "*",
    "%",
    "_",
    "a" * 10_240,
    "'; DROP TABLE maps; --",
    "');SELECT * FROM file('/etc/passwd')--",
]


@pytest.mark.parametrize(("path", "query"), ROUTES)
def test_a_client_id_that_breaks_out_finds_nothing(api: Any, path: str, query: dict[str, str]) -> None:
    for name in BREAKOUTS:
        answer = api.get(path, params=query | {"client_id": name, "screen_id": "/home"})
        assert answer.status_code in (400, 404), (name, answer.text)
        assert "cells" not in answer.json()


@pytest.mark.parametrize(
    ("path", "query"),
    [one for one in ROUTES if one[0] not in ("/v1/screens", "/v1/freshness", "/v1/ledger", "/v1/ledger/marks")],
)
def test_a_screen_id_that_breaks_out_finds_nothing(api: Any, path: str, query: dict[str, str]) -> None:
    for name in BREAKOUTS:
        answer = api.get(path, params=query | {"client_id": "shop", "screen_id": name})
        assert answer.status_code in (400, 404), (name, answer.text)


@pytest.mark.parametrize("name", [n for n in BREAKOUTS if len(n) <= 256])
def test_search_and_cursor_that_break_out_stay_inside_the_client(api: Any, name: str) -> None:
    answer = api.get("/v1/screens", params={"client_id": "shop", "q": name})
    assert answer.status_code == 200, answer.text
    assert {row["screen_id"] for row in answer.json()["screens"]} <= {"/überblick's \\ 100%"}
    assert api.get("/v1/screens", params={"client_id": "shop", "cursor": name}).status_code == 400
    event_type = api.get("/v1/heatmap", params=RANGE | {"client_id": "shop", "screen_id": "/home", "event_type": name})
    assert event_type.status_code == 400


@pytest.mark.parametrize(
    "screen", ["a'b", "a\\b", "a\\'b", "{screen_id:String}", "a\\n", "\\0", "ünï 'c0de' \\", "a`b", 'a"b', "../x"]
)
def test_odd_screen_ids_are_found_exactly(api: Any, world: Any, screen: str) -> None:
    world.put("shop", screen, WEEK, {42: 7})
    world.put("bank", screen, WEEK, {43: 9})
    world.publish()
    asked = {"client_id": "shop", "screen_id": screen, "dt": "2026-02-09"}
    assert api.get("/heatmap/daily", params=asked).json()["cells"] == [{"cell_x": 42, "cell_y": 0, "count": 7}]
    activity = api.get("/v1/activity", params=asked | RANGE).json()
    assert activity["total"] == 7


def test_two_clients_with_the_same_screen_keep_apart(api: Any, world: Any) -> None:
    for client in ("shop", "bank"):
        answer = api.get("/v1/heatmap", params=RANGE | {"client_id": client, "screen_id": "/home"})
        expected = world.expected(client, "/home", ("mousemove",), WEEK, WEEK + 7 * 86_400_000)
        found = {cell["cell_y"] * 100 + cell["cell_x"]: cell["count"] for cell in answer.json()["cells"]}
        assert found == expected
        activity = api.get("/v1/activity", params=RANGE | {"client_id": client}).json()
        week = range(WEEK, WEEK + 7 * 86_400_000)
        hours = [counts for (name, _, _, hour), counts in world.hours.items() if name == client and hour in week]
        assert activity["total"] == int(np.sum(hours))
    assert "/dense" not in api.get("/v1/screens", params={"client_id": "bank"}).text
    assert (
        api.get("/heatmap/daily", params={"client_id": "bank", "screen_id": "/dense", "dt": "2026-02-09"}).status_code
        == 404
    )


def test_another_client_s_cursor_or_tag_opens_nothing(api: Any) -> None:
    asked = RANGE | {"screen_id": "/home"}
    tag = api.get("/v1/heatmap", params=asked | {"client_id": "bank"}).headers["etag"]
    answer = api.get("/v1/heatmap", params=asked | {"client_id": "shop"}, headers={"if-none-match": tag})
    assert answer.status_code == 200
    cursor = api.get("/v1/screens", params={"client_id": "shop", "limit": 1}).json()["next_cursor"]
    page = api.get("/v1/screens", params={"client_id": "bank", "cursor": cursor}).json()
    assert {row["screen_id"] for row in page["screens"]} <= {"/home"}


QUESTIONS = sorted((SERVE / "sql").glob("*.sql"))


def test_there_are_questions() -> None:
    assert len(QUESTIONS) >= 4


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_every_question_about_maps_binds_the_client(path: Path) -> None:
    text = path.read_text()
    if re.search(r"\bFROM maps\b", text):
        # The list of clients is about several by its nature, each with buckets of its own.
        several = path.stem == "client_totals"
        assert ("client_id IN {clients:Array(String)}" if several else "client_id = {client_id:String}") in text
        assert not several or text.count("bucket_start") == text.count("(client_id, bucket_start) IN") == len(Level)
    assert "%" not in text
    callers = [source for source in SERVE.rglob("*.py") if f'sql("{path.stem}")' in source.read_text()]
    assert len(callers) == 1, path.name


OF_LANDING = {
    "from isotherm.land import ledger as books",
    "from isotherm.land import rounds",
    "from isotherm.land.find import MAX_FOUND, MAX_SPAN_MS",
    "from isotherm.land.letters import Entry, Wanted",
    "from isotherm.land.steady import leaps",
}
"""What is used of landing: rows of tables and names. What opens a file of the lake is handed to the app by `cli`."""


def test_no_read_touches_raw_events() -> None:
    for path in SERVE.rglob("*"):
        if path.suffix in (".py", ".sql"):
            text = path.read_text()
            assert not re.search(r"\b(file|s3|url|infile|hdfs)\(\s*'", text, re.IGNORECASE), path
            used = [line for line in text.splitlines() if "isotherm.land" in line]
            assert set(used) <= OF_LANDING, path
            assert "lake_root" not in text, path
            assert "parquet" not in text.lower() or path.name == "status.py", path
    assert not any("isotherm.eventlog" in path.read_text() for path in SERVE.rglob("*.py"))
