"""The server's clock jumps: nothing waits for it, nothing is lost, nothing lands twice."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS, SECOND_MS
from isotherm.land import ledger

Make = Callable[..., World]


@pytest.mark.parametrize("jump", [-5 * HOUR_MS, -400 * DAY_MS, 5 * HOUR_MS])
def test_a_record_that_waits_is_landed_though_the_clock_jumps(world: World, jump: int) -> None:
    lander = world.lander()
    world.append(record("a", "b1", [event(NOW)]))
    assert lander.step() == 0
    world.clock.advance(jump)
    assert lander.step() == 1
    world.append(record("a", "b2", [event(NOW)], received_at=NOW + jump))
    assert lander.step() == 0
    world.clock.advance(int(world.settings.land_flush_seconds * SECOND_MS))
    assert lander.step() == 1
    assert lander.status().oldest_unlanded_ms == 0


@given(jumps=st.lists(st.integers(-3 * DAY_MS, 3 * DAY_MS), min_size=1, max_size=6), force=st.booleans())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_receipts_that_go_back_and_forth_land_once(make_world: Make, jumps: list[int], force: bool) -> None:
    world = make_world()
    lander = world.lander()
    received = NOW + np.cumsum([0, *jumps])
    for number, at in enumerate(received.tolist()):
        world.clock.advance(at - world.clock.now_ms())
        world.append(record("a", f"b{number}", [event(at), event(at - HOUR_MS)], received_at=at))
        # The same batch again, with another moment of receipt: known by its id.
        world.append(record("a", f"b{number}", [event(at), event(at - HOUR_MS)], received_at=at - HOUR_MS))
        lander.step(force=force)
    lander.drain()
    rows = ledger.read(world.engine)
    assert ledger.check(rows) == []
    assert ledger.sums(rows)["landed"] == 2 * len(received)
    assert world.identities() == sorted(("a", f"b{n}", place) for n in range(len(received)) for place in (0, 1))
    hours = {at - at % HOUR_MS for at in received.tolist()}
    assert {row.hour for row in rows} == hours


def test_ahead_of_time_is_tiled_in_its_own_hour(world: World) -> None:
    world.append(record("a", "b1", [event(NOW + DAY_MS), event(NOW)]))
    world.lander().drain()
    assert [(f.hour, f.raw_only) for f in world.manifest.listed()] == [
        (at - at % HOUR_MS, False) for at in (NOW, NOW + DAY_MS)
    ]


def test_the_client_s_own_time_is_kept(world: World) -> None:
    world.append(record("a", "b1", [event(NOW - HOUR_MS)], skew_ms=HOUR_MS), record("a", "b2", [event(NOW)]))
    world.lander().drain()
    frame = world.frame().sort_values("batch_id")
    times = frame["event_time"].astype("datetime64[ms, UTC]").astype("int64").tolist()
    assert times == [NOW, NOW]
    own = frame["client_time"].astype("datetime64[ms, UTC]")
    assert own.isna().tolist() == [False, True]
    assert own.astype("int64").tolist()[0] == NOW - HOUR_MS
