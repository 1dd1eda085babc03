"""Stored maps for backups: those of the named clients alone, as they are stored, and as pages cut them."""

from typing import Any

import pyarrow as pa
import pytest
from serving import NOW, edge, stamp

from isotherm.clock import HOUR_MS
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.copies import pages, put_maps, read_maps

PATH = "/v1/admin/maps"


def asked(api: Any, **query: Any) -> pa.Table:
    answer = api.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()


def start_of(world: Any) -> int:
    """An hour that both clients have."""
    hours: dict[int, set[str]] = {}
    for client, _, _, hour in world.hours:
        hours.setdefault(hour, set()).add(client)
    return next(hour for hour, clients in hours.items() if len(clients) == 2)


def names(world: Any, hour: int, *clients: str) -> set[tuple[str, str, str]]:
    return {(c, screen, kind) for c, screen, kind, at in world.hours if at == hour and c in clients}


def found(table: pa.Table) -> set[tuple[str, str, str]]:
    rows = table.select(["client_id", "screen_id", "event_type"]).to_pylist()
    return {tuple(row.values()) for row in rows}


def test_no_client_sees_another_s_maps(api: Any, world: Any) -> None:
    hour = start_of(world)
    first, second = sorted({client for client, *_ in world.hours})
    for clients in ([first], [second], [first, second]):
        table = asked(api, level="hour", start=stamp(hour), client_id=clients)
        assert found(table) == names(world, hour, *clients)
    assert asked(api, level="hour", start=stamp(hour), client_id=["nobody"]).num_rows == 0


def test_pages_are_disjoint_and_together_all(api: Any, world: Any) -> None:
    hour = start_of(world)
    client = min(client for client, *_ in world.hours)
    parts = [
        found(asked(api, level="hour", start=stamp(hour), client_id=[client], page=page, pages=3)) for page in range(3)
    ]
    assert set.union(*parts) == names(world, hour, client)
    assert sum(map(len, parts)) == len(names(world, hour, client))


def test_what_is_read_can_be_put_back(api: Any, world: Any) -> None:
    hour = start_of(world)
    client = min(client for client, *_ in world.hours)
    page = ((client,), 0, 1)
    before = asked(api, level="day", start=stamp(edge("day", hour)), client_id=[client])
    bucket = Bucket(Level.DAY, edge("day", hour))
    assert read_maps(world.olap, bucket, page).equals(before)
    world.olap.command("TRUNCATE TABLE maps")
    assert read_maps(world.olap, bucket, page).num_rows == 0
    for _ in range(2):
        put_maps(world.olap, before)
        assert read_maps(world.olap, bucket, page).equals(before)


def test_few_clients_share_a_page_and_a_large_one_has_many() -> None:
    assert list(pages({"a": 3, "b": 600, "c": 200, "d": 60})) == [
        (("b",), 0, 3), (("b",), 1, 3), (("b",), 2, 3), (("a", "c"), 0, 1), (("d",), 0, 1)
    ]  # fmt: skip
    assert [len(clients) for clients, _, _ in pages({f"c{n:03d}": 1 for n in range(120)})] == [50, 50, 20]
    assert list(pages({})) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": ["../x"]},
        {"client_id": []},
        {"client_id": [f"c{n}" for n in range(51)]},
        {"level": "year"},
        {"start": stamp(NOW + HOUR_MS // 2)},
        {"page": 1},
        {"pages": 0},
    ],
)
def test_what_cannot_be_is_refused(api: Any, wrong: dict[str, Any]) -> None:
    query = {"level": "hour", "start": stamp(NOW), "client_id": ["shop"]} | wrong
    assert api.get(PATH, params=query).status_code == 400
