"""How large screens are: by device, as the newest batch says, with every landed event counted once."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import NOW, World, event, record

from isotherm.eventlog.port import Record
from isotherm.events import FLAG_IMPORT
from isotherm.land.shapes import device_of
from isotherm.store.db import reading
from isotherm.store.tables import screen_shapes

PHONE, DESK = {"w": 390, "h": 844}, {"w": 1440, "h": 900}


def found(world: World) -> dict[tuple[str, str, str], tuple[float, float, str, int, int]]:
    with reading(world.engine) as connection:
        return {tuple(row[:3]): tuple(row[3:]) for row in connection.execute(sa.select(screen_shapes))}


def land(world: World, *records: Record) -> None:
    world.append(*records)
    world.lander().drain()


def sent(batch_id: str, events: int, at: int = NOW, client: str = "a", **sizes: Any) -> Record:
    return record(client, batch_id, [event(NOW)] * events, screen_id="/home", received_at=at, batch=sizes)


@pytest.mark.parametrize(
    ("width", "device"),
    [(1, "phone"), (599.9, "phone"), (600, "tablet"), (1023.5, "tablet"), (1024, "desktop"), (1e6, "desktop")],
)
def test_a_device_by_its_width(width: float, device: str) -> None:
    assert device_of(width) == device


@pytest.mark.parametrize(
    ("sizes", "row"),
    [
        ({"viewport": PHONE, "document": {"w": 390, "h": 3000}}, ("phone", 390, 3000, "document")),
        ({"viewport": DESK, "document": DESK, "region": {"w": 500, "h": 20.5}}, ("desktop", 500, 20.5, "region")),
        ({"viewport": {"w": 800, "h": 600}}, ("tablet", 800, 600, "viewport")),
        ({"document": {"w": 500, "h": 9000}}, ("phone", 500, 9000, "document")),
        ({"viewport": {"w": 0, "h": 0}, "document": {"w": 1200, "h": 9000}}, ("desktop", 1200, 9000, "document")),
        ({"viewport": DESK, "document": {"w": 1440, "h": 0}}, ("desktop", 1440, 900, "viewport")),
        ({"document": {"w": 0, "h": 9000}}, None),
        ({}, None),
    ],
)
def test_what_a_batch_says(world: World, sizes: dict[str, Any], row: tuple[Any, ...] | None) -> None:
    land(world, sent("b1", 3, **sizes))
    expected = {} if row is None else {("a", "/home", row[0]): (*row[1:], 3, NOW)}
    assert found(world) == expected


def test_the_newest_received_counts_in_whatever_order_it_lands(world: World) -> None:
    newest = sent("b3", 1, NOW + 9, viewport=DESK, document={"w": 1440, "h": 333})
    land(world, sent("b1", 2, NOW, viewport=DESK, document={"w": 1440, "h": 111}), newest)
    land(world, sent("b2", 4, NOW + 5, viewport=DESK, document={"w": 1440, "h": 222}))
    land(world, sent("b4", 8, NOW + 99, viewport=DESK))
    assert found(world) == {("a", "/home", "desktop"): (1440, 333, "document", 15, NOW + 9)}


def test_a_measured_document_beats_a_viewport_that_stood_in(world: World) -> None:
    land(world, sent("b1", 1, NOW + 9, viewport=PHONE))
    land(world, sent("b2", 1, NOW, viewport=PHONE, document={"w": 390, "h": 5000}))
    assert found(world) == {("a", "/home", "phone"): (390, 5000, "document", 2, NOW)}


def test_clients_and_devices_keep_apart(world: World) -> None:
    land(world, sent("b1", 1, viewport=PHONE), sent("b2", 2, viewport=DESK), sent("b1", 4, client="b", viewport=DESK))
    assert {key: row[3] for key, row in found(world).items()} == {
        ("a", "/home", "phone"): 1,
        ("a", "/home", "desktop"): 2,
        ("b", "/home", "desktop"): 4,
    }


def test_an_import_that_is_repeated_counts_once(world: World) -> None:
    for _ in range(2):
        body = {"viewport": DESK, "document": DESK}
        events = [event(NOW), event(NOW + 1)]
        again = record("a", "import-1", events, screen_id="/home", flags=[FLAG_IMPORT], batch=body)
        land(world, Record(again.key, again.value, again.timestamp, None))
    assert found(world) == {("a", "/home", "desktop"): (1440, 900, "document", 2, NOW)}


class Crash(Exception):
    """The lander dies here."""


LOADS = st.lists(
    st.tuples(st.sampled_from([PHONE, DESK]), st.integers(1, 5), st.integers(0, 9), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(load=LOADS, data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_through_crashes_every_event_is_counted_once(
    make_world: Callable[..., World], load: list[tuple[dict[str, int], int, int, bool, bool]], data: st.DataObject
) -> None:
    world = make_world()
    steps = ["dead", "pending", "written", "landed", "committed"]
    armed = [""]

    def checkpoint(name: str) -> None:
        if name == armed[0]:
            armed[0] = ""
            raise Crash

    expected: dict[str, list[Any]] = {}
    lander = world.lander(checkpoint)
    for i, (viewport, events, late, measured, crash) in enumerate(load):
        document = {"document": {"w": viewport["w"], "h": 1000 + i}} if measured else {}
        world.append(sent(f"b{i}", events, NOW + late, viewport=viewport, **document))
        device, size = ("phone" if viewport is PHONE else "desktop"), document.get("document", viewport)
        one = expected.setdefault(device, [0, []])
        one[0] += events
        one[1].append((measured, NOW + late, i, size["h"]))
        armed[0] = data.draw(st.sampled_from(steps)) if crash else ""
        try:
            lander.step(force=True)
        except Crash:
            lander = world.lander(checkpoint)
    armed[0] = ""
    lander.drain()
    assert {key[2]: (row[3], row[1]) for key, row in found(world).items()} == {
        device: (events, max(sizes)[3]) for device, (events, sizes) in expected.items()
    }
